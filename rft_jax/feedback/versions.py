"""The versions of every scope: what is live, how it came about, and the way back."""

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any

from rft_jax.feedback import rows, tries
from rft_jax.feedback.batches import read_batch
from rft_jax.feedback.database import Database
from rft_jax.feedback.ledger import LedgerError, ensure_scope, set_live
from rft_jax.feedback.lineage import (
  LINEAGE,
  Rebuilt,
  add_rebuilt,
  bar,
  let_go,
  live_version,
  recount,
  roll_back,
)
from rft_jax.feedback.records import Batch, ScopeState, Version


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

  def all(self, scope: str | None = None, limit: int = -1, offset: int = 0) -> list[Version]:
    """Of one scope, or of all; the newest first, without limit where it is negative."""
    where, values = ('', ()) if scope is None else ('WHERE scope = ?', (scope,))
    query = f'SELECT * FROM model_version {where} ORDER BY created_us DESC LIMIT ? OFFSET ?'
    return [rows.version(row) for row in self.db.read(query, *values, limit, offset)]

  def on_trial(self, scope: str) -> list[Version]:
    query = "SELECT * FROM model_version WHERE scope = ? AND status = 'canary' ORDER BY version"
    return [rows.version(row) for row in self.db.read(query, scope)]

  def size(self, version: Version) -> int:
    """How many events a version learned."""
    query = "SELECT count(*) FROM train_item WHERE batch_id = ? AND role = 'new'"
    return self.db.read(query, version.batch_id)[0][0]

  def served(self, scope: str, version: int) -> Future[None]:
    """Says that answers of this version are given from now on: receipts become `served`."""

    def served(connection: sqlite3.Connection):
      query = """UPDATE model_version SET first_served_us = ?
        WHERE scope = ? AND version <= ? AND status IN ('live', 'retired')
          AND first_served_us IS NULL"""
      connection.execute(query, (self.clock(), scope, version))

    return self.db.write('served', served)

  def publish(self, scope: str, version: int, unsaid: Collection[int] = ()) -> Future[None]:
    """A canary passed: it becomes live. unsaid: events of its batch that are to be repeated. The
    Future raises LedgerError where it is none."""

    def publish(connection: sqlite3.Connection):
      query = 'SELECT status, batch_id FROM model_version WHERE scope = ? AND version = ?'
      found = connection.execute(query, (scope, version)).fetchone()
      if not found or found['status'] != 'canary':
        raise LedgerError(f'version {version} of {scope} is no canary')
      set_live(connection, scope, version, self.clock())
      tries.published(connection, found['batch_id'], unsaid)

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
      now = self.clock()
      undone = roll_back(connection, scope, version, reason, events == 'quarantined', now)
      query = 'UPDATE scope_state SET frozen = max(frozen, ?) WHERE scope = ?'
      connection.execute(query, (int(freeze), scope))
      detail = {'scope': scope, 'version': version, 'reason': reason, 'undone': undone}
      rows.audit(connection, actor, 'rollback', now, **detail, events=events)
      return undone

    return self.db.write('rollback', rollback)

  def refuse(
    self, version: Version, reason: str, actor: str, held: Sequence[tries.Held] = ()
  ) -> Future[list[int]]:
    """`rollback` of a canary that would do harm, which is nobody's fault: what people agreed on is
    tried again, and holds these answers (see `tries.Held`); else its events never teach
    this scope again. The Future raises LedgerError where it is not on trial."""

    def refuse(connection: sqlite3.Connection) -> list[int]:
      now, scope = self.clock(), version.scope
      why = tries.refuse(connection, version.batch_id, reason, held, now)
      undone = roll_back(
        connection, scope, version.parent, why or reason, bool(why), now, blame=False
      )
      detail = {'scope': scope, 'version': version.parent, 'reason': reason, 'undone': undone}
      events = 'quarantined' if why else 'pending'
      rows.audit(connection, actor, 'rollback', now, **detail, events=events)
      return undone

    return self.db.write('refuse', refuse)

  def reset(self, scope: str, actor: str) -> Future[list[int]]:
    """Back to version 0; nothing that was given to this scope so far will teach it, whether it had
    been learned or not. The versions that this undoes."""

    def reset(connection: sqlite3.Connection) -> list[int]:
      now, reason = self.clock(), 'reset'
      undone = roll_back(connection, scope, 0, reason, True, now)
      query = "SELECT event_seq FROM event_gate WHERE scope = ? AND state IN ('ok', 'held')"
      given = [row['event_seq'] for row in connection.execute(query, (scope,)).fetchall()]
      bar(connection, scope, given, reason, now)
      rows.audit(connection, actor, 'reset', now, scope=scope, undone=undone)
      return undone

    return self.db.write('reset', reset)

  def install(
    self,
    line: Sequence[Rebuilt],
    replaces: ScopeState,
    barred: Collection[int],
    reason: str,
    actor: str,
  ) -> Future[None]:
    """A rebuilt line becomes the history of a scope, and its last version is live.

    It is numbered after every version there is. `barred` seqs never teach this scope again. The
    Future raises LedgerError where what is live is no longer what it `replaces`, or the numbers are
    taken.
    """
    scope = replaces.scope

    def install(connection: sqlite3.Connection):
      now = self.clock()
      if live_version(connection, scope) != replaces.live_version:
        raise LedgerError(f'{scope} has learned since: rebuild it again')
      query = 'SELECT coalesce(max(version), 0) FROM model_version WHERE scope = ?'
      if line and connection.execute(query, (scope,)).fetchone()[0] >= line[0].batch.version:
        raise LedgerError(f'{scope} has learned since: rebuild it again')
      roll_back(connection, scope, 0, reason, False, now)
      bar(connection, scope, barred, reason, now)
      for rebuilt in line:
        add_rebuilt(connection, rebuilt)
      set_live(connection, scope, line[-1].batch.version if line else 0, now)
      recount(connection, scope)
      rows.audit(connection, actor, 'install', now, scope=scope, barred=sorted(barred))

    return self.db.write('install', install)

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

  def lineage(self, scope: str, limit: int = -1) -> list[int]:
    """The live version and those that it descends from, oldest first, without 0; with `limit` only
    so many, the last ones."""
    version = self.state(scope).live_version
    values = {'scope': scope, 'version': version, 'limit': limit}
    return [row['version'] for row in self.db.read(LINEAGE, values)]

  def history(
    self,
    scope: str,
    exclude_users: Collection[str] = (),
    exclude_events: Collection[int] = (),
    version: int | None = None,
  ) -> list[Batch]:
    """The batches that led to the live version, or another, oldest first: folding them gives its
    weights.

    Without the events of some users or of some seqs, the fold is a model that never saw them.
    """
    version = self.state(scope).live_version if version is None else version
    values = {'scope': scope, 'version': version, 'limit': -1}
    found = self.db.read(LINEAGE, values)
    batches = [read_batch(self.db.reader, row['batch_id']) for row in found]
    keep = lambda event: event.user_id not in exclude_users and event.seq not in exclude_events
    return [
      dataclasses.replace(batch, items=tuple(i for i in batch.items if keep(i.event)))
      for batch in batches
    ]
