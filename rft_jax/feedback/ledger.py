"""The ledger of what has been learned: every event has its effect on a scope exactly once.

    claim      tx1: pick events, give them to a batch
    (learner)  compute from the parent's weights, make the files of the candidate durable
    apply      tx2: version, ledger rows, batch and live version in one transaction

After a crash `recover` gives the claimed batch again, to be redone or rolled forward; there is no
moment at which weights and ledger disagree.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from rft_jax.feedback import rows, shares, tries
from rft_jax.feedback.batches import add_replay, open_batch, read_batch
from rft_jax.feedback.database import Database
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.records import GLOBAL, Batch, Version
from rft_jax.feedback.verdicts import disown

CLAIMED = """
EXISTS (SELECT 1 FROM train_batch b JOIN train_item i ON i.batch_id = b.id
  WHERE b.scope = w.scope AND b.status = 'claimed' AND i.event_seq = w.event_seq)
"""
OLDEST = """
SELECT e.durable_us FROM waiting w CROSS JOIN feedback_event e ON e.seq = w.event_seq
WHERE {where} NOT {claimed} ORDER BY w.event_seq LIMIT 1
"""
IN_HAND = """
SELECT count(*) FROM train_batch b JOIN train_item i ON i.batch_id = b.id
JOIN waiting w ON w.scope = b.scope AND w.event_seq = i.event_seq WHERE b.status = 'claimed'
"""
BACKLOG = f"""
SELECT (SELECT events FROM backlog WHERE scope = '') - ({IN_HAND}),
  ({OLDEST.format(where='', claimed=CLAIMED)})
"""
PENDING = f"""
SELECT * FROM (
  SELECT s.scope, s.events - ({IN_HAND} AND b.scope = s.scope),
    ({OLDEST.format(where='w.scope = s.scope AND', claimed=CLAIMED)}) AS oldest
  FROM backlog s WHERE s.scope != ''
) WHERE oldest IS NOT NULL ORDER BY oldest
"""
NEXT = """
SELECT e.*, g.weight, g.reasons_json, x.tries FROM waiting w
CROSS JOIN feedback_event e ON e.seq = w.event_seq
CROSS JOIN event_gate g ON g.event_seq = w.event_seq AND g.scope = w.scope
LEFT JOIN wish x ON x.intent = e.intent AND x.direction = e.direction
WHERE w.scope = ? ORDER BY w.event_seq LIMIT ?
"""
BUSY = """
SELECT 1 FROM train_batch WHERE scope = :scope AND status = 'claimed'
UNION ALL SELECT 1 FROM model_version WHERE scope = :scope AND status = 'canary'
UNION ALL SELECT 1 FROM scope_state WHERE scope = :scope AND frozen
"""


class LedgerError(Exception):
  """The ledger is not in the state that this needs; nothing was changed."""


class Pending(NamedTuple):
  """What waits for a scope; `oldest_us`: when what came first was durable."""

  scope: str
  events: int
  oldest_us: int


class Backlog(NamedTuple):
  """What waits for all scopes together."""

  events: int
  oldest_us: int | None


class Ledger:
  def __init__(self, db: Database, clock: Callable[[], int], rules: Rules):
    self.db, self.clock, self.rules = db, clock, rules

  def backlog(self) -> Backlog:
    """The sum of what is pending; at once, however many scopes there are."""
    return Backlog(*self.db.read(BACKLOG)[0])

  def pending(self) -> list[Pending]:
    """Scopes with events that wait, the longest waiting first; without those of a claimed batch."""
    return [Pending(*row) for row in self.db.read(PENDING)]

  def unlearned(self, scope: str) -> int:
    """Events of a scope that wait or are being learned."""
    found = self.db.read('SELECT events FROM backlog WHERE scope = ?', scope)
    return found[0][0] if found else 0

  def is_training(self) -> bool:
    """Whether a batch is claimed, of any scope."""
    return bool(self.db.read("SELECT 1 FROM train_batch WHERE status = 'claimed' LIMIT 1"))

  def repeats(self) -> bool:
    """Whether there is something that everyone's model has learned and is to learn again."""
    return bool(self.db.read(f'{tries.UNSAID} LIMIT 1', tries.REPEATS))

  def taken_back(self) -> dict[str, int]:
    """Users' scopes that have learned what its author has taken back since, with the first version
    that did."""
    query = 'SELECT scope, min(version) FROM taken_back GROUP BY scope'
    return dict(tuple(row) for row in self.db.read(query))

  def learned_otherwise(self, config_sha: str) -> int:
    """How many applied batches were learned with other settings."""
    query = "SELECT count(*) FROM train_batch WHERE status = 'applied' AND config_sha != ?"
    return self.db.read(query, config_sha)[0][0]

  def claim(
    self, scope: str, limit: int = 8, replay: int = 0, config_sha: str = ''
  ) -> Future[Batch | None]:
    """tx1: a batch of up to `limit` waiting events, oldest first, and `replay` learned ones. Where
    nothing waits for everyone's model, what it has learned and does not say is learned again.

    None where nothing waits, a batch is claimed already, a canary is out, or the scope is frozen.
    """

    def claim(connection: sqlite3.Connection) -> Batch | None:
      ensure_scope(connection, scope)
      if connection.execute(BUSY, {'scope': scope}).fetchone():
        return None
      now = self.clock()
      new = connection.execute(NEXT, (scope, -1 if scope == GLOBAL else limit)).fetchall()
      role, caution = 'new', {}
      if scope == GLOBAL:
        new = shares.chosen(connection, new, limit, now, self.rules)
        if not new:
          role, new = 'again', tries.unsaid(connection, limit, now, self.rules)
        caution = tries.caution(connection, new) if new else {}
      if not new:
        return None
      batch_id = open_batch(connection, scope, new, config_sha, now, role, caution)
      add_replay(connection, read_batch(connection, batch_id), replay, now, self.rules)
      return read_batch(connection, batch_id)

    return self.db.write('claim', claim)

  def apply(
    self, batch: Batch, path: str, sha256: str, metrics: dict[str, Any], publish: bool = True
  ) -> Future[Version]:
    """tx2: the durable candidate at `path` becomes version `batch.version`, live with `publish`.

    Without `publish` it is a canary until `versions.publish` or a rollback. The Future raises
    LedgerError where the batch is no longer claimed (a rollback or freeze came between), and
    sqlite3.IntegrityError where an event had been applied to this scope before.
    """

    def apply(connection: sqlite3.Connection) -> Version:
      state = claimed(connection, batch)
      now = self.clock()
      add_version(connection, batch, path, sha256, metrics, now)
      query = """INSERT INTO applied SELECT event_seq, ?, ? FROM train_item
        WHERE batch_id = ? AND role = 'new'"""
      learned = connection.execute(query, (batch.scope, batch.version, batch.id)).rowcount
      end_batch(connection, batch.id, 'applied', '', now)
      tries.repeated(connection, batch.id)
      if publish:
        set_live(connection, batch.scope, batch.version, now)
      kl = metrics.get('kl_to_ref', state['kl_to_ref'])
      query = 'UPDATE scope_state SET kl_to_ref = ?, n_events = n_events + ? WHERE scope = ?'
      connection.execute(query, (kl, learned, batch.scope))
      query = 'SELECT * FROM model_version WHERE scope = ? AND version = ?'
      found = connection.execute(query, (batch.scope, batch.version)).fetchone()
      return rows.version(found)

    return self.db.write('apply', apply)

  def abandon(self, batch: Batch, reason: str) -> Future[None]:
    """Gives a claimed batch up; its events wait again."""

    def abandon(connection: sqlite3.Connection):
      claimed(connection, batch)
      end_batch(connection, batch.id, 'abandoned', reason, self.clock())

    return self.db.write('abandon', abandon)

  def reject(self, batch: Batch, reason: str, seqs: Sequence[int] | None = None) -> Future[None]:
    """A guard refused the candidate: `seqs` (all new events by default) may not teach this scope,
    the others wait again; all do where people agreed on them and they are tried again."""
    guilty = [i.event.seq for i in batch.items if i.role == 'new'] if seqs is None else seqs

    def reject(connection: sqlite3.Connection):
      claimed(connection, batch)
      now = self.clock()
      end_batch(connection, batch.id, 'rejected', reason, now)
      tries.repeated(connection, batch.id)
      why = reason if seqs else tries.refuse(connection, batch.id, reason, (), now)
      for seq in guilty if why else ():
        query = """UPDATE event_gate SET state = 'quarantined', reasons_json = ?, decided_us = ?
          WHERE event_seq = ? AND scope = ?"""
        connection.execute(query, (json.dumps([why]), now, seq, batch.scope))
      if batch.scope == GLOBAL and why:
        disown(connection, guilty, 'quarantined', why, blame=False)

    return self.db.write('reject', reject)

  def parts(self, batch_id: str) -> int:
    """In how many a batch can be learned: what several people want needs all of them."""
    query = """SELECT count(DISTINCT
        CASE WHEN b.scope = ? AND g.reasons_json = '["quorum"]' AND ? > 1
        THEN e.intent || ' ' || e.direction ELSE e.seq END)
      FROM train_item i JOIN train_batch b ON b.id = i.batch_id
      JOIN feedback_event e ON e.seq = i.event_seq
      LEFT JOIN event_gate g ON g.event_seq = e.seq AND g.scope = b.scope
      WHERE i.batch_id = ? AND i.role = 'new'"""
    return self.db.read(query, GLOBAL, self.rules.quorum, batch_id)[0][0]

  def recover(self) -> list[Batch]:
    """The batches that were claimed when the last process ended: redo or roll forward each."""
    found = self.db.read("SELECT id FROM train_batch WHERE status = 'claimed' ORDER BY claimed_us")
    return [read_batch(self.db.reader, row['id']) for row in found]

  def set_ref_logp(self, scope: str, values: dict[int, float]) -> Future[None]:
    """Keeps the reference's log-prob of answers, by event seq, which is computed once."""

    def set_ref_logp(connection: sqlite3.Connection):
      query = 'UPDATE event_gate SET ref_logp = ? WHERE event_seq = ? AND scope = ?'
      connection.executemany(query, [(value, seq, scope) for seq, value in values.items()])

    return self.db.write('set_ref_logp', set_ref_logp)


def ensure_scope(connection: sqlite3.Connection, scope: str):
  connection.execute('INSERT OR IGNORE INTO scope_state VALUES (?, 0, 0, 0, 0)', (scope,))


def claimed(connection: sqlite3.Connection, batch: Batch) -> sqlite3.Row:
  """The state of a batch's scope. Raises LedgerError where the batch may not end this way."""
  query = """SELECT b.status, s.* FROM train_batch b JOIN scope_state s ON s.scope = b.scope
    WHERE b.id = ?"""
  row = connection.execute(query, (batch.id,)).fetchone()
  if not row or row['status'] != 'claimed':
    raise LedgerError(f'batch {batch.id} is {row["status"] if row else "unknown"}, not claimed')
  if row['live_version'] != batch.parent_version:
    raise LedgerError(f'batch {batch.id} starts from {batch.parent_version}, not from what is live')
  return row


def add_version(
  connection: sqlite3.Connection,
  batch: Batch,
  path: str,
  sha256: str,
  metrics: dict[str, Any],
  now_us: int,
):
  row = {
    'scope': batch.scope,
    'version': batch.version,
    'parent': batch.parent_version,
    'batch_id': batch.id,
    'path': path,
    'sha256': sha256,
    'status': 'canary',
    'metrics_json': json.dumps(metrics),
    'created_us': now_us,
  }
  rows.insert(connection, 'model_version', row)


def end_batch(connection: sqlite3.Connection, batch_id: str, status: str, reason: str, now_us: int):
  query = 'UPDATE train_batch SET status = ?, reason = ?, done_us = ? WHERE id = ?'
  connection.execute(query, (status, reason, now_us, batch_id))


def set_live(connection: sqlite3.Connection, scope: str, version: int, now_us: int):
  """The one place where another version becomes the one that is served."""
  query = "UPDATE model_version SET status = 'retired' WHERE scope = ? AND status = 'live'"
  connection.execute(query, (scope,))
  query = """UPDATE model_version SET status = 'live', published_us = coalesce(published_us, ?)
    WHERE scope = ? AND version = ?"""
  connection.execute(query, (now_us, scope, version))
  query = 'UPDATE scope_state SET live_version = ? WHERE scope = ?'
  connection.execute(query, (version, scope))


def count_applied(connection: sqlite3.Connection, scope: str) -> int:
  query = 'SELECT count(*) FROM applied WHERE scope = ?'
  return connection.execute(query, (scope,)).fetchone()[0]
