"""From a claimed batch to durable files: everything of an update but its publication."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rft_jax.engine.metrics import Metrics
from rft_jax.engine.protocol import EngineError
from rft_jax.feedback.records import GLOBAL, Batch
from rft_jax.infra.faults import reach
from rft_jax.learning.fold import Lessons, Student, infinite, start, step
from rft_jax.learning.recovery import Loader
from rft_jax.types import PyTree

SHORT = 0.1  # nats below its margin: so seldom is what was written not said that it is learned


class Rejected(Exception):
  """The candidate must not be used; the reason is of the events, not of the machine."""


class Candidate(NamedTuple):
  """Durable files. `adapter` is None where they were made before a crash."""

  path: str
  sha256: str
  metrics: dict[str, Any]
  adapter: PyTree | None


Rehearse = Callable[[PyTree, PyTree, PyTree | None, Sequence[Any], int], str]
"""rehearse(before, after, base, lessons, seed): why a state may not be served, '' where it may."""


class Updater:
  """`rehearse` judges personal candidates, None lets all of them pass. What it refuses the ledger
  hears of, so learning from the log again needs no second judgement."""

  def __init__(
    self,
    student: Student,
    lessons: Lessons,
    loader: Loader,
    metrics: Metrics,
    rehearse: Rehearse | None = None,
  ):
    self.student, self.lessons, self.loader = student, lessons, loader
    self.shelf, self.metrics, self.rehearse = loader.shelf, metrics, rehearse

  def make(self, batch: Batch) -> Candidate:
    """The candidate of a batch: that of before a crash, or the same again.

    Raises Rejected, Damaged (of the parent or the base), OSError, and what the student raises.
    """
    path = self.shelf.name(batch.scope, batch.version)
    if made := self.shelf.candidate(batch):
      return Candidate(path, *made, None)
    began = time.monotonic()
    state, metrics = self.compute(batch)
    self.metrics.train_step.observe(time.monotonic() - began)
    reach('step')
    return Candidate(path, self.shelf.write(batch, state, metrics), metrics, state['adapter'])

  def compute(self, batch: Batch) -> tuple[PyTree, dict[str, Any]]:
    """The State after the batch, with numbers about how it came about."""
    parent = start(self.student, batch.scope)
    if batch.parent_version:
      parent = self.loader.state(batch.scope, batch.parent_version)
    base = self.loader(GLOBAL, batch.base_version) if batch.base_version else None
    try:
      found = self.lessons(batch)
      if not found:
        return parent, {}
      state, outcome = step(self.student, parent, base, found, batch)
    except (ValueError, EngineError) as error:
      if isinstance(error, EngineError) and error.status >= 500:
        raise
      known = isinstance(error, EngineError)
      words = 'not_learned: this model cannot write it' if known else 'it cannot be learned'
      raise Rejected(f'{words}: {error}') from error
    if outcome.rejected:
      raise Rejected(outcome.rejected)
    if infinite(state):
      raise Rejected('the weights are not finite')
    if batch.scope != GLOBAL and self.rehearse:
      began = time.monotonic()
      reason = self.rehearse(parent, state, base, found, batch.rng_seed)
      self.metrics.rehearsal.observe(time.monotonic() - began)
      if reason:
        raise Rejected(reason)
    short = ' '.join(str(seq) for seq, slack in outcome.margins.items() if slack < -SHORT)
    more = {'short': short} if short and batch.scope == GLOBAL else {}
    return state, recorded(outcome.metrics) | more


def recorded(metrics: Mapping[str, Any]) -> dict[str, Any]:
  """Metrics as JSON keeps them, without what is no number."""
  plain = {
    name: value if isinstance(value, str) else float(value) for name, value in metrics.items()
  }
  return {name: x for name, x in plain.items() if isinstance(x, str) or math.isfinite(x)}
