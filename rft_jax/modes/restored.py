"""What a finished or running `train` has learned: a stage and its state, from its checkpoints."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rft_jax.infra.checkpoint import Checkpoints
from rft_jax.infra.scoring import Scorer
from rft_jax.models.lora import merge
from rft_jax.modes.session import Session, checkpoint_directory
from rft_jax.modes.split import make_stage
from rft_jax.modes.stage import Stage
from rft_jax.types import PyTree, TrainState


def merged(session: Session, weights: PyTree) -> PyTree:
  """The decoder's parameters, with the adapters that were trained beside them."""
  config, params = session.model.architecture, weights['decoder']['params']
  if config.lora is None:
    return params
  return merge(config, params, weights['adapters'], jnp.ones(config.lora.adapters))


class Restored(NamedTuple):
  """step: of all stages; state: of `stage`, as ordinary arrays; scorer: of its verifier."""

  step: int
  stage: Stage
  state: TrainState
  scorer: Scorer | None


@contextlib.contextmanager
def restored(session: Session, workdir: str) -> Iterator[Restored]:
  """The best checkpoint (by `checkpoint.best`), or the latest if none is rated. Raises
  CheckpointError where there is none."""
  config = session.config
  best = config.checkpoint.best or None
  with Checkpoints(checkpoint_directory(workdir), config.checkpoint.keep, best) as saved:
    step, _, place = saved.restore(saved.best(), {})
    index = place['stage']
    name = config.stages[index]
    models = {k: session.shapes(k) for k in session.policies}
    with session.scoring(name) as scorer:
      stage = make_stage(config[name], index, session, session.tasks[name], scorer)
      shapes = jax.eval_shape(stage.state, models[config[name].model], 0, models)
      state = saved.restore(step, {'state': shapes.bare()})[1]['state']
      if 'base' in shapes.frozen:
        state = state.on(stage.policy.split(session.params(config[name].model))[1])
      yield Restored(step, stage, state, scorer)
