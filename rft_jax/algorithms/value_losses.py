"""Value losses: (values, old_values, returns), all f32[N,T], -> f32[N,T]."""

import jax.numpy as jnp
import optax

from rft_jax.registry import Registry
from rft_jax.types import Array

VALUE_LOSSES = Registry('value_loss')


@VALUE_LOSSES.register(needs=['values'])
def clipped(
  values: Array, old_values: Array, returns: Array, *, clip: float = 0.5, coef: float = 0.1
) -> Array:
  """coef / 2 max((v - R)^2, (clip(v, v_old +- clip) - R)^2). Source: the PPO code of OpenAI
  baselines; verl's clip 0.5."""
  near = old_values + jnp.clip(values - old_values, -clip, clip)
  return 0.5 * coef * jnp.maximum((values - returns) ** 2, (near - returns) ** 2)


@VALUE_LOSSES.register(needs=['values'])
def squared(values: Array, old_values: Array, returns: Array, *, coef: float = 0.1) -> Array:
  """coef / 2 (v - R)^2. Source: arXiv:1506.02438, eq. 28."""
  return 0.5 * coef * (values - returns) ** 2


@VALUE_LOSSES.register(needs=['values'])
def huber(
  values: Array, old_values: Array, returns: Array, *, delta: float = 1.0, coef: float = 0.1
) -> Array:
  """coef x squared up to an error of delta, linear beyond. Source: Huber 1964; AReaL."""
  return coef * optax.losses.huber_loss(values, returns, delta=delta)
