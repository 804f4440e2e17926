"""What a file holds that is, or was, a store, and the proof that it is whole."""

import contextlib
import hashlib
import sqlite3
from pathlib import Path
from typing import Any

from rft_jax.feedback.tables import MIGRATIONS
from rft_jax.registry import UserError

COUNTED = 'feedback_event', 'applied', 'model_version', 'user', 'message'


def opened(path: Path) -> contextlib.closing[sqlite3.Connection]:
  """Reads the file alone, and leaves nothing beside it."""
  uri = path.resolve().as_uri() + '?mode=ro&immutable=1'
  return contextlib.closing(sqlite3.connect(uri, uri=True))


def counts(path: Path) -> dict[str, int]:
  """Rows by table. sqlite3.Error for what is no store."""
  with opened(path) as connection:
    rows = lambda table: connection.execute(f'SELECT count(*) FROM {table}').fetchone()[0]
    return {table: rows(table) for table in COUNTED}


def manifest(path: Path) -> dict[str, Any]:
  """What tells whether a copy is still what was written."""
  with open(path, 'rb') as file:
    sha256 = hashlib.file_digest(file, 'sha256').hexdigest()
  return {'sha256': sha256, 'bytes': path.stat().st_size, **counts(path)}


def verify(path: Path, written: dict[str, Any] | None) -> dict[str, int]:
  """The counts of a copy that is sound, and as it was `written` where that is known. Raises
  UserError for any other."""
  try:
    with opened(path) as connection:
      check_content(connection)
    found = manifest(path)
  except (OSError, sqlite3.Error) as error:
    raise UserError(f'{path} is no sound copy ({error}): use another one') from None
  if written is not None and (wrong := [key for key in written if written[key] != found.get(key)]):
    raise UserError(
      f'{path} is no longer what was written ({", ".join(wrong)} differ): use another one'
    )
  return {table: found[table] for table in COUNTED}


def check_content(connection: sqlite3.Connection):
  """Raises sqlite3.Error."""
  ask = lambda pragma: connection.execute(f'PRAGMA {pragma}').fetchone()
  if (found := ask('integrity_check')[0]) != 'ok':
    raise sqlite3.DatabaseError(found.splitlines()[0])
  if broken := ask('foreign_key_check'):
    raise sqlite3.DatabaseError(f'a row of {broken[0]} refers to nothing')
  if not 0 < ask('user_version')[0] <= len(MIGRATIONS):
    raise sqlite3.DatabaseError(f'a store of version {ask("user_version")[0]}')
