"""Losses of reward models: (chosen f32[M], rejected f32[M] scores, margin f32[M]) -> f32[M]."""

import jax
import jax.numpy as jnp

from rft_jax.registry import Registry
from rft_jax.types import Array

RANKINGS = Registry('ranking')


@RANKINGS.register(needs=['values'])
def bradley_terry(
  chosen: Array, rejected: Array, margin: Array, *, use_margin: bool = False, center: float = 0.0
) -> Array:
  """-log sigma(r_c - r_r [- margin]) + center (r_c + r_r)^2: margin is how much better the chosen
  one was rated (arXiv:2307.09288), center keeps scores around 0 (arXiv:2312.09244).
  Source: Bradley and Terry 1952."""
  gap = chosen - rejected - (margin if use_margin else jnp.zeros_like(margin))
  return -jax.nn.log_sigmoid(gap) + center * (chosen + rejected) ** 2
