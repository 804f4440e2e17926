"""What a mode works with: everything that a config names, made once."""

import contextlib
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rft_jax.algorithms.algorithm import Algorithm, resolve
from rft_jax.config import check, expand
from rft_jax.data.stops import stop_table
from rft_jax.data.stream import Stream
from rft_jax.data.templates import SINCE, set_date
from rft_jax.infra import peft
from rft_jax.infra.parallel import Placement, make_placement
from rft_jax.infra.progress import Clock
from rft_jax.infra.scoring import Scorer
from rft_jax.models.policy import Policy, make_policy
from rft_jax.modes.model import Model, open_model
from rft_jax.registry import ConfigError, nearest
from rft_jax.sampling import Sampling, sampling
from rft_jax.tasks import make_task
from rft_jax.types import PyTree, Task

DEMONSTRATIONS = '.demonstrations'
"""Ends the name of a task that a stage learns from beside its own."""


class Session(NamedTuple):
  """tasks: by stage name; model: what the config's `model` names; policies: by the name of the
  model; clock: where the wall time goes."""

  config: Any
  model: Model
  policies: dict[str, Policy]
  placement: Placement
  tasks: dict[str, Task]
  clock: Clock

  def scoring(self, name: str) -> contextlib.AbstractContextManager[Scorer | None]:
    """Worker processes for the verifier of stage `name`; None where it is a JAX function."""
    task, settings = self.tasks[name], self.config.scoring
    if task.reward is None:
      return contextlib.nullcontext()
    return Scorer(task.reward, settings.workers, settings.timeout)

  @property
  def tokenizer(self) -> Any:
    return self.model.tokenizer

  @property
  def stop(self) -> list[int]:
    return self.model.stop

  def sampling(self, **options) -> Sampling:
    """Options of a rollout, which stops where answers end."""
    table = stop_table(self.tokenizer, self.model.architecture.vocab_size)
    return sampling(self.stop, text=table, **options)

  def stream(self, task: Task, split: str, batch: int) -> Stream:
    """Batches of a task; of several processes each reads its own part."""
    where = jax.process_index(), jax.process_count()
    return Stream(task, split, batch, self.config.seed, *where)

  def params(self, model: str = 'policy', base: PyTree = None) -> PyTree:
    """Parameters of a model as it begins: from the seed, its decoder from the checkpoint if there
    is one; or a copy of that of `base`."""
    seed = jax.random.fold_in(jax.random.key(self.config.seed), 0x1417)
    init = self.policies[model].init
    if base is not None:
      fresh = jax.jit(init)(seed)
      copied = dict(decoder='decoder', critic='decoder', adapters='adapters')
      return fresh | {k: jax.tree.map(jnp.copy, base[v]) for k, v in copied.items() if k in fresh}
    if not self.model.directory:
      fresh = jax.jit(init)(seed)
      stored = lambda x: x.astype(self.model.dtype)
      return fresh | {'decoder': jax.tree.map(stored, fresh['decoder'])}
    decoder = self.model.decoder(self.placement)
    rest = jax.jit(lambda key: {k: v for k, v in init(key).items() if k != 'decoder'})(seed)
    if 'critic' in rest:
      rest['critic'] = jax.tree.map(jnp.copy, decoder)
    if self.config.model.lora.path:
      rest['adapters'] = self.adapters()
    return rest | {'decoder': decoder}

  def adapters(self) -> PyTree:
    """Those of `model.lora.path`. Raises HubError for what is wrong with them."""
    return peft.load(self.config.model.lora.path, self.model.architecture)

  def shapes(self, model: str = 'policy') -> PyTree:
    """Shapes and dtypes of a model's parameters."""
    seed = jax.random.key(0)
    shapes = jax.eval_shape(self.policies[model].init, seed)
    narrow = lambda x: jax.ShapeDtypeStruct(x.shape, self.model.dtype)
    return shapes | {'decoder': jax.tree.map(narrow, shapes['decoder'])}


def open_session(config) -> Session:
  """Raises ConfigError for whatever of the config cannot work, before anything is compiled or
  written."""
  check(config)
  expand(config)
  placement = make_placement(**config.parallel)
  model = open_model(config, placement)
  day = config.date.removeprefix(SINCE)
  set_date(model.tokenizer, day, chosen=bool(day) and day == config.date)
  tasks = {name: make_task(spec, model.tokenizer) for name, spec in specs(config).items()}
  policies = _policies(config, model.architecture, placement.shards)
  return Session(config, model, policies, placement, tasks, Clock())


def specs(config) -> dict[str, str]:
  """The tasks of all stages by name."""
  found = {name: config[name].task for name in config.stages}
  apart = {name + DEMONSTRATIONS: config[name].demonstrations.task for name in config.stages}
  return found | {name: spec for name, spec in apart.items() if spec}


def algorithm_of(stage) -> Algorithm:
  """The stage's algorithm; '' keeps the preset's piece, 'none' removes it. Raises ConfigError where
  the stage lacks what the algorithm needs."""
  pieces: dict[str, Any] = {
    k: {'': None, 'none': ''}.get(v, v)
    for k, v in stage.algorithm.items()
    if k not in ('preset', 'compat', 'nll')
  }
  pieces['nll'] = stage.algorithm.nll if stage.algorithm.nll >= 0 else None
  pieces['refill'] = stage.refill if stage.refill >= 0 else None
  algorithm = resolve(stage.algorithm.preset, stage.algorithm.compat, **pieces)
  name = stage.algorithm.preset
  if 'several' in algorithm.needs and stage.group < 2:
    raise ConfigError(
      f'preset {name!r} compares the samples of a prompt: group={stage.group} must be at least 2'
    )
  if algorithm.source == 'samples' and algorithm.parts['preference'] and stage.group != 2:
    raise ConfigError(
      f'preset {name!r} compares two samples of a prompt: group={stage.group} must be 2'
    )
  if algorithm.needs & {'teacher', 'teacher_logp'} and not stage.teacher:
    raise ConfigError(
      f"preset {name!r} needs a teacher: set the stage's teacher to the model of an earlier stage"
    )
  return algorithm


def checkpoint_directory(workdir: str) -> str:
  return os.path.join(workdir, 'checkpoints')


def _policies(config, architecture, shards) -> dict[str, Policy]:
  """Each model with what any of its stages needs, so that they can share its parameters."""
  needs, critics, known = {'policy': set()}, {}, []
  for name in config.stages:
    stage = config[name]
    for role in ('teacher', 'reward_model'):
      if stage[role] and stage[role] not in known:
        raise ConfigError(
          f'{name}.{role}={stage[role]!r} is not a model of an earlier stage: '
          + nearest(stage[role], known)
        )
    needs.setdefault(stage.model, set()).update(algorithm_of(stage).needs)
    critics[stage.model] = stage.critic
    known.append(stage.model)
  return {
    model: make_policy(architecture, needs[model], critics.get(model, 'shared'), shards)
    for model in needs
  }
