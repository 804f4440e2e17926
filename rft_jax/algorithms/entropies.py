"""Entropy bonuses: a coefficient times the mean entropy of the policy's tokens is taken off the
loss."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array

ENTROPIES = Registry('entropy')


class Bonus(NamedTuple):
  """coef: to begin with. update(coef f32[], entropy f32[]) -> f32[] after each iteration; None:
  coef stays."""

  coef: float
  update: Callable[[Array, Array], Array] | None = None


@ENTROPIES.register(needs=['entropy'])
def bonus(*, coef: float = 0.01) -> Bonus:
  """A constant coefficient; below 0 it is a penalty. Source: arXiv:1602.01783."""
  return Bonus(coef)


@ENTROPIES.register(needs=['entropy'])
def adaptive(
  *,
  coef: float = 0.0,
  target: float = 0.2,
  delta: float = 0.005,
  low: float = 0.0,
  high: float = 1.0,
) -> Bonus:
  """The coefficient grows by delta while the entropy is at or below target (nats), else shrinks,
  within low..high. Source: arXiv:2505.22312."""
  if not low <= coef <= high:
    raise ConfigError(f'entropy: coef={coef} must be within low={low} .. high={high}')

  def update(coef, entropy):
    return jnp.clip(coef + jnp.where(entropy <= target, delta, -delta), low, high)

  return Bonus(coef, update)
