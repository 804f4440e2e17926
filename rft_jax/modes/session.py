"""What a mode works with: everything that a config names, made once."""

import contextlib
import dataclasses
import os
from typing import Any, NamedTuple

import jax

from rft_jax.algorithms.presets import Algorithm, resolve
from rft_jax.config import check
from rft_jax.data.text import load_tokenizer
from rft_jax.infra.parallel import Placement, make_placement
from rft_jax.infra.progress import Clock
from rft_jax.infra.scoring import Scorer
from rft_jax.models.policy import Policy, make_policy
from rft_jax.models.transformer import ModelConfig
from rft_jax.registry import ConfigError, nearest
from rft_jax.tasks import make_task
from rft_jax.types import Task


class Session(NamedTuple):
  """tasks: by stage name; clock: where the wall time goes."""

  config: Any
  policy: Policy
  tokenizer: Any
  placement: Placement
  tasks: dict[str, Task]
  clock: Clock

  def scoring(self, name: str) -> contextlib.AbstractContextManager[Scorer | None]:
    """Worker processes for the verifier of stage `name`; None where it is a JAX function."""
    task, settings = self.tasks[name], self.config.scoring
    if task.reward is None:
      return contextlib.nullcontext()
    return Scorer(task.reward, settings.workers, settings.timeout)

  def params(self):
    """Fresh parameters, from the seed."""
    return jax.jit(self.policy.init)(jax.random.fold_in(jax.random.key(self.config.seed), 0x1417))


def open_session(config) -> Session:
  """Raises ConfigError for whatever of the config cannot work, before anything is compiled or
  written."""
  check(config)
  tokenizer = load_tokenizer(config.tokenizer)
  tasks = {name: make_task(config[name].task, tokenizer) for name in config.stages}
  return Session(
    config, _policy(config, tokenizer), tokenizer, make_placement(**config.parallel), tasks, Clock()
  )


def algorithm_of(stage) -> Algorithm:
  """The stage's algorithm; '' keeps the preset's piece, 'none' removes it."""
  pieces = {
    k: {'': None, 'none': ''}.get(v, v)
    for k, v in stage.algorithm.items()
    if k not in ('preset', 'entropy')
  }
  return resolve(stage.algorithm.preset, **pieces, entropy=stage.algorithm.entropy)


def checkpoint_directory(workdir: str) -> str:
  return os.path.join(workdir, 'checkpoints')


def _policy(config, tokenizer) -> Policy:
  """With what any of the stages needs, so that they can share one set of parameters."""
  fields = {f.name for f in dataclasses.fields(ModelConfig)} - {'vocab_size'}
  for key in config.model:
    if key not in fields:
      raise ConfigError(f'model has no setting {key!r}: {nearest(key, fields)}')
  needs = frozenset().union(*(algorithm_of(config[name]).needs for name in config.stages))
  return make_policy(ModelConfig(vocab_size=len(tokenizer), **config.model), needs)
