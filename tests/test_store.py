"""What the store keeps: each feedback once, for good, with the last word counting."""

import contextlib
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from talk import LATER, Clock, chat, edit, feedback

from rft_jax.feedback.database import StoreBusy, StoreUnavailable
from rft_jax.feedback.ids import is_id, uuid7
from rft_jax.feedback.ingest import Conflict, Refused
from rft_jax.feedback.records import ApiKey, Message, of_user
from rft_jax.feedback.schema import Invalid
from rft_jax.feedback.store import Store
from rft_jax.feedback.tables import MIGRATIONS
from rft_jax.registry import UserError


@pytest.fixture
def clock():
  return Clock()


@pytest.fixture
def store(tmp_path, clock):
  store = Store(tmp_path / 'store.db', clock=clock)
  yield store
  store.close()


@pytest.fixture
def user(store):
  return store.users.create('Ada').result(LATER).id


def give(store, given, user, **more):
  return store.events.add(given, user, **more).result(LATER)


def test_ids_sort_by_time_and_are_uuids():
  ids = [uuid7(us) for us in range(10**15, 10**15 + 50_000, 250)]
  assert ids == sorted(ids) and all(is_id(i) and i[14] == '7' and i[19] in '89ab' for i in ids)


def test_feedback_outlives_the_process(tmp_path, store, user):
  answer = chat(store, user)
  receipt = give(store, edit(answer, 'Good day.'), user)
  store.close()
  again = Store(tmp_path / 'store.db')
  event = again.events.get(receipt.seq)
  assert event and event.value == {'content': 'Good day.'} and event.user_id == user
  generation = again.chats.generation(answer)
  assert generation and generation.completion_ids.tolist() == [7, 8, 9]
  assert generation.logp.dtype == 'float32' and generation.versions is None
  again.close()


def test_the_same_feedback_at_once_is_kept_once(store, user):
  given = feedback(chat(store, user))
  with ThreadPoolExecutor(64) as pool:
    receipts = list(pool.map(lambda _: give(store, given, user), range(64)))
  assert sorted(r.duplicate for r in receipts) == [False] + [True] * 63
  assert {r.seq for r in receipts} == {1}
  assert len(store.db.read('SELECT * FROM feedback_event')) == 1


def test_an_id_never_names_two_payloads(store, user):
  given = feedback(chat(store, user))
  give(store, given, user)
  with pytest.raises(Conflict):
    give(store, feedback(given.message_id, value={'label': False}, id=given.id), user)
  other = store.users.create().result(LATER).id
  with pytest.raises(Conflict):
    give(store, given, other)


def test_events_cannot_be_changed_or_deleted(store, user):
  give(store, edit(chat(store, user), 'Good day.'), user)
  changes = ['DELETE FROM feedback_event']
  columns = [row['name'] for row in store.db.read('PRAGMA table_info(feedback_event)')]
  changes += [f"UPDATE feedback_event SET {name} = '9'" for name in columns]
  changes += ["UPDATE feedback_event SET value_json = '{}', comment = '', tags_json = '[]'"]
  for change in changes:
    with pytest.raises(sqlite3.IntegrityError, match='append-only'):
      store.db.write('change', lambda c, change=change: c.execute(change)).result(LATER)


def test_a_second_writer_is_refused(tmp_path, store):
  with pytest.raises(UserError, match='is locked by process'):
    Store(tmp_path / 'store.db')
  code = f'from rft_jax.feedback.store import Store; Store({str(tmp_path / "store.db")!r})'
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
  assert done.returncode and 'stop that one first' in done.stderr


def test_a_store_of_an_earlier_version_becomes_one_of_this(tmp_path):
  path = tmp_path / 'old.db'
  with contextlib.closing(sqlite3.connect(path)) as old:
    old.executescript(f'{MIGRATIONS[0]} PRAGMA user_version = 1;')
    old.execute("INSERT INTO scope_state VALUES ('global', 0, 0, 0, 0)")
    claimed = ('b', 'global', 0, 1, 'claimed', 7, '', 1, None, '')
    old.execute(f'INSERT INTO train_batch VALUES ({", ".join("?" * 10)})', claimed)
    old.commit()
  store = Store(path)
  (batch,) = store.ledger.recover()
  assert (batch.rng_seed, batch.base_version) == (7, 0)
  store.close()


def test_a_store_of_the_future_or_a_broken_one_is_refused(tmp_path, store):
  store.db.write('v', lambda c: c.execute('PRAGMA user_version = 99')).result(LATER)
  store.close()
  with pytest.raises(UserError, match='version 99'):
    Store(tmp_path / 'store.db')
  (tmp_path / 'store.db').write_bytes(b'not a database, but long enough to look at' * 100)
  for rest in ('-wal', '-shm'):
    (tmp_path / f'store.db{rest}').unlink(missing_ok=True)
  with pytest.raises(UserError, match='cannot be opened'):
    Store(tmp_path / 'store.db')


def test_damage_is_found_after_an_unclean_end(tmp_path, store, user):
  for _ in range(20):
    chat(store, user, answer='x' * 5000)
  store.close()
  path = tmp_path / 'store.db'
  data = bytearray(path.read_bytes())
  for start in range(len(data) - 10 * 4096, len(data), 4096):
    data[start : start + 64] = b'\xff' * 64
  path.write_bytes(data)
  Store(path).close()  # After a clean end nobody looks.
  (tmp_path / 'store.db.lock').write_text('123')
  with pytest.raises(UserError, match='restore it from a copy'):
    Store(path)


def test_a_failing_write_undoes_only_itself(store, user):
  answers = [chat(store, user) for _ in range(3)]
  hold = store.db.write('slow', lambda c: c.execute(SLOW).fetchall())
  good = [store.events.add(feedback(a), user) for a in answers]
  bad = store.events.add(feedback(answers[0], supersedes=uuid7()), user)
  last = store.events.add(feedback(answers[1], 'rating', {'score': 5}), user)
  hold.result(LATER)
  assert [f.result(LATER).seq for f in (*good, last)] == [1, 2, 3, 4]
  with pytest.raises(Invalid):
    bad.result(LATER)


def test_half_a_write_is_never_kept(store, user):
  def half(connection):
    connection.execute("UPDATE user SET display = 'changed'")
    raise KeyError

  hold = store.db.write('slow', lambda c: c.execute(SLOW).fetchall())
  broken, whole = store.db.write('half', half), store.users.create('Bob')
  hold.result(LATER)
  with pytest.raises(KeyError):
    broken.result(LATER)
  whole.result(LATER)
  assert [u.display for u in store.users.all()] == ['Ada', 'Bob']


SLOW = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
SELECT max(i) FROM n"""


def test_a_full_queue_and_a_closed_store_say_so(store):
  hold = store.db.write('slow', lambda c: c.execute(SLOW).fetchall())
  with pytest.raises(StoreBusy):
    for _ in range(3000):
      store.db.write('nothing', lambda c: None)
  hold.result(LATER)
  store.close()
  with pytest.raises(StoreUnavailable):
    store.users.create()


def test_a_disk_that_is_full_gives_no_acknowledgement(store, user):
  store.db.write('limit', lambda c: c.execute('PRAGMA max_page_count = 1').fetchall())
  with pytest.raises(StoreUnavailable):
    for _ in range(50):
      store.users.create('x' * 500).result(LATER)
  assert not store.healthy
  store.db.connection.execute('PRAGMA max_page_count = 1000000')
  store.users.create().result(LATER)
  assert store.healthy


def test_the_last_vote_counts(store, user):
  answer = chat(store, user)
  votes = [give(store, feedback(answer, value={'label': up}), user) for up in (True, False, True)]
  states = [store.events.receipt(vote.id).status for vote in votes]
  assert states == ['superseded', 'superseded', 'queued']
  batch = store.ledger.claim(of_user(user)).result(LATER)
  assert [item.event.id for item in batch.items] == [votes[-1].id]


def test_a_vote_can_supersede_another_kind_but_not_a_stranger(store, user):
  answer = chat(store, user)
  first = give(store, feedback(answer, value={'label': False}), user)
  give(store, edit(answer, 'Good day.', supersedes=first.id), user)
  assert store.events.receipt(first.id).status == 'superseded'
  elsewhere = give(store, feedback(chat(store, user)), user)
  with pytest.raises(Invalid, match='supersedes'):
    give(store, feedback(answer, supersedes=elsewhere.id), user)


def test_a_retracted_vote_does_not_teach(store, user):
  given = feedback(chat(store, user))
  give(store, given, user)
  stranger = store.users.create().result(LATER).id
  with pytest.raises(Refused) as refused:
    store.events.retract(given.id, stranger).result(LATER)
  assert refused.value.status == 403
  for _ in range(2):
    assert store.events.retract(given.id, user).result(LATER).status == 'retracted'
  assert not store.ledger.pending()
  assert store.ledger.claim(of_user(user)).result(LATER) is None
  kinds = [row['kind'] for row in store.db.read('SELECT kind FROM feedback_event')]
  assert kinds == ['binary', 'retract']


def test_feedback_may_come_before_its_answer(store, user, clock):
  answer = uuid7()
  early = give(store, feedback(answer), user)
  assert early.seq is None and early.status == 'queued'
  assert give(store, feedback(answer, id=early.id), user).duplicate
  chat(store, user, message_id=answer)
  assert store.events.receipt(early.id).seq == 1


def test_feedback_whose_answer_never_comes_is_rejected_with_a_reason(store, user, clock):
  early = give(store, feedback(uuid7()), user)
  assert store.events.expire().result(LATER) == 0
  clock.us += 31_000_000
  assert store.events.expire().result(LATER) == 1
  receipt = store.events.receipt(early.id)
  assert receipt.status == 'rejected' and receipt.reasons == ('target: the answer never came',)


def test_feedback_on_what_turns_out_to_be_another_users_answer_is_rejected(store, user):
  stranger = store.users.create().result(LATER).id
  early = give(store, feedback(answer := uuid7()), stranger)
  chat(store, user, message_id=answer)
  receipt = store.events.receipt(early.id)
  assert receipt.status == 'rejected' and 'another user' in receipt.reasons[0]


def test_only_ones_own_answers_can_be_judged(store, user):
  answer = chat(store, user)
  stranger = store.users.create().result(LATER).id
  question = store.chats.path(answer)[0].id
  for target, who, status in ((answer, stranger, 403), (question, user, 404)):
    with pytest.raises(Refused) as refused:
      give(store, feedback(target), who)
    assert refused.value.status == status
  store.chats.delete(store.chats.message(answer).conversation_id).result(LATER)
  with pytest.raises(Refused) as refused:
    give(store, feedback(answer), user)
  assert refused.value.status == 404


def test_a_conversation_is_a_tree(store, user):
  answer = chat(store, user, 'A', 'B')
  root, first = store.chats.path(answer)
  other = Message(uuid7(), root.conversation_id, root.id, 'assistant', 'C')
  deeper = Message(uuid7(), root.conversation_id, other.id, 'user', 'D')
  store.chats.add([other, deeper]).result(LATER)
  assert [m.content for m in store.chats.path(deeper.id)] == ['A', 'C', 'D']
  branches = [m.branch_idx for m in store.chats.messages(root.conversation_id)]
  assert branches == [0, 0, 1, 0] and first.branch_idx == 0
  assert [c.id for c in store.chats.of_user(user)] == [root.conversation_id]


def test_an_erased_user_leaves_no_words(tmp_path, store, user):
  answer = chat(store, user, 'my secret question', 'my secret answer')
  given = give(store, edit(answer, 'my secret edit', comment='secret', tags=['secret']), user)
  store.users.add_key(ApiKey('k', user, 'hash', 'chat')).result(LATER)
  claimed = store.ledger.claim(of_user(user)).result(LATER)
  store.users.erase(user, user).result(LATER)
  assert store.events.get(given.seq).value == {} and not store.ledger.recover()
  assert store.users.key('k').revoked_us and store.chats.generation(answer) is None
  assert store.ledger.claim(of_user(user)).result(LATER) is None and claimed
  store.backup(tmp_path / 'copy.db')
  assert b'secret' not in (tmp_path / 'copy.db').read_bytes()


def test_measurements_are_a_series(store):
  for number in range(3):
    store.samples.add('latency', number, user='u').result(LATER)
  assert [s.value for s in store.samples.series('latency', 2)] == [1, 2]
