"""Losses in which rows of a whole optimiser step depend on each other."""

from collections.abc import Callable
from typing import Any

import jax

from rft_jax.types import Array, Scores, Total


def linearised(
  function: Callable[..., Array], now: Scores, rest: Any, total: Total
) -> dict[str, Array]:
  """'value' and 'slope' f32[N,T] of function(now, *rest) -> weighted terms, at now.logp, with the
  rows of all devices together.

  sum(value + slope (logp - sg logp)) over any part of the rows is that part's share of the loss,
  with its exact gradient.
  """
  now, rest = total.gather(jax.lax.stop_gradient((now, rest)))

  def summed(logp):
    terms = function(now._replace(logp=logp), *rest)
    return terms.sum(), terms

  slope, value = jax.grad(summed, has_aux=True)(now.logp)
  return total.own(dict(value=value, slope=slope))
