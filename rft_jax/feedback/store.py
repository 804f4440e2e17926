"""The store of a server: users, conversations, feedback, and the ledger of what was learned.

Every write returns a Future that resolves once the change is durable (`.result()` in a thread,
`asyncio.wrap_future` in a coroutine); every read returns at once, with what is durable.
"""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from rft_jax.feedback.agreements import Agreements
from rft_jax.feedback.chats import Chats
from rft_jax.feedback.database import PROVE, Database
from rft_jax.feedback.events import Events
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.ids import now_us
from rft_jax.feedback.ledger import Ledger
from rft_jax.feedback.people import People
from rft_jax.feedback.samples import Samples
from rft_jax.feedback.users import Users
from rft_jax.feedback.versions import Versions

PROOF = (
  'CREATE TABLE proof (room BLOB)',
  'INSERT INTO proof VALUES (zeroblob(262144))',
  'DROP TABLE proof',
)


class Store:
  """The parts share one database: one process writes it, on one thread."""

  def __init__(
    self, path: str | Path, rules: Rules | None = None, clock: Callable[[], int] = now_us
  ):
    """Opens or makes the file at `path`; `clock` gives microseconds UTC.

    UserError where another process writes it, it is damaged, or from a newer version.
    """
    self.rules = rules or Rules()
    self.db = Database(Path(path))
    self.users = Users(self.db, clock, self.rules)
    self.chats = Chats(self.db, clock, self.rules)
    self.events = Events(self.db, clock, self.rules)
    self.agreements = Agreements(self.db, clock, self.rules)
    self.ledger = Ledger(self.db, clock, self.rules)
    self.versions = Versions(self.db, clock)
    self.samples = Samples(self.db, clock)
    self.people = People(self.db)
    self.agreements.file()

  @property
  def healthy(self) -> bool:
    """Whether the last commit that wrote anything succeeded."""
    return not self.db.problem and not self.db.closed

  def prove(self) -> Future[None]:
    """Writes as much as a long answer takes, and takes it back: the Future raises StoreUnavailable
    where the disk is full."""

    def prove(connection: sqlite3.Connection):
      for statement in PROOF:
        connection.execute(statement)

    return self.db.write(PROVE, prove)

  def backup(self, path: str | Path):
    """Writes a sound copy of the file to `path`, which must not exist."""
    self.db.copy(Path(path))

  def close(self):
    """Commits what waits. Writes after this raise StoreUnavailable."""
    self.db.close()
