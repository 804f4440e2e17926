"""A batch with everything that its events speak of, as the learner needs it."""

import sqlite3

from rft_jax.feedback import rows
from rft_jax.feedback.records import Batch, Generation, Item

ITEMS = """
SELECT e.*, i.role, i.weight, g.ref_logp FROM train_item i
JOIN feedback_event e ON e.seq = i.event_seq
JOIN train_batch b ON b.id = i.batch_id
LEFT JOIN event_gate g ON g.event_seq = e.seq AND g.scope = b.scope
WHERE i.batch_id = ? ORDER BY i.role, e.seq
"""
EXTRA = ('role', 'weight', 'ref_logp')


def read_batch(connection: sqlite3.Connection, batch_id: str) -> Batch:
  """The new events by seq, then the replayed ones."""
  found = connection.execute('SELECT * FROM train_batch WHERE id = ?', (batch_id,)).fetchone()
  items = connection.execute(ITEMS, (batch_id,)).fetchall()
  kept = {name: found[name] for name in found.keys() if name not in ('done_us', 'reason')}
  return Batch(**kept, items=tuple(item(connection, row) for row in items))


def item(connection: sqlite3.Connection, row: sqlite3.Row) -> Item:
  event = rows.event({name: row[name] for name in row.keys() if name not in EXTRA})
  generation = read_generation(connection, event.message_id)
  other = read_generation(connection, event.other_message_id)
  return Item(event, row['role'], row['weight'], row['ref_logp'], generation, other)


def read_generation(connection: sqlite3.Connection, message_id: str | None) -> Generation | None:
  query = 'SELECT * FROM generation WHERE message_id = ?'
  found = connection.execute(query, (message_id,)).fetchone()
  return rows.generation(found) if found else None
