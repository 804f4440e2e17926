"""From a claimed batch to durable files: everything of an update but its publication."""

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from rft_jax.feedback.faults import reach
from rft_jax.feedback.records import GLOBAL, Batch
from rft_jax.feedback.store import Store
from rft_jax.serve.fold import Lessons, Student, infinite, start
from rft_jax.serve.metrics import Metrics
from rft_jax.serve.protocol import EngineError
from rft_jax.serve.shelf import Damaged, Shelf
from rft_jax.types import PyTree


class Rejected(Exception):
  """The candidate must not be used; the reason is of the events, not of the machine."""


class Candidate(NamedTuple):
  """Durable files. `adapter` is None where they were made before a crash."""

  path: str
  sha256: str
  metrics: dict[str, Any]
  adapter: PyTree | None


class Updater:
  def __init__(
    self, store: Store, student: Student, lessons: Lessons, shelf: Shelf, metrics: Metrics
  ):
    self.store, self.student, self.lessons = store, student, lessons
    self.shelf, self.metrics = shelf, metrics

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
    parent = self.parent(batch)
    base = self.adapter(GLOBAL, batch.base_version)
    try:
      found = self.lessons(batch)
      if not found:
        return parent, {}
      outcome = self.student.learn(
        parent, base, found, batch.rng_seed, shared=batch.scope == GLOBAL
      )
    except (ValueError, EngineError) as error:
      raise Rejected(f'it cannot be learned: {error}') from error
    if outcome.rejected:
      raise Rejected(outcome.rejected)
    if infinite(outcome.state):
      raise Rejected('the weights are not finite')
    return outcome.state, recorded(outcome.metrics)

  def parent(self, batch: Batch) -> PyTree:
    if not batch.parent_version:
      return start(self.student, batch.scope)
    return self.shelf.read(batch.scope, batch.parent_version, self.sha256(batch))

  def sha256(self, batch: Batch) -> str:
    record = self.store.versions.get(batch.scope, batch.parent_version)
    assert record
    return record.sha256

  def adapter(self, scope: str, version: int) -> PyTree | None:
    """From disk, None for version 0."""
    if not version:
      return None
    record = self.store.versions.get(scope, version)
    if record is None:
      raise Damaged(f'{scope} has no version {version}')
    return self.shelf.adapter(scope, version, record.sha256)


def recorded(metrics: Mapping[str, Any]) -> dict[str, Any]:
  """Metrics as JSON keeps them, without what is no number."""
  plain = {
    name: value if isinstance(value, str) else float(value) for name, value in metrics.items()
  }
  return {name: x for name, x in plain.items() if isinstance(x, str) or math.isfinite(x)}
