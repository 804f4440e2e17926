"""An adapter of a multimodal base carries the names that transformers gives its text decoder."""

import json
import warnings

import jax
import numpy as np
import pytest
from safetensors.numpy import load, load_file

from rft_jax.data.text import characters
from rft_jax.infra import hub, peft
from rft_jax.models.config import Lora
from rft_jax.modes import export, train
from rft_jax.modes.session import open_session
from tests.checkpoints import rows
from tests.peft_trials import PLAIN, configure, renamed, torch_logits, trained
from tests.test_adapter_files import noisy
from tests.test_families import HOME, logits_of
from tests.test_journey import ROWS, journey

library = pytest.importorskip('peft')
pytest.importorskip('torch')
pytestmark = pytest.mark.filterwarnings('ignore')
TEXT = dict(
  vocab_size=97,
  hidden_size=32,
  intermediate_size=48,
  num_hidden_layers=2,
  num_attention_heads=4,
  num_key_value_heads=2,
  head_dim=12,
  max_position_embeddings=256,
)
GEMMA = dict(sliding_window=7, query_pre_attn_scalar=20)
VISION = dict(
  hidden_size=16,
  intermediate_size=16,
  num_hidden_layers=1,
  num_attention_heads=2,
  image_size=28,
  patch_size=14,
)
BASES = dict(
  gemma3=('gemma3', TEXT | GEMMA, dict(mm_tokens_per_image=4)),
  llava=('llava', TEXT | dict(model_type='llama', head_dim=8), dict(image_token_index=96)),
)
LORA = Lora(rank=4, alpha=5.0)


def written(name: str, directory):
  """A tiny base of a multimodal class, as transformers saves it."""
  import torch
  from transformers import AutoConfig, AutoModelForImageTextToText

  kind, text, more = BASES[name]
  vision = VISION | dict(projection_dim=16) if kind == 'llava' else VISION
  torch.manual_seed(0)
  config = AutoConfig.for_model(kind, text_config=text, vision_config=vision, **more)
  found = AutoModelForImageTextToText.from_config(config)
  with torch.no_grad():
    for x in found.parameters():
      if x.ndim > 1:
        x.normal_(std=0.2)
  found.save_pretrained(str(directory))
  return str(directory)


def by_transformers(directory):
  from transformers import AutoModelForImageTextToText

  return AutoModelForImageTextToText.from_pretrained(directory, attn_implementation='eager')


def ours(directory, bank=None):
  c = hub.model_config(directory, lora=LORA)
  variables = hub.load(directory, c, HOME)
  tokens = rows()[0]
  read = lambda bank: logits_of(c, variables | {'adapters': bank}, tokens, np.ones_like(tokens))
  return c, read


@pytest.mark.parametrize('name', BASES)
def test_an_exported_adapter_computes_the_same_in_peft_on_the_multimodal_base(name, tmp_path):
  base = written(name, tmp_path / 'base')
  c, read = ours(base)
  bank = noisy(c)
  peft.save(str(tmp_path / 'adapter'), c, bank, base=base)
  plain = torch_logits(by_transformers(base))
  with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter('always')
    found = library.PeftModel.from_pretrained(by_transformers(base), str(tmp_path / 'adapter'))
  assert not [w for w in said if 'missing' in str(w.message)]
  expected = torch_logits(found)
  assert np.abs(expected - plain).max() > 0.1
  assert np.abs(read(bank) - expected).max() <= 1e-4
  merged = torch_logits(found.merge_and_unload())
  assert np.abs(merged - expected).max() <= 1e-4
  assert not any('vision' in n for n, _ in found.named_parameters() if 'lora' in n)
  alone = jax.tree.map(lambda x: x[:, 0], bank)
  saved = load_file(tmp_path / 'adapter/adapter_model.safetensors')
  assert load(peft.packed(c, alone, base_directory=base)).keys() == saved.keys()
  again = peft.load(str(tmp_path / 'adapter'), c)
  np.testing.assert_array_equal(read(again), read(bank))


PATTERN = r'.*(language_model).*(q_proj|down_proj)'
OLDER = dict(
  as_it_is=lambda k: k,
  older=lambda k: k.replace('model.language_model.layers', 'language_model.model.layers'),
)


@pytest.mark.parametrize('older', OLDER)
@pytest.mark.parametrize('name', BASES)
def test_an_adapter_that_was_trained_on_the_multimodal_class_is_read(name, older, tmp_path):
  base = written(name, tmp_path / 'base')
  options = PLAIN | dict(target_modules=PATTERN, rank_pattern={r'.*layers\.1\..*': 3})
  found = library.get_peft_model(by_transformers(base), library.LoraConfig(**options))
  expected = torch_logits(trained(found, tmp_path / 'adapter'))
  renamed(tmp_path / 'adapter', OLDER[older])
  c, read = ours(base)
  assert np.abs(read(peft.load(str(tmp_path / 'adapter'), c)) - expected).max() <= 1e-4


def test_an_adapter_of_the_vision_tower_is_refused(tmp_path):
  base = written('gemma3', tmp_path / 'base')
  found = library.get_peft_model(by_transformers(base), library.LoraConfig(**PLAIN))
  trained(found, tmp_path / 'adapter')
  with pytest.raises(hub.HubError, match=r'vision_tower.*only the text decoder'):
    peft.load(str(tmp_path / 'adapter'), ours(base)[0])


def run_on(base, rows_file, **lora):
  c = journey(base, rows_file, preset='sft', steps=2, group=1, optimizer=dict(lr=0.1, warmup=0))
  c.model.lora.update(rank=4, alpha=5.0, **lora)
  return c


def test_a_run_exports_an_adapter_that_peft_uses_and_another_run_begins_with(tmp_path):
  base, rows_file = written('gemma3', tmp_path / 'base'), tmp_path / 'rows.jsonl'
  characters(alphabet='\n' + ''.join(map(chr, range(32, 125)))).save_pretrained(base)
  rows_file.write_text(''.join(json.dumps(row) + '\n' for row in ROWS))
  first = run_on(base, rows_file)
  train.run(first, str(tmp_path / 'run'), 0.0)
  first.export.adapter = True
  out = export.run(first, str(tmp_path / 'run'), 0.0)['path']
  found = library.PeftModel.from_pretrained(by_transformers(base), out)
  expected = torch_logits(found)
  assert np.abs(expected - torch_logits(by_transformers(base))).max() > 0.1

  session = open_session(run_on(base, rows_file, path=out))
  read = ours(base)[1]
  assert np.abs(read(session.params()['adapters']) - expected).max() <= 1e-4

  configure(out, use_dora=True)
  with pytest.raises(hub.HubError, match='use_dora'):
    train.run(session.config, str(tmp_path / 'other'), 0.0)
  assert not (tmp_path / 'other').exists()
