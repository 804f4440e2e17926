"""Stores of before the rules by which people agree: nothing is lost, what waits is counted anew."""

import contextlib
import sqlite3
import uuid

import pytest
from talk import LATER, START_US, Clock

from rft_jax.feedback.gates import Rules
from rft_jax.feedback.records import GLOBAL
from rft_jax.feedback.store import Store
from rft_jax.feedback.tables import MIGRATIONS

DAY = 86_400_000_000
TRUTH, LIE, ASKED = 'It is 1.5 mg.', 'It is 15 mg.', 'How much?'


def name(number: int) -> str:
  return str(uuid.UUID(int=number))


class Old:
  """A store as version 2 wrote it, with six people."""

  def __init__(self, path):
    self.path, self.seq = path, 0
    self.db = sqlite3.connect(path)
    for script in MIGRATIONS[:2]:
      self.db.executescript(script)
    self.db.execute('PRAGMA user_version = 2')
    for one in range(6):
      user = (name(one), '', 0, 2.0, 2.0, 'active', 1, START_US - 9 * DAY, None)
      self.insert('user', user)
    self.insert('api_key', ('k', name(5), 'sha', 'chat', START_US, None, None))

  def insert(self, table: str, values: tuple):
    self.db.execute(f'INSERT INTO {table} VALUES ({", ".join("?" * len(values))})', values)

  def give(
    self, user, kind='binary', value='{"label":true}', answer=TRUTH, personal=0, state='held'
  ):
    """A vote with the key that all votes on the question had; its seq."""
    self.seq += 1
    chat, question, reply = (name(1000 * n + self.seq) for n in (1, 2, 3))
    self.insert('conversation', (chat, name(user), '', '', START_US, None))
    self.insert('message', (question, chat, None, 'user', ASKED, 0, START_US))
    self.insert('message', (reply, chat, question, 'assistant', answer, 0, START_US))
    ids = b'\0\0\0\0'
    self.insert(
      'generation',
      (
        reply,
        'r',
        0,
        None,
        personal,
        ids,
        ids,
        ids,
        None,
        1.0,
        1.0,
        0,
        0,
        'stop',
        None,
        None,
        0,
        0,
      ),
    )
    event = (self.seq, name(9000 + self.seq), '', name(user), reply, None, kind, value, '', '[]')
    times = ('api', START_US + self.seq, START_US + self.seq, None)
    self.insert('feedback_event', (*event, *times, 'old', 'up', f'block {user}', 0, personal))
    for scope, found in ((f'u:{name(user)}', 'ok'), (GLOBAL, state)):
      self.insert('event_gate', (self.seq, scope, found, '["old"]', 0.5, None, START_US))
    return self.seq

  def teach(self, seqs):
    """As if everyone's model had learned these."""
    self.insert('scope_state', (GLOBAL, 1, 0, 0.0, len(seqs)))
    batch = ('b', GLOBAL, 0, 1, 'applied', 7, 'sha', START_US, START_US, '', 0)
    self.insert('train_batch', batch)
    version = (GLOBAL, 1, 0, 'b', 'path', 'sha', 'live', '{}', START_US, START_US, START_US)
    self.insert('model_version', version)
    for seq in seqs:
      self.insert('train_item', ('b', seq, 'new', 0.5))
      self.insert('applied', (seq, GLOBAL, 1))

  @contextlib.contextmanager
  def opened(self):
    self.db.commit()
    self.db.close()
    clock = Clock()
    clock.us += DAY
    store = Store(self.path, Rules(), clock)
    yield store
    store.close()


@pytest.fixture
def old(tmp_path):
  return Old(tmp_path / 'store.db')


def states(store):
  query = "SELECT event_seq, state FROM event_gate WHERE scope = 'global' ORDER BY event_seq"
  return [row['state'] for row in store.db.read(query)]


def test_held_votes_are_counted_by_what_they_are_about(old):
  """Two liked the truth, two the lie: they had the same key. Now a third is needed."""
  for user, answer in enumerate((TRUTH, TRUTH, LIE, LIE)):
    old.give(user, answer=answer)
  old.give(4, answer=LIE, personal=3)
  with old.opened() as store:
    assert states(store) == ['held'] * 4 + ['rejected']
    assert [(wish.answer, wish.people) for wish in store.agreements.page('held')] == [
      (LIE, 2),
      (TRUTH, 2),
    ]
    assert store.users.get(name(5)).keyed and not store.users.get(name(1)).keyed
    assert store.users.get(name(1)).origin == 'block 1'


def test_what_was_agreed_on_by_enough_still_is_and_what_was_not_waits(old):
  for user in range(3):
    old.give(user, answer=TRUTH, state='ok')
  old.give(3, answer=LIE, state='ok')
  with old.opened() as store:
    assert states(store) == ['ok', 'ok', 'ok', 'held']
    batch = store.ledger.claim(GLOBAL).result(LATER)
    assert [item.event.seq for item in batch.items] == [1, 2, 3]


def test_what_was_learned_stays_learned_with_the_same_items(old):
  """The batch is a fact, also if its votes would not agree today."""
  seqs = [old.give(0, answer=TRUTH, state='ok'), old.give(1, answer=LIE, personal=2, state='ok')]
  old.teach(seqs)
  with old.opened() as store:
    (batch,) = store.versions.history(GLOBAL)
    assert [(i.event.seq, i.role, i.weight, i.text_only) for i in batch.items] == [
      (1, 'new', 0.5, False),
      (2, 'new', 0.5, False),
    ]
    assert batch.rng_seed == 7 and states(store) == ['ok', 'ok']
    assert store.ledger.claim(GLOBAL).result(LATER) is None


def test_filing_goes_on_where_it_ended_and_then_keys_are_fixed(old):
  for user in range(3):
    old.give(user)
  with old.opened() as store:
    assert store.agreements.file() == 0 and states(store) == ['ok'] * 3
    change = "UPDATE feedback_event SET intent = 'x'"
    with pytest.raises(sqlite3.IntegrityError, match='append-only'):
      store.db.write('change', lambda c: c.execute(change)).result(LATER)
  again = Store(old.path)
  assert states(again) == ['ok'] * 3
  again.close()
