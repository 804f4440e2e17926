"""Feedback as its author sees it: give it once, ask where it is, take it back."""

import dataclasses
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future

from rft_jax.feedback import receipts, rows, verdicts, voting
from rft_jax.feedback.database import Database
from rft_jax.feedback.gates import RELEASED, Rules
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.ingest import Arrival, Refused, expire, give_up, ingest, replace
from rft_jax.feedback.records import GLOBAL, Event, Receipt
from rft_jax.feedback.schema import Feedback, canonical

QUARANTINE = """
UPDATE event_gate SET state = 'quarantined', reasons_json = ?, decided_us = ?
WHERE event_seq = ? AND state IN ('ok', 'held')
"""
RELEASE = f"""
UPDATE event_gate SET state = 'ok', reasons_json = ?, decided_us = ?
WHERE event_seq = ? AND scope = '{GLOBAL}' AND state != 'ok'
"""
REJECT = f"""
UPDATE event_gate SET state = 'rejected', reasons_json = ?, decided_us = ?
WHERE event_seq = ? AND scope = '{GLOBAL}' AND state IN ('ok', 'held', 'quarantined')
"""
LET_GO = """
UPDATE train_batch SET status = 'abandoned', done_us = ?, reason = ?
WHERE status = 'claimed' AND id IN (SELECT batch_id FROM train_item WHERE event_seq = ?)
"""
LET_GO_GLOBAL = f"{LET_GO} AND scope = '{GLOBAL}'"


class Events:
  def __init__(self, db: Database, clock: Callable[[], int], rules: Rules):
    self.db, self.clock, self.rules = db, clock, rules

  def add(
    self,
    feedback: Feedback,
    user_id: str,
    source: str = 'api',
    origin: str | None = None,
    recv_us: int | None = None,
  ) -> Future[Receipt]:
    """Keeps a feedback; the receipt says `duplicate` where it was here already.

    The Future raises Conflict (its id has another payload), Refused (not the user's answer, or
    gone) or Invalid (`supersedes`). `source`: web, api, implicit, sim or shim; `origin`: a hash of
    the sender's address block, if known.
    """
    received = self.clock() if recv_us is None else recv_us
    arrival = Arrival(feedback, user_id, source, origin, received)

    def add_feedback(connection: sqlite3.Connection) -> Receipt:
      fresh = ingest(connection, arrival, self.clock(), self.rules)
      return dataclasses.replace(within(connection, feedback.id), duplicate=not fresh)

    return self.db.write('add_feedback', add_feedback)

  def retract(self, event_id: str, user_id: str) -> Future[Receipt]:
    """Takes a feedback back, by a new event. The Future raises Refused (404, 403)."""

    def retract(connection: sqlite3.Connection) -> Receipt:
      before = receipts.receipt(querying(connection), event_id)
      if not before:
        raise Refused('there is no such feedback', 404)
      if before.user_id != user_id:
        raise Refused('this feedback belongs to another user', 403)
      if before.seq is None:
        give_up(connection, event_id, 'retracted by its author')
      elif before.status not in ('retracted', 'superseded'):
        by = add_retraction(connection, before, self.clock())
        replace(connection, before.seq, by, 'retracted')
        voting.unsettle(connection, before.seq, self.clock(), self.rules)
      return within(connection, event_id)

    return self.db.write('retract', retract)

  def quarantine(self, seqs: Sequence[int], reason: str, actor: str) -> Future[None]:
    """Keeps events from teaching any scope. What they have taught stays until a rollback."""

    def quarantine(connection: sqlite3.Connection):
      now = self.clock()
      for seq in seqs:
        connection.execute(QUARANTINE, (canonical([reason]), now, seq))
        connection.execute(LET_GO, (now, reason, seq))
      verdicts.disown(connection, seqs, 'quarantined', reason)
      for seq in seqs:
        voting.unsettle(connection, seq, now, self.rules)
      rows.audit(connection, actor, 'quarantine', now, seqs=list(seqs), reason=reason)

    return self.db.write('quarantine', quarantine)

  def release(self, seqs: Sequence[int], actor: str) -> Future[int]:
    """Lets events teach everyone without anybody else, whatever held them back; how many that
    changes. Who says the same later is no longer barred."""

    def release(connection: sqlite3.Connection) -> int:
      now = self.clock()
      reasons = canonical([f'{RELEASED}: by an administrator'])
      changed = sum(
        connection.execute(RELEASE, (reasons, now, seq)).rowcount
        for seq in seqs
        if not verdicts.settled(connection, seq)
      )
      verdicts.decide(connection, seqs, 'accepted', RELEASED, now)
      rows.audit(connection, actor, 'release', now, seqs=list(seqs))
      return changed

    return self.db.write('release', release)

  def reject(self, seqs: Sequence[int], reason: str, actor: str) -> Future[int]:
    """What these events want is not for everyone, whoever wants it now or later; they may still
    teach their authors. How many that changes. What they have taught stays until a rollback."""

    def reject(connection: sqlite3.Connection) -> int:
      now, reasons = self.clock(), canonical([f'rejected: {reason}'])
      every = verdicts.decide(connection, seqs, 'rejected', f'rejected: {reason}', now)
      verdicts.disown(connection, every, 'rejected', f'rejected: {reason}')
      changed = 0
      for seq in every:
        changed += connection.execute(REJECT, (reasons, now, seq)).rowcount
        connection.execute(LET_GO_GLOBAL, (now, reason, seq))
      rows.audit(connection, actor, 'reject', now, seqs=list(seqs), reason=reason)
      return changed

    return self.db.write('reject', reject)

  def expire(self) -> Future[int]:
    """Rejects what has waited for its answer for more than 30 s; to be called now and then."""
    return self.db.write('expire', lambda connection: expire(connection, self.clock()))

  def receipt(self, event_id: str) -> Receipt | None:
    return receipts.receipt(self.query, event_id)

  def of_author(self, user_id: str, limit: int = 100) -> list[Receipt]:
    """The newest first."""
    return receipts.of_author(self.query, user_id, limit)

  def seqs(self, user_id: str) -> list[int]:
    found = self.db.read('SELECT seq FROM feedback_event WHERE user_id = ?', user_id)
    return [row['seq'] for row in found]

  def ratings(self, user_ids: Collection[str], until_seq: int) -> dict[str, Counter[int]]:
    """How often users had given each score once event `until_seq` was in: always the same."""
    query = """SELECT user_id, json_extract(value_json, '$.score') AS score FROM feedback_event e
      WHERE user_id = ? AND kind = 'rating' AND seq <= ? AND score IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM replaced r WHERE r.event_seq = e.seq AND r.by_seq <= ?)"""
    found = {user: self.db.read(query, user, until_seq, until_seq) for user in user_ids}
    return {user: Counter(row['score'] for row in scores) for user, scores in found.items()}

  def get(self, seq: int) -> Event | None:
    found = self.db.read('SELECT * FROM feedback_event WHERE seq = ?', seq)
    return rows.event(found[0]) if found else None

  def of_conversation(self, conversation_id: str) -> list[Receipt]:
    """Of the feedback that stands in it, in order."""
    return receipts.of_conversation(self.query, conversation_id)

  def query(self, query: str, values: tuple) -> list[sqlite3.Row]:
    return self.db.read(query, *values)


def querying(connection: sqlite3.Connection) -> receipts.Query:
  return lambda query, values: connection.execute(query, values).fetchall()


def within(connection: sqlite3.Connection, event_id: str) -> Receipt:
  """The receipt as this transaction leaves it."""
  found = receipts.receipt(querying(connection), event_id)
  assert found
  return found


def add_retraction(connection: sqlite3.Connection, of: Receipt, now_us: int) -> int:
  """The event that says that another one no longer counts."""
  row = {
    'id': uuid7(),
    'payload_sha256': '',
    'user_id': of.user_id,
    'message_id': of.message_id,
    'kind': 'retract',
    'value_json': '{}',
    'comment': '',
    'tags_json': '[]',
    'source': 'api',
    'recv_us': now_us,
    'durable_us': now_us,
    'intent': '',
    'direction': '',
    'global_version': of.policy_version,
    'personal_version': 0,
  }
  return rows.insert(connection, 'feedback_event', row)
