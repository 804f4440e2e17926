"""What people agreed on and everyone's model has not got yet. A candidate that the canary refuses
is no fault of theirs: their wish is tried again, with more care. One that was learned but does not
come out yet is repeated. Both so many times; what is tried, and how, is a fact of the batch.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence

from rft_jax.feedback import gates, shares
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.records import GLOBAL
from rft_jax.feedback.schema import canonical

RETRIES, REPEATS = 3, 3
HELD = 16  # questions whose answers a try holds where they are
Held = tuple[str, ...]
"""A question and its answer, or the id of a message with a user's question: nothing of their words
is kept apart from what they may erase."""

WISHES = f"""
SELECT DISTINCT w.*, i.again FROM train_batch b JOIN train_item i ON i.batch_id = b.id
JOIN feedback_event e ON e.seq = i.event_seq JOIN wish w USING (intent, direction)
WHERE b.id = ? AND b.scope = '{GLOBAL}'
"""
UNSAID = """
SELECT * FROM wish w WHERE unsaid AND repeats < ? AND state = 'accepted' AND reason = 'quorum'
  AND NOT EXISTS (SELECT 1 FROM wish o WHERE o.intent = w.intent AND o.kind = w.kind
    AND o.state = 'accepted' AND o.accepted_us > w.accepted_us)
ORDER BY repeats, id
"""
TAUGHT = f"""
SELECT e.*, g.weight, g.reasons_json FROM feedback_event e
JOIN event_gate g ON g.event_seq = e.seq AND g.scope = '{GLOBAL}' AND g.state = 'ok'
JOIN applied a ON a.event_seq = e.seq AND a.scope = g.scope
JOIN message m ON m.id = e.message_id JOIN conversation c ON c.id = m.conversation_id
WHERE e.intent = ? AND e.direction = ? AND c.deleted_us IS NULL
  AND e.seq NOT IN (SELECT event_seq FROM replaced) ORDER BY e.seq
"""


def agreed(connection: sqlite3.Connection, batch_id: str) -> sqlite3.Row | None:
  """The wish that a batch is of, where several people agreed on it: only such ones are tried again.
  None for a batch of several wishes, or of what somebody may say alone."""
  found = connection.execute(f'{WISHES} AND (i.role = ? OR again)', (batch_id, 'new')).fetchall()
  return found[0] if len(found) == 1 and found[0]['reason'] == 'quorum' else None


def caution(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> dict[str, object]:
  """How a batch of these events is to be learned: which try it is, and what it holds."""
  query = 'SELECT tries, held_json FROM wish WHERE intent = ? AND direction = ?'
  found = connection.execute(query, (rows[0]['intent'], rows[0]['direction'])).fetchone()
  tried = found and found['tries']
  return {'attempt': tried, 'held_json': found['held_json']} if tried else {}


def refuse(
  connection: sqlite3.Connection, batch_id: str, reason: str, held: Sequence[Held], now_us: int
) -> str:
  """Notes that what a batch has learned was refused. '' where that is tried again; else why its
  events are set aside, for an administrator to read."""
  wish = agreed(connection, batch_id)
  if not wish:
    return reason
  before = [tuple(one) for one in json.loads(wish['held_json'])]
  every = list(dict.fromkeys([*held, *before]))[:HELD]
  query = 'UPDATE wish SET tries = tries + 1, held_json = ? WHERE id = ?'
  connection.execute(query, (json.dumps(every), wish['id']))
  if wish['again'] or wish['tries'] < RETRIES:
    return ''
  why = f'{reason}; tried {wish["tries"] + 1} times'
  query = "UPDATE wish SET state = 'quarantined', reason = ? WHERE id = ?"
  connection.execute(query, (why, wish['id']))
  query = f"""UPDATE event_gate SET state = 'quarantined', reasons_json = ?, decided_us = ?
    WHERE scope = '{GLOBAL}' AND state = 'held'
      AND event_seq IN (SELECT event_seq FROM supporter WHERE wish_id = ?)"""
  connection.execute(query, (canonical([why]), now_us, wish['id']))
  return why


def published(connection: sqlite3.Connection, batch_id: str, unsaid: Collection[int]):
  """A candidate is live; unsaid: events, of its batch or learned before, whose texts it does not
  say."""
  for wish in connection.execute(WISHES, (batch_id,)).fetchall():
    connection.execute('UPDATE wish SET unsaid = 0 WHERE id = ?', (wish['id'],))
  query = """UPDATE wish SET unsaid = 1 WHERE (intent, direction) IN
    (SELECT intent, direction FROM feedback_event WHERE seq = ?)"""
  connection.executemany(query, [(seq,) for seq in unsaid])


def repeated(connection: sqlite3.Connection, batch_id: str):
  """Counts the repetition that a batch was, if it was one."""
  for wish in connection.execute(f'{WISHES} AND again', (batch_id,)).fetchall():
    connection.execute('UPDATE wish SET repeats = repeats + 1 WHERE id = ?', (wish['id'],))


def unsaid(
  connection: sqlite3.Connection, limit: int, now_us: int, rules: Rules
) -> list[sqlite3.Row]:
  """The events of a wish that is to be repeated, one of each person; none where there is none."""
  for wish in connection.execute(UNSAID, (REPEATS,)).fetchall():
    found = connection.execute(TAUGHT, (wish['intent'], wish['direction'])).fetchall()
    owner = shares.owners(connection, found, now_us, rules)
    given = {owner[row['seq']]: row for row in reversed(found)}
    some = sorted(given.values(), key=lambda row: row['seq'])[:limit]
    if len(some) >= rules.quorum and gates.fair([owner[row['seq']] for row in some], rules):
      return some
  return []
