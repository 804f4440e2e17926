"""Architectures at random, of any family: every field that it reads has another value than its
default."""

import random
from typing import Any

from rft_jax.models.config import FULL, SLIDING, ModelConfig
from rft_jax.models.families import FAMILIES
from rft_jax.models.hf_config import FIELDS

LAYERS = 3
LENGTH = dict(original_max_position_embeddings=16)
SCALINGS: tuple[dict[str, Any], ...] = (
  {},
  dict(rope_type='linear', factor=2.0),
  dict(rope_type='llama3', factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, **LENGTH),
  dict(rope_type='yarn', factor=4.0, **LENGTH),
  dict(rope_type='yarn', factor=4.0, mscale=0.7, mscale_all_dim=0.4, beta_fast=20.0, **LENGTH),
  dict(rope_type='yarn', factor=4.0, attention_factor=1.3, truncate=False, beta_slow=2.0, **LENGTH),
  dict(
    rope_type='longrope',
    factor=4.0,
    short_factor=(1.0, 1.5),
    long_factor=(2.0, 3.0),
    original_max_position_embeddings=64,
  ),
)
PLAIN = 'default', 'linear', 'llama3', 'yarn'
VALUES: dict[str, Any] = dict(
  attention_scale=20**-0.5,
  attn_logit_softcapping=2.0,
  final_logit_softcapping=3.0,
  moe_intermediate_size=24,
  num_experts=5,
  num_experts_per_tok=2,
  partial_rotary_factor=0.5,
  rope_layers=(True, False, True),
  rope_local_theta=3e3,
)


def architecture(kind: str, seed: int) -> ModelConfig:
  rng, family = random.Random(f'{kind} {seed}'), FAMILIES[kind]
  fields: dict[str, Any] = {name: _value(name) for name in family.reads}
  if 'head_dim' not in family.keys:
    fields |= dict(num_key_value_heads=2, head_dim=12)
  if family.positions == 'rope':
    scaling = _scalings(family)[seed % len(_scalings(family))]
    fields |= dict(rope_theta=2e4, rope_scaling=tuple(sorted(scaling.items())))
    if 'short_factor' in scaling:
      fields['head_dim'] = 8  # half of it is turned, in two pairs
  fields |= _windows(family.sliding, rng)
  if SLIDING not in fields.get('layer_types', ()):
    fields.pop('rope_local_theta', None)
  whole: dict[str, Any] = dict(num_key_value_heads=4, head_dim=8) | fields
  return ModelConfig(
    97,
    32,
    48,
    LAYERS,
    4,
    rms_norm_eps=rng.choice((1e-5, 1e-3)),
    initializer_range=0.2,
    tie_word_embeddings=rng.random() < 0.5,
    model_type=kind,
    hidden_act=rng.choice(('silu', 'gelu', 'gelu_new', 'gelu_pytorch_tanh', 'relu')),
    max_position_embeddings=256,
    **whole,
  )


def _scalings(family) -> list[dict]:
  known = [s for s in SCALINGS if s.get('rope_type', 'default') in (family.scalings or PLAIN)]
  return known[:2] if 'rope_local_theta' in family.reads else known


def _value(name: str) -> Any:
  if name in VALUES:
    return VALUES[name]
  default: Any = FIELDS[name].default
  return not default if isinstance(default, bool) else type(default)(1.5 * (default or 1))


def _windows(sliding: str, rng: random.Random) -> dict:
  kinds = dict(
    none=(),
    all=rng.choice(((), (SLIDING,) * LAYERS)),
    types=rng.choice(((), (SLIDING, FULL, SLIDING), (FULL, SLIDING, SLIDING))),
  )[sliding]
  return dict(layer_types=kinds, sliding_window=7) if kinds else {}
