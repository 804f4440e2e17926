"""The losses of people's feedback: rows of every kind in one batch, each with the loss of its kind.

Pairs are consecutive rows, the better one first, at an even place; their loss stands there. All
losses are computed for all rows and one is taken, so that one program serves any mixture.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rft_jax.algorithms.imitation import nll
from rft_jax.algorithms.policy_losses import ppo_clip
from rft_jax.algorithms.preferences import PAIRED, Side
from rft_jax.algorithms.ratios import fixed
from rft_jax.algorithms.unpaired import UNPAIRED
from rft_jax.objectives.pairs import one_side
from rft_jax.registry import ConfigError
from rft_jax.types import Array, Scores, Targets

KINDS = 'thumb', 'pair', 'tie', 'edit', 'demonstration', 'hindsight'
THUMB, PAIR, TIE, EDIT, DEMONSTRATION, HINDSIGHT = range(len(KINDS))
WRITTEN = EDIT, DEMONSTRATION
BETA = 0.1
FLOOR = -0.5
"""Mean log-ratio to the reference below which nothing is pushed further down."""
FREE, PLAUSIBLE = 0.5, 0.1


class Rows(struct.PyTreeNode):
  """Answers: target bool[N,T]: their tokens; emphasis f32[N,T] of tokens that are imitated;
  advantage f32[N,T] in hindsight; kind i32[N]; value f32[N]: below 0 for what is to become less
  likely; shift f32[N] of `unpaired.kto`; weight
  f32[N] of the loss (of a pair's first row); hold f32[N]: weight of the KL from the reference,
  summed over the answer's tokens.
  """

  target: Array
  emphasis: Array
  advantage: Array
  kind: Array
  value: Array
  shift: Array
  weight: Array
  hold: Array


class Seen(NamedTuple):
  """What policies say of the tokens of rows, f32[N,T] each, zero outside the target: logp now, of
  the reference, and of the policy that learning began with (old); and how far now has moved from
  the reference and from old, in nats (see `strayed`)."""

  logp: Array
  ref_logp: Array
  old_logp: Array
  to_ref: Array
  to_old: Array


def strayed(now: Array, other: Array, ref: Array) -> Array:
  """How far a policy has moved from another one, beyond what the reference leaves open; all are
  log-probabilities [...,V], the result [...].

  The part of the KL that comes from tokens that became likelier; those that are plausible (at
  least PLAUSIBLE times the reference's likeliest one) may do so by its entropy and FREE nats for
  nothing. So what the reference knows stays, and where it could as well say something else, as
  between equally good styles, users decide.
  """
  entropy = -(jnp.exp(ref) * ref).sum(-1, keepdims=True)
  plausible = ref >= ref.max(-1, keepdims=True) + jnp.log(PLAUSIBLE)
  gained = jax.nn.relu(now - other - plausible * (entropy + FREE))
  return (jnp.exp(now) * gained).sum(-1)


Losses = Callable[[Rows, Seen], Array]


def make_losses(pair: str = 'dpop', single: str = 'kto') -> Losses:
  """losses(rows, seen) -> f32[N], unweighted. pair, single: members of `preferences` and
  `unpaired`; with shift 0, 'kto' is 'apo_zero_unpaired'. Raises ConfigError where a loss has no
  reference or compares several pairs."""
  for registry, spec in ((PAIRED, pair), (UNPAIRED, single)):
    needs = registry.needed(spec)
    if 'ref_logp' not in needs or 'coupled' in needs:
      raise ConfigError(f'preference {spec!r} cannot judge single events: use dpop, sigmoid or ipo')
  compare, judge = PAIRED.lookup(pair), UNPAIRED.lookup(single)

  def losses(rows: Rows, seen: Seen) -> Array:
    side = held(rows, seen)
    better, worse = (jax.tree.map(lambda x, i=i: x[i::2], side) for i in (0, 1))
    preferred = in_first(compare(better, worse))
    imitated = imitation(rows, seen)
    each = {
      THUMB: judge(side, rows.value > 0, rows.shift),
      PAIR: preferred,
      TIE: in_first(tie(better, worse)),
      EDIT: imitated + 0.5 * preferred,
      DEMONSTRATION: imitated,
      HINDSIGHT: hindsight(rows, seen),
    }
    return jnp.select([rows.kind == kind for kind in each], list(each.values()))

  return losses


def weighted(rows: Rows, seen: Seen, losses: Losses) -> tuple[Array, Array]:
  """What is minimised, the SUM of weighted losses and of the held rows' KL from the reference; and
  the part of each kind, f32[len(KINDS)]. Rows without weight add exactly nothing."""
  each = jnp.where(rows.weight > 0, losses(rows, seen), 0) * rows.weight
  penalty = rows.hold * jnp.where(rows.target, seen.to_ref, 0).sum(1)
  of_kind = (rows.kind == jnp.arange(len(KINDS))[:, None]) * each
  return each.sum() + penalty.sum(), of_kind.sum(1)


def held(rows: Rows, seen: Seen) -> Side:
  """The rows as answers. Those pushed below FLOOR are constants: they get no gradient."""
  targets = Targets(rows.target, ref_logp=seen.ref_logp)
  side = one_side(Scores(seen.logp), targets, rows.weight > 0)
  gone = (rows.value < 0) & (side.ratio < FLOOR * side.length)
  stop = lambda x: jnp.where(gone.reshape(-1, *[1] * (x.ndim - 1)), fixed(x), x)
  return side._replace(logp=stop(side.logp), tokens=stop(side.tokens))


def tie(a: Side, b: Side) -> Array:
  """(beta (r_a - r_b))^2 / 4: equally good answers stay as likely, compared with the reference."""
  return 0.25 * (BETA * (a.ratio - b.ratio)) ** 2


def imitation(rows: Rows, seen: Seen) -> Array:
  """-log pi, the mean over the answer's tokens by their emphasis."""
  weight = jnp.where(rows.target, rows.emphasis, 0)
  loss = nll(Scores(seen.logp), Targets(rows.target))[0]
  return (weight * loss).sum(1) / jnp.maximum(weight.sum(1), 1e-6)


def hindsight(rows: Rows, seen: Seen) -> Array:
  """The clipped surrogate, the mean over the answer's tokens, of what the policy would have said
  had it known the critique. Source: arXiv:2603.12273."""
  targets = Targets(rows.target, advantages=rows.advantage, old_logp=seen.old_logp)
  loss = jnp.where(rows.target, ppo_clip(Scores(seen.logp), targets)[0], 0)
  return loss.sum(1) / jnp.maximum(rows.target.sum(1), 1)


def in_first(each: Array) -> Array:
  """One number per pair [N/2] -> f32[N], in the pair's first row."""
  return jnp.stack([each, jnp.zeros_like(each)], 1).reshape(-1)
