"""One SQLite file: one connection that writes, on one thread, and readers that see what is durable.

SQLite before 3.51.3 can corrupt a WAL under two writers, so a lock file refuses the second one.
"""

import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rft_jax.feedback.news import News
from rft_jax.feedback.tables import migrate
from rft_jax.infra.faults import reach
from rft_jax.registry import UserError

QUEUE = 1024  # operations that may wait
GROUP = 64  # operations in one transaction
GROUP_SECONDS = 0.002  # after which a transaction takes no more of them
CACHE = 'cache_size=-32000'  # KiB of pages that a connection keeps: a large store is read all over
PRAGMAS = (
  'journal_mode=WAL',
  'synchronous=FULL',
  'busy_timeout=5000',
  'foreign_keys=ON',
  'wal_autocheckpoint=1000',
  CACHE,
)
STEPS = 10_000  # of SQLite's machine, between looks whether a copy is still wanted
RESTORE = 'restore it from a copy by --config.mode=restore'
HEAD = 20  # bytes of a database that say what it is,
WAL_MODE = slice(18, 20)  # and of these whether it keeps a log beside it, as a copy never does
PROVE = 'prove'  # the name of a write that is only to see whether one succeeds
T = TypeVar('T')
Write = Callable[[sqlite3.Connection], T]


class StoreUnavailable(Exception):
  """Nothing was written: the disk is full, the file read-only, the store closed. Try again."""


class StoreBusy(StoreUnavailable):
  """Nothing was written: too many operations wait. Try again later."""


class Job(NamedTuple):
  name: str
  write: Callable[[sqlite3.Connection], Any]
  future: Future


class Database:
  """`write` queues an operation and gives a Future that resolves after its COMMIT; `read` asks."""

  def __init__(self, path: Path):
    """Opens or makes the file. UserError where another process writes it or it is damaged."""
    self.path = path
    self.problem = ''  # why the last commit failed
    self.failed: float | None = None  # when a commit last did, on the monotonic clock
    self.leaving = threading.Event()
    path.parent.mkdir(parents=True, exist_ok=True)
    self.lock = Lock(path.with_name(path.name + '.lock'))
    try:
      self.connection = opened(path, check=self.lock.unclean)
    except BaseException:
      self.lock.release(clean=False)
      raise
    self.news = News(self.connection)
    self.local = threading.local()
    self.jobs: queue.Queue[Job | None] = queue.Queue(QUEUE)
    self.closing = threading.Lock()
    self.closed = False
    self.thread = threading.Thread(target=self.work, name='store-writer', daemon=True)
    self.thread.start()

  def write(self, name: str, write: Write[T]) -> Future[T]:
    """Runs `write(connection)` in a transaction; the Future has its result once that is durable.

    An exception of `write` undoes what it did and goes to the Future. Raises StoreBusy at once
    where 1024 operations wait; the Future raises StoreUnavailable where the commit fails. `name`
    is for fault points.
    """
    future: Future[T] = Future()
    with self.closing:
      if self.closed:
        raise StoreUnavailable('the store is closed')
      try:
        self.jobs.put_nowait(Job(name, write, future))
      except queue.Full:
        raise StoreBusy(f'{QUEUE} writes are waiting already') from None
    return future

  @property
  def reader(self) -> sqlite3.Connection:
    """A connection of this thread that cannot write."""
    if not hasattr(self.local, 'reader'):
      uri = self.path.resolve().as_uri() + '?mode=ro'
      self.local.reader = sqlite3.connect(uri, uri=True, isolation_level=None)
      self.local.reader.row_factory = sqlite3.Row
      self.local.reader.execute('PRAGMA busy_timeout=5000')
      self.local.reader.execute(f'PRAGMA {CACHE}')
    return self.local.reader

  def read(self, query: str, *values: Any) -> list[sqlite3.Row]:
    """The rows of a query, as of the last commit; `values` are positional, or one dict."""
    named = values[0] if values and isinstance(values[0], dict) else values
    return self.reader.execute(query, named).fetchall()

  def copy(self, path: Path):
    """Writes all that is durable now to a file at `path`; gives up where the store is `left`."""
    uri = self.path.resolve().as_uri() + '?mode=ro'
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
      connection.set_progress_handler(self.leaving.is_set, STEPS)
      connection.execute('VACUUM INTO ?', (str(path),))

  def leave(self):
    """Ends copies that are being made: the store is about to close."""
    self.leaving.set()

  def close(self):
    """Commits what waits and releases the file, into which everything is moved."""
    self.leave()
    with self.closing:
      if self.closed:
        return
      self.closed = True
    self.jobs.put(None)
    self.thread.join()
    with contextlib.suppress(sqlite3.Error):
      self.connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    self.connection.close()
    self.lock.release(clean=True)

  def work(self):
    """The life of the writer thread."""
    while (first := self.jobs.get()) is not None:
      group = [first, *self.waiting()]
      group = [job for job in group if job.future.set_running_or_notify_cancel()]
      self.commit([job for job in group if job.name != PROVE])
      for job in group:  # Alone: what it finds must not harm the others.
        if job.name == PROVE:
          self.commit([job])

  def waiting(self) -> Iterator[Job]:
    """What has queued up while the last group was written; nothing is waited for."""
    end = time.monotonic() + GROUP_SECONDS
    with contextlib.suppress(queue.Empty):
      for _ in range(GROUP - 1):
        if time.monotonic() > end:
          return
        if (job := self.jobs.get_nowait()) is None:
          return self.jobs.put(None)  # the end is for `work` to see
        yield job

  def commit(self, group: list[Job]):
    """One transaction for the whole group; each operation in a savepoint of its own."""
    if not group:
      return
    outcomes: list[tuple[Job, Any, Exception | None]] = []
    before = self.connection.total_changes
    try:
      self.connection.execute('BEGIN IMMEDIATE')
      for job in group:
        outcomes.append((job, *attempt(self.connection, job)))
      for job in group:
        reach(f'{job.name}:before')
      self.connection.execute('COMMIT')
    except sqlite3.Error as error:
      self.problem, self.failed = str(error), time.monotonic()
      with contextlib.suppress(sqlite3.Error):
        self.connection.execute('ROLLBACK')
      for job in group:
        job.future.set_exception(StoreUnavailable(f'the store cannot write: {error}'))
      return
    if self.connection.total_changes > before:  # One that wrote nothing proves nothing.
      self.problem = ''
      self.news.durable()
    for job, result, error in outcomes:
      reach(f'{job.name}:after')
      if error:
        job.future.set_exception(error)
      else:
        job.future.set_result(result)


def attempt(connection: sqlite3.Connection, job: Job) -> tuple[Any, Exception | None]:
  """(result, None) or (None, the error), the latter with everything undone that the job did.

  sqlite3.OperationalError is not the job's fault, and passes.
  """
  connection.execute('SAVEPOINT job')
  try:
    result, error = job.write(connection), None
  except sqlite3.OperationalError:
    raise
  except Exception as problem:
    connection.execute('ROLLBACK TO job')
    result, error = None, problem
  connection.execute('RELEASE job')
  return result, error


def opened(path: Path, check: bool) -> sqlite3.Connection:
  """The writing connection; with `check`, or where others have put the file there, it is proved
  sound before anything else."""
  check = check_files(path) or check
  connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
  connection.row_factory = sqlite3.Row
  try:
    for pragma in PRAGMAS:
      connection.execute(f'PRAGMA {pragma}')
    if check and (found := connection.execute('PRAGMA quick_check').fetchone()[0]) != 'ok':
      raise sqlite3.DatabaseError(found)
    migrate(connection)
  except sqlite3.DatabaseError as error:
    connection.close()
    raise UserError(f'{path} cannot be opened ({error}): {RESTORE}') from None
  except UserError:
    connection.close()
    raise
  return connection


def check_files(path: Path) -> bool:
  """Whether the file was put there by other means than this program. Raises UserError where the
  log of another store lies beside it, which SQLite would write into it."""
  log = path.with_name(path.name + '-wal')
  logged = log.exists() and log.stat().st_size > 0
  head = head_of(path)
  ours = head[WAL_MODE] == b'\2\2'
  if logged and not ours:
    what = 'was put there by hand' if head else 'is missing or empty'
    raise UserError(f'{path} {what}, but {log.name} is of the store that was there: {RESTORE}')
  return bool(head) and not ours


def head_of(path: Path) -> bytes:
  if not path.exists():
    return b''
  with open(path, 'rb') as file:
    return file.read(HEAD)


class Lock:
  """Who may write. What the file still says when it is taken tells of an unclean end."""

  def __init__(self, path: Path):
    self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
      fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      owner = os.read(self.file, 40).decode()
      os.close(self.file)
      raise UserError(
        f'{path} is locked by process {owner}: one server writes a store, stop that one first'
      ) from None
    self.unclean = bool(os.read(self.file, 1))
    self.write(str(os.getpid()))

  def write(self, text: str):
    os.ftruncate(self.file, 0)
    os.pwrite(self.file, text.encode(), 0)

  def release(self, clean: bool):
    if clean:
      self.write('')
    os.close(self.file)
