"""Reinforcement with a verifier in Python: sample | score in worker processes | learn."""

import collections
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.collecting import beside, describe, rewarded
from rft_jax.evaluators.accuracy import completions
from rft_jax.modes.session import algorithm_of
from rft_jax.modes.stage import FromData, Fused, Stage
from rft_jax.registry import ConfigError
from rft_jax.steps import learning_rng, make_total
from rft_jax.types import Example, Experience, PyTree

NO_ANSWER = -1


class Flight(NamedTuple):
  """An iteration's samples on the devices, the greedy ones if asked for, and their problems."""

  experience: Experience
  greedy: Experience | None
  examples: list[Example]


def make_stage(config, index: int, session, task, scorer) -> Stage:
  """The kind of stage that the algorithm and the task call for."""
  algorithm = algorithm_of(config)
  if not algorithm.samples:
    return FromData(config, index, session, task)
  if task.jit_reward or config.reward_model or algorithm.source in ('turns', 'self_play'):
    return Fused(config, index, session, task)
  if task.reward is None:
    raise ConfigError(
      f'task {config.task!r} has no verifier: reinforcement needs jit_reward or reward'
    )
  return Split(config, index, session, task, scorer)


class Split(Stage):
  """Up to `staleness` iterations are sampled ahead of learning, and scored while the devices go
  on."""

  def __init__(self, config, index, session, task, scorer):
    self.scorer = scorer
    super().__init__(config, index, session, task)
    if config.staleness and (self.algorithm.refill or 'baseline' in self.algorithm.needs):
      raise ConfigError(
        f'staleness={config.staleness} samples ahead, which refilling and greedy baselines do not '
        'go with: set staleness=0'
      )
    self._read: Any = task.answer
    if 'answer' in self.algorithm.needs and task.answer is None:
      raise ConfigError(
        f'task {config.task!r} does not say what an answer is (answer), which '
        f'{self.algorithm.parts["reward"]!r} votes on: use another reward'
      )

  def build(self):
    total, rollout, one = make_total(self.placement.axis), self.rollout(), self.rollout(1)
    self._queue: collections.deque[list[Any]] = collections.deque()
    self._sampled = 0
    baseline = 'baseline' in self.algorithm.needs

    def sample(state, prompts, options, rng):
      experience = rollout(state.weights, prompts, options, rng, state.step)
      if not baseline:
        return experience, None
      greedy = options.replace(temperature=jnp.zeros_like(options.temperature))
      return experience, one(state.weights, prompts, greedy, rng, state.step)

    def learn(state, experience, scored, rng, *others):
      facts = {name: x for name, x in scored.items() if name != 'reward'}
      experience = rewarded(experience, scored['reward'], facts)
      facts = describe(experience, total)
      facts['rollout/staleness'] = (state.step - experience.version).max().astype(jnp.float32)
      batch = beside(experience, *others)
      state, learned = self.learn(state, batch, learning_rng(rng, state.step))
      return state, facts | learned

    self._sample = self.placement.compile(sample, 'sbrr')
    kinds = 'sbbr' + 'b' * len(self.others)
    self._learn = self.placement.compile(learn, kinds, donate=True, watch=self.fits)

  def advance(self, state, step):
    clock = self.session.clock
    with clock('rollout'):
      experience, scored, facts = (
        self._refilled(state, step) if self.algorithm.refill else (self._next(state, step))
      )
    with clock('data'):
      others = [self.placement.put_batch(source.batch(step)) for source in self.others]
    with clock('update'):
      scored = self.placement.put_batch(scored)
      state, metrics = self._learn(state, experience, scored, self.rng, *others)
      metrics = self.placement.scalars(metrics) | facts
    with clock('rollout'):
      for entry in self._queue:
        entry[1] = entry[1] or self._submit(entry[0])
    return state, metrics

  def _next(self, state, step):
    """The samples of iteration `step`, and what they earned."""
    c = self.config
    while self._sampled <= min(step + c.staleness, c.steps - 1):
      self._queue.append([self._fly(state, self._sampled), None])
      self._sampled += 1
    flight, futures = self._queue.popleft()
    return flight.experience, self._scored(flight, futures or self._submit(flight)), {}

  def _refilled(self, state, step):
    """Samples until there are enough groups whose rewards differ; see collecting.refilled."""
    rounds, group = self.algorithm.refill, self.config.group
    kept, used, seen = [], 0, []
    while sum(len(k['reward']) for _, k in kept) < self.config.prompts * group and used < rounds:
      flight = self._fly(state, step * rounds + used)
      scored = self._scored(flight, self._submit(flight))
      reward = scored['reward'].reshape(-1, group)
      mixed = np.repeat(reward.max(1) > reward.min(1), group)
      pick = lambda tree, mixed=mixed: jax.tree.map(lambda x: np.asarray(x)[mixed], tree)
      kept.append((pick(self.placement.rows(flight.experience)), pick(scored)))
      used, seen = used + 1, [*seen, reward]
    experience, scored = jax.tree.map(lambda *x: np.concatenate(x), *kept)
    wanted = self.config.prompts * group
    filled = min(len(scored['reward']), wanted)
    fit = lambda x: np.concatenate([x[:wanted], np.zeros((wanted - filled, *x.shape[1:]), x.dtype)])
    experience, scored = jax.tree.map(fit, (experience, scored))
    facts = {
      'refill/rounds': float(used),
      'refill/filled': filled / wanted,
      'reward/mean': float(np.nanmean(np.concatenate(seen))),
    }
    return self.placement.put_batch(experience), scored, facts

  def _fly(self, state, number: int) -> Flight:
    prompts, examples = self.stream.prompts(self.session.tokenizer, number, self.config.max_prompt)
    batch = self.placement.put_batch(prompts)
    experience, greedy = self._sample(state, batch, self.options, self.rng)
    return Flight(experience, greedy, examples)

  def _submit(self, flight: Flight) -> list[Any]:
    """Starts scoring; a future for each kind of sample there is, with their texts."""
    tokenizer, group = self.session.tokenizer, self.config.group
    texts = completions(tokenizer, self.placement.rows(flight.experience))
    futures = [
      (texts, self.scorer.submit(texts, [e for e in flight.examples for _ in range(group)]))
    ]
    if flight.greedy is not None:
      best = completions(tokenizer, self.placement.rows(flight.greedy))
      futures.append((best, self.scorer.submit(best, flight.examples)))
    return futures

  def _scored(self, flight: Flight, futures: list[Any]) -> dict[str, np.ndarray]:
    """By name what each row earned, f32[N], and what else was asked for."""
    with self.session.clock('reward'):
      (texts, first), *rest = futures
      out = {'reward': first.result()}
      for _, future in rest:
        out['baseline'] = np.repeat(future.result(), self.config.group)
      if 'answer' in self.algorithm.needs:
        out['answer'] = numbered([self._read(text) for text in texts])
    return out

  def pending(self):
    return tuple(self.placement.rows(entry[0].experience) for entry in self._queue)

  def blank(self, count):
    c = self.config
    rows, width = c.prompts * c.group, c.max_prompt + c.max_new

    def make(dtype):
      return np.zeros((rows, width), dtype)

    return tuple(
      Experience(
        make(np.int32),
        make(bool),
        make(bool),
        make(np.float32),
        make(np.float32),
        make(np.int32),
        dict(truncated=np.zeros(rows, bool)),
        c.group,
        c.max_prompt,
      )
      for _ in range(count)
    )

  def restore(self, step, pending: tuple[PyTree, ...]):
    self._sampled = step + len(pending)
    for i, experience in enumerate(pending):
      batch = self.placement.put_batch(experience)
      flight = Flight(batch, None, self.stream.examples(step + i))
      self._queue.append([flight, self._submit(flight)])


def numbered(answers: list[str]) -> np.ndarray:
  """i32[N]: equal texts get equal numbers, an empty one NO_ANSWER."""
  names = {text: i for i, text in enumerate(dict.fromkeys(answers))}
  return np.array([names[a] if a else NO_ANSWER for a in answers], np.int32)
