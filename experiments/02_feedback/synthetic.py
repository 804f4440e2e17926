"""A store with many events, made within seconds: what a deployment looks like after some years."""

import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from rft_jax.feedback.ids import now_us
from rft_jax.feedback.tables import MIGRATIONS

LAID_OUT = 2  # the version of the tables that rows are written for; opening the store does the rest
PER_USER = 100  # events
BATCH = 8  # events of an update
WAITING = 400  # events at the end that nobody learned yet
GAP_US = 1_000_000  # between events
EMPTY = b''
LIVE = (
  """UPDATE scope_state SET live_version = coalesce((SELECT max(version) FROM model_version v
    WHERE v.scope = scope_state.scope), 0), n_events = (SELECT count(*) FROM applied a
    WHERE a.scope = scope_state.scope)""",
  """UPDATE model_version SET status = 'live' WHERE version =
    (SELECT live_version FROM scope_state s WHERE s.scope = model_version.scope)""",
)
Rows = dict[str, list[tuple]]


def build(path: Path, events: int, seed: int = 0) -> None:
  """Writes a store of so many events, each on an answer of its own."""
  connection = sqlite3.connect(path, isolation_level=None)
  connection.execute('PRAGMA journal_mode=WAL')
  connection.execute('PRAGMA synchronous=OFF')
  for script in MIGRATIONS[:LAID_OUT]:
    connection.executescript(script)
  connection.execute(f'PRAGMA user_version = {LAID_OUT}')
  connection.execute('BEGIN')
  users = max(4, events // PER_USER)
  for rows in chunks(events, users, random.Random(seed)):
    for table, values in rows.items():
      marks = ', '.join('?' * len(values[0]))
      connection.executemany(f'INSERT INTO {table} VALUES ({marks})', values)
  for statement in LIVE:
    connection.execute(statement)
  connection.execute('COMMIT')
  connection.close()


def chunks(events: int, users: int, draw: random.Random) -> Iterator[Rows]:
  """Rows by table, parents first."""
  start = now_us() - events * GAP_US
  yield accounts(users, start)
  history = History(events, users, draw, start)
  for first in range(1, events + 1, 20_000):
    rows: Rows = {}
    for seq in range(first, min(first + 20_000, events + 1)):
      history.say(rows, seq)
    history.learn(rows, last=first + 20_000 > events)
    yield rows


def name(kind: int, number: int) -> str:
  return f'01890000-{kind:04x}-7000-8000-{number:012x}'


def user_of(number: int) -> str:
  return name(1, number)


def accounts(users: int, start: int) -> Rows:
  made = [(user_of(i), '', 0, 2.0, 2.0, 'active', 1, start + i, None) for i in range(users)]
  scopes = [(f'u:{user[0]}', 0, 0, 0.1, 0) for user in made]
  return {'user': made, 'scope_state': [('global', 0, 0, 0.1, 0), *scopes]}


class History:
  """What happened to events, one after the other; `learn` closes the batches that are full."""

  def __init__(self, events: int, users: int, draw: random.Random, start: int):
    self.events, self.users, self.draw, self.start = events, users, draw, start
    self.waiting: dict[str, list[int]] = {}
    self.versions: dict[str, int] = {}
    self.batches = 0

  def say(self, rows: Rows, seq: int):
    put = lambda table, *values: rows.setdefault(table, []).append(values)
    now, draw = self.start + seq * GAP_US, self.draw
    user = user_of(draw.randrange(self.users))
    chat, asked, answer = (name(kind, seq) for kind in (2, 3, 4))
    put('conversation', chat, user, 'A question', '', now, None)
    put('message', asked, chat, None, 'user', f'Question {seq % 5000}?', 0, now)
    put('message', answer, chat, asked, 'assistant', 'An answer of some words.', 0, now)
    version = self.versions.get('global', 0)
    shape = (version, user, 0, EMPTY, EMPTY, EMPTY, None, 1.0, 1.0, 0, 0, 'stop', None, None, 1, 1)
    put('generation', answer, name(5, seq), *shape)
    kind = draw.choices(('binary', 'edit', 'rating'), (70, 20, 10))[0]
    up = draw.random() < 0.7
    value = {'binary': {'label': up}, 'edit': {'content': 'Words.'}, 'rating': {'score': 4}}[kind]
    event = (seq, name(6, seq), '', user, answer, None, kind, json.dumps(value), '', '[]', 'web')
    intent, direction = f'intent {seq}', 'up' if up else 'down'
    put('feedback_event', *event, now, now, 2000, intent, direction, f'o{seq % 997}', version, 0)
    self.decide(put, seq, user, now)

  def decide(self, put, seq: int, user: str, now: int):
    fate = self.draw.random()
    own, shared = ('ok', 'held') if fate < 0.97 else ('quarantined', 'quarantined')
    if fate < 0.3:
      shared = 'ok'
    put('event_gate', seq, f'u:{user}', own, '[]', 1.0, None, now)
    put('event_gate', seq, 'global', shared, '[]', 1.0, None, now)
    if 0.3 < fate < 0.33 and seq + 1 < self.events:
      return self.waiting.setdefault('replaced', []).append(seq)
    for scope, state in ((f'u:{user}', own), ('global', shared)):
      if state == 'ok' and seq <= self.events - WAITING:
        self.waiting.setdefault(scope, []).append(seq)

  def learn(self, rows: Rows, last: bool):
    for seq in self.waiting.pop('replaced', []):
      how = self.draw.choice(('superseded', 'retracted'))
      rows.setdefault('replaced', []).append((seq, seq, how))
    for scope, seqs in self.waiting.items():
      while len(seqs) >= BATCH or (last and seqs):
        self.apply(rows, scope, seqs[:BATCH])
        del seqs[:BATCH]

  def apply(self, rows: Rows, scope: str, seqs: list[int]):
    put = lambda table, *values: rows.setdefault(table, []).append(values)
    self.batches += 1
    batch, now = name(7, self.batches), self.start + seqs[-1] * GAP_US
    parent = self.versions.get(scope, 0)
    version = self.versions[scope] = parent + 1
    put('train_batch', batch, scope, parent, version, 'applied', 1, 'sha', now, now, '', 0)
    put('model_version', scope, version, parent, batch, 'v', 'sha', 'retired', '{}', now, now, now)
    for seq in seqs:
      put('train_item', batch, seq, 'new', 1.0)
      put('applied', seq, scope, version)
