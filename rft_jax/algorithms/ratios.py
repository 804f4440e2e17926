"""How much likelier the policy has made what was sampled, token by token or answer by answer."""

import jax
import jax.numpy as jnp

from rft_jax.types import Array, Scores, Targets

LIMIT = 20.0
"""Log-ratios are clamped to +-LIMIT, so that their exponential stays finite."""


def log_ratio(now: Scores, t: Targets) -> Array:
  """log pi / pi_old f32[N,T], within +-LIMIT, zero outside the mask."""
  return jnp.where(t.mask, jnp.clip(now.logp - t.old_logp, -LIMIT, LIMIT), 0)


def ratio(now: Scores, t: Targets) -> Array:
  return jnp.exp(log_ratio(now, t))


def total_log_ratio(now: Scores, t: Targets) -> Array:
  """f32[N,1]: of the whole answer, within +-LIMIT."""
  return jnp.clip(log_ratio(now, t).sum(1, keepdims=True), -LIMIT, LIMIT)


def mean_log_ratio(now: Scores, t: Targets) -> Array:
  """f32[N,1]: per token of the answer."""
  return masked_mean(log_ratio(now, t), t.mask)


def masked_mean(x: Array, mask: Array) -> Array:
  """[N,T] -> [N,1]; 0 for a row without a token."""
  count = jnp.maximum(mask.sum(1, keepdims=True), 1)
  return jnp.where(mask, x, 0).sum(1, keepdims=True) / count


def clip(x: Array, low: float, high: float | None) -> Array:
  """x within 1 - low .. 1 + high; high defaults to low."""
  return jnp.clip(x, 1 - low, 1 + (low if high is None else high))


def fixed(x: Array) -> Array:
  return jax.lax.stop_gradient(x)
