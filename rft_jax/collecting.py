"""Collecting: sampling and scoring, as functions that compose; what they return is learned from.

A `Judge` adds rewards to what was sampled, a `Collect` does both. Each is pure, and may be part of
one program with the update.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rft_jax.algorithms.groups import on_last, sequence_rewards
from rft_jax.types import Array, Environment, Experience, Prompts, PyTree, Total, TrainState

Facts = dict[str, Array]
Judge = Callable[[TrainState, Experience, Prompts], tuple[Experience, Facts]]
Collect = Callable[[TrainState, PyTree, PyTree, Array], tuple[Experience, Facts]]


def make_collect(rollout: Callable[..., Experience], judge: Judge, total: Total) -> Collect:
  """collect(state, prompts, options, rng) -> (experience with rewards, what to watch)."""

  def collect(state, prompts, options, rng):
    experience = rollout(state.weights, prompts, options, rng, state.step)
    experience, facts = judge(state, experience, prompts)
    return experience, describe(experience, total) | facts

  return collect


def in_graph(reward, metrics=None, extract=None, *, total: Total) -> Judge:
  """A task's JAX verifier: reward(tokens i32[N,C], target bool[N,C], answer) -> f32[N], or f32[N,K]
  of which the sum counts; metrics(same) -> dict of f32[N]; extract(tokens, target) -> i32[N], the
  answer that is voted on."""

  def judge(state, experience, prompts):
    e = experience
    answer = jax.tree.map(lambda x: jnp.repeat(x, e.group, 0), prompts.answer)
    arguments = e.tokens[:, e.prefix :], e.target[:, e.prefix :], answer
    columns = {f'task/{k}': v for k, v in metrics(*arguments).items()} if metrics else {}
    known = {'answer': extract(*arguments[:2])} if extract else {}
    return rewarded(e, reward(*arguments), known), average(columns, total)

  return judge


def by_model(
  score: Callable[[PyTree, Experience], Array], task: Judge | None = None, *, total: Total
) -> Judge:
  """The frozen reward model 'reward' decides: score(params, experience) -> f32[N]. Where the task
  has a verifier in JAX, its verdict is reported as reward/true."""

  def judge(state, experience, prompts):
    facts = {}
    if task:
      true, facts = task(state, experience, prompts)
      facts |= average({'reward/true': sequence_rewards(true)}, total)
    return rewarded(experience, score(state.frozen['reward'], experience)), facts

  return judge


def rewarded(experience: Experience, rewards: Array, facts: Facts | None = None) -> Experience:
  """Puts one reward per sequence, f32[N], on its last token; of several, f32[N,K], the sum, and
  each of them into facts['parts']."""
  facts = experience.facts | (facts or {})
  if rewards.ndim == 2:
    facts, rewards = facts | {'parts': rewards}, rewards.sum(1)
  return experience.replace(rewards=on_last(experience, rewards), facts=facts)


def with_baseline(collect: Collect, rollout: Callable[..., Experience], judge: Judge) -> Collect:
  """Adds facts['baseline'], the reward of the greedy answer; `rollout` gives one answer per
  prompt."""

  def collect_both(state, prompts, options, rng):
    experience, facts = collect(state, prompts, options, rng)
    greedy = options.replace(temperature=jnp.zeros_like(options.temperature))
    best, _ = judge(state, rollout(state.weights, prompts, greedy, rng, state.step), prompts)
    baseline = jnp.repeat(sequence_rewards(best), experience.group)
    return experience.replace(facts=experience.facts | {'baseline': baseline}), facts

  return collect_both


def refilled(collect: Collect, rounds: int, total: Total) -> Collect:
  """Keeps only groups whose rewards differ, and samples on until there are as many as asked for, in
  at most `rounds` rounds. Source: arXiv:2503.14476 (dynamic sampling).

  prompts: leaves [B,rounds,...]. Groups are taken in the order of rounds and prompts, on however
  many devices. What is missing in the end are rows without tokens. facts are means over the rounds;
  'refill/rounds' and 'refill/filled' tell how it went.
  """

  def collect_until_full(state, prompts, options, rng):
    def sample(index):
      now = jax.tree.map(lambda x: x[:, index], prompts)
      experience, facts = collect(state, now, options, rng)
      return total.gather(experience), facts

    shapes = jax.eval_shape(sample, 0)
    room, sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    group = room.group
    wanted = len(room.tokens) // group

    def more(carry):
      index, filled, *_ = carry
      return (index < rounds) & (filled < wanted)

    def fetch(carry):
      index, filled, room, sums = carry
      experience, facts = sample(index)
      reward = sequence_rewards(experience).reshape(-1, group)
      mixed = reward.max(1) > reward.min(1)
      place = jnp.where(mixed, filled + jnp.cumsum(mixed) - 1, wanted)

      def put(old, new):
        cut = lambda x: x.reshape(-1, group, *x.shape[1:])
        return cut(old).at[place].set(cut(new), mode='drop').reshape(old.shape)

      room = jax.tree.map(put, room, experience)
      sums = jax.tree.map(jnp.add, sums, facts)
      return index + 1, filled + mixed.sum(), room, sums

    index, filled, room, sums = jax.lax.while_loop(
      more, fetch, (jnp.int32(0), jnp.int32(0), room, sums)
    )
    facts = jax.tree.map(lambda x: x / index, sums)
    share = jnp.minimum(filled / wanted, 1)
    facts |= {'refill/rounds': index.astype(jnp.float32), 'refill/filled': share}
    return total.own(room), facts

  return collect_until_full


def in_turns(
  rollout: Callable[..., Experience], environment: Environment, group: int, total: Total
) -> Collect:
  """`group` attempts at each prompt, each up to environment.turns answers long; a row is one turn,
  and a group holds all turns of all attempts at a prompt. `rollout` gives one answer per prompt."""
  turns = environment.turns

  def collect(state, prompts, options, rng):
    repeated = jax.tree.map(lambda x: jnp.repeat(x, group, 0), prompts)
    attempt = jnp.tile(jnp.arange(group), len(prompts.tokens))
    start = repeated.replace(ids=repeated.ids * group + attempt)
    going = jnp.ones(len(attempt), bool)

    def turn(carry, index):
      prompts, going = carry
      noise = jax.random.fold_in(rng, index)
      e = rollout(state.weights, prompts, options, noise, state.step)
      said = e.tokens[:, e.prefix :], e.target[:, e.prefix :]
      outcome = environment.step(*said, prompts.answer)
      facts = dict(
        run=attempt,
        turn=jnp.full(len(attempt), index),
        anchor=environment.anchor(prompts.answer),
        truncated=e.facts['truncated'] & going,
      )
      happened = going[:, None]
      e = rewarded(e.replace(target=e.target & happened, valid=e.valid & happened), outcome.reward)
      prompts = prompts.replace(tokens=outcome.tokens, valid=outcome.valid, answer=outcome.answer)
      return (prompts, going & ~outcome.done), e.replace(facts=facts)

    _, stacked = jax.lax.scan(turn, (start, going), jnp.arange(turns))
    rows = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), stacked)
    experience = rows.replace(group=group * turns, prefix=0)
    facts = describe(experience, total)
    attempts = total(jnp.ones(len(attempt)))
    facts['reward/episode'] = total(sequence_rewards(experience)) / attempts
    facts['rollout/turns'] = total(experience.target.any(1)) / attempts
    return experience, facts

  return collect


def beside(experience: Experience, *others: Experience) -> PyTree:
  """Each is learned from in its own way."""
  return (experience, *others) if others else experience


def against(experience: Experience, demonstrations: Experience) -> Experience:
  """Pairs of a demonstration and the policy's own answer to the same prompt, of which the first is
  better by definition. Source: arXiv:2401.01335 (SPIN). Both have one row per prompt, cut alike."""
  lead = demonstrations.replace(
    rewards=on_last(demonstrations, jnp.ones(len(demonstrations.tokens)))
  )
  own = experience.replace(rewards=jnp.zeros_like(experience.rewards), facts={})

  def alternate(a, b):
    return jnp.stack([a, b], 1).reshape(-1, *a.shape[1:])

  lead = lead.replace(facts={}, group=1, prefix=own.prefix)
  return jax.tree.map(alternate, lead, own).replace(group=2)


def describe(experience: Experience, total: Total) -> Facts:
  """What was sampled: mean reward, length in tokens, share of rows without a stop token, tokens
  produced."""
  target = experience.target
  there = target.any(1)
  rows = jnp.maximum(total(there), 1)
  rewards = sequence_rewards(experience)
  known = there & ~jnp.isnan(rewards)
  groups = jnp.where(known, rewards, 0).reshape(-1, experience.group)
  mixed = (groups.max(1) > groups.min(1)).astype(jnp.float32)
  tokens = total(target)
  facts = {
    'reward/mean': total(groups) / jnp.maximum(total(known), 1),
    'reward/mixed_groups': total(mixed) / total(jnp.ones_like(mixed)),
    'rollout/length': tokens / rows,
    'rollout/tokens': tokens,
    'rollout/logp': total(experience.behaviour_logp) / jnp.maximum(tokens, 1),
  }
  if 'truncated' in experience.facts:
    facts['rollout/truncated'] = total(experience.facts['truncated']) / rows
  return facts


def average(columns: Facts, total: Total) -> Facts:
  """Means of f32[N] over the rows that have a number, NaN where none has."""
  out = {}
  for name, x in columns.items():
    known = ~jnp.isnan(x)
    out[name] = total(jnp.where(known, x, 0)) / total(known)
  return out
