"""Tiny random checkpoints of every family, in Hugging Face's format.

`python -m tests.checkpoints` records the goldens anew, with torch and transformers.
"""

import json
import pathlib

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

FULL, SLIDING = 'full_attention', 'sliding_attention'
SMALL = dict(
  vocab_size=97,
  hidden_size=32,
  intermediate_size=48,
  num_hidden_layers=3,
  num_attention_heads=4,
  num_key_value_heads=2,
  head_dim=12,  # not hidden_size / heads
  max_position_embeddings=256,
  tie_word_embeddings=False,
  eos_token_id=2,
  bos_token_id=1,
  pad_token_id=0,
)
QWEN2 = {k: v for k, v in SMALL.items() if k != 'head_dim'}


def theta(value: float, **scaling) -> dict:
  return dict(rope_parameters=dict(rope_theta=value, rope_type='default') | scaling)


LLAMA3 = dict(
  rope_type='llama3',
  factor=8.0,
  low_freq_factor=1.0,
  high_freq_factor=4.0,
  original_max_position_embeddings=16,
)
LONGROPE = dict(
  rope_type='longrope',
  short_factor=[1.1, 1.7, 2.9],
  long_factor=[9.0] * 3,
  partial_rotary_factor=0.75,
)
YARN = dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=16)
TYPES = [SLIDING, FULL, SLIDING]
GEMMA = dict(SMALL, tie_word_embeddings=True, sliding_window=7, query_pre_attn_scalar=20)
CHECKPOINTS = dict(
  llama2=dict(SMALL, model_type='llama', num_key_value_heads=4, **theta(10_000.0)),
  llama3=dict(SMALL, model_type='llama', eos_token_id=[2, 5], **theta(500_000.0)),
  llama31=dict(SMALL, model_type='llama', tie_word_embeddings=True, **theta(500_000.0, **LLAMA3)),
  llama_biased=dict(
    SMALL,
    model_type='llama',
    attention_bias=True,
    mlp_bias=True,
    **theta(3e4, rope_type='linear', factor=2.0),
  ),
  mistral=dict(SMALL, model_type='mistral', sliding_window=7, **theta(1e6)),
  qwen2=dict(QWEN2, model_type='qwen2', tie_word_embeddings=True, **theta(1e6)),
  qwen2_sliding=dict(
    QWEN2,
    model_type='qwen2',
    use_sliding_window=True,
    sliding_window=7,
    max_window_layers=1,
    **theta(1e6),
  ),
  qwen2_yarn=dict(QWEN2, model_type='qwen2', **theta(1e6, **YARN)),
  qwen3=dict(SMALL, model_type='qwen3', **theta(5e6)),
  qwen3_moe=dict(
    SMALL,
    model_type='qwen3_moe',
    num_experts=5,
    num_experts_per_tok=2,
    moe_intermediate_size=24,
    norm_topk_prob=True,
    **theta(1e6),
  ),
  gemma2=dict(
    GEMMA,
    model_type='gemma2',
    layer_types=TYPES,
    attn_logit_softcapping=2.0,
    final_logit_softcapping=3.0,
    **theta(20_000.0),
  ),
  gemma3=dict(
    GEMMA,
    model_type='gemma3_text',
    layer_types=TYPES,
    rope_parameters={
      SLIDING: dict(rope_theta=1e4, rope_type='default'),
      FULL: dict(rope_theta=1e6, rope_type='linear', factor=8.0),
    },
  ),
  gemma=dict(SMALL, model_type='gemma', hidden_act='gelu', tie_word_embeddings=True, **theta(3e4)),
  vaultgemma=dict(
    GEMMA,
    model_type='vaultgemma',
    layer_types=TYPES,
    attn_logit_softcapping=2.0,
    final_logit_softcapping=3.0,
    **theta(20_000.0),
  ),
  ministral=dict(SMALL, model_type='ministral', layer_types=TYPES, sliding_window=7, **theta(1e6)),
  cwm=dict(SMALL, model_type='cwm', layer_types=TYPES, sliding_window=7, **theta(1e6, **LLAMA3)),
  mixtral=dict(
    SMALL,
    model_type='mixtral',
    sliding_window=7,
    num_local_experts=5,
    num_experts_per_tok=2,
    rms_norm_eps=1e-4,
    **theta(1e5),
  ),
  phi3=dict(QWEN2, model_type='phi3', sliding_window=7, rms_norm_eps=1e-4, **theta(3e4)),
  phi4_mini=dict(
    QWEN2 | dict(max_position_embeddings=1024, original_max_position_embeddings=240),
    model_type='phi3',
    tie_word_embeddings=True,
    **theta(3e4, **LONGROPE),
  ),
  starcoder2=dict(
    QWEN2,
    model_type='starcoder2',
    hidden_act='gelu_pytorch_tanh',
    sliding_window=7,
    norm_epsilon=1e-4,
    tie_word_embeddings=True,
    use_bias=True,
    **theta(1e5),
  ),
  starcoder2_plain=dict(
    QWEN2, model_type='starcoder2', use_bias=False, tie_word_embeddings=False, **theta(1e5)
  ),
  smollm3=dict(
    QWEN2, model_type='smollm3', no_rope_layers=[1, 0, 1], tie_word_embeddings=True, **theta(5e6)
  ),
  smollm3_sliding=dict(
    QWEN2,
    model_type='smollm3',
    no_rope_layer_interval=2,
    use_sliding_window=True,
    sliding_window=7,
    attention_bias=True,
    mlp_bias=True,
    **theta(5e6),
  ),
  granite=dict(
    QWEN2,
    model_type='granite',
    embedding_multiplier=6.0,
    residual_multiplier=0.4,
    attention_multiplier=0.2,
    logits_scaling=3.0,
    attention_bias=True,
    **theta(1e5),
  ),
  olmo2=dict(QWEN2, model_type='olmo2', rms_norm_eps=1e-4, **theta(5e5)),
  olmo3=dict(
    QWEN2,
    model_type='olmo3',
    layer_types=TYPES,
    sliding_window=7,
    attention_bias=True,
    rope_parameters={
      SLIDING: dict(rope_theta=5e5, rope_type='default'),
      FULL: dict(rope_theta=5e5) | YARN,
    },
  ),
  exaone4=dict(SMALL, model_type='exaone4', layer_types=TYPES, sliding_window=7, **theta(1e5)),
  exaone4_full=dict(
    SMALL, model_type='exaone4', layer_types=[FULL] * 3, sliding_window=None, **theta(1e5, **LLAMA3)
  ),
  seed_oss=dict(SMALL, model_type='seed_oss', attention_bias=True, mlp_bias=True, **theta(1e6)),
  arcee=dict(SMALL, model_type='arcee', hidden_act='relu2', mlp_bias=True, **theta(1e6, **YARN)),
  nemotron=dict(
    SMALL, model_type='nemotron', norm_eps=1e-4, **theta(3e4, partial_rotary_factor=0.5)
  ),
  stablelm=dict(
    QWEN2,
    model_type='stablelm',
    layer_norm_eps=1e-4,
    use_qkv_bias=True,
    **theta(3e4, partial_rotary_factor=0.25),
  ),
  ernie4_5=dict(SMALL, model_type='ernie4_5', use_bias=True, **theta(3e5)),
  glm=dict(SMALL, model_type='glm', attention_bias=True, **theta(3e4, partial_rotary_factor=0.5)),
  glm4=dict(
    SMALL, model_type='glm4', attention_bias=False, **theta(3e4, partial_rotary_factor=0.5)
  ),
  gpt2=dict(
    model_type='gpt2',
    vocab_size=97,
    n_embd=32,
    n_layer=3,
    n_head=4,
    n_positions=256,
    eos_token_id=2,
    bos_token_id=1,
  ),
)
"""Name -> the entries of its config.json: thetas, windows, widths and scalings that are not the
default ones."""


PLUS_ONE = 'gemma', 'gemma2', 'gemma3_text', 'vaultgemma', 'nemotron'
"""Families whose norms store their scale less one."""
GOLDENS = pathlib.Path(__file__).parent / 'goldens'


def write_checkpoint(directory, name: str, seed: int = 0, dtype: str = 'float32') -> None:
  """A checkpoint with random matrices, norms and biases, its tensors named and shaped as
  `transformers` does (goldens/families.json)."""
  directory = pathlib.Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  (directory / 'config.json').write_text(json.dumps(CHECKPOINTS[name]))
  shapes = json.loads((GOLDENS / 'families.json').read_text())[name]
  rng = np.random.default_rng(seed)
  tensors = {}
  for tensor, shape in sorted(shapes.items()):
    values = rng.standard_normal(shape) * (0.2 if len(shape) > 1 else 0.3)
    unit = (
      len(shape) == 1
      and tensor.endswith('weight')
      and CHECKPOINTS[name]['model_type'] not in PLUS_ONE
    )
    tensors[tensor] = (values + unit).astype(dtype)
  save_file(tensors, directory / 'model.safetensors', metadata={'format': 'pt'})


def rows() -> tuple[np.ndarray, np.ndarray]:
  """Tokens [3,40] and their mask; one row is left-padded. Longer than the window and than the
  original length of every scaling."""
  tokens, mask = np.random.default_rng(0).integers(3, 97, (3, 40)), np.ones((3, 40), int)
  mask[1, :9] = 0
  return tokens, mask


def reference(directory, dtype='float32'):
  """The model by `transformers`. Needs torch."""
  import torch
  from transformers import AutoModelForCausalLM

  return AutoModelForCausalLM.from_pretrained(
    directory, dtype=getattr(torch, dtype), attn_implementation='eager'
  ).eval()


def reference_logits(model, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """f32[N,T,V] of left-padded rows."""
  import torch

  mask = torch.tensor(mask)
  positions = (mask.cumsum(-1) - 1).clamp(min=0)
  with torch.no_grad():
    out = model(torch.tensor(tokens), attention_mask=mask, position_ids=positions)
  return out.logits.float().numpy()


def record() -> None:
  """Writes the goldens: names and shapes of the tensors, and logits of every seventh column."""
  import tempfile

  from transformers import AutoConfig, AutoModelForCausalLM

  shapes, logits = {}, {}
  for name, entries in CHECKPOINTS.items():
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**entries))
    with tempfile.TemporaryDirectory() as directory:
      model.save_pretrained(directory)
      with safe_open(f'{directory}/model.safetensors', framework='numpy') as file:
        shapes[name] = {k: file.get_slice(k).get_shape() for k in file.keys()}
  GOLDENS.mkdir(exist_ok=True)
  (GOLDENS / 'families.json').write_text(json.dumps(shapes, indent=1))
  for name in CHECKPOINTS:
    with tempfile.TemporaryDirectory() as directory:
      write_checkpoint(directory, name)
      logits[name] = reference_logits(reference(directory), *rows())[:, 4::7]
  np.savez_compressed(GOLDENS / 'families.npz', **logits)


if __name__ == '__main__':
  record()
