"""Records to rows and back: one place knows how a record lies in its table."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

import numpy as np

from rft_jax.feedback.records import (
  ApiKey,
  Conversation,
  Event,
  Generation,
  Message,
  ScopeState,
  User,
  Version,
)

BLOBS = {'prompt_ids': '<i4', 'completion_ids': '<i4', 'logp': '<f4', 'versions': '<u4'}


def insert(connection: sqlite3.Connection, table: str, values: dict[str, Any]) -> int:
  """Adds a row; its rowid."""
  marks = ', '.join('?' * len(values))
  query = f'INSERT INTO {table} ({", ".join(values)}) VALUES ({marks})'
  return connection.execute(query, tuple(values.values())).lastrowid or 0


def insert_generation(connection: sqlite3.Connection, generation: Generation):
  values = dict(vars(generation))
  for name, dtype in BLOBS.items():
    if values[name] is not None:
      values[name] = np.asarray(values[name], dtype).tobytes()
  insert(connection, 'generation', values)


def user(row: sqlite3.Row) -> User:
  flags = {name: bool(row[name]) for name in ('staff', 'share_global', 'keyed')}
  return User(**{**dict(row), **flags})


def api_key(row: sqlite3.Row) -> ApiKey:
  return ApiKey(**dict(row))


def conversation(row: sqlite3.Row) -> Conversation:
  return Conversation(**dict(row))


def message(row: sqlite3.Row) -> Message:
  return Message(**dict(row))


def generation(row: sqlite3.Row) -> Generation:
  arrays = {
    name: None if row[name] is None else np.frombuffer(row[name], dtype)
    for name, dtype in BLOBS.items()
  }
  return Generation(**{**dict(row), **arrays})


def event(row: Mapping[str, Any] | sqlite3.Row) -> Event:
  values = dict(row)
  values['value'] = json.loads(values.pop('value_json'))
  values['tags'] = tuple(json.loads(values.pop('tags_json')))
  return Event(**values)


def version(row: sqlite3.Row) -> Version:
  values = dict(row)
  values['metrics'] = json.loads(values.pop('metrics_json'))
  return Version(**values)


def scope_state(row: sqlite3.Row) -> ScopeState:
  return ScopeState(**{**dict(row), 'frozen': bool(row['frozen'])})


def audit(connection: sqlite3.Connection, actor: str, action: str, now_us: int, **detail: Any):
  """Records who did what."""
  row = {'actor': actor, 'action': action, 'detail_json': json.dumps(detail), 'created_us': now_us}
  insert(connection, 'audit', row)
