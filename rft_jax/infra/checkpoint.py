"""Checkpoints of a run: pytrees of arrays with a little JSON beside them, one directory per step.

A save happens in the background under a temporary name and is renamed once complete, so that a run
that dies at any moment leaves every earlier checkpoint loadable.
"""

import contextlib
import json
import logging
import math
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from rft_jax.infra import leaves
from rft_jax.registry import UserError
from rft_jax.types import PyTree

COMPLETE = 'commit_success.txt'
RESERVED = ('data', 'metrics')


class CheckpointError(UserError):
  """A checkpoint that cannot be written or read: one line with place, reason and way out."""


class Checkpoints:
  """The checkpoints under `directory`: the last `keep`, and the one with the largest `best_metric`.

  Not thread-safe. Raises CheckpointError where the directory cannot be made or looked into.
  """

  def __init__(self, directory: str | os.PathLike, keep: int = 3, best_metric: str | None = None):
    if keep < 1:
      raise CheckpointError(f'keep={keep} would delete every checkpoint: use 1 or more')
    self.directory = os.path.abspath(directory)
    self.best_metric = best_metric
    with _explained(self._opening):
      os.makedirs(self.directory, exist_ok=True)
      self._store = ocp.training.Checkpointer(
        self.directory, context=_context(), preservation_policy=self._policy(keep)
      )

  def save(
    self,
    step: int,
    arrays: dict[str, PyTree],
    data: dict | None = None,
    metrics: dict[str, float] | None = None,
  ) -> bool:
    """Starts to save `arrays` (which may be donated at once) and `data`; waits for the save before.

    Returns False, and changes nothing, where `step` is saved already. Raises CheckpointError where
    writing, or the save before, failed; ValueError if `data` is not JSON or a name is taken.
    """
    if clash := set(arrays) & set(RESERVED):
      raise ValueError(f'arrays cannot be called {clash.pop()!r}: it is reserved, use another name')
    items = {**jax.tree.map(leaves.storable, arrays), 'data': leaves.plain(data or {})}
    numbers: Any = {name: float(value) for name, value in (metrics or {}).items()} or None
    self.wait()
    if step in self.steps():
      return False
    with _explained(self._writing):
      if not os.access(self.directory, os.W_OK):
        raise PermissionError('not writable')
      remains = os.path.exists(self.path(step))
      self._store.save_checkpointables_async(
        step, items, metrics=numbers, force=True, overwrite=remains
      )
    return True

  def restore(
    self, step: int | None = None, abstract: dict[str, PyTree] | None = None
  ) -> tuple[int, dict[str, PyTree], dict]:
    """The step (the latest if None), its arrays and its data, bit for bit as they were saved.

    `abstract` names the arrays that are wanted; a leaf (an array or a ShapeDtypeStruct) says shape,
    dtype and sharding, which need not be the one that was saved; without a sharding it goes to the
    first device. NumPy leaves stay NumPy. Raises CheckpointError where there is no such step, it is
    damaged, or a shape or dtype differs.
    """
    self.wait()
    found = self._existing(step)
    wanted = jax.tree.map(leaves.abstract, abstract or {})
    with _explained(lambda reason: self._damaged(found, reason)):
      stored = self._store.checkpointables_metadata(found).metadata
      if lost := [name for name in wanted if name in stored and stored[name] is None]:
        raise ValueError(f'its list of {lost[0]!r} is lost')
    self._check_fit(found, stored, wanted)
    with _explained(lambda reason: self._damaged(found, reason)):
      loaded = self._store.load_checkpointables(found, {**wanted, 'data': None})
    return found, {name: loaded[name] for name in wanted}, loaded['data']

  def steps(self) -> list[int]:
    """The steps that are complete, in order."""
    found = sorted(info.step for info in self._store.checkpoints)
    return [step for step in found if os.path.exists(os.path.join(self.path(step), COMPLETE))]

  def latest(self) -> int | None:
    return max(self.steps(), default=None)

  def best(self) -> int | None:
    """The step with the largest `best_metric`, the later of equals; None if there is none."""
    values = {info.step: self._value(info.metrics) for info in self._store.checkpoints}
    rated = [step for step in self.steps() if values[step] > -math.inf]
    return max(rated, key=lambda step: (values[step], step), default=None)

  def path(self, step: int) -> str:
    return os.path.join(self.directory, str(step))

  def wait(self) -> None:
    """Returns when the last save is on disk. Raises CheckpointError where it failed."""
    with _explained(self._writing):
      self._store.wait()

  def close(self) -> None:
    with _explained(self._writing):
      self._store.close()

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def _policy(self, keep: int) -> Any:
    policies = ocp.training.preservation_policies
    best = policies.BestN(
      get_metric_fn=self._value,
      n=1 if self.best_metric else 0,
      keep_checkpoints_without_metrics=False,
    )
    return policies.AnyPreservationPolicy([policies.LatestN(keep), best])

  def _value(self, metrics: Any) -> float:
    value = (metrics or {}).get(self.best_metric, -math.inf)
    return -math.inf if math.isnan(value) else value

  def _existing(self, step: int | None) -> int:
    steps = self.steps()
    if not steps:
      raise CheckpointError(
        f'no complete checkpoint in {self.directory}: train first, or name another --workdir'
      )
    if step is not None and step not in steps:
      raise CheckpointError(
        f'no checkpoint of step {step} in {self.directory}: use one of {", ".join(map(str, steps))}'
      )
    return steps[-1] if step is None else step

  def _check_fit(self, step: int, stored: dict, wanted: dict) -> None:
    for name in wanted:
      there, here = leaves.shapes(stored.get(name)), leaves.shapes(wanted[name])
      for leaf in [*here, *there]:
        if here.get(leaf) != there.get(leaf):
          full = '/'.join(filter(None, (name, leaf)))
          raise CheckpointError(
            f'checkpoint {self.path(step)} does not fit: {full} is {there.get(leaf, "absent")} '
            f'there and {here.get(leaf, "absent")} here; use the config that it was written with, '
            'or another --workdir'
          )

  def _opening(self, reason: str) -> str:
    for metrics in pathlib.Path(self.directory).glob('*/metrics/metrics'):
      try:
        json.loads(metrics.read_text())
      except ValueError:
        return (
          f'checkpoint {metrics.parent.parent} is damaged ({reason}): delete it to resume '
          'from the step before, or start afresh in another --workdir'
        )
    return f'cannot open {self.directory} for checkpoints ({reason}): choose another --workdir'

  def _writing(self, reason: str) -> str:
    return (
      f'cannot write a checkpoint to {self.directory} ({reason}): '
      'make room and permit writing there, or choose another --workdir'
    )

  def _damaged(self, step: int, reason: str) -> str:
    earlier = max((other for other in self.steps() if other < step), default=None)
    then = 'begin anew' if earlier is None else f'resume from step {earlier}'
    return (
      f'checkpoint of step {step} cannot be read ({reason}): delete {self.path(step)} '
      f'to {then}, or start afresh in another --workdir'
    )


def _context() -> ocp.Context:
  """Orbax takes any dict for arrays; what is called 'data' is to be JSON."""
  context = ocp.Context()
  context.checkpointables.registry = ocp.handlers.local_registry()
  context.checkpointables.registry.add(ocp.handlers.JsonHandler, checkpointable_name='data')
  return context


@contextlib.contextmanager
def _explained(message: Callable[[str], str]) -> Iterator[None]:
  """Turns any error into CheckpointError(message(reason)), and keeps Orbax from logging it too."""
  logger = logging.getLogger('absl')
  level = logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    with warnings.catch_warnings(action='ignore'):
      yield
  except Exception as error:
    raise CheckpointError(message(_reason(error))) from error
  finally:
    logger.setLevel(level)


def _reason(error: BaseException) -> str:
  while error.__cause__ is not None:
    error = error.__cause__
  first = (str(error).strip().splitlines() or [''])[0]
  return f'{type(error).__name__}: {first[:100]}'
