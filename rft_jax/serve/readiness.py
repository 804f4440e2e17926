"""Whether requests can be served, and what that waits for.

A disk that is nearly full takes one write and refuses the next. So the store, once a commit has
failed, counts as ready only when writes that need room have succeeded, and none has failed for a
while.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from rft_jax.engine.protocol import Engine
from rft_jax.feedback.database import StoreUnavailable
from rft_jax.feedback.store import Store
from rft_jax.infra import durable

CALM_SECONDS = 5.0  # without a failure
ROOM = 1 << 20  # bytes that must fit
PROOF_SECONDS = 1.0  # between attempts, while something is wrong


class Readiness:
  def __init__(self, store: Store, engine: Engine, clock: Callable[[], float] = time.monotonic):
    self.store, self.engine, self.clock = store, engine, clock
    self.trouble = ''  # why the store is not ready
    self.failed = -CALM_SECONDS  # when something last failed
    self.seen = store.db.failed

  def waits_for(self) -> list[str]:
    """Empty where all is ready."""
    self.look()
    waits = [] if self.engine.ready else ['the engine: it is starting, or has broken down']
    if self.store.db.closed:
      return [*waits, 'the store: it is closed']
    return [*waits, f'the store: {self.trouble}'] if self.trouble else waits

  def look(self):
    """Notes a commit that failed since the last look."""
    if (failed := self.store.db.failed) != self.seen:
      self.seen = failed
      self.note(f'it cannot write ({self.store.db.problem or "a commit failed"})')

  def note(self, trouble: str):
    self.trouble, self.failed = trouble, self.clock()

  async def prove(self):
    """Whether the trouble is over."""
    self.look()
    if not self.trouble:
      return
    try:
      await asyncio.to_thread(make_room, self.store.db.path.with_name('room'))
      await asyncio.wrap_future(self.store.prove())
    except OSError as error:
      self.note(f'it cannot write ({error.strerror})')
    except StoreUnavailable as error:
      self.note(str(error))
    self.look()
    if self.clock() - self.failed >= CALM_SECONDS:
      self.trouble = ''

  async def keep_proving(self):
    """Until cancelled."""
    while True:
      await asyncio.sleep(PROOF_SECONDS)
      await self.prove()


def make_room(path: Path):
  """Raises OSError where the disk has none."""
  try:
    durable.write(path, bytes(ROOM))
  finally:
    durable.remove(path)
