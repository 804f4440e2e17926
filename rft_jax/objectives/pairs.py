"""The objectives of what is learned from comparing answers, or from judging single ones.

What is better is what has the higher reward: recorded pairs carry 1 and 0, samples what they were
rewarded with; so learning from a data set and from one's own ranked samples are the same. Equal
rewards teach nothing.
"""

import jax
import jax.numpy as jnp

from rft_jax.algorithms.algorithm import Algorithm
from rft_jax.algorithms.groups import sequence_rewards
from rft_jax.algorithms.preferences import Side
from rft_jax.algorithms.ratios import fixed
from rft_jax.models.policy import Policy
from rft_jax.objectives.coupling import linearised
from rft_jax.objectives.tokens import refreshed
from rft_jax.types import Array, Batch, Experience, Objective, Scores, Targets

GOOD = 0.5
"""A single answer whose reward is above is a good one."""


def preference(policy: Policy, algorithm: Algorithm) -> Objective:
  """The mean over pairs (or over single answers) of the preference loss, plus nll x the mean -log p
  over the tokens of what is preferred."""
  needs, judge = algorithm.needs, algorithm.piece('preference')
  refresh, paired = algorithm.piece('reference'), 'labels' not in needs
  coupled = 'coupled' in needs

  def reference(state, e):
    return policy.score(state.reference, e).logp if 'ref_logp' in needs else None

  def prepare(state, experience, total):
    t = Targets(experience.target, score=sequence_rewards(experience))
    t = t.replace(ref_logp=reference(state, experience))
    if 'mismatch' in needs:
      other = mismatched(experience, total)
      t = t.replace(shift=_summed(reference(state, other), other.target))
      experience = experience.replace(
        facts=dict(tokens=other.tokens, valid=other.valid, target=other.target)
      )
    return jax.lax.stop_gradient(Batch(experience, t))

  def weigh(state, batch, total):
    e, t = batch.experience, batch.targets
    there = _there(t, paired)
    weights = dict(row=there / jnp.maximum(total(there), 1))
    if algorithm.nll:
      good = t.mask & _preferred(t, paired)[:, None]
      weights['nll'] = algorithm.nll * good / jnp.maximum(total(good), 1)
    if not paired:
      t = t.replace(shift=_shift(state, e, t, there, total))
    if coupled:
      now = policy.score(state.weights, e)
      weights |= linearised(terms, now, (t, weights['row']), total)
    return batch.replace(targets=t, weights=weights)

  def terms(now: Scores, t: Targets, row: Array) -> Array:
    """f32[N,T], zero but for the first column: the loss of a pair stands in its first row."""
    if paired:
      each = judge(*sides(now, t))
      each = jnp.stack([each, jnp.zeros_like(each)], 1).reshape(-1)
      row = 2 * row  # each row of a pair has half of its weight
    else:
      each = judge(one_side(now, t, row > 0), t.score > GOOD, t.shift)
    each = row * jnp.where(row > 0, each, 0)
    return jnp.pad(each[:, None], ((0, 0), (0, t.mask.shape[1] - 1)))

  def _shift(state, e, t, there, total):
    if 'mismatch' in needs:
      facts = e.facts
      other = e.replace(
        tokens=facts['tokens'], valid=facts['valid'], target=facts['target'], facts={}
      )
      logp = _summed(policy.score(state.weights, other).logp, other.target)
      gap = total(jnp.where(there, logp - t.shift, 0)) / jnp.maximum(total(there), 1)
      return jnp.full(len(there), jnp.maximum(fixed(gap), 0))
    mean = (
      state.tuned['reward_sum'] / jnp.maximum(state.tuned['reward_count'], 1)
      if ('running_mean' in needs)
      else 0.0
    )
    return jnp.full(len(there), mean)

  def loss(params, state, batch, rng):
    e, t, w = batch.experience, batch.targets, batch.weights
    now = policy.score(params, e, rng=rng)
    value = terms(now, t, w['row']).sum()
    if coupled:
      moved = jnp.where(t.mask, now.logp - fixed(now.logp), 0)
      value = (w['value'] + w['slope'] * moved).sum()
    metrics = {'loss/preference': value} | _watch(now, t, w['row'])
    if algorithm.nll:
      metrics['loss/nll'] = -(w['nll'] * jnp.where(t.mask, now.logp, 0)).sum() / algorithm.nll
      value += algorithm.nll * metrics['loss/nll']
    return value, metrics

  def _watch(now, t, row):
    logp = _summed(now.logp, t.mask)
    reward = logp - (0 if t.ref_logp is None else _summed(t.ref_logp, t.mask))
    metrics = {'preference/log_ratio': (row * reward).sum()}
    if paired:
      better, worse = (x.logp - (0 if x.ref is None else x.ref) for x in sides(now, t))
      pair = row.reshape(-1, 2).sum(1)
      metrics |= {
        'preference/accuracy': (pair * (better > worse)).sum(),
        'preference/margin': (pair * (better - worse)).sum(),
      }
    else:
      metrics['preference/accuracy'] = (row * ((reward > t.shift) == (t.score > GOOD))).sum()
    return metrics

  def adapt(state, metrics, sequences):
    if 'running_mean' in needs:
      count = state.tuned['reward_count'] + 1
      summed = state.tuned['reward_sum'] + metrics['preference/log_ratio']
      state = state.replace(tuned=dict(reward_sum=summed, reward_count=count))
    return refreshed(state, refresh)

  tuned = dict(reward_sum=0.0, reward_count=0.0) if 'running_mean' in needs else {}
  return Objective(prepare, weigh, loss, adapt, tuned)


def ranking(policy: Policy, algorithm: Algorithm) -> Objective:
  """The mean over pairs of the ranking loss of their scores: trains a reward model."""
  compare = algorithm.piece('ranking')

  def prepare(state, experience, total):
    t = Targets(experience.target, score=sequence_rewards(experience))
    return jax.lax.stop_gradient(Batch(experience, t))

  def weigh(state, batch, total):
    there = _there(batch.targets, True)
    return batch.replace(weights=dict(row=there / jnp.maximum(total(there), 1)))

  def loss(params, state, batch, rng):
    scores = policy.judge(params, batch.experience)
    better, worse = _ordered(scores, batch.targets.score)
    pair = batch.weights['row'].reshape(-1, 2).sum(1)
    margin = jnp.subtract(*_ordered(batch.targets.score, batch.targets.score))
    value = (pair * jnp.where(pair > 0, compare(better, worse, margin), 0)).sum()
    return value, {
      'loss/ranking': value,
      'preference/accuracy': (pair * (better > worse)).sum(),
      'preference/margin': (pair * (better - worse)).sum(),
    }

  return Objective(prepare, weigh, loss)


def sides(now: Scores, t: Targets) -> tuple[Side, Side]:
  """The better and the worse answers of consecutive rows."""
  whole = one_side(now, t, _there(t, True))
  first, second = (jax.tree.map(lambda x, i=i: x[i::2], whole) for i in (0, 1))
  swap = t.score[1::2] > t.score[0::2]

  def pick(yes, a, b):
    return jax.tree.map(lambda x, y: jnp.where(yes.reshape(-1, *[1] * (x.ndim - 1)), y, x), a, b)

  return pick(swap, first, second), pick(~swap, first, second)


def one_side(now: Scores, t: Targets, there: Array) -> Side:
  """All rows as answers; there bool[N]: those that count."""
  tokens = jnp.where(t.mask, now.logp, 0)
  ref = None if t.ref_logp is None else _summed(t.ref_logp, t.mask)
  return Side(tokens.sum(1), ref, t.mask.sum(1).astype(jnp.float32), tokens, t.mask, there)


def _summed(x: Array, mask: Array) -> Array:
  return jnp.where(mask, x, 0).sum(1)


def _ordered(x: Array, score: Array) -> tuple[Array, Array]:
  """x f32[N] of the better and the worse rows of pairs."""
  swap = score[1::2] > score[0::2]
  return jnp.where(swap, x[1::2], x[0::2]), jnp.where(swap, x[0::2], x[1::2])


def _there(t: Targets, paired: bool) -> Array:
  """bool[N]: rows that can be learned from; of pairs both or none."""
  known = t.mask.any(1) & ~jnp.isnan(t.score)
  if not paired:
    return known
  both = known[0::2] & known[1::2] & (t.score[0::2] != t.score[1::2])
  return jnp.repeat(both, 2)


def _preferred(t: Targets, paired: bool) -> Array:
  if not paired:
    return _there(t, False) & (t.score > GOOD)
  other = t.score.reshape(-1, 2)[:, ::-1].reshape(-1)
  return _there(t, True) & (t.score > other)


def mismatched(experience: Experience, total) -> Experience:
  """Each prompt with the answer to the next one: an estimate of the KL that no answer's quality
  touches. Rows must be prompt | answer, cut at `prefix`."""
  e = total.gather(experience)

  def cross(x):
    return jnp.concatenate([x[:, : e.prefix], jnp.roll(x[:, e.prefix :], -1, 0)], 1)

  crossed = {name: cross(getattr(e, name)) for name in ('tokens', 'valid', 'target')}
  return experience.replace(**total.own(crossed), facts={})
