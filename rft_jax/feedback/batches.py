"""Batches: which events are in one, and everything that they speak of, as the learner needs it."""

import hashlib
import json
import random
import sqlite3
from collections.abc import Iterable, Mapping

from rft_jax.feedback import rows, shares
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import GLOBAL, Batch, Generation, Item

POOL = 8  # times as many learned events are looked through as are repeated
RECENT = 16  # votes of a user that are repeated: with older ones they may disagree by now
REMEMBERED = 1000  # learned events of a scope that are looked through for what to repeat
REPLAYABLE = f"""
SELECT json_group_array(seq) FILTER (WHERE written),
  json_group_array(seq) FILTER (WHERE NOT written)
FROM (
  SELECT e.seq, e.kind IN ('edit', 'critique') AS written,
    row_number() OVER (PARTITION BY e.user_id, e.kind, e.intent ORDER BY e.seq DESC) AS of_intent,
    row_number() OVER (
      PARTITION BY e.user_id, e.kind IN ('edit', 'critique') ORDER BY e.seq DESC
    ) AS of_user
  FROM (SELECT * FROM applied WHERE scope = ? ORDER BY version DESC LIMIT {REMEMBERED}) a
  CROSS JOIN feedback_event e ON e.seq = a.event_seq
  CROSS JOIN event_gate g ON g.event_seq = a.event_seq AND g.scope = a.scope
  WHERE g.state = 'ok' AND e.seq NOT IN (SELECT event_seq FROM replaced)
) WHERE CASE WHEN written THEN of_intent = 1 ELSE of_user <= {RECENT} END
"""
ITEMS = """
SELECT e.*, CASE WHEN i.again THEN 'again' ELSE i.role END AS role, i.weight, g.ref_logp,
  i.text_only FROM train_item i
JOIN feedback_event e ON e.seq = i.event_seq
JOIN train_batch b ON b.id = i.batch_id
LEFT JOIN event_gate g ON g.event_seq = e.seq AND g.scope = b.scope
WHERE i.batch_id = ? ORDER BY i.role, e.seq
"""
APART = ('done_us', 'reason', 'held_json')
EXTRA = ('role', 'weight', 'ref_logp', 'text_only')


def open_batch(
  connection: sqlite3.Connection,
  scope: str,
  new: list[sqlite3.Row],
  config_sha: str,
  now_us: int,
  role: str = 'new',
  caution: Mapping[str, object] | None = None,
) -> str:
  """caution: how a wish is tried again (see `tries`)."""
  query = """SELECT live_version,
    (SELECT coalesce(max(version), 0) + 1 FROM model_version v WHERE v.scope = s.scope)
    FROM scope_state s WHERE scope = ?"""
  parent, version = connection.execute(query, (scope,)).fetchone()
  query = 'SELECT live_version FROM scope_state WHERE scope = ? AND scope != ?'
  base = connection.execute(query, (GLOBAL, scope)).fetchone()
  seqs = [row['seq'] for row in new]
  batch = {
    'id': uuid7(),
    'scope': scope,
    'parent_version': parent,
    'version': version,
    'status': 'claimed',
    'rng_seed': seed_of(scope, version, seqs),
    'config_sha': config_sha,
    'claimed_us': now_us,
    'reason': '',
    'base_version': base[0] if base else 0,
  }
  rows.insert(connection, 'train_batch', batch | dict(caution or {}))
  add_items(connection, batch['id'], items(new, role, scope))
  return batch['id']


def seed_of(scope: str, version: int, seqs: list[int]) -> int:
  """Of the batch's content, so that the same history gives the same weights; 31 bits."""
  digest = hashlib.sha256(f'{scope} {version} {seqs}'.encode()).digest()
  return int.from_bytes(digest[:4]) >> 1


def add_replay(connection: sqlite3.Connection, batch: Batch, count: int, now_us: int, rules: Rules):
  """Half of it what users wrote, the last on each question, since it shall last; half of it their
  latest votes; more of one where there is less of the other. For everyone no more than fits."""
  found = connection.execute(REPLAYABLE, (batch.scope,)).fetchone() if count else ('[]', '[]')
  # In one row, since each waits for its turn among the threads.
  written, votes = (sorted(json.loads(seqs)) for seqs in found)
  draw = random.Random(batch.rng_seed)
  if batch.scope == GLOBAL:
    drawn = [draw.sample(kind, min(len(kind), POOL * count)) for kind in (written, votes)]
    pool = [learned(connection, batch.scope, seqs) for seqs in drawn]
    new = [item.event.seq for item in batch.items]
    chosen = shares.repeated(connection, new, pool, count, now_us, rules)
  else:
    words = min(len(written), max(count - count // 2, count - len(votes)))
    seqs = draw.sample(written, words) + draw.sample(votes, min(count - words, len(votes)))
    chosen = learned(connection, batch.scope, seqs)
  add_items(connection, batch.id, items(chosen, 'replay', batch.scope))


def learned(connection: sqlite3.Connection, scope: str, seqs: list[int]) -> list[sqlite3.Row]:
  """These events with what their gate says, in this order."""
  query = """SELECT e.*, g.weight, g.reasons_json FROM json_each(?) j
    CROSS JOIN feedback_event e ON e.seq = j.value
    CROSS JOIN event_gate g ON g.event_seq = e.seq AND g.scope = ? ORDER BY j.key"""
  return connection.execute(query, (json.dumps(seqs), scope)).fetchall()


def items(
  found: Iterable[sqlite3.Row], role: str, scope: str
) -> list[tuple[int, str, float, bool]]:
  """(seq, role, weight, text_only) of events in a batch."""
  return [
    (row['seq'], role, row['weight'], scope == GLOBAL and row['personal_version'] > 0)
    for row in found
  ]


def add_items(
  connection: sqlite3.Connection, batch_id: str, items: Iterable[tuple[int, str, float, bool]]
):
  """`items`: (seq, role, weight, text_only)."""
  query = """INSERT INTO train_item (batch_id, event_seq, role, weight, text_only, again)
    VALUES (?, ?, ?, ?, ?, ?)"""
  again = lambda role: ('replay', 1) if role == 'again' else (role, 0)
  values = [(seq, *again(role), weight, text) for seq, role, weight, text in items]
  connection.executemany(query, [(batch_id, s, role, w, text, a) for s, role, a, w, text in values])


def read_batch(connection: sqlite3.Connection, batch_id: str) -> Batch:
  """The new events by seq, then those that were learned before."""
  found = connection.execute('SELECT * FROM train_batch WHERE id = ?', (batch_id,)).fetchone()
  items = connection.execute(ITEMS, (batch_id,)).fetchall()
  kept = {name: found[name] for name in found.keys() if name not in APART}
  held = json.loads(found['held_json'])
  texts = tuple((one[0], one[1]) for one in held if len(one) == 2)
  beside = (answered(connection, one[0]) for one in held if len(one) == 1)
  every = tuple(item(connection, row) for row in items)
  return Batch(**kept, items=every, held=texts, beside=tuple(filter(None, beside)))


def item(connection: sqlite3.Connection, row: sqlite3.Row) -> Item:
  event = rows.event({name: row[name] for name in row.keys() if name not in EXTRA})
  generation = read_generation(connection, event.message_id)
  other = read_generation(connection, event.other_message_id)
  asked = read_question(connection, event.message_id)
  text_only = bool(row['text_only'])
  return Item(
    event, row['role'], row['weight'], row['ref_logp'], generation, other, text_only, asked
  )


def read_question(connection: sqlite3.Connection, message_id: str) -> str:
  query = """SELECT q.content FROM message m JOIN message q ON q.id = m.parent_id
    WHERE m.id = ? AND q.role = 'user'"""
  found = connection.execute(query, (message_id,)).fetchone()
  return found['content'] if found else ''


def answered(connection: sqlite3.Connection, question_id: str) -> Generation | None:
  """The first answer to a question that everyone's model gave alone; None where it was erased."""
  query = """SELECT g.message_id FROM message m JOIN generation g ON g.message_id = m.id
    WHERE m.parent_id = ? AND g.personal_version = 0 ORDER BY m.branch_idx LIMIT 1"""
  found = connection.execute(query, (question_id,)).fetchone()
  return read_generation(connection, found[0]) if found else None


def read_generation(connection: sqlite3.Connection, message_id: str | None) -> Generation | None:
  query = 'SELECT * FROM generation WHERE message_id = ?'
  found = connection.execute(query, (message_id,)).fetchone()
  return rows.generation(found) if found else None
