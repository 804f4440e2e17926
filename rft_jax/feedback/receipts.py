"""Where each feedback is on its way: read from the ledger, never stored."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from rft_jax.feedback.records import Receipt, of_user

ENDED = ('served', 'rejected', 'quarantined', 'rolled_back', 'retracted', 'superseded')
Query = Callable[[str, tuple[Any, ...]], list[sqlite3.Row]]

EVENT = """
SELECT e.*, r.how, g.state, g.reasons_json, a.version AS applied_version,
  coalesce(done.claimed_us, doing.claimed_us) AS claimed_us, doing.id AS doing,
  v.created_us AS applied_us, v.first_served_us,
  all_g.state AS all_state, all_g.reasons_json AS all_reasons, all_a.version AS all_version
FROM feedback_event e
LEFT JOIN replaced r ON r.event_seq = e.seq
LEFT JOIN event_gate g ON g.event_seq = e.seq AND g.scope = 'u:' || e.user_id
LEFT JOIN applied a ON a.event_seq = e.seq AND a.scope = g.scope
LEFT JOIN model_version v ON v.scope = a.scope AND v.version = a.version
LEFT JOIN train_batch done ON done.id = v.batch_id
LEFT JOIN train_batch doing ON doing.scope = g.scope AND doing.status = 'claimed'
  AND EXISTS (SELECT 1 FROM train_item i WHERE i.batch_id = doing.id AND i.event_seq = e.seq
    AND i.role = 'new')
LEFT JOIN event_gate all_g ON all_g.event_seq = e.seq AND all_g.scope = 'global'
LEFT JOIN applied all_a ON all_a.event_seq = e.seq AND all_a.scope = 'global'
WHERE e.kind != 'retract' AND
"""


def receipt(query: Query, event_id: str) -> Receipt | None:
  """Of one feedback; None where the id is unknown."""
  for row in query(EVENT + 'e.id = ?', (event_id,)):
    return of_event(row)
  for row in query('SELECT * FROM pending_target WHERE id = ?', (event_id,)):
    return of_pending(row)
  return None


def of_author(query: Query, user_id: str, limit: int) -> list[Receipt]:
  """The newest first."""
  found = query(EVENT + 'e.user_id = ? ORDER BY e.seq DESC LIMIT ?', (user_id, limit))
  return [of_event(row) for row in found]


def of_conversation(query: Query, conversation_id: str) -> list[Receipt]:
  """Of the feedback that stands in it, in order."""
  inside = 'e.message_id IN (SELECT id FROM message WHERE conversation_id = ?)'
  found = query(f'{EVENT} {inside} AND r.how IS NULL ORDER BY e.seq', (conversation_id,))
  return [of_event(row) for row in found]


def of_event(row: sqlite3.Row) -> Receipt:
  return Receipt(
    id=row['id'],
    seq=row['seq'],
    kind=row['kind'],
    status=status(row),
    reasons=tuple(json.loads(row['reasons_json'])),
    scope=of_user(row['user_id']),
    message_id=row['message_id'],
    user_id=row['user_id'],
    value=json.loads(row['value_json']),
    created_us=row['recv_us'],
    policy_version=row['global_version'],
    applied_version=row['applied_version'],
    latency_ms=latencies(row),
    tags=tuple(json.loads(row['tags_json'])),
    comment=row['comment'],
    everyone=for_everyone(row),
    everyone_reasons=tuple(json.loads(row['all_reasons'] or '[]')),
  )


def for_everyone(row: sqlite3.Row) -> str:
  if row['all_state'] != 'ok':
    return row['all_state'] or ''
  return 'accepted' if row['all_version'] is None else 'learned'


def status(row: sqlite3.Row) -> str:
  if row['how']:
    return row['how']
  if row['state'] != 'ok':
    return row['state']
  if row['applied_version'] is not None:
    return 'served' if row['first_served_us'] is not None else 'applied'
  return 'training' if row['doing'] else 'queued'


def latencies(row: sqlite3.Row) -> dict[str, float]:
  """Milliseconds of each stage that is over."""
  stages = {
    'ack': ('recv_us', 'durable_us'),
    'queue': ('durable_us', 'claimed_us'),
    'step': ('claimed_us', 'applied_us'),
    'publish': ('applied_us', 'first_served_us'),
    'total': ('recv_us', 'first_served_us'),
  }
  return {
    name: (row[end] - row[start]) / 1000
    for name, (start, end) in stages.items()
    if row[end] is not None
  }


def of_pending(row: sqlite3.Row) -> Receipt:
  payload = json.loads(row['payload_json'])
  return Receipt(
    id=row['id'],
    seq=None,
    kind=payload['kind'],
    status='rejected' if row['rejected'] else 'queued',
    reasons=(row['rejected'] or 'target: waits for the answer',),
    scope=of_user(row['user_id']),
    message_id=payload['target']['message_id'],
    user_id=row['user_id'],
    value=payload['value'],
    created_us=row['recv_us'],
    policy_version=0,
    tags=tuple(payload['tags']),
    comment=payload['comment'],
  )
