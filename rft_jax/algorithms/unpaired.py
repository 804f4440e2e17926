"""Losses for single answers that were judged good or bad.

A member maps (answer: Side, good bool[N], shift f32[N]) to f32[N], one loss per answer; h is its
log-ratio. `shift` is what the member's `needs` says: 'mismatch' the KL of answers paired with other
prompts, 'running_mean' that of the rewards so far; else 0.
"""

import jax.numpy as jnp

from rft_jax.algorithms.preferences import LOGSIG, SIGMA, Side
from rft_jax.registry import Registry
from rft_jax.types import Array

UNPAIRED = Registry('preference')


@UNPAIRED.register(needs=['ref_logp', 'labels', 'mismatch'])
def kto(
  answer: Side,
  good: Array,
  shift: Array,
  *,
  beta: float = 0.1,
  desirable: float = 1.0,
  undesirable: float = 1.0,
) -> Array:
  """desirable (1 - sigma(beta (h - z))) for good, undesirable (1 - sigma(beta (z - h))) for bad
  answers, z the shift. Source: arXiv:2402.01306. Keep desirable x good ones within 1 to 4/3
  of undesirable x bad ones."""
  x = beta * (answer.ratio - shift)
  return jnp.where(good, desirable * (1 - SIGMA(x)), undesirable * (1 - SIGMA(-x)))


@UNPAIRED.register(needs=['ref_logp', 'labels'])
def apo_zero_unpaired(
  answer: Side,
  good: Array,
  shift: Array,
  *,
  beta: float = 0.1,
  desirable: float = 1.0,
  undesirable: float = 1.0,
) -> Array:
  """1 - sigma(beta h) for good, sigma(beta h) for bad answers: needs no other rows, so it suits
  single events. Source: arXiv:2408.06266; TRL."""
  x = beta * answer.ratio
  return jnp.where(good, desirable * (1 - SIGMA(x)), undesirable * SIGMA(x))


@UNPAIRED.register(needs=['ref_logp', 'labels', 'running_mean'])
def bco(answer: Side, good: Array, shift: Array, *, beta: float = 0.1) -> Array:
  """-log sigma(beta h - delta) for good, -log sigma(delta - beta h) for bad answers, delta = beta x
  shift the running mean of the rewards. Source: arXiv:2404.04656."""
  x = beta * (answer.ratio - shift)
  return jnp.where(good, -LOGSIG(x), -LOGSIG(-x))
