"""A stage of training, ready to run: its compiled functions and its place in the data."""

import collections

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.data.stream import Stream
from rft_jax.evaluators.accuracy import completions
from rft_jax.infra.optim import make_optimizer
from rft_jax.modes.session import Session, algorithm_of
from rft_jax.objectives import make_objective
from rft_jax.registry import ConfigError
from rft_jax.sampling import make_rollout, sampling
from rft_jax.steps import describe, learning_rng, make_learn, make_rl_step, make_total, reward_last
from rft_jax.types import Experience, PyTree, Task, TrainState


def make_stage(config, index: int, session: Session, task: Task, scorer):
  """The kind of stage that the algorithm and the task call for."""
  if algorithm_of(config).objective == 'supervised':
    return Imitation(config, index, session, task)
  if task.jit_reward is not None:
    return Fused(config, index, session, task)
  if task.reward is None:
    raise ConfigError(
      f'task {config.task!r} has no verifier: reinforcement needs jit_reward or reward'
    )
  return Split(config, index, session, task, scorer)


class Stage:
  """advance(state, step) -> (state, metrics): iteration `step` of this stage."""

  def __init__(self, config, index: int, session: Session, task: Task):
    self.config, self.session, self.task = config, session, task
    self.algorithm, self.placement = algorithm_of(config), session.placement
    self.rng = jax.random.fold_in(jax.random.key(session.config.seed), index)
    check_sizes(config, self.placement.shards)
    self.tx = make_optimizer(config.optimizer, config.steps * config.epochs * config.minibatches)
    objective = make_objective(session.policy, self.algorithm, config.sampling.temperature)
    self.learn = make_learn(
      objective,
      self.tx,
      config.epochs,
      config.minibatches,
      config.microbatches,
      self.placement.axis,
    )
    self.stream = Stream(task, 'train', config.prompts, session.config.seed)
    self.options = sampling([session.tokenizer.eos_token_id], **config.sampling)
    self.build()

  def build(self) -> None:
    """Makes the compiled functions that `advance` calls."""
    raise NotImplementedError

  def advance(self, state: TrainState, step: int) -> tuple[TrainState, dict[str, float]]:
    """Iteration `step` of this stage."""
    raise NotImplementedError

  def rehearse(self) -> None:
    """Raises ConfigError where the data do not suit the stage; compiles nothing."""
    self.stream.prompts(self.session.tokenizer, 0, self.config.max_prompt)

  def state(self, params: PyTree, step: int) -> TrainState:
    """The stage's first state; a reference is a copy, since the state is donated."""
    frozen = {'ref': jax.tree.map(jnp.copy, params)} if 'ref_logp' in self.algorithm.needs else {}
    return TrainState(jnp.int32(step), params, self.tx.init(params), frozen)

  def pending(self) -> tuple[Experience, ...]:
    """What was sampled ahead and not learned from yet, on the host: part of a checkpoint."""
    return ()

  def blank(self, count: int) -> tuple[Experience, ...]:
    """`count` experiences of the shapes that `pending` returns, to restore into."""
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
        c.group,
        c.max_prompt,
      )
      for _ in range(count)
    )

  def restore(self, step: int, pending: tuple[Experience, ...]) -> None:
    """Continues with iteration `step`."""

  def rollout(self):
    c = self.config
    return make_rollout(
      self.session.policy.decoder,
      c.group,
      c.max_new,
      bool(c.sampling.top_k) or c.sampling.top_p < 1,
    )


class Imitation(Stage):
  """Supervised: learn from demonstrations."""

  def build(self):
    self._step = self.placement.compile(
      lambda state, batch, rng: self.learn(state, batch, learning_rng(rng, state.step)),
      'sbr',
      donate=True,
    )

  def rehearse(self):
    super().rehearse()
    self.demonstrations(0)

  def demonstrations(self, step):
    length = self.config.max_prompt + self.config.max_new
    return self.stream.demonstrations(self.session.tokenizer, step, length)

  def advance(self, state, step):
    with self.session.clock('data'):
      batch = self.demonstrations(step)
      tokens = int(batch.target.sum())
      batch = self.placement.put_batch(batch)
    with self.session.clock('update'):
      state, metrics = self._step(state, batch, self.rng)
      return state, self.placement.scalars(metrics) | {'rollout/tokens': tokens}


class Fused(Stage):
  """Reinforcement with a verifier in JAX: one compiled program per iteration."""

  def build(self):
    axis = self.placement.axis
    self._step = self.placement.compile(
      make_rl_step(self.rollout(), self.task.jit_reward, self.learn, axis, self.task.jit_metrics),
      'sbrr',
      donate=True,
    )

  def advance(self, state, step):
    with self.session.clock('data'):
      prompts, _ = self.stream.prompts(self.session.tokenizer, step, self.config.max_prompt)
      prompts = self.placement.put_batch(prompts)
    with self.session.clock('rl_step'):
      state, metrics = self._step(state, prompts, self.options, self.rng)
      return state, self.placement.scalars(metrics)


class Split(Stage):
  """Reinforcement with a verifier in Python: sample | score in worker processes | learn.

  Up to `staleness` iterations are sampled ahead of learning, and scored while the devices go on.
  """

  def __init__(self, config, index, session, task, scorer):
    self.scorer = scorer
    super().__init__(config, index, session, task)

  def build(self):
    total, rollout = make_total(self.placement.axis), self.rollout()
    self._queue = collections.deque()
    self._sampled = 0

    def sample(state, prompts, options, rng):
      return rollout(state.params, prompts, options, rng, state.step)

    def learn(state, experience, rewards, options, rng):
      experience = reward_last(experience, rewards)
      facts = describe(experience, options.stop, total)
      facts['rollout/staleness'] = (state.step - experience.version).max().astype(jnp.float32)
      state, learned = self.learn(state, experience, learning_rng(rng, state.step))
      return state, facts | learned

    self._sample = self.placement.compile(sample, 'sbrr')
    self._learn = self.placement.compile(learn, 'sbbrr', donate=True)

  def advance(self, state, step):
    c, clock = self.config, self.session.clock
    with clock('rollout'):
      while self._sampled <= min(step + c.staleness, c.steps - 1):
        prompts, examples = self.stream.prompts(self.session.tokenizer, self._sampled, c.max_prompt)
        experience = self._sample(state, self.placement.put_batch(prompts), self.options, self.rng)
        self._queue.append([experience, examples, None])
        self._sampled += 1
      experience, examples, future = self._queue.popleft()
      future = future or self._submit(experience, examples)
    with clock('reward'):
      rewards = future.result()
    with clock('update'):
      state, metrics = self._learn(
        state, experience, self.placement.put_batch(rewards), self.options, self.rng
      )
      metrics = self.placement.scalars(metrics)
    with clock('rollout'):
      for entry in self._queue:
        entry[2] = entry[2] or self._submit(*entry[:2])
    return state, metrics

  def _submit(self, experience, examples):
    texts = completions(self.session.tokenizer, self.placement.rows(experience))
    return self.scorer.submit(texts, [e for e in examples for _ in range(self.config.group)])

  def pending(self):
    return tuple(self.placement.rows(entry[0]) for entry in self._queue)

  def restore(self, step, pending):
    self._sampled = step + len(pending)
    for i, experience in enumerate(pending):
      batch = self.placement.put_batch(experience)
      examples = self.stream.examples(step + i)
      self._queue.append([batch, examples, self._submit(batch, examples)])


def check_sizes(config, shards: int) -> None:
  """Raises ConfigError, before anything is compiled, where a batch cannot be cut as asked."""
  parts = shards * config.minibatches * config.microbatches
  if config.prompts % parts:
    raise ConfigError(
      f'prompts={config.prompts} must be a multiple of {parts}: {shards} shards x minibatches='
      f'{config.minibatches} x microbatches={config.microbatches}: groups are never cut'
    )
