"""A small world in which every piece of every family can be applied, and ways to change it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.algorithms.families import FAMILIES
from rft_jax.algorithms.preferences import Side
from rft_jax.steps import make_total
from rft_jax.types import Experience, Scores, Targets

ROWS, WIDTH, GROUP, VOCAB = 12, 7, 4, 5
TOTAL = make_total(None)
PER_TOKEN = 'advantage', 'policy_loss', 'kl', 'aggregator', 'value_loss', 'correction', 'filter'
PER_ROW = 'reward', 'shaping'
OLD = {'old_entropy', 'old_certainty', 'old_collision', 'old_drift'}


class World(NamedTuple):
  experience: Experience
  targets: Targets
  now: Scores


def world(seed: int = 0) -> World:
  """Three groups of two attempts in two turns, with prompts, padding, and a hole in one row."""
  draw = np.random.default_rng(seed)
  length = draw.integers(1, WIDTH - 1, ROWS)
  column = np.arange(WIDTH)
  mask = (column >= 1) & (column < 1 + length[:, None])
  mask[0] = [0, 1, 1, 0, 1, 1, 0]
  number = lambda low, high: jnp.array(draw.uniform(low, high, (ROWS, WIDTH)) * mask, jnp.float32)
  logp, gap = number(-2, -0.1), lambda: number(-0.3, 0.3)
  last = np.where(column == WIDTH - 1 - np.argmax(mask[:, ::-1], 1)[:, None], 1, 0) * mask
  rewards = jnp.array(last * draw.choice([0, 0.25, 1, 2], (ROWS, 1)), jnp.float32)
  tokens = jnp.array(draw.integers(0, VOCAB, mask.shape) * mask, jnp.int32)
  rows = np.arange(ROWS)
  facts = dict(
    truncated=rows % 5 == 0,
    baseline=np.linspace(0, 1, ROWS, dtype=np.float32),
    answer=(rows % 3 - 1).astype(np.int32),
    parts=draw.uniform(0, 1, (ROWS, 2)).astype(np.float32),
    run=(rows % GROUP // 2).astype(np.int32),
    turn=(rows % 2).astype(np.int32),
    anchor=(rows % 2 * 7).astype(np.int32),
  )
  valid = jnp.array(column < 1 + length[:, None] + (rows == 0)[:, None])
  e = Experience(
    tokens, valid, jnp.array(mask), logp + gap(), rewards, tokens * 0, _arrays(facts), GROUP, 1
  )
  scores = Scores(
    logp, number(-1, 1), number(0.1, 1.5), number(0.5, 2), number(0.1, 1), number(-0.1, 0.1)
  )
  t = Targets(
    mask=e.target,
    advantages=number(-1, 1),
    returns=number(-1, 1),
    old_logp=logp + gap(),
    values=number(-1, 1),
    ref_logp=logp + gap(),
    teacher_logp=logp + gap(),
    old=scores,
    score=rewards.sum(1),
    shift=jnp.zeros(ROWS),
  )
  return World(e, t, scores)


def _arrays(tree):
  return jax.tree.map(jnp.asarray, tree)


def pieces(*families: str) -> list[tuple[str, str]]:
  """(family, name) of all members of the families, read from the registry."""
  return [(f, name) for f in families or FAMILIES for name in FAMILIES[f].members]


def apply(family: str, name: str, w: World, **options) -> Any:
  """What the piece makes of the world: a pytree, [N,T] each for PER_TOKEN, [N] for PER_ROW."""
  e, t, now = w
  written = ', '.join(f'{k}={v!r}' for k, v in options.items())
  piece = FAMILIES[family].lookup(f'{name}({written})')
  match family:
    case 'advantage':
      return piece(e, t, TOTAL)
    case 'policy_loss' | 'expert':
      return piece(now, t)[0]
    case 'kl':
      return piece().estimate(now, t)
    case 'aggregator':
      return piece(t.mask, TOTAL)
    case 'value_loss':
      return piece(now.values, t.values, t.returns)
    case 'correction':
      return piece(t.old_logp, e.behaviour_logp, t.mask)
    case 'filter':
      return piece(e, t, TOTAL)
    case 'reward':
      return piece(e, t.old)
    case 'shaping':
      return piece(e)
    case 'preference' if 'labels' in FAMILIES[family].needed(name):
      return piece(side(w), t.score > 0.5, t.shift)
    case 'preference':
      whole = side(w)
      return piece(*(jax.tree.map(lambda x, i=i: x[i::2], whole) for i in (0, 1)))
    case 'ranking':
      return piece(now.values[:, 1], now.values[:, 2], t.score)
    case 'distill':
      logits = jnp.stack([now.logp, t.old_logp, t.ref_logp, now.entropy], -1)
      other = logits[..., ::-1]
      return piece().divergence(
        *(jax.nn.log_softmax(x.astype(jnp.float32)) for x in (logits, other))
      )
    case 'reference':
      return piece({'w': now.logp}, {'w': t.ref_logp}, jnp.int32(512))['w']
    case 'entropy':
      bonus = piece()
      return bonus.update(jnp.float32(bonus.coef), jnp.float32(0.1)) if bonus.update else bonus.coef
    case 'mix':
      return piece(jnp.int32(3))
  raise KeyError(family)


def side(w: World) -> Side:
  tokens = jnp.where(w.targets.mask, w.now.logp, 0)
  ref = jnp.where(w.targets.mask, w.targets.ref_logp, 0).sum(1)
  mask = w.targets.mask
  return Side(tokens.sum(1), ref, mask.sum(1).astype(tokens.dtype), tokens, mask, mask.any(1))


def spoiled(w: World, needs: frozenset[str], family: str) -> World:
  """NaN in every field that neither the family nor `needs` allows to read."""
  bad = lambda x: jnp.full_like(x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x
  keep = set(needs)
  keep |= dict(
    advantage={'rewards', 'behaviour_logp'},
    policy_loss={'advantages', 'logp'},
    expert={'logp'},
    kl={'logp'},
    value_loss={'values', 'returns', 'now_values'},
    correction={'old_logp', 'behaviour_logp'},
    filter={'rewards', 'advantages'},
    reward={'behaviour_logp'},
    preference={'logp', 'score', 'shift'},
    ranking={'now_values', 'score'},
  ).get(family, set())
  if family in ('aggregator', 'shaping', 'mix', 'entropy', 'reference', 'distill'):
    return w
  spoil = lambda name, x: x if name in keep else bad(x)
  facts = {k: spoil(k, v) for k, v in w.experience.facts.items()}
  e = w.experience.replace(
    facts=facts | ({'parts': w.experience.facts['parts']}),
    behaviour_logp=spoil('behaviour_logp', w.experience.behaviour_logp),
    rewards=spoil('rewards', w.experience.rewards),
  )
  old = Scores(*(spoil(f'old_{k}', v) for k, v in w.targets.old._asdict().items()))
  fields = ('advantages', 'returns', 'old_logp', 'values', 'ref_logp', 'teacher_logp', 'shift')
  t = w.targets.replace(old=old, **{k: spoil(k, getattr(w.targets, k)) for k in fields})
  if 'score' not in keep:
    t = t.replace(score=bad(t.score))
  now = w.now._replace(
    logp=spoil('logp', w.now.logp),
    values=spoil('now_values', w.now.values),
    **{k: spoil(k, getattr(w.now, k)) for k in ('entropy', 'certainty', 'collision', 'drift')},
  )
  return World(e, t, now)


def rows(w: World, order) -> World:
  return jax.tree.map(lambda x: x[jnp.asarray(order)], w)


def widened(w: World, left: int, right: int, fill: float = np.nan) -> World:
  """More columns that nobody attends to, with NaN wherever a number fits."""

  def pad(x):
    if x.ndim != 2 or x.shape[1] != WIDTH:
      return x
    value = fill if jnp.issubdtype(x.dtype, jnp.floating) else 0
    return jnp.pad(x, ((0, 0), (left, right)), constant_values=value)

  wide = jax.tree.map(pad, w)
  return wide._replace(experience=wide.experience.replace(prefix=w.experience.prefix + left))


def finite(tree) -> bool:
  return all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(tree))
