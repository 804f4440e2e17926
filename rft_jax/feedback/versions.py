"""The versions of every scope: what is live, how it came about, and the way back."""

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any

from rft_jax.feedback import rows
from rft_jax.feedback.batches import read_batch
from rft_jax.feedback.database import Database
from rft_jax.feedback.ledger import LedgerError, count_applied, ensure_scope, set_live
from rft_jax.feedback.records import Batch, ScopeState, Version

LINEAGE = """
WITH RECURSIVE line AS (
  SELECT * FROM model_version WHERE scope = :scope AND version = :version
  UNION ALL SELECT v.* FROM model_version v JOIN line ON v.scope = line.scope
    AND v.version = line.parent
)
SELECT version, batch_id FROM line ORDER BY version
"""
DESCENDANTS = """
WITH RECURSIVE line AS (
  SELECT * FROM model_version WHERE scope = :scope AND parent = :version
  UNION ALL SELECT v.* FROM model_version v JOIN line ON v.scope = line.scope
    AND v.parent = line.version
)
SELECT version FROM line WHERE status != 'rolled_back' ORDER BY version
"""


class Versions:
  def __init__(self, db: Database, clock: Callable[[], int]):
    self.db, self.clock = db, clock

  def state(self, scope: str) -> ScopeState:
    """Of any scope; one without feedback yet is at version 0."""
    found = self.db.read('SELECT * FROM scope_state WHERE scope = ?', scope)
    return rows.scope_state(found[0]) if found else ScopeState(scope)

  def states(self) -> list[ScopeState]:
    return [rows.scope_state(row) for row in self.db.read('SELECT * FROM scope_state')]

  def get(self, scope: str, version: int) -> Version | None:
    query = 'SELECT * FROM model_version WHERE scope = ? AND version = ?'
    found = self.db.read(query, scope, version)
    return rows.version(found[0]) if found else None

  def all(self, scope: str | None = None) -> list[Version]:
    """Of one scope, or of all; the newest first."""
    query = 'SELECT * FROM model_version WHERE ?1 IS NULL OR scope = ?1 ORDER BY created_us DESC'
    return [rows.version(row) for row in self.db.read(query, scope)]

  def sizes(self, scope: str) -> dict[int, int]:
    """How many events each version of a scope learned."""
    query = """SELECT v.version, count(*) FROM model_version v
      JOIN train_item i ON i.batch_id = v.batch_id AND i.role = 'new'
      WHERE v.scope = ? GROUP BY v.version"""
    return {row[0]: row[1] for row in self.db.read(query, scope)}

  def served(self, scope: str, version: int) -> Future[None]:
    """Says that answers of this version are given from now on: receipts become `served`."""

    def served(connection: sqlite3.Connection):
      query = """UPDATE model_version SET first_served_us = coalesce(first_served_us, ?)
        WHERE scope = ? AND version <= ? AND status IN ('live', 'retired')"""
      connection.execute(query, (self.clock(), scope, version))

    return self.db.write('served', served)

  def publish(self, scope: str, version: int) -> Future[None]:
    """A canary passed: it becomes live. The Future raises LedgerError where it is none."""

    def publish(connection: sqlite3.Connection):
      query = 'SELECT status FROM model_version WHERE scope = ? AND version = ?'
      found = connection.execute(query, (scope, version)).fetchone()
      if not found or found['status'] != 'canary':
        raise LedgerError(f'version {version} of {scope} is no canary')
      set_live(connection, scope, version, self.clock())

    return self.db.write('publish', publish)

  def canary(
    self, scope: str, version: int, probe: str, passed: bool, detail: dict[str, Any]
  ) -> Future[int]:
    """Keeps the result of one probe."""
    row = {
      'scope': scope,
      'version': version,
      'probe': probe,
      'passed': int(passed),
      'detail_json': json.dumps(detail),
      'created_us': self.clock(),
    }
    return self.db.write('canary', lambda c: rows.insert(c, 'canary_result', row))

  def rollback(
    self,
    scope: str,
    version: int,
    reason: str,
    actor: str,
    events: str = 'quarantined',
    freeze: bool = True,
  ) -> Future[list[int]]:
    """Makes `version`, live or an ancestor of it, live again; the versions that this undoes.

    Their events leave the ledger: `quarantined` ones never teach this scope again, `pending` ones
    wait again. A claimed batch is abandoned. The Future raises LedgerError for another version.
    """
    if events not in ('quarantined', 'pending'):
      raise ValueError(f'events={events!r} must be quarantined or pending')

    def rollback(connection: sqlite3.Connection) -> list[int]:
      ensure_scope(connection, scope)
      check_ancestor(connection, scope, version)
      now = self.clock()
      values = {'scope': scope, 'version': version}
      undone = [row['version'] for row in connection.execute(DESCENDANTS, values).fetchall()]
      for one in undone:
        undo(connection, scope, one, reason, quarantine=events == 'quarantined', now_us=now)
      let_go(connection, scope, f'rolled back: {reason}', now)
      set_live(connection, scope, version, now)
      query = """UPDATE scope_state SET n_events = ?, frozen = max(frozen, ?) WHERE scope = ?"""
      connection.execute(query, (count_applied(connection, scope), int(freeze), scope))
      detail = {'scope': scope, 'version': version, 'reason': reason, 'undone': undone}
      rows.audit(connection, actor, 'rollback', now, **detail, events=events)
      return undone

    return self.db.write('rollback', rollback)

  def freeze(self, scope: str, frozen: bool, actor: str) -> Future[None]:
    """The kill switch: a frozen scope learns nothing, and what it was learning is given up."""

    def freeze(connection: sqlite3.Connection):
      ensure_scope(connection, scope)
      query = 'UPDATE scope_state SET frozen = ? WHERE scope = ?'
      connection.execute(query, (int(frozen), scope))
      if frozen:
        let_go(connection, scope, 'frozen', self.clock())
      rows.audit(connection, actor, 'freeze', self.clock(), scope=scope, frozen=frozen)

    return self.db.write('freeze', freeze)

  def history(
    self, scope: str, exclude_users: Collection[str] = (), exclude_events: Collection[int] = ()
  ) -> list[Batch]:
    """The batches that led to the live version, oldest first: folding them gives its weights.

    Without the events of some users or of some seqs, the fold is a model that never saw them.
    """
    live = self.state(scope).live_version
    found = self.db.read(LINEAGE, {'scope': scope, 'version': live})
    batches = [read_batch(self.db.reader, row['batch_id']) for row in found]
    keep = lambda event: event.user_id not in exclude_users and event.seq not in exclude_events
    return [
      dataclasses.replace(batch, items=tuple(i for i in batch.items if keep(i.event)))
      for batch in batches
    ]


def check_ancestor(connection: sqlite3.Connection, scope: str, version: int):
  query = 'SELECT live_version FROM scope_state WHERE scope = ?'
  live = connection.execute(query, (scope,)).fetchone()[0]
  line = connection.execute(LINEAGE, {'scope': scope, 'version': live}).fetchall()
  if version not in {0, *(row['version'] for row in line)}:
    raise LedgerError(f'version {version} of {scope} is not an ancestor of the live one, {live}')


def undo(
  connection: sqlite3.Connection,
  scope: str,
  version: int,
  reason: str,
  quarantine: bool,
  now_us: int,
):
  """Takes one version out of the ledger."""
  if quarantine:
    query = """UPDATE event_gate SET state = 'rolled_back', reasons_json = ?, decided_us = ?
      WHERE scope = ? AND event_seq IN
        (SELECT event_seq FROM applied WHERE scope = event_gate.scope AND version = ?)"""
    reasons = json.dumps([f'rolled back: {reason}'])
    connection.execute(query, (reasons, now_us, scope, version))
  connection.execute('DELETE FROM applied WHERE scope = ? AND version = ?', (scope, version))
  query = "UPDATE model_version SET status = 'rolled_back' WHERE scope = ? AND version = ?"
  connection.execute(query, (scope, version))


def let_go(connection: sqlite3.Connection, scope: str, reason: str, now_us: int):
  """Gives up what a scope is learning right now."""
  query = """UPDATE train_batch SET status = 'abandoned', done_us = ?, reason = ?
    WHERE scope = ? AND status = 'claimed'"""
  connection.execute(query, (now_us, reason, scope))
