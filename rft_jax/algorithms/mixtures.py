"""How much of the loss comes from demonstrations, where an iteration learns from both: (1 - mu) x
usual + mu x expert, each the mean over its own tokens. A member maps step i32[] to mu."""

import jax.numpy as jnp

from rft_jax.registry import Registry
from rft_jax.types import Array

MIXTURES = Registry('mix')


@MIXTURES.register(name='constant')
def same(step: Array, *, mu: float = 0.1) -> Array:
  """Always mu. Source: Trinity-RFT's mix."""
  return jnp.full(jnp.shape(step), mu, jnp.float32)


@MIXTURES.register()
def chord(
  step: Array, *, warmup: int = 0, decay: int = 0, peak: float = 0.1, valley: float = 0.1
) -> Array:
  """From 0 linearly to peak over `warmup` steps, along a cosine to valley over `decay` steps, then
  valley. Source: arXiv:2508.11408."""
  x = jnp.asarray(step, jnp.float32)
  rising = peak * x / max(warmup, 1)
  along = jnp.clip((x - warmup) / max(decay, 1), 0, 1)
  falling = valley + (peak - valley) * 0.5 * (1 + jnp.cos(jnp.pi * along))
  late = jnp.where(x >= warmup + decay, valley, falling)
  return jnp.where(x < warmup, rising, late)
