"""Conversations as trees of messages, and how each answer came about."""

import dataclasses
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from rft_jax.feedback import rows, voting
from rft_jax.feedback.contexts import PATH, context
from rft_jax.feedback.database import Database
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.ingest import promote
from rft_jax.feedback.receipts import GONE
from rft_jax.feedback.records import GLOBAL, Conversation, Generation, Message

CORRECTED = """
SELECT e.message_id, e.seq, json_extract(e.value_json, '$.content') AS content
FROM message m JOIN feedback_current e ON e.message_id = m.id
WHERE m.conversation_id = ? AND e.kind = 'edit' AND content != ''
"""

UNLEARNED = f"""
SELECT e.seq FROM message m JOIN feedback_event e ON e.message_id = m.id
JOIN event_gate g ON g.event_seq = e.seq AND g.scope = '{GLOBAL}' AND g.state IN ('held', 'ok')
WHERE m.conversation_id = ? AND NOT EXISTS
  (SELECT 1 FROM applied a WHERE a.event_seq = e.seq AND a.scope = g.scope)
"""


class Chats:
  def __init__(self, db: Database, clock: Callable[[], int], rules: Rules):
    self.db, self.clock, self.rules = db, clock, rules

  def add(
    self,
    messages: Sequence[Message],
    generations: Sequence[Generation] = (),
    conversation: Conversation | None = None,
  ) -> Future[None]:
    """Adds messages, parents first, with a new `conversation` and what produced the answers.

    One transaction; feedback that had come before its answer is taken in by the same one. Of whom
    was erased meanwhile nothing is kept.
    """

    def add_messages(connection: sqlite3.Connection):
      now = self.clock()
      if messages and erased(connection, conversation, messages[0].conversation_id):
        return
      if conversation:
        values = {**vars(conversation), 'created_us': now}
        rows.insert(connection, 'conversation', values)
      for message in messages:
        insert_message(connection, dataclasses.replace(message, created_us=now))
      for generation in generations:
        rows.insert_generation(connection, generation)
      promote(connection, [message.id for message in messages], now, self.rules)

    return self.db.write('add_messages', add_messages)

  def get(self, conversation_id: str) -> Conversation | None:
    """None where there is none, or it was deleted."""
    query = 'SELECT * FROM conversation WHERE id = ? AND deleted_us IS NULL'
    found = self.db.read(query, conversation_id)
    return rows.conversation(found[0]) if found else None

  def of_user(self, user_id: str, limit: int = 200) -> list[Conversation]:
    """The newest first."""
    query = """SELECT * FROM conversation WHERE user_id = ? AND deleted_us IS NULL
      ORDER BY created_us DESC, id DESC LIMIT ?"""
    return [rows.conversation(row) for row in self.db.read(query, user_id, limit)]

  def messages(self, conversation_id: str) -> list[Message]:
    """All branches, parents before children."""
    query = 'SELECT * FROM message WHERE conversation_id = ? ORDER BY rowid'
    return [rows.message(row) for row in self.db.read(query, conversation_id)]

  def message(self, message_id: str) -> Message | None:
    found = self.db.read('SELECT * FROM message WHERE id = ?', message_id)
    return rows.message(found[0]) if found else None

  def owner(self, message_id: str) -> str | None:
    """The user to whom a message belongs; None where it or its conversation is gone."""
    query = """SELECT c.user_id FROM message m JOIN conversation c ON c.id = m.conversation_id
      WHERE m.id = ? AND c.deleted_us IS NULL"""
    found = self.db.read(query, message_id)
    return found[0][0] if found else None

  def path(self, message_id: str) -> list[Message]:
    """From the root to this message: the branch that the user saw."""
    return [rows.message(row) for row in self.db.read(PATH, message_id)]

  def context(self, question_id: str) -> list[tuple[str, str]]:
    """What the model read for a question, see `context`."""
    return context(self.db.reader, question_id)

  def corrections(self, conversation_id: str) -> dict[str, tuple[int, str]]:
    """answer -> (seq, text) of its author's edit that counts now."""
    return {row[0]: (row[1], row[2]) for row in self.db.read(CORRECTED, conversation_id)}

  def last_answer(self, user_id: str) -> str | None:
    """The id of the answer that a user got last, in conversations that are there."""
    query = """SELECT g.message_id FROM conversation c JOIN message m ON m.conversation_id = c.id
      JOIN generation g ON g.message_id = m.id WHERE c.user_id = ? AND c.deleted_us IS NULL
      ORDER BY m.created_us DESC, m.rowid DESC LIMIT 1"""
    found = self.db.read(query, user_id)
    return found[0][0] if found else None

  def generation(self, message_id: str) -> Generation | None:
    found = self.db.read('SELECT * FROM generation WHERE message_id = ?', message_id)
    return rows.generation(found[0]) if found else None

  def delete(self, conversation_id: str) -> Future[None]:
    """Hides a conversation; feedback in it that has not taught yet never will."""

    def delete_conversation(connection: sqlite3.Connection):
      query = 'UPDATE conversation SET deleted_us = ? WHERE id = ? AND deleted_us IS NULL'
      connection.execute(query, (self.clock(), conversation_id))
      for row in connection.execute(UNLEARNED, (conversation_id,)).fetchall():
        voting.withdraw(connection, row['seq'], GONE, self.clock(), self.rules)

    return self.db.write('delete_conversation', delete_conversation)


def erased(connection: sqlite3.Connection, new: Conversation | None, conversation_id: str) -> bool:
  """Whether the owner of a conversation, which may be a new one, is gone."""
  query = """SELECT 1 FROM user WHERE deleted_us IS NOT NULL
    AND id = coalesce(?, (SELECT user_id FROM conversation WHERE id = ?))"""
  owner = new.user_id if new else None
  return connection.execute(query, (owner, conversation_id)).fetchone() is not None


def insert_message(connection: sqlite3.Connection, message: Message):
  query = 'SELECT count(*) FROM message WHERE conversation_id = ? AND parent_id IS ?'
  elder = connection.execute(query, (message.conversation_id, message.parent_id)).fetchone()[0]
  rows.insert_message(connection, dataclasses.replace(message, branch_idx=elder))
