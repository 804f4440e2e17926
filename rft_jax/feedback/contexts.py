"""What the model read before an answer, as the store has it."""

import json
import sqlite3
from collections.abc import Sequence

from rft_jax.feedback import rows

PATH = """
WITH RECURSIVE path AS (
  SELECT *, 0 AS depth FROM message WHERE id = ?
  UNION ALL SELECT m.*, depth + 1 FROM message m JOIN path ON m.id = path.parent_id
)
SELECT id, conversation_id, parent_id, role, content, created_us, branch_idx, raw, corrections
FROM path ORDER BY depth DESC
"""


def context(connection: sqlite3.Connection, question_id: str) -> list[tuple[str, str]]:
  """(role, text) of all that stands before an answer to this question: the system prompt if there
  is one, and the branch down to the question, in which the corrections that the model read stand in
  place of its answers. A raw text is ('prompt', text), alone."""
  path = [rows.message(row) for row in connection.execute(PATH, (question_id,))]
  question = path[-1]
  if question.raw:
    return [('prompt', question.content)]
  query = 'SELECT system_prompt FROM conversation WHERE id = ?'
  system = connection.execute(query, (question.conversation_id,)).fetchone()[0]
  corrected = edits(connection, question.corrections)
  turns = [(one.role, corrected.get(one.id, one.content)) for one in path]
  return [('system', system), *turns] if system else turns


def edits(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[str, str]:
  """answer -> the text that these edits gave it; nothing for what was erased."""
  query = """SELECT message_id, json_extract(value_json, '$.content') AS content
    FROM feedback_event WHERE seq IN (SELECT value FROM json_each(?)) AND content IS NOT NULL"""
  return {row[0]: row[1] for row in connection.execute(query, (json.dumps(seqs),))}


def read_before(
  connection: sqlite3.Connection, message_id: str
) -> tuple[str, list[tuple[str, str]]]:
  """(system prompt, turns down to the question) of an answer."""
  query = 'SELECT parent_id FROM message WHERE id = ?'
  question = connection.execute(query, (message_id,)).fetchone()
  turns = context(connection, question[0]) if question and question[0] else []
  return (turns[0][1], turns[1:]) if turns and turns[0][0] == 'system' else ('', turns)
