"""What a run reports: metrics.jsonl, samples.jsonl and summary.json in its directory, TensorBoard,
and Weights & Biases where it is set up.

Steps are global: they grow over the stages of a run, and each appears once, also after a resume.
"""

import importlib
import json
import math
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import numpy as np
import tensorboardX

from rft_jax.infra import durable
from rft_jax.infra.workdir import read_json, write_json
from rft_jax.registry import ConfigError

WANDB = ('auto', 'off')


class Metrics:
  """Writers of one run called `name` under `workdir`.

  After a resume from step K, `resume_step=K` drops what was written of later steps (-1: all of it),
  and `resume_stage` what other stages wrote of step K: one begins at the step where the one before
  it ends. None keeps every whole line. Raises ConfigError where `workdir` cannot be written.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    name: str,
    tensorboard: bool = True,
    wandb: str = 'auto',
    config: dict | None = None,
    resume_step: int | None = None,
    resume_stage: str | None = None,
  ):
    if wandb not in WANDB:
      raise ConfigError(f'wandb={wandb!r} must be one of {", ".join(WANDB)}')
    self.workdir = pathlib.Path(workdir)
    try:
      self.workdir.mkdir(parents=True, exist_ok=True)
      self._lines = _reopen(self.workdir / 'metrics.jsonl', resume_step, resume_stage)
      self._samples = _reopen(self.workdir / 'samples.jsonl', resume_step, resume_stage)
    except OSError as error:
      raise ConfigError(
        f'cannot write metrics to {workdir} ({error.strerror}): choose another --workdir'
      ) from error
    self._board = _board(self.workdir, resume_step) if tensorboard else None
    self._wandb = _start_wandb(self.workdir, name, config or {}) if wandb == 'auto' else None

  def log(self, step: int, values: Mapping[str, Any], stage: str = '') -> None:
    """One line {'step', 'stage', 'group/name': float, ...}; what is not finite is null."""
    numbers = {key: float(values[key]) for key in sorted(values)}
    finite = {key: value for key, value in numbers.items() if math.isfinite(value)}
    _write(self._lines, {'step': int(step), 'stage': stage, **numbers})
    if self._board:
      for key, value in finite.items():
        self._board.add_scalar(key, value, int(step))
    if self._wandb:
      self._wandb.log(finite, step=int(step))

  def samples(self, step: int, rows: Sequence[Mapping[str, Any]], stage: str = '') -> None:
    """One line {'step', 'stage', **row} for each of `rows`, which JSON or NumPy values make up."""
    for row in rows:
      _write(self._samples, {'step': int(step), 'stage': stage, **row})

  def summary(self, values: Mapping[str, Any]) -> None:
    """Merges `values` into summary.json."""
    path = self.workdir / 'summary.json'
    before = read_json(path, 'delete it, and run the same command again')
    write_json(path, {**(before or {}), **_plain(values)})
    if self._wandb:
      self._wandb.summary.update(_plain(values))

  def close(self) -> None:
    self._lines.close()
    self._samples.close()
    if self._board:
      self._board.close()
    if self._wandb:
      self._wandb.finish()

  def __enter__(self) -> 'Metrics':
    return self

  def __exit__(self, *_: object) -> None:
    self.close()


def _reopen(path: pathlib.Path, last: int | None, stage: str | None) -> TextIO:
  """`path`, open for more lines, without torn ones and those after step `last` of `stage`."""
  if path.exists():
    with durable.making(path) as scratch, open(path, errors='replace') as old:
      with open(scratch, 'w') as new:
        new.writelines(line for line in old if _stays(line, last, stage))
  return open(path, 'a', buffering=1)


def _stays(line: str, last: int | None, stage: str | None) -> bool:
  try:
    record = json.loads(line)
    before = last is None or record['step'] < last
    here = record['step'] == last and stage in (None, record.get('stage'))
    return line.endswith('\n') and (before or here)
  except (ValueError, KeyError, TypeError):
    return False


def _write(file: TextIO, record: dict) -> None:
  file.write(json.dumps(_plain(record)) + '\n')
  file.flush()


def _plain(value: Any) -> Any:
  """As JSON has it: arrays are lists, what is not finite is null, anything else is text."""
  if isinstance(value, Mapping):
    return {str(key): _plain(entry) for key, entry in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(entry) for entry in value]
  if value is None or isinstance(value, str | bool | int):
    return value
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  array = np.asarray(value)
  return str(value) if array.dtype == object else _plain(array.tolist())


def _board(workdir: pathlib.Path, last: int | None) -> tensorboardX.SummaryWriter:
  """Events above step `last` are hidden by what follows."""
  purge = None if last is None else last + 1
  return tensorboardX.SummaryWriter(str(workdir / 'tensorboard'), purge_step=purge, flush_secs=10)


def _start_wandb(workdir: pathlib.Path, name: str, config: dict) -> Any:
  """A run that resumes under its id; None where it fails, for training matters more."""
  init = _wandb_init()
  if init is None:
    return None
  file = workdir / 'wandb_id'
  try:
    run = init(
      project='rft_jax',
      name=name,
      config=config,
      dir=str(workdir),
      resume='allow',
      id=file.read_text() if file.exists() else None,
    )
    durable.write(file, run.id)
    return run
  except Exception as error:
    print(f'going on without wandb: {(str(error).splitlines() or [error])[0]}', file=sys.stderr)
    return None


def _wandb_init() -> Callable[..., Any] | None:
  """`wandb.init` if installed (not just a folder of that name), configured and not disabled."""
  mode = os.environ.get('WANDB_MODE', 'online')
  if mode == 'disabled' or not (mode == 'offline' or os.environ.get('WANDB_API_KEY')):
    return None
  try:
    return getattr(importlib.import_module('wandb'), 'init', None)
  except ImportError:
    return None
