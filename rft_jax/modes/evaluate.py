"""Evaluate: the held-out accuracy of a checkpoint of a finished or running `train`."""

import numpy as np

from rft_jax.evaluators import make_evaluate
from rft_jax.infra.workdir import dated, write_json
from rft_jax.modes.fitted import fitted
from rft_jax.modes.restored import restored
from rft_jax.modes.session import open_session


def run(config, workdir: str, started: float) -> dict:
  """Evaluates the best checkpoint on the task of its stage; prints and returns the metrics, and
  writes them to `workdir/evaluation.json`. Raises CheckpointError where there is none.
  """
  session = fitted(open_session(dated(config, workdir)))
  with restored(session, workdir) as found:
    report = make_evaluate(found.stage, found.scorer)(session.placement.put_state(found.state))
    result = {'step': found.step}
  result |= {k: v for k, v in report.metrics.items() if not np.isnan(v)}
  write_json(f'{workdir}/evaluation.json', result)
  print('  '.join(f'{k} {v:.3f}' if k != 'step' else f'step {v}' for k, v in result.items()))
  return result
