"""Weights of tokens that another policy sampled: stale weights, other numerics, quantised decoding.

A member maps (old_logp, behaviour_logp, mask), the trainer's and the sampler's log-probabilities of
the same tokens, to weights f32[N,T], which multiply the policy loss and are not differentiated.
With one of them, log pi_old is computed anew by the trainer instead of taken from the sampler. w =
exp(old_logp - behaviour_logp).
"""

import jax.numpy as jnp

from rft_jax.algorithms.ratios import LIMIT, masked_mean
from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array

CORRECTIONS = Registry('correction')
NEEDS = 'old_logp', 'recomputed'


@CORRECTIONS.register(needs=NEEDS)
def truncate(
  old_logp: Array, behaviour_logp: Array, mask: Array, *, cap: float = 2.0, sequence: bool = False
) -> Array:
  """min(w, cap), of each token or of the whole answer. Source: verl; arXiv:1802.01561 (TIS)."""
  return jnp.where(mask, jnp.minimum(_weight(old_logp, behaviour_logp, mask, sequence), cap), 0)


@CORRECTIONS.register(needs=NEEDS)
def keep_within(
  old_logp: Array,
  behaviour_logp: Array,
  mask: Array,
  *,
  low: float = 0.0,
  high: float = 3.0,
  sequence: bool = False,
) -> Array:
  """w where low <= w <= high, else 0: masked importance sampling. Source: arXiv:2510.18855
  (IcePop); TRL's sequence_mask with sequence=True."""
  w = _weight(old_logp, behaviour_logp, mask, sequence)
  return jnp.where(mask & (w >= low) & (w <= high), w, 0)


@CORRECTIONS.register(needs=NEEDS)
def keep_sequence(
  old_logp: Array, behaviour_logp: Array, mask: Array, *, low: float = 0.5, high: float = 5.0
) -> Array:
  """w of each token in answers whose geometric mean of w is within low..high, else 0. Source:
  OpenRLHF, seq-mask-TIS."""
  mean = jnp.exp(masked_mean(_gap(old_logp, behaviour_logp, mask), mask))
  w = _weight(old_logp, behaviour_logp, mask, False)
  return jnp.where(mask & (mean >= low) & (mean <= high), w, 0)


@CORRECTIONS.register(needs=NEEDS)
def reject(
  old_logp: Array,
  behaviour_logp: Array,
  mask: Array,
  *,
  by: str = 'k1',
  over: str = 'token',
  low: float | None = None,
  high: float = 0.1,
) -> Array:
  """1 where the policies agree, else 0. Source: verl, rollout_corr_helper.

  by: 'k1', the bounds low..high (low defaults to 1 / high) are of behaviour / old; 'k2' d^2 / 2,
  'k3' e^d - 1 - d with d = log w, at most high. over: 'token', or the 'sum' | 'mean' | 'max' of an
  answer's tokens.
  """
  d = _gap(old_logp, behaviour_logp, mask)
  kinds = dict(k1=-d, k2=0.5 * d**2, k3=jnp.exp(d) - 1 - d)
  over_row: dict = dict(
    token=lambda x: x,
    sum=lambda x: jnp.where(mask, x, 0).sum(1, keepdims=True),
    mean=lambda x: masked_mean(x, mask),
    max=lambda x: jnp.where(mask, x, -jnp.inf).max(1, keepdims=True),
  )
  for name, value, known in (('by', by, kinds), ('over', over, over_row)):
    if value not in known:
      raise ConfigError(f"correction 'reject': {name}={value!r} must be one of {', '.join(known)}")
  x = over_row[over](kinds[by])
  if by == 'k1':
    floor = 1 / high if low is None else low
    kept = (x >= jnp.log(floor)) & (x <= jnp.log(high))
  else:
    kept = x <= high
  return (mask & kept).astype(jnp.float32)


def mismatch(old_logp: Array, behaviour_logp: Array, mask: Array) -> dict[str, Array]:
  """What to watch, f32[N,T]: k3 of the two policies and how far the weight is from 1."""
  d = _gap(old_logp, behaviour_logp, mask)
  return {'mismatch/k3': jnp.exp(d) - 1 - d, 'mismatch/weight': jnp.abs(jnp.exp(d) - 1)}


def _gap(old_logp, behaviour_logp, mask):
  return jnp.where(mask, jnp.clip(old_logp - behaviour_logp, -LIMIT, LIMIT), 0)


def _weight(old_logp, behaviour_logp, mask, sequence):
  d = _gap(old_logp, behaviour_logp, mask)
  if sequence:
    d = jnp.clip(d.sum(1, keepdims=True), -LIMIT, LIMIT)
  return jnp.broadcast_to(jnp.exp(d), mask.shape)
