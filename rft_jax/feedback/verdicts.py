"""Whom the store trusts, and what an administrator's word changes about it."""

import sqlite3
from collections.abc import Sequence

from rft_jax.feedback.ballots import SUPPORTERS


def learn_of(connection: sqlite3.Connection, user_id: str, intent: str, right: bool):
  """Evidence for or against trust in somebody, once for a context: the last word counts."""
  query = 'SELECT right FROM evidence WHERE user_id = ? AND intent = ?'
  before = connection.execute(query, (user_id, intent)).fetchone()
  if before and bool(before['right']) == right:
    return
  query = 'INSERT OR REPLACE INTO evidence VALUES (?, ?, ?)'
  connection.execute(query, (user_id, intent, int(right)))
  up, down = (1, -1 if before else 0) if right else (-1 if before else 0, 1)
  query = 'UPDATE user SET trust_a = trust_a + ?, trust_b = trust_b + ? WHERE id = ?'
  connection.execute(query, (up, down, user_id))


def disown(
  connection: sqlite3.Connection, seqs: Sequence[int], state: str, reason: str, blame: bool = True
):
  """What these events want is not for everyone: a wish that nobody else stands for ends as `state`.
  What somebody said who is muted is for others to say. blame: whoever said so is trusted less."""
  for seq in seqs:
    query = """SELECT e.user_id, e.intent, s.wish_id, u.staff, u.state FROM supporter s
      CROSS JOIN feedback_event e ON e.seq = s.event_seq CROSS JOIN user u ON u.id = e.user_id
      WHERE s.event_seq = ?"""
    found = connection.execute(query, (seq,)).fetchone()
    if not found:
      continue
    values = {'wish': found['wish_id'], 'since': 0}
    if found['state'] != 'muted' and not connection.execute(SUPPORTERS, values).fetchone():
      query = "UPDATE wish SET state = ?, reason = ? WHERE id = ? AND state != 'rejected'"
      connection.execute(query, (state, reason, found['wish_id']))
    if blame and not found['staff']:
      learn_of(connection, found['user_id'], found['intent'], right=False)


def decide(
  connection: sqlite3.Connection, seqs: Sequence[int], state: str, reason: str, now_us: int
) -> list[int]:
  """An administrator's word on what these events want; the seqs of all that want the same."""
  found: set[int] = set()
  for seq in seqs:
    query = (
      'SELECT w.id FROM wish w JOIN feedback_event e USING (intent, direction) WHERE e.seq = ?'
    )
    for (wish_id,) in connection.execute(query, (seq,)).fetchall():
      query = """UPDATE wish SET state = :state, reason = :reason, tries = 0,
        accepted_us = CASE :state WHEN 'accepted' THEN coalesce(accepted_us, :now)
          ELSE accepted_us END WHERE id = :wish"""
      values = {'state': state, 'reason': reason, 'now': now_us, 'wish': wish_id}
      connection.execute(query, values)
      query = 'SELECT event_seq FROM supporter WHERE wish_id = ?'
      found |= {row[0] for row in connection.execute(query, (wish_id,)).fetchall()}
  return sorted(found | set(seqs))


def settled(connection: sqlite3.Connection, seq: int) -> bool:
  """Whether an event was replaced, or is not to be learned by anybody any more."""
  query = """SELECT 1 FROM replaced WHERE event_seq = :seq UNION ALL
    SELECT 1 FROM feedback_event e JOIN user u ON u.id = e.user_id
    WHERE e.seq = :seq AND u.deleted_us IS NOT NULL"""
  return bool(connection.execute(query, {'seq': seq}).fetchone())
