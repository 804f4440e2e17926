"""What one transaction does when a feedback comes in: target, gates, replacement, quorum."""

import json
import sqlite3
from dataclasses import dataclass

from rft_jax.feedback import gates, rows
from rft_jax.feedback.ballots import asked, read_user
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.records import of_user
from rft_jax.feedback.schema import Feedback, Invalid, canonical, validate
from rft_jax.feedback.voting import consider, heard, put_gate, unsettle
from rft_jax.feedback.wishes import wish

HOLD_US = 30_000_000  # how long a feedback waits for an answer that is not there yet


class Conflict(Exception):
  """The id was used for another payload."""


class Refused(Exception):
  """The target belongs to someone else (403), is gone (404), or answers another question than what
  it is compared with (422): `status`."""

  def __init__(self, message: str, status: int):
    super().__init__(message)
    self.status = status


@dataclass(frozen=True)
class Arrival:
  """A feedback with what the server knows about it."""

  feedback: Feedback
  user_id: str
  source: str
  origin: str | None
  recv_us: int

  @property
  def sha256(self) -> str:
    return self.feedback.sha256()


TARGET = """
SELECT m.content, m.parent_id, c.user_id, c.deleted_us, g.finish_reason, g.global_version,
  g.personal_version
FROM message m JOIN conversation c ON c.id = m.conversation_id
LEFT JOIN generation g ON g.message_id = m.id WHERE m.id = ?
"""


def ingest(connection: sqlite3.Connection, arrival: Arrival, now_us: int, rules: Rules) -> bool:
  """Keeps a feedback; False where it was known already.

  Raises Conflict, Refused, or Invalid for a `supersedes` that names no feedback on this answer.
  """
  if known(connection, arrival):
    return False
  target = connection.execute(TARGET, (arrival.feedback.message_id,)).fetchone()
  other_id = arrival.feedback.other_message_id
  other = connection.execute(TARGET, (other_id,)).fetchone() if other_id else target
  if not target or not other:
    hold(connection, arrival)
    return True
  for found in (target, other):
    check_target(found, arrival.user_id)
  store(connection, arrival, target, other, now_us, rules)
  return True


def known(connection: sqlite3.Connection, arrival: Arrival) -> bool:
  """Whether this very feedback is here. Raises Conflict where its id names something else."""
  query = """SELECT payload_sha256, user_id FROM feedback_event WHERE id = :id UNION ALL
    SELECT payload_sha256, user_id FROM pending_target WHERE id = :id"""
  row = connection.execute(query, {'id': arrival.feedback.id}).fetchone()
  if row and tuple(row) != (arrival.sha256, arrival.user_id):
    raise Conflict(f'feedback {arrival.feedback.id} exists with another content')
  return bool(row)


def check_target(target: sqlite3.Row, user_id: str):
  if target['deleted_us'] is not None:
    raise Refused('the conversation of this message was deleted', 404)
  if target['user_id'] != user_id:
    raise Refused('this message belongs to another user', 403)
  if target['finish_reason'] is None:
    raise Refused('this message is not an answer of the model', 404)


def hold(connection: sqlite3.Connection, arrival: Arrival):
  """Keeps a feedback whose answer is not there yet."""
  feedback = arrival.feedback
  payload = {
    'id': feedback.id,
    'target': {'message_id': feedback.message_id},
    'kind': feedback.kind,
    'value': feedback.value,
    'comment': feedback.comment,
    'tags': list(feedback.tags),
    'shown_ms': feedback.shown_ms,
    'supersedes': feedback.supersedes,
  }
  row = {
    'id': feedback.id,
    'payload_sha256': arrival.sha256,
    'payload_json': canonical(payload),
    'user_id': arrival.user_id,
    'source': arrival.source,
    'origin': arrival.origin,
    'recv_us': arrival.recv_us,
    'deadline_us': arrival.recv_us + HOLD_US,
  }
  rows.insert(connection, 'pending_target', row)


def promote(connection: sqlite3.Connection, message_ids: list[str], now_us: int, rules: Rules):
  """Takes in what had been held for these messages."""
  query = 'SELECT * FROM pending_target WHERE rejected IS NULL ORDER BY recv_us, id'
  for row in connection.execute(query).fetchall():
    feedback = validate(json.loads(row['payload_json']))
    if not {feedback.message_id, feedback.other_message_id} & set(message_ids):
      continue
    arrival = Arrival(feedback, row['user_id'], row['source'], row['origin'], row['recv_us'])
    connection.execute('DELETE FROM pending_target WHERE id = ?', (feedback.id,))
    try:
      ingest(connection, arrival, now_us, rules)
    except (Refused, Invalid) as error:
      hold(connection, arrival)
      give_up(connection, feedback.id, str(error))


def give_up(connection: sqlite3.Connection, event_id: str, reason: str):
  query = 'UPDATE pending_target SET rejected = ? WHERE id = ?'
  connection.execute(query, (reason, event_id))


def expire(connection: sqlite3.Connection, now_us: int) -> int:
  """Rejects what has waited too long; how many."""
  query = """UPDATE pending_target SET rejected = 'target: the answer never came'
    WHERE rejected IS NULL AND deadline_us < ?"""
  return connection.execute(query, (now_us,)).rowcount


def store(
  connection: sqlite3.Connection,
  arrival: Arrival,
  target: sqlite3.Row,
  other: sqlite3.Row,
  now_us: int,
  rules: Rules,
):
  """The event, its gates, what it replaces, and what it sets free."""
  feedback = arrival.feedback
  intent = asked(connection, feedback.message_id)
  if target['parent_id'] != other['parent_id']:
    check_same(connection, feedback, intent)
  shaped = bool(target['personal_version'] or other['personal_version'])
  wanted = wish(feedback, target['content'], other['content'], shaped)
  old = to_replace(connection, feedback, arrival.user_id)
  seq = insert_event(connection, arrival, target, (intent, wanted.direction), now_us)
  for event_seq in old:
    replace(connection, event_seq, seq, 'superseded')
    unsettle(connection, event_seq, now_us, rules)
  verdict = gates.personal(feedback, target['content'], target['finish_reason'], rules)
  put_gate(connection, seq, of_user(arrival.user_id), verdict, now_us)
  heard(connection, arrival.user_id, arrival.origin, arrival.recv_us)
  if read_user(connection, arrival.user_id).share_global:
    consider(connection, seq, wanted, verdict, shaped, now_us, rules)


def check_same(connection: sqlite3.Connection, feedback: Feedback, intent: str):
  other = feedback.other_message_id
  if other and asked(connection, other) != intent:
    raise Refused('these two answer different questions: compare answers to the same one', 422)


def insert_event(
  connection: sqlite3.Connection,
  arrival: Arrival,
  target: sqlite3.Row,
  key: tuple[str, str],
  now_us: int,
) -> int:
  """key: its intent and direction."""
  feedback = arrival.feedback
  return rows.insert(
    connection,
    'feedback_event',
    {
      'id': feedback.id,
      'payload_sha256': arrival.sha256,
      'user_id': arrival.user_id,
      'message_id': feedback.message_id,
      'other_message_id': feedback.other_message_id,
      'kind': feedback.kind,
      'value_json': canonical(feedback.value),
      'comment': feedback.comment,
      'tags_json': canonical(feedback.tags),
      'source': arrival.source,
      'recv_us': arrival.recv_us,
      'durable_us': now_us,
      'shown_ms': feedback.shown_ms,
      'intent': key[0],
      'direction': key[1],
      'origin': arrival.origin,
      'global_version': target['global_version'],
      'personal_version': target['personal_version'],
    },
  )


def to_replace(connection: sqlite3.Connection, feedback: Feedback, user_id: str) -> set[int]:
  """The current event of the same user, answer and kind, and the one that `supersedes` names."""
  query = """SELECT seq FROM feedback_current
    WHERE user_id = ? AND message_id = ? AND kind = ?"""
  values = (user_id, feedback.message_id, feedback.kind)
  old = {row['seq'] for row in connection.execute(query, values)}
  if feedback.supersedes:
    query = """SELECT seq, seq IN (SELECT event_seq FROM replaced) AS gone FROM feedback_event
      WHERE id = ? AND user_id = ? AND message_id = ? AND kind != 'retract'"""
    values = (feedback.supersedes, user_id, feedback.message_id)
    named = connection.execute(query, values).fetchone()
    if not named:
      raise Invalid('supersedes names no feedback of yours on this answer', 'supersedes')
    old |= set() if named['gone'] else {named['seq']}
  return old


def replace(connection: sqlite3.Connection, event_seq: int, by_seq: int, how: str):
  rows.insert(connection, 'replaced', {'event_seq': event_seq, 'by_seq': by_seq, 'how': how})
