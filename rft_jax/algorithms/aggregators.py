"""Aggregators: from per-token losses to one number.

A member maps (mask bool[N,T], total) to weights f32[N,T], and the loss is the SUM of weight x
per-token loss. Denominators are taken here, over the whole optimiser step and all devices, before
it is cut into micro-batches; so no cut can change the loss or its gradient. Rows without a token
count nowhere, unless `count_empty`.
"""

import jax.numpy as jnp

from rft_jax.registry import Registry
from rft_jax.types import Array, Total

AGGREGATORS = Registry('aggregator')


@AGGREGATORS.register()
def token_mean(mask: Array, total: Total) -> Array:
  """Every token counts the same: m / sum m. Source: arXiv:2503.14476, eq. 12."""
  return mask / jnp.maximum(total(mask), 1)


@AGGREGATORS.register()
def token_sum(mask: Array, total: Total) -> Array:
  """m: the sum, for a scale of one's own."""
  return mask.astype(jnp.float32)


@AGGREGATORS.register()
def seq_mean_token_mean(mask: Array, total: Total, *, count_empty: bool = False) -> Array:
  """Every sequence counts the same: m / (n_i N). Source: arXiv:2402.03300, eq. 3."""
  length = mask.sum(1, keepdims=True)
  return mask / (jnp.maximum(length, 1) * _sequences(mask, total, count_empty))


@AGGREGATORS.register()
def seq_mean_token_sum(mask: Array, total: Total, *, count_empty: bool = False) -> Array:
  """Sum over a sequence, mean over sequences: m / N."""
  return mask / _sequences(mask, total, count_empty)


@AGGREGATORS.register()
def seq_mean_token_sum_norm(
  mask: Array,
  total: Total,
  *,
  length: int | None = None,
  count_empty: bool = False,
  divide: bool = True,
) -> Array:
  """m / (N length): no preference for short answers; `length` defaults to the arrays' width.
  divide=False leaves out N, as verl and Trinity do. Source: arXiv:2503.20783, sec. 3."""
  sequences = _sequences(mask, total, count_empty) if divide else 1
  return mask / (sequences * (length or mask.shape[1]))


def _sequences(mask, total, count_empty):
  rows = jnp.ones(len(mask)) if count_empty else mask.any(1)
  return jnp.maximum(total(rows), 1)
