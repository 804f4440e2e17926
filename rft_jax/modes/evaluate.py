"""Evaluate: the held-out accuracy of a checkpoint of a finished or running `train`."""

import jax
import numpy as np

from rft_jax.evaluators import make_evaluate
from rft_jax.infra.checkpoint import Checkpoints
from rft_jax.infra.workdir import write_json
from rft_jax.modes.session import checkpoint_directory, open_session
from rft_jax.modes.split import make_stage


def run(config, workdir: str, started: float) -> dict:
  """Evaluates, on the task of its stage, the best checkpoint (by `checkpoint.best`), or the latest
  if none is rated.

  Prints and returns the metrics, and writes them to `workdir/evaluation.json`. Raises
  CheckpointError where there is none.
  """
  session = open_session(config)
  with Checkpoints(
    checkpoint_directory(workdir), config.checkpoint.keep, config.checkpoint.best or None
  ) as saved:
    step, _, place = saved.restore(saved.best(), {})
    index = place['stage']
    name = config.stages[index]
    models = {k: session.shapes(k) for k in session.policies}
    with session.scoring(name) as scorer:
      stage = make_stage(config[name], index, session, session.tasks[name], scorer)
      abstract = jax.eval_shape(stage.state, models[config[name].model], 0, models)
      state = session.placement.put_state(saved.restore(step, {'state': abstract})[1]['state'])
      report = make_evaluate(stage, scorer)(state)
  result = {'step': step, **{k: v for k, v in report.metrics.items() if not np.isnan(v)}}
  write_json(f'{workdir}/evaluation.json', result)
  print('  '.join(f'{k} {v:.3f}' if k != 'step' else f'step {v}' for k, v in result.items()))
  return result
