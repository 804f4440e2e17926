"""Copies of the store put back in its place, while no server runs.

The store that was there stays beside it as `replaced-<UTC>.db`, with its log where that is of use.
"""

import contextlib
import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from rft_jax.feedback import copies
from rft_jax.feedback.database import Lock, check_files
from rft_jax.feedback.store import Store
from rft_jax.infra.durable import making, remove, sync_names
from rft_jax.registry import UserError, nearest
from rft_jax.serve.backups import dated, listed, manifests

ACTOR = 'mode restore'
BESIDE = '-wal', '-shm'
REPLACED = 'replaced-%Y%m%dT%H%M%SZ.db'
SINCE = {
  'erased': 'SELECT id FROM user WHERE deleted_us IS NOT NULL',
  'revoked': 'SELECT id FROM api_key WHERE revoked_us IS NOT NULL',
}


class Copy(NamedTuple):
  """events: -1 where the file cannot be read."""

  path: Path
  size: int
  events: int


class PutBack(NamedTuple):
  """aside: where the store before is now, None where there was none; erased, revoked: users and
  keys that were so there, and are again."""

  counts: dict[str, int]
  aside: Path | None
  erased: list[str]
  revoked: list[str]


def found(folder: Path) -> list[Copy]:
  """Of the server's folder, the oldest first; then stores that copies have replaced."""
  paths = [*listed(folder / 'backups'), *sorted(folder.glob('replaced-*.db'))]
  return [Copy(path, path.stat().st_size, events(path)) for path in paths]


def events(path: Path) -> int:
  try:
    return copies.counts(path)['feedback_event']
  except sqlite3.Error:
    return -1


def named(folder: Path, name: str) -> Path:
  """The copy of a name: one in the list, `latest`, or any file. Raises UserError."""
  known = {copy.path.name: copy.path for copy in found(folder)}
  if name == 'latest' and (made := listed(folder / 'backups')):
    return max(made, key=dated)
  if name in known:
    return known[name]
  if Path(name).is_file():
    return Path(name)
  raise UserError(f'there is no copy {name!r} in {folder}: {nearest(name, known)}')


def verify(folder: Path, path: Path) -> dict[str, int]:
  """Its rows by table. Raises UserError for a copy that is damaged."""
  if path.with_name(path.name + '-wal').exists():
    raise UserError(
      f'{path} has a log beside it, {path.name}-wal: it was not closed, or is damaged; use another'
    )
  return copies.verify(path, manifests(folder / 'backups').get(path.name))


def put_back(folder: Path, path: Path) -> PutBack:
  """Makes a copy the store. At every moment the one or the other is there, whole.

  Raises UserError while a server runs, and for a copy that is damaged.
  """
  store = folder / 'store.db'
  with locked(store):
    counts = verify(folder, path)
    for suffix in ('-wal', '-shm', '.lock'):
      remove(folder / f'{store.name}.tmp{suffix}')
    settle(store)
    with making(store) as scratch:
      shutil.copyfile(path, scratch)
      shutil.copymode(store if store.exists() else path, scratch)
      again = {kind: since(store, scratch, kind) for kind in SINCE}
      repeat(scratch, **again)
      aside = set_aside(store)
  return PutBack(counts, aside, **again)


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
  """Nobody else writes the store meanwhile. Raises UserError while somebody does."""
  lock = Lock(store.with_name(store.name + '.lock'))
  clean = False
  try:
    yield
    clean = True
  finally:
    lock.release(clean=clean or not lock.unclean)


def settle(store: Path):
  """Moves what is in the log into the store, where they belong together and are sound."""
  with contextlib.suppress(UserError, sqlite3.Error):
    check_files(store)
    if store.exists():
      with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()


def since(store: Path, scratch: Path, kind: str) -> list[str]:
  """Users who are erased, or keys that are revoked, in the store and not yet in a copy of it."""
  ids = lambda connection: {row[0] for row in connection.execute(SINCE[kind])}
  everyone = SINCE[kind].split(' WHERE ')[0]
  try:
    with copies.opened(store) as before, copies.opened(scratch) as copy:
      there = {row[0] for row in copy.execute(everyone)}
      return sorted((ids(before) - ids(copy)) & there)
  except sqlite3.Error:
    return []


def repeat(scratch: Path, erased: list[str], revoked: list[str]):
  """What people wanted gone stays gone."""
  if not erased and not revoked:
    return
  with contextlib.closing(Store(scratch)) as store:
    for user_id in erased:
      store.users.erase(user_id, ACTOR).result()
    for key_id in revoked:
      store.users.revoke_key(key_id, ACTOR).result()
  for suffix in (*BESIDE, '.lock'):
    remove(scratch.with_name(scratch.name + suffix))


def set_aside(store: Path) -> Path | None:
  """A second name for the store that is about to be replaced; its log goes with it."""
  aside = free_name(store.parent)
  if store.exists() and store.stat().st_size:
    link(store, aside)
  log = store.with_name(store.name + '-wal')
  if log.exists() and log.stat().st_size:
    log.rename(aside.with_name(aside.name + '-wal'))
  for suffix in BESIDE:
    remove(store.with_name(store.name + suffix))
  sync_names(store.parent)
  return aside if aside.exists() else None


def free_name(folder: Path) -> Path:
  seconds = itertools.count(int(datetime.now(UTC).timestamp()))
  names = (datetime.fromtimestamp(second, UTC).strftime(REPLACED) for second in seconds)
  return next(path for name in names if not (path := folder / name).exists())


def link(path: Path, other: Path):
  """Some file systems have no links."""
  try:
    os.link(path, other)
  except OSError:
    with making(other) as scratch:
      shutil.copyfile(path, scratch)


def check_present(folder: Path):
  """Raises UserError where the store is gone, though what it had learned, or copies of it, are
  there: a new one would forget everybody."""
  store, rest = folder / 'store.db', ('backups/store-*.db', 'replaced-*.db', 'versions/*/v*')
  if store.exists() and store.stat().st_size:
    return
  if left := next((path for form in rest for path in folder.glob(form)), None):
    raise UserError(
      f'{store} is missing, but {left.relative_to(folder)} is there: put a copy of the store back '
      'by --config.mode=restore, or serve in another --workdir'
    )


def described(copy: Copy) -> str:
  made = datetime.fromtimestamp(dated(copy.path) or copy.path.stat().st_mtime, UTC)
  events = f'{copy.events} events' if copy.events >= 0 else 'damaged'
  return f'{copy.path.name}  {made:%Y-%m-%d %H:%M:%S} UTC  {copy.size:>12,} bytes  {events}'


def as_text(counts: dict[str, Any]) -> str:
  return ', '.join(f'{count} {table}' for table, count in counts.items())
