"""A stage of training, ready to run: its compiled functions and its place in the data."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.collecting import (
  Collect,
  Judge,
  against,
  beside,
  by_model,
  in_graph,
  in_turns,
  make_collect,
  refilled,
  with_baseline,
)
from rft_jax.data.recorded import Recorded
from rft_jax.infra.memory import OutOfMemory, footprint, room, size
from rft_jax.infra.optim import make_optimizer
from rft_jax.modes.limits import check_length, check_packing, check_sizes, ways_out
from rft_jax.modes.rules import parse_rule
from rft_jax.modes.session import DEMONSTRATIONS, Session, algorithm_of
from rft_jax.objectives import make_objective
from rft_jax.objectives.tokens import reference_of
from rft_jax.registry import ConfigError
from rft_jax.sampling import make_rollout
from rft_jax.steps import learning_rng, make_learn, make_rl_step, make_total
from rft_jax.types import Experience, PyTree, Task, TrainState


class Stage:
  """advance(state, step) -> (state, metrics): iteration `step` of this stage.

  program: the pure function of an iteration, whose arguments are of the `kinds` of infra.parallel.
  """

  program: Any
  kinds: str

  def __init__(self, config, index: int, session: Session, task: Task):
    self.config, self.session, self.task = config, session, task
    self.name = session.config.stages[index]
    self.algorithm, self.placement = algorithm_of(config), session.placement
    self.policy = session.policies[config.model]
    self.rng = jax.random.fold_in(jax.random.key(session.config.seed), index)
    check_sizes(config, self.placement.shards)
    check_length(config, self.policy.decoder.config)
    check_packing(config, self.algorithm)
    self.tx = make_optimizer(config.optimizer, config.steps * config.epochs * config.minibatches)
    self.objective = make_objective(
      self.policy, self.algorithm, config.sampling.temperature, session.policies.get(config.teacher)
    )
    self.learn = make_learn(
      self.objective,
      self.tx,
      config.epochs,
      config.minibatches,
      config.microbatches,
      self.placement.axis,
    )
    self.stream = session.stream(task, 'train', config.prompts)
    self.options = session.sampling(**config.sampling)
    self.others = self._others()
    self.guard: list[str] = []
    for rule in config.guard:
      self.guard += self.algorithm.guard if rule == 'preset' else (rule,)
    for rule in self.guard:
      parse_rule(rule, 'guard')
    if config.collapse not in ('stop', 'restore'):
      raise ConfigError(f"collapse={config.collapse!r} must be 'stop' or 'restore'")
    self.build()

  def build(self) -> None:
    """Makes the compiled functions that `advance` calls."""
    self._step = self.placement.compile(self.program, self.kinds, donate=True, watch=self.fits)

  def advance(self, state: TrainState, step: int) -> tuple[TrainState, dict[str, float]]:
    """Iteration `step` of this stage."""
    raise NotImplementedError

  def fits(self, program) -> None:
    """Says what the step's program takes before it runs; raises OutOfMemory where that is more
    than there is."""
    need, there = footprint(program), room(self.placement.devices)
    if need.total > there:
      raise OutOfMemory(f'{need}, which has {size(there)}: {self.way_out}')
    print(f'{self.name}: {need}, which has {size(there)}', file=sys.stderr)

  @property
  def way_out(self) -> str:
    return ways_out(self.session.config, self.name, self.placement)

  def rehearse(self) -> None:
    """Raises ConfigError where the data do not suit the stage; compiles nothing."""
    self.stream.prompts(self.session.tokenizer, 0, self.config.max_prompt)
    for source in self.others:
      source.batch(0)

  def state(self, params: PyTree, step: int, models: dict[str, PyTree] | None = None) -> TrainState:
    """The stage's first state; what is frozen is a copy, since the state is donated."""
    c, models = self.config, models or {}
    params, base = self.policy.split(params)
    frozen = {'base': base} if base else {}
    if 'ref_logp' in self.algorithm.needs:
      frozen['ref'] = jax.tree.map(jnp.copy, reference_of(params))
    for role, model in (('teacher', c.teacher), ('reward', c.reward_model)):
      if model:
        frozen[role] = jax.tree.map(jnp.copy, models[model])
    tuned = {name: jnp.float32(x) for name, x in self.objective.tuned.items()}
    return TrainState(jnp.int32(step), params, self.tx.init(params), frozen, tuned)

  def pending(self) -> tuple[Experience, ...]:
    """What was sampled ahead and not learned from yet, on the host: part of a checkpoint."""
    return ()

  def blank(self, count: int) -> tuple[Experience, ...]:
    """`count` experiences of the shapes that `pending` returns, to restore into."""
    return ()

  def restore(self, step: int, pending: tuple[Experience, ...]) -> None:
    """Continues with iteration `step`."""

  def rollout(self, group: int | None = None):
    c = self.config
    return make_rollout(
      self.policy.decoder,
      group or c.group,
      c.max_new,
      bool(c.sampling.top_k) or c.sampling.top_p < 1,
    )

  def _others(self) -> list[Recorded]:
    """Demonstrations that are learned from beside samples."""
    c, algorithm = self.config, self.algorithm
    if not (algorithm.parts['mix'] or algorithm.source == 'self_play'):
      return []
    task = self.session.tasks.get(self.name + DEMONSTRATIONS, self.task)
    prompts = c.demonstrations.prompts or c.prompts
    stream = self.session.stream(task, 'train', prompts)
    kind = 'demonstrations' if algorithm.parts['mix'] else 'answers'
    return [Recorded(kind, stream, self.session.tokenizer, c.max_prompt, c.max_new)]


class FromData(Stage):
  """Learns from what is recorded: demonstrations, text, pairs, labels."""

  kinds = 'sbr'

  def build(self):
    c = self.config
    self.source = Recorded(
      self.algorithm.source, self.stream, self.session.tokenizer, c.max_prompt, c.max_new, c.packing
    )
    super().build()

  def program(self, state, batch, rng):
    """One iteration: (state, experience, rng) -> (state, metrics)."""
    return self.learn(state, batch, learning_rng(rng, state.step))

  def inputs(self, step: int) -> tuple[Experience, ...]:
    """What an iteration learns from, numpy arrays."""
    return (self.source.batch(step),)

  def rehearse(self):
    if self.task.reward or self.task.jit_reward:
      tests = self.session.stream(self.task, 'test', self.config.prompts)
      tests.prompts(self.session.tokenizer, 0, self.config.max_prompt)
    self.source.batch(0)

  def advance(self, state, step):
    with self.session.clock('data'):
      (batch,) = self.inputs(step)
      tokens = int(batch.target.sum())
      batch = self.placement.put_batch(batch)
    with self.session.clock('update'):
      state, metrics = self._step(state, batch, self.rng)
      return state, self.placement.scalars(metrics) | {'rollout/tokens': tokens}


class Fused(Stage):
  """Reinforcement with a verifier in JAX or a reward model: one compiled program per iteration."""

  def build(self):
    join = against if self.algorithm.source == 'self_play' else beside
    self.program = make_rl_step(self._collect(), self.learn, join)
    self.kinds = 'sbrr' + 'b' * len(self.others)
    super().build()

  def inputs(self, step: int) -> tuple[PyTree, ...]:
    """Prompts, and what else an iteration learns from, numpy arrays."""
    return self._prompts(step), *(source.batch(step) for source in self.others)

  def _collect(self) -> Collect:
    c, a, total = self.config, self.algorithm, make_total(self.placement.axis)
    if a.source == 'turns':
      return in_turns(self.rollout(1), self._environment(), c.group, total)
    judge = self._judge(total)
    collect = make_collect(self.rollout(), judge, total)
    if 'baseline' in a.needs:
      collect = with_baseline(collect, self.rollout(1), judge)
    return refilled(collect, a.refill, total) if a.refill else collect

  def _environment(self):
    if self.task.environment is None:
      raise ConfigError(
        f'task {self.config.task!r} has no environment: '
        f'preset {self.config.algorithm.preset!r} needs a task in several turns'
      )
    return self.task.environment

  def _judge(self, total) -> Judge:
    c, task = self.config, self.task
    extract = task.jit_answer if 'answer' in self.algorithm.needs else None
    if 'answer' in self.algorithm.needs and extract is None:
      raise ConfigError(
        f'task {c.task!r} does not say what an answer is (jit_answer), which '
        f'{self.algorithm.parts["reward"]!r} votes on: use another reward'
      )
    own: Any = None
    if task.jit_reward:
      own = in_graph(task.jit_reward, task.jit_metrics, extract, total=total)
    if c.reward_model:
      return by_model(self.session.policies[c.reward_model].judge, own, total=total)
    return own

  def _prompts(self, step):
    """Those of an iteration; with refilling, [B,rounds,...]: what each round would ask."""
    rounds = self.algorithm.refill or 1
    batches = [
      self.stream.prompts(self.session.tokenizer, step * rounds + i, self.config.max_prompt)[0]
      for i in range(rounds)
    ]
    if not self.algorithm.refill:
      return batches[0]
    return jax.tree.map(lambda *x: np.stack(x, 1), *batches)

  def advance(self, state, step):
    with self.session.clock('data'):
      prompts, *others = map(self.placement.put_batch, self.inputs(step))
    with self.session.clock('rl_step'):
      state, metrics = self._step(state, prompts, self.options, self.rng, *others)
      return state, self.placement.scalars(metrics)
