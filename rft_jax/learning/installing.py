"""Versions made again from the log: one whose files are gone, or a whole history without a user."""

from rft_jax.feedback.ledger import LedgerError
from rft_jax.feedback.lineage import Rebuilt
from rft_jax.feedback.records import GLOBAL
from rft_jax.feedback.store import Store
from rft_jax.learning.fold import Rebuild, line, new
from rft_jax.learning.shelf import Shelf
from rft_jax.registry import UserError


def pruned(store: Store, shelf: Shelf, scope: str, version: int) -> bool:
  """Whether a version is in the ledger but no longer on disk."""
  record = store.versions.get(scope, version)
  return record is not None and not shelf.whole(record)


def restore(rebuild: Rebuild, shelf: Shelf, scope: str, version: int):
  """Makes the files of a version again, the same bytes. LedgerError where they would be others, as
  when a user was erased whose feedback it had learned."""
  record = rebuild.store.versions.get(scope, version)
  assert record
  batches = rebuild.history(scope, version)
  state = rebuild.last(scope, batches)
  if not batches or shelf.write(batches[-1], state, record.metrics) != record.sha256:
    shelf.discard(scope, version)
    raise LedgerError(f'version {version} of {scope} cannot be made again: what it learned is gone')


def install(rebuild: Rebuild, shelf: Shelf, scope: str, actor: str) -> int:
  """Replaces a scope's history by the rebuilt one; the version that is live then.

  Raises LedgerError where the scope has learned meanwhile, UserError for a personal scope.
  """
  store = rebuild.store
  if scope != GLOBAL:
    raise UserError(f'{scope} learns from one user: reset it, or rebuild global without a user')
  before = store.versions.state(scope)
  old = rebuild.history(scope)
  records = {record.batch_id: record for record in store.versions.all(scope)}
  batches = line(old, max((record.version for record in records.values()), default=0) + 1)
  rebuilt = []
  for batch, state, origin in zip(batches, rebuild.states(scope, batches), old, strict=True):
    sha256 = shelf.write(batch, state, records[origin.id].metrics)
    rebuilt.append(Rebuilt(batch, shelf.name(scope, batch.version), sha256, origin.id))
  kept = {seq for batch in old for seq in new(batch.items)}
  was = {seq for batch in store.versions.history(scope) for seq in new(batch.items)}
  reason = 'excluded from the rebuilt history'
  store.versions.install(rebuilt, before, was - kept, reason, actor).result()
  return store.versions.state(scope).live_version
