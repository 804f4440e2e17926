"""What the store knows around a candidate: the questions that it was taught on, and what users have
asked besides."""

import json
from collections.abc import Mapping
from typing import Any

from rft_jax.engine.protocol import ChatMessage
from rft_jax.feedback.batches import read_batch
from rft_jax.feedback.records import Version
from rft_jax.feedback.store import Store
from rft_jax.learning.neighbours import ASKED, Neighbour, Wish

STORED = 500  # questions of users among which the nearest are looked for
RECENT = 32  # texts that were learned whose questions each candidate is asked
TAUGHT = """
SELECT max(e.seq) AS seq, e.message_id, e.value_json
FROM (SELECT * FROM wish WHERE state = 'accepted' AND kind = 'edit' AND reason = 'quorum'
  ORDER BY id DESC LIMIT ?) w
JOIN supporter s ON s.wish_id = w.id JOIN feedback_event e ON e.seq = s.event_seq
JOIN applied a ON a.event_seq = e.seq AND a.scope = 'global'
JOIN message m ON m.id = e.message_id JOIN conversation c ON c.id = m.conversation_id
WHERE c.deleted_us IS NULL AND e.seq NOT IN (SELECT event_seq FROM replaced)
GROUP BY w.id ORDER BY w.id
"""
QUESTIONS = """
SELECT m.id, m.content FROM message m JOIN conversation c ON c.id = m.conversation_id
WHERE m.role = 'user' AND m.parent_id IS NULL AND c.deleted_us IS NULL AND c.system_prompt = ''
ORDER BY m.rowid DESC LIMIT ?
"""


def wishes(store: Store, version: Version) -> list[Wish]:
  """Of all events of its batch, each question and text once."""
  found: dict[Wish, list[int]] = {}
  for item in read_batch(store.db.reader, version.batch_id).items:
    if item.generation:
      event = item.event
      found.setdefault(wish(store, event.message_id, event.value), []).append(event.seq)
  return [one._replace(seqs=tuple(seqs)) for one, seqs in found.items()]


def taught(store: Store) -> list[Wish]:
  """The latest texts that people agreed on and everyone's model has learned."""
  found = store.db.read(TAUGHT, RECENT)
  return [
    wish(store, row['message_id'], json.loads(row['value_json']))._replace(seqs=(row['seq'],))
    for row in found
    if row['value_json'] != '{}'
  ]


def wish(store: Store, message_id: str, value: Mapping[str, Any]) -> Wish:
  *before, answer = store.chats.path(message_id)
  conversation = store.chats.get(answer.conversation_id)
  turns = [ChatMessage(one.role, one.content) for one in before]
  if conversation and conversation.system_prompt:
    turns.insert(0, ChatMessage('system', conversation.system_prompt))
  return Wish(tuple(turns), value.get('content', ''))


def stored(store: Store) -> list[Neighbour]:
  """The latest first questions of conversations. They are named by the message, so that nothing of
  them stays behind when their author is forgotten."""
  found = store.db.read(QUESTIONS, STORED)
  return [Neighbour(row['content'], f'{ASKED}{row["id"]}') for row in found if row['content']]
