#!/usr/bin/env bash
# PEFT begins some adapters by changing the base, and the change is not in the adapter. With
# init_lora_weights='lora_ga' it is not made again when the saved adapter is loaded; with
# 'pissa_niter_16' it is made again by another random draw (here of a base with a flat spectrum).
# Both load without an error and compute another model than the one saved; 'pissa' and 'olora' come
# back. It matters here because to read such an adapter as a plain one is as silent, and as wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'peft==0.21.2' 'transformers==5.24.0' 'torch==2.13.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings

import peft
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig

warnings.simplefilter('error', peft.utils.warning.PeftWarning)
print('peft', peft.__version__, 'transformers', transformers.__version__, 'torch', torch.__version__)
torch.manual_seed(0)
size = dict(hidden_size=256, intermediate_size=512, num_attention_heads=4, vocab_size=97)
AutoModelForCausalLM.from_config(
  LlamaConfig(num_hidden_layers=2, initializer_range=0.1, **size)
).save_pretrained('base')
base = lambda: AutoModelForCausalLM.from_pretrained('base').eval()
tokens = torch.randint(97, (2, 32))


def logits(model):
  with torch.no_grad():
    return model.eval()(tokens).logits


def difference(init):
  model = base()
  config = peft.LoraConfig(
    r=8, target_modules=['q_proj', 'down_proj'], init_lora_weights=init, task_type='CAUSAL_LM'
  )
  if init == 'lora_ga':
    config.lora_ga_config = peft.LoraGAConfig()
    peft.preprocess_loraga(model, config, lambda: model(tokens, labels=tokens).loss.backward())
  model = peft.get_peft_model(model, config)
  with torch.no_grad():
    for name, x in model.named_parameters():
      if 'lora_' in name:
        x += 0.01 * torch.randn_like(x)
  saved = logits(model)
  model.save_pretrained(init)
  again = logits(peft.PeftModel.from_pretrained(base(), init))
  found = (again - saved).abs().max().item()
  print(f'{init}: logits up to {saved.abs().max():.2f}, after save and load off by {found:.5f}')
  return found


exact = [difference(init) for init in ('gaussian', 'pissa', 'olora')]
other = [difference(init) for init in ('pissa_niter_16', 'lora_ga')]
assert max(exact) < 1e-3, 'an exact beginning no longer comes back'
assert min(other) > 0.05, 'the others now come back: refuse them no longer'
PYTHON
