"""Copies of the store, made by the server now and then beside it: `backups/store-<UTC>.db`.

`backups.json` says what was written, so that a copy can be proved whole years later.
"""

import asyncio
import itertools
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rft_jax.feedback.copies import manifest
from rft_jax.feedback.store import Store
from rft_jax.infra.durable import SCRATCH, making, remove
from rft_jax.infra.workdir import read_json, write_json
from rft_jax.registry import UserError

log = logging.getLogger(__name__)
FORM = 'store-%Y%m%dT%H%M%SZ.db'
LOOK_SECONDS = 60.0  # between looks whether a copy is due
PRIVATE = 0o600


class Backups:
  """At least every `seconds` a copy, of which the last `keep` stay; `keep` 0 makes none.

  `clock` may leap: `elapsed` does not, and a copy that is dated later than now is taken for one
  that was made while the clock was wrong.
  """

  def __init__(
    self,
    store: Store,
    seconds: float,
    keep: int,
    clock: Callable[[], float] = time.time,
    elapsed: Callable[[], float] = time.monotonic,
  ):
    self.store, self.seconds, self.keep = store, seconds, keep
    self.clock, self.elapsed = clock, elapsed
    self.waiting_since = elapsed()
    self.folder = store.db.path.with_name('backups')

  def all(self) -> list[Path]:
    """The oldest first, those of a wrong clock before them; none that was cut short."""
    now = self.clock()
    return sorted(listed(self.folder), key=lambda path: (dated(path) <= now, path.name))

  def last(self) -> float:
    """When the newest was made, seconds UTC; 0 where there is none."""
    now = self.clock()
    return max((t for path in listed(self.folder) if (t := dated(path)) <= now), default=0.0)

  def due(self) -> bool:
    """Whether one clock or the other says so."""
    waited = self.elapsed() - self.waiting_since
    return self.keep > 0 and max(waited, self.clock() - self.last()) >= self.seconds

  def make(self) -> Path:
    """A durable copy under its final name, whole or not at all; then the oldest go. Blocks."""
    self.folder.mkdir(exist_ok=True)
    for stale in itertools.chain(self.folder.glob(f'*{SCRATCH}'), self.folder.glob('*.partial')):
      remove(stale)
    final = self.free_name()
    with making(final) as scratch:
      self.store.backup(scratch)
      os.chmod(scratch, PRIVATE)
      written = manifest(scratch)
      self.note({final.name: written})
    self.waiting_since = self.elapsed()
    for old in self.all()[: -self.keep]:
      old.unlink()
    self.note({})
    return final

  def free_name(self) -> Path:
    """Of now, or of the next second that has no copy: the clock may have been here before."""
    seconds = itertools.count(int(self.clock()))
    names = (datetime.fromtimestamp(second, UTC).strftime(FORM) for second in seconds)
    return next(path for name in names if not (path := self.folder / name).exists())

  def note(self, written: dict[str, Any]):
    """Keeps what was written, of the copies that there are and of new ones."""
    known = {path.name for path in listed(self.folder)} | set(written)
    try:
      before = manifests(self.folder)
    except UserError as error:
      log.error('%s', error)
      before = {}
    kept = {name: value for name, value in (before | written).items() if name in known}
    write_json(self.folder.with_suffix('.json'), kept)


def listed(folder: Path) -> list[Path]:
  """The copies in a folder whose names say when they were made."""
  return sorted(path for path in folder.glob('store-*Z.db') if dated(path))


def dated(path: Path) -> float:
  """When a copy was made, by its name; 0 for another name."""
  try:
    return datetime.strptime(path.name, FORM).replace(tzinfo=UTC).timestamp()
  except ValueError:
    return 0.0


def manifests(folder: Path) -> dict[str, Any]:
  """What was written, by the copy's name. Raises UserError where that is damaged."""
  file = folder.with_suffix('.json')
  way_out = 'delete it; copies are then proved by what is in them alone'
  found = read_json(file, way_out)
  if not isinstance(found or {}, dict):
    raise UserError(f'{file} is damaged: {way_out}')
  return found or {}


async def keep_copies(backups: Backups, made: Callable[[float], None]):
  """Makes copies as they become due, until cancelled; `made` hears when the newest one is from.

  One that fails is tried again at the next look; that it is overdue can be seen in the metrics.
  """
  while True:
    if backups.due():
      try:
        await asyncio.to_thread(backups.make)
      except (OSError, sqlite3.Error) as error:
        log.error('no backup in %s: %s', backups.folder, error)
    made(backups.last())
    await asyncio.sleep(LOOK_SECONDS)
