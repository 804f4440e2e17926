"""Copies of the store, made by the server now and then beside it: `backups/store-<UTC>.db`."""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rft_jax.feedback.store import Store

log = logging.getLogger(__name__)
FORM = 'store-%Y%m%dT%H%M%SZ.db'
LOOK_SECONDS = 60.0  # between looks whether a copy is due


class Backups:
  """At least every `seconds` a copy, of which the last `keep` stay; `keep` 0 makes none."""

  def __init__(
    self, store: Store, seconds: float, keep: int, clock: Callable[[], float] = time.time
  ):
    self.store, self.seconds, self.keep, self.clock = store, seconds, keep, clock
    self.folder = store.db.path.with_name('backups')

  def all(self) -> list[Path]:
    """The oldest first; a copy that was cut short is not among them."""
    return sorted(self.folder.glob('store-*Z.db'))

  def last(self) -> float:
    """When the newest was made, seconds UTC; 0 where there is none."""
    found = self.all()
    return datetime.strptime(found[-1].name, FORM).replace(tzinfo=UTC).timestamp() if found else 0.0

  def due(self) -> bool:
    return self.keep > 0 and self.clock() >= self.last() + self.seconds

  def make(self) -> Path:
    """A durable copy under its final name, whole or not at all; then the oldest go. Blocks."""
    final = self.folder / datetime.fromtimestamp(self.clock(), UTC).strftime(FORM)
    partial = final.with_suffix('.partial')
    self.folder.mkdir(exist_ok=True)
    for stale in self.folder.glob('*.partial'):
      stale.unlink()
    self.store.backup(partial)
    sync(partial)
    partial.rename(final)
    sync(self.folder)
    for old in self.all()[: -self.keep]:
      old.unlink()
    return final


def sync(path: Path):
  """Makes a file, or the names in a folder, durable."""
  handle = os.open(path, os.O_RDONLY)
  try:
    os.fsync(handle)
  finally:
    os.close(handle)


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
