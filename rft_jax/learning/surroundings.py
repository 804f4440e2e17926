"""What the store knows around a candidate: the questions that it was taught on, and what users have
asked besides."""

from rft_jax.engine.protocol import ChatMessage
from rft_jax.feedback.batches import read_batch
from rft_jax.feedback.records import Item, Version
from rft_jax.feedback.store import Store
from rft_jax.learning.neighbours import ASKED, Neighbour, Wish

STORED = 500  # questions of users among which the nearest are looked for
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
      found.setdefault(wish(store, item), []).append(item.event.seq)
  return [one._replace(seqs=tuple(seqs)) for one, seqs in found.items()]


def wish(store: Store, item: Item) -> Wish:
  *before, answer = store.chats.path(item.event.message_id)
  conversation = store.chats.get(answer.conversation_id)
  turns = [ChatMessage(one.role, one.content) for one in before]
  if conversation and conversation.system_prompt:
    turns.insert(0, ChatMessage('system', conversation.system_prompt))
  return Wish(tuple(turns), item.event.value.get('content', ''))


def stored(store: Store) -> list[Neighbour]:
  """The latest first questions of conversations. They are named by the message, so that nothing of
  them stays behind when their author is forgotten."""
  found = store.db.read(QUESTIONS, STORED)
  return [Neighbour(row['content'], f'{ASKED}{row["id"]}') for row in found if row['content']]
