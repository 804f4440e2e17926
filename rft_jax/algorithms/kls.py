"""Penalties for leaving the reference model: estimators of KL(policy || reference) from the sampled
token.

A member makes a `Penalty`: `estimate(logp, ref_logp)` -> f32[N,T], times `coef`, either added to
the loss or subtracted from the reward (`where='loss' | 'reward'`). Source of the estimators:
Schulman 2020, "Approximating KL divergence".
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array

KLS = Registry('kl')


class Penalty(NamedTuple):
  estimate: Callable[[Array, Array], Array]
  coef: float
  where: str


def _penalty(estimate, coef, where):
  if where not in ('loss', 'reward'):
    raise ConfigError(f"kl: where={where!r} must be 'loss' or 'reward'")
  return Penalty(estimate, coef, where)


@KLS.register(needs=['ref_logp'])
def k1(*, coef: float = 1e-3, where: str = 'reward') -> Penalty:
  """logp - ref. Unbiased; for the reward: as a loss its expected gradient on-policy is zero."""
  return _penalty(lambda logp, ref: logp - ref, coef, where)


@KLS.register(needs=['ref_logp'])
def k2(*, coef: float = 1e-3, where: str = 'loss') -> Penalty:
  """(logp - ref)^2 / 2. Its on-policy gradient is that of KL(policy || reference)."""
  return _penalty(lambda logp, ref: 0.5 * (logp - ref) ** 2, coef, where)


@KLS.register(needs=['ref_logp'])
def k3(*, coef: float = 1e-3, where: str = 'loss') -> Penalty:
  """e^x - 1 - x with x = ref - logp in +-20, at most 10. Unbiased, low variance, positive; as a
  loss its on-policy gradient is that of KL(reference || policy).
  """

  def estimate(logp, ref):
    x = jnp.clip(ref - logp, -20, 20)
    return jnp.minimum(jnp.exp(x) - 1 - x, 10)

  return _penalty(estimate, coef, where)
