"""What is counted while it happens equals a count of the facts, whatever happens and breaks off."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from talk import LATER, Clock, chat, feedback

from rft_jax.feedback.gates import Rules
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.ingest import Arrival, Refused, ingest
from rft_jax.feedback.ledger import LedgerError
from rft_jax.feedback.lineage import DESCENDANTS, LINEAGE
from rft_jax.feedback.records import GLOBAL, of_user
from rft_jax.feedback.store import Store
from rft_jax.feedback.tables import MIGRATIONS

LEARNABLE = """
FROM event_gate g JOIN feedback_event e ON e.seq = g.event_seq
JOIN message m ON m.id = e.message_id JOIN conversation c ON c.id = m.conversation_id
WHERE g.state = 'ok' AND c.deleted_us IS NULL
  AND e.seq NOT IN (SELECT event_seq FROM replaced)
  AND NOT EXISTS (SELECT 1 FROM applied a WHERE a.event_seq = e.seq AND a.scope = g.scope)
"""
IN_HAND = """
EXISTS (SELECT 1 FROM train_item i JOIN train_batch b ON b.id = i.batch_id
  WHERE i.event_seq = e.seq AND b.scope = g.scope AND b.status = 'claimed')
"""
COUNTS = {
  'pending': f"""SELECT g.scope, count(*), min(e.durable_us) {LEARNABLE} AND NOT {IN_HAND}
    GROUP BY 1""",
  'unlearned': f'SELECT g.scope, count(*) {LEARNABLE} GROUP BY 1',
  'taken back': """SELECT a.scope, min(a.version) FROM applied a JOIN replaced r
    ON r.event_seq = a.event_seq WHERE r.how = 'retracted' AND a.scope != 'global' GROUP BY 1""",
  'satisfaction': """SELECT e.global_version,
    CASE WHEN g.adapter_user IS NULL AND g.global_version = 0 THEN 'base' ELSE 'rft' END,
    count(*), sum(json_extract(e.value_json, '$.label'))
    FROM feedback_event e JOIN generation g ON g.message_id = e.message_id
    WHERE e.kind = 'binary' AND e.seq NOT IN (SELECT event_seq FROM replaced) GROUP BY 1, 2""",
  'authors': """SELECT u.id, (SELECT count(*) FROM feedback_event e WHERE e.user_id = u.id)
    FROM user u WHERE u.deleted_us IS NULL""",
}


def check(store: Store):
  """All that is counted against the facts."""
  facts = {name: sorted(map(tuple, store.db.read(query))) for name, query in COUNTS.items()}
  pending = store.ledger.pending()
  assert sorted(map(tuple, pending)) == facts['pending']
  assert [p.oldest_us for p in pending] == sorted(p.oldest_us for p in pending)
  whole = store.ledger.backlog()
  assert whole.events == sum(events for _, events, _ in facts['pending'])
  assert whole.oldest_us == min((us for *_, us in facts['pending']), default=None)
  scopes = [row[0] for row in store.db.read('SELECT scope FROM scope_state')]
  left = [(scope, n) for scope in sorted(scopes) if (n := store.ledger.unlearned(scope))]
  assert left == [found for found in facts['unlearned'] if found[0] in scopes]
  assert sorted(store.ledger.taken_back().items()) == facts['taken back']
  rated = [(r['version'], r['arm'], r['n'], r['up']) for r in store.samples.satisfaction()]
  assert sorted(rated) == facts['satisfaction']
  people = store.people.most_active(10**6)
  assert sorted((p.user.id, p.events) for p in people) == facts['authors']
  assert [p.events for p in people] == sorted((p.events for p in people), reverse=True)
  for state in store.versions.states():
    query = 'SELECT count(*) FROM applied WHERE scope = ?'
    assert state.n_events == store.db.read(query, state.scope)[0][0]


class History:
  """Random deeds of users, the learner and an administrator."""

  def __init__(self, store: Store, seed: int):
    self.store, self.draw = store, random.Random(seed)
    self.users: list[str] = [self.arrive() for _ in range(4)]
    self.answers: list[tuple[str, str]] = []
    self.given: list[tuple[str, str]] = []

  def arrive(self) -> str:
    return self.store.users.create().result(LATER).id

  def step(self):
    deeds = [self.vote] * 6 + [self.learn] * 4 + [self.retract, self.quarantine, self.undo]
    deeds += [self.delete, self.early, self.broken, self.reset]
    if self.draw.random() < 0.03:
      deeds = [self.erase]
    self.draw.choice(deeds)()

  def scope(self) -> str:
    return self.draw.choice([GLOBAL, *map(of_user, self.users)])

  def answer(self) -> tuple[str, str]:
    if self.answers and self.draw.random() < 0.5:
      return self.draw.choice(self.answers)
    user = self.draw.choice(self.users)
    self.answers.append((user, chat(self.store, user, self.draw.choice(('Why?', 'How?')))))
    return self.answers[-1]

  def payload(self, message_id: str):
    kind, value = self.draw.choice(
      (
        ('binary', {'label': True}),
        ('binary', {'label': False}),
        ('edit', {'content': f'Rather {self.draw.randrange(3)}.'}),
        ('rating', {'score': self.draw.randrange(1, 6)}),
      )
    )
    hasty = self.draw.random() < 0.1
    return feedback(message_id, kind, value, shown_ms=1 if hasty else 2000)

  def vote(self):
    user, message_id = self.answer()
    given = self.payload(message_id)
    if self.attempt(self.store.events.add(given, user)):
      self.given.append((user, given.id))

  def early(self):
    """A vote that comes before its answer."""
    user, message_id = self.draw.choice(self.users), uuid7()
    given = self.payload(message_id)
    self.store.events.add(given, user).result(LATER)
    if self.draw.random() < 0.7:
      chat(self.store, user, message_id=message_id)
      self.answers.append((user, message_id))
      self.given.append((user, given.id))

  def attempt(self, done: Future) -> bool:
    try:
      done.result(LATER)
    except (Refused, LedgerError):
      return False
    return True

  def retract(self):
    if self.given:
      user, name = self.draw.choice(self.given)
      self.attempt(self.store.events.retract(name, user))

  def quarantine(self):
    newest = self.store.db.read('SELECT coalesce(max(seq), 0) FROM feedback_event')[0][0]
    seqs = [self.draw.randint(1, newest) for _ in range(2)] if newest else []
    self.store.events.quarantine(seqs, 'a test', 'a test').result(LATER)

  def delete(self):
    if self.answers and self.draw.random() < 0.3:
      message = self.store.chats.message(self.draw.choice(self.answers)[1])
      assert message
      self.store.chats.delete(message.conversation_id).result(LATER)

  def erase(self):
    user = self.users.pop(self.draw.randrange(len(self.users)))
    self.store.users.erase(user, user).result(LATER)
    self.users.append(self.arrive())
    self.answers = [one for one in self.answers if one[0] != user]
    self.given = [one for one in self.given if one[0] != user]

  def learn(self):
    ledger, scope = self.store.ledger, self.scope()
    batch = ledger.claim(scope, 3, 2).result(LATER)
    end = self.draw.random()
    for left in [batch] if batch else ledger.recover():
      if end < 0.15:
        return
      if end < 0.3:
        self.attempt(ledger.abandon(left, 'a test'))
      elif end < 0.4:
        self.attempt(ledger.reject(left, 'a test'))
      elif self.attempt(ledger.apply(left, 'path', 'sha', {}, publish=end < 0.8)):
        if end > 0.9:
          self.attempt(self.store.versions.publish(left.scope, left.version))
        self.store.versions.served(left.scope, left.version).result(LATER)

  def undo(self):
    scope = self.scope()
    to = self.draw.choice([0, *self.store.versions.lineage(scope)])
    events = self.draw.choice(('pending', 'quarantined'))
    done = self.store.versions.rollback(scope, to, 'a test', 'a test', events, freeze=False)
    done.result(LATER)

  def reset(self):
    if self.draw.random() < 0.3:
      self.store.versions.reset(of_user(self.draw.choice(self.users)), 'a test').result(LATER)

  def broken(self):
    """An operation that fails after it has written, and a commit that does."""
    user, message_id = self.answer()
    arrival = Arrival(self.payload(message_id), user, 'api', None, self.store.ledger.clock())
    error: type[Exception] = self.draw.choice((ValueError, sqlite3.OperationalError))

    def fail(connection: sqlite3.Connection):
      try:
        ingest(connection, arrival, self.store.ledger.clock(), self.store.rules)
      except Refused:
        pass
      raise error('a test')

    with pytest.raises(Exception, match='a test'):
      self.store.db.write('fail', fail).result(LATER)


def crashed(store: Store, folder: Path, then: Callable[[Store], None]):
  """What the next process finds if this one dies now."""
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  for name in ('store.db', 'store.db-wal'):
    shutil.copy(store.db.path.with_name(name), folder / name)
  (folder / 'store.db.lock').write_text('1')
  other = Store(folder / 'store.db', store.rules)
  then(other)
  other.close()


@pytest.mark.parametrize('seed', range(4))
def test_counters_equal_a_recount_after_any_history(seed, tmp_path):
  clock = Clock()
  store = Store(tmp_path / 'store.db', Rules(quorum=2, young_us=0, quorum_trust=0.5), clock)
  history = History(store, seed)
  for number in range(150):
    history.step()
    clock.us += history.draw.choice((0, 1000, 31_000_000))
    if history.draw.random() < 0.1:
      store.events.expire().result(LATER)
    check(store)
    if number % 50 == 49:
      crashed(store, tmp_path / 'crashed', check)
  facts = {name: len(store.db.read(query)) for name, query in COUNTS.items()}
  assert facts['satisfaction'] and facts['authors'] and store.versions.all()
  store.close()


def test_a_store_of_an_earlier_version_is_counted_once(tmp_path):
  store = Store(tmp_path / 'new.db', Rules(quorum=2, young_us=0, quorum_trust=0.5), Clock())
  history = History(store, 7)
  for _ in range(120):
    history.step()
  old = sqlite3.connect(tmp_path / 'old.db')
  for script in MIGRATIONS[:2]:
    old.executescript(script)
  copy(store, old)
  old.execute('PRAGMA user_version = 2')
  old.close()
  again = Store(tmp_path / 'old.db', store.rules)
  check(again)
  facts = lambda store: (store.ledger.pending(), store.samples.satisfaction())
  assert facts(again)[0] == facts(store)[0]
  again.close()
  store.close()


def copy(store: Store, old: sqlite3.Connection):
  """The rows of the tables that the older one has."""
  named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
  for (table,) in old.execute(named).fetchall():
    columns = ', '.join(row[1] for row in old.execute(f'PRAGMA table_info({table})'))
    rows = list(map(tuple, store.db.read(f'SELECT {columns} FROM {table}')))
    if rows:
      marks = ', '.join('?' * len(rows[0]))
      old.executemany(f'INSERT INTO {table} ({columns}) VALUES ({marks})', rows)
  old.commit()


QUESTIONS = (  # that are asked again and again, and must not get longer with the tables
  'SELECT * FROM pending_target WHERE rejected IS NULL ORDER BY recv_us, id',
  "SELECT 1 FROM train_batch WHERE status = 'claimed' LIMIT 1",
  "UPDATE model_version SET status = 'retired' WHERE scope = 'x' AND status = 'live'",
  "SELECT * FROM model_version WHERE scope = 'x' AND status = 'canary' ORDER BY version",
  "SELECT * FROM model_version WHERE scope = 'x' ORDER BY created_us DESC LIMIT 9",
  """SELECT * FROM conversation WHERE user_id = 'x' AND deleted_us IS NULL
    ORDER BY created_us DESC, id DESC LIMIT 9""",
  "SELECT * FROM user WHERE display = 'x' AND deleted_us IS NULL ORDER BY id LIMIT 1",
  "SELECT * FROM feedback_event e WHERE e.user_id = 'x' ORDER BY e.seq DESC LIMIT 9",
  'SELECT * FROM author ORDER BY events DESC, user_id DESC LIMIT 9',
  LINEAGE.replace(':scope', "'x'").replace(':version', '1').replace(':limit', '9'),
  DESCENDANTS.replace(':scope', "'x'").replace(':version', '1'),
)


@pytest.mark.parametrize('query', QUESTIONS)
def test_no_question_reads_or_sorts_a_whole_table(query, tmp_path):
  store = Store(tmp_path / 'store.db')
  plan = [row['detail'] for row in store.db.read(f'EXPLAIN QUERY PLAN {query}')]
  small = 'USING INDEX', 'USING COVERING INDEX', 'SCAN line', 'SCAN CONSTANT'
  scans = [step for step in plan if step.startswith('SCAN') and not any(s in step for s in small)]
  sorts = [step for step in plan if 'TEMP B-TREE' in step and 'WITH' not in query]
  assert not scans and not sorts, plan
  store.close()
