"""Two objectives in one update, each with data of its own."""

from collections.abc import Callable

import jax

from rft_jax.types import Array, Objective


def mixture(usual: Objective, expert: Objective, share: Callable[[Array], Array]) -> Objective:
  """(1 - mu) x usual + mu x expert, each the mean over its own tokens; mu = share(step).

  Experience is (the usual, the expert's).
  """
  both = usual, expert

  def prepare(state, experience, total):
    return tuple(o.prepare(state, e, total) for o, e in zip(both, experience, strict=True))

  def weigh(state, batch, total):
    return tuple(o.weigh(state, b, total) for o, b in zip(both, batch, strict=True))

  def loss(params, state, batch, rng):
    mu = share(state.step)
    (a, metrics), (b, imitation) = (
      o.loss(params, state, part, key)
      for o, part, key in zip(both, batch, jax.random.split(rng), strict=True)
    )
    metrics |= {f'expert/{name.split("/")[-1]}': x for name, x in imitation.items()}
    return (1 - mu) * a + mu * b, metrics

  return Objective(prepare, weigh, loss, usual.adapt, usual.tuned)
