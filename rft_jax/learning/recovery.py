"""What must be true before anyone is served: every live version has sound files."""

import contextlib
from collections.abc import Callable

from rft_jax.engine.protocol import EngineError
from rft_jax.feedback.ledger import LedgerError
from rft_jax.feedback.records import GLOBAL, Version, of_user
from rft_jax.feedback.store import Store
from rft_jax.learning.shelf import Damaged, Shelf
from rft_jax.types import PyTree


class Loader:
  """Versions from disk, proved to be those that the ledger knows. As a function it is the engine's
  `load`. Raises LookupError (Damaged); `damaged` then hears of the scope."""

  def __init__(self, store: Store, shelf: Shelf):
    self.store, self.shelf = store, shelf
    self.damaged: Callable[[str], None] = lambda scope: None

  def __call__(self, scope: str, version: int) -> PyTree:
    """The adapter of a version."""
    return self.proved(self.shelf.adapter, scope, version)

  def state(self, scope: str, version: int) -> PyTree:
    """Adapter and optimiser of a version."""
    return self.proved(self.shelf.read, scope, version)

  def proved(self, read: Callable[[str, int, str], PyTree], scope: str, version: int) -> PyTree:
    record = self.store.versions.get(scope, version)
    if record is None:
      raise Damaged(f'{scope} has no version {version}')
    try:
      return read(scope, version, record.sha256)
    except Damaged:
      self.damaged(scope)
      raise


def live_versions(store: Store) -> dict[str, int]:
  """Scope -> version of all that have learned: the routes of an engine that starts."""
  return {
    state.scope: state.live_version for state in store.versions.states() if state.live_version
  }


def mend(
  store: Store, shelf: Shelf, remake: Callable[[str, int], None] | None = None
) -> dict[str, int]:
  """Falls back to sound versions wherever a live one is damaged; {scope: version} of those.

  Files of the global version are read, of the others only looked for: `Loader` reads them when they
  are needed. What a crash left half done, or of erased users, is removed. After a restore the store
  is older than the files: where none of a global version's line is left, `remake(scope, version)`
  makes it again from the log; LedgerError where it cannot.
  """
  shelf.tidy()
  for user in store.users.all():
    if user.deleted_us is not None:
      shelf.forget(of_user(user.id))
  drop_canaries(store, shelf)
  live = live_versions(store)
  if remake and (version := live.get(GLOBAL)) and not ancestor(store, shelf, GLOBAL, proof=True):
    with contextlib.suppress(LedgerError, ValueError, EngineError):
      remake(GLOBAL, version)
  found = {scope: mend_scope(store, shelf, scope, proof=scope == GLOBAL) for scope in live}
  return {scope: version for scope, version in found.items() if version != live[scope]}


def mend_scope(store: Store, shelf: Shelf, scope: str, proof: bool = True) -> int:
  """The live version of a scope, after falling back to its newest sound ancestor where its files
  are damaged; the events that this undoes wait again."""
  live = store.versions.state(scope).live_version
  version = ancestor(store, shelf, scope, proof)
  if version != live:
    reason = f'the files of version {live} are damaged'
    done = store.versions.rollback(scope, version, reason, 'recovery', 'pending', freeze=False)
    done.result()
  return version


def ancestor(store: Store, shelf: Shelf, scope: str, proof: bool) -> int:
  """The live version of a scope, or its newest ancestor that is sound; 0 where none is."""
  version = store.versions.state(scope).live_version
  while version:
    record = store.versions.get(scope, version)
    assert record
    if sound(shelf, record, proof):
      break
    version, proof = record.parent, True
  return version


def drop_canaries(store: Store, shelf: Shelf):
  """A candidate on trial whose files are damaged is given up; its events wait again."""
  for record in store.versions.on_trial(GLOBAL):
    if not sound(shelf, record, proof=True):
      reason = f'the files of version {record.version} are damaged'
      undone = store.versions.rollback(
        GLOBAL, record.parent, reason, 'recovery', 'pending', freeze=False
      )
      undone.result()


def sound(shelf: Shelf, record: Version, proof: bool) -> bool:
  if not proof:
    return shelf.whole(record)
  try:
    shelf.read(record.scope, record.version, record.sha256)
  except Damaged:
    return False
  return True
