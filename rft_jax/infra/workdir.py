"""A run's directory: which config it belongs to, and files that are never half-written."""

import copy
import datetime
import json
import os
import pathlib
from typing import Any

from rft_jax.data.templates import SINCE
from rft_jax.infra import durable
from rft_jax.registry import ConfigError

SHOWN = 8
DATE = 'date'


def first_day(path: str | os.PathLike) -> str:
  """The day that the run at `path` began, YYYY-MM-DD; today where there is none yet. Raises
  ConfigError where that cannot be told."""
  file = pathlib.Path(path) / DATE
  if not file.exists():
    return datetime.date.today().isoformat()
  try:
    return datetime.date.fromisoformat(file.read_text().strip()).isoformat()
  except (OSError, ValueError) as error:
    raise ConfigError(
      f'{file} does not hold the day on which the run began ({error}): write it there as YYYY-MM-DD'
    ) from error


def dated(config: Any, path: str | os.PathLike) -> Any:
  """The config with the first day of the run at `path` where it names none."""
  if config.date:
    return config
  config = copy.deepcopy(config)
  config.date = f'{SINCE}{first_day(path)}'
  return config


def open_workdir(
  path: str | os.PathLike, config: dict, ignore: tuple[str, ...] = (), day: str = ''
) -> bool:
  """Makes `path` the directory of a run with `config`; returns whether it was one before.

  `config.json` says what the run is, and `date` when it began: on `day`, by default today. A
  config that differs from it is taken over where only dotted keys under a prefix in `ignore`
  differ. Raises ConfigError where other keys differ, or where `path` cannot be read and written.
  """
  file = pathlib.Path(path) / 'config.json'
  new = json.loads(json.dumps(config, default=str))
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    old = read_json(file, 'restore it, or use another --workdir')
    if old is not None:
      _check_same(file.parent, flatten(old), flatten(new), ignore)
    if old != new:
      write_json(file, new)
    if not (file.parent / DATE).exists():
      durable.write(file.parent / DATE, (day or first_day(path)) + '\n')
  except OSError as error:
    raise ConfigError(
      f'cannot write to workdir {path} ({error.strerror}): choose another --workdir'
    ) from error
  return old is not None


def flatten(config: Any, prefix: str = '') -> dict[str, Any]:
  """{'a': {'b': 1}} -> {'a.b': 1}; lists and empty dicts are values."""
  if not isinstance(config, dict) or not (config or not prefix):
    return {prefix: config}
  flat = {}
  for key, value in config.items():
    flat.update(flatten(value, f'{prefix}.{key}' if prefix else str(key)))
  return flat


def read_json(path: str | os.PathLike, way_out: str) -> Any:
  """What the file at `path` holds, None where there is none. Raises ConfigError with the way out
  where it is damaged, OSError where it cannot be read."""
  try:
    return json.loads(pathlib.Path(path).read_bytes())
  except FileNotFoundError:
    return None
  except ValueError as error:
    raise ConfigError(f'{path} is damaged (not JSON: {error}): {way_out}') from error


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Replaces the file at `path` in one go: whoever reads it sees the old or the new one."""
  durable.write(path, json.dumps(value, indent=2, sort_keys=True) + '\n')


def _check_same(path: pathlib.Path, old: dict, new: dict, ignore: tuple[str, ...]) -> None:
  absent = object()
  say = lambda value: 'absent' if value is absent else json.dumps(value)
  free = lambda key: any(key == name or key.startswith(f'{name}.') for name in ignore)
  differing = [
    key
    for key in sorted({*old, *new})
    if not free(key) and old.get(key, absent) != new.get(key, absent)
  ]
  if not differing:
    return
  lines = [
    f'{key} {say(old.get(key, absent))} -> {say(new.get(key, absent))}' for key in differing[:SHOWN]
  ]
  more = f' and {len(differing) - SHOWN} more' if len(differing) > SHOWN else ''
  raise ConfigError(
    f'workdir {path} belongs to a run with another config: '
    f'{", ".join(lines)}{more}; use another --workdir, or restore those values'
  )
