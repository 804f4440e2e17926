"""Rotary position embeddings and their extensions to longer texts."""

import math

import numpy as np

from rft_jax.models.config import Kind, ModelConfig


def frequencies(c: ModelConfig, kind: Kind) -> tuple[np.ndarray, float]:
  """Angle per position of each pair of the features that are turned f32[C'/2], and what cosine and
  sine are scaled by.

  `kind`: of attention; sliding layers with a theta of their own are never extended. Formulas as in
  transformers' `modeling_rope_utils`; Source: arXiv:2104.09864, YaRN arXiv:2309.00071, LongRoPE
  arXiv:2402.13753.
  """
  width = c.rotary_dim
  if not kind.turned:
    return np.zeros(width // 2, np.float32), 1.0
  local = kind.sliding and c.rope_local_theta > 0
  theta = c.rope_local_theta if local else c.rope_theta
  plain = 1 / theta ** (np.arange(0, width, 2, dtype=np.float32) / width)
  options = {} if local else dict(c.rope_scaling)
  ways = dict(linear=_linear, llama3=_llama3, yarn=_yarn, longrope=_longrope)
  extend = ways.get(str(options.get('rope_type')))
  return extend(plain, c, options) if extend else (plain, 1.0)


def _linear(plain, c, options):
  return (plain / options['factor']).astype(np.float32), 1.0


def _llama3(plain, c, options):
  """Long waves are stretched, short ones kept, those between interpolated."""
  low, high = options['low_freq_factor'], options['high_freq_factor']
  turns = options['original_max_position_embeddings'] * plain / (2 * math.pi)
  keep = np.clip((turns - low) / (high - low), 0, 1)
  return ((1 - keep) * plain / options['factor'] + keep * plain).astype(np.float32), 1.0


def _yarn(plain, c, options):
  factor, width = options['factor'], 2 * len(plain)
  length = options['original_max_position_embeddings']

  def feature(turns):
    return width * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(c.rope_theta))

  low, high = feature(options.get('beta_fast', 32)), feature(options.get('beta_slow', 1))
  if options.get('truncate', True):
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, width - 1)
  ramp = np.clip((np.arange(width // 2) - low) / max(high - low, 0.001), 0, 1)
  found = ramp * plain / factor + (1 - ramp) * plain
  return found.astype(np.float32), float(options.get('attention_factor') or _mscale(options))


def _longrope(plain, c, options):
  """The short factors: rows are not longer than the original length (`ModelConfig.longest`)."""
  length, factor = options['original_max_position_embeddings'], options['factor']
  scale = math.sqrt(1 + math.log(factor) / math.log(length)) if factor > 1 else 1.0
  found = (plain / np.array(options['short_factor'], np.float32)).astype(np.float32)
  return found, float(options.get('attention_factor') or scale)


def _mscale(options):
  def scale(m):
    return 0.1 * m * math.log(options['factor']) + 1 if options['factor'] > 1 else 1.0

  both = options.get('mscale'), options.get('mscale_all_dim')
  return scale(both[0]) / scale(both[1]) if all(both) else scale(1.0)
