"""The ledger: an event has its effect on a scope once, and whatever has an effect can be undone."""

import random
import sqlite3
import time

import folding
import pytest
from talk import LATER, Clock, chat, edit, feedback

from rft_jax.feedback.gates import Rules
from rft_jax.feedback.ledger import LedgerError
from rft_jax.feedback.records import GLOBAL, of_user
from rft_jax.feedback.store import Store


@pytest.fixture
def store(tmp_path):
  store = Store(tmp_path / 'store.db', Rules(young_us=0), Clock())
  yield store
  store.close()


@pytest.fixture
def user(store):
  return store.users.create('Ada').result(LATER).id


def give(store, user, kind='binary', value=None, prompt='Hello?', **more):
  given = feedback(chat(store, user, prompt), kind, value)
  return store.events.add(given, user, **more).result(LATER)


def learn(store, root, scope, limit=8, replay=0, publish=True):
  """One update; the batch."""
  batch = store.ledger.claim(scope, limit, replay).result(LATER)
  if publish:
    folding.learn(store, root, batch)
  else:
    store.ledger.apply(batch, '', '', {}, publish=False).result(LATER)
  return batch


def seqs(batch, role='new'):
  return [item.event.seq for item in batch.items if item.role == role]


def applied(store, scope):
  query = 'SELECT event_seq FROM applied WHERE scope = ? ORDER BY event_seq'
  return [row[0] for row in store.db.read(query, scope)]


def test_a_receipt_follows_its_feedback(tmp_path, store, user):
  vote, scope = give(store, user), of_user(user)
  status = lambda: store.events.receipt(vote.id).status
  assert status() == 'queued'
  batch = store.ledger.claim(scope).result(LATER)
  assert status() == 'training'
  store.ledger.apply(batch, 'v1', 'sha', {'kl_to_ref': 0.25}).result(LATER)
  assert status() == 'applied'
  store.versions.served(scope, 1).result(LATER)
  receipt = store.events.receipt(vote.id)
  assert (receipt.status, receipt.applied_version) == ('served', 1)
  parts = receipt.latency_ms
  assert parts['total'] == pytest.approx(sum(v for k, v in parts.items() if k != 'total'))
  state = store.versions.state(scope)
  assert (state.live_version, state.n_events, state.kl_to_ref) == (1, 1, 0.25)


def test_a_batch_tells_everything_about_its_events(store, user):
  a, b = chat(store, user), chat(store, user)
  pair = feedback(a, 'preference', {'outcome': 'b', 'a': a, 'b': b})
  store.events.add(pair, user).result(LATER)
  (item,) = store.ledger.claim(of_user(user)).result(LATER).items
  assert item.generation.message_id == a and item.other.message_id == b
  assert item.generation.completion_ids.tolist() == [7, 8, 9] and item.weight == 1


def test_application_twice_is_a_constraint_error(store, user):
  give(store, user)
  give(store, user)
  scope = of_user(user)
  first = learn(store, store.db.path.parent, scope, limit=1)
  with pytest.raises(LedgerError, match='not claimed'):
    store.ledger.apply(first, '', '', {}).result(LATER)
  second = store.ledger.claim(scope).result(LATER)
  query = "UPDATE train_item SET event_seq = 1, role = 'new' WHERE batch_id = ?"
  store.db.write('forge', lambda c: c.execute(query, (second.id,)) and None).result(LATER)
  with pytest.raises(sqlite3.IntegrityError, match='applied'):
    store.ledger.apply(second, '', '', {}).result(LATER)
  assert store.versions.state(scope).live_version == 1 and applied(store, scope) == [1]


def test_one_batch_of_a_scope_at_a_time(store, user):
  give(store, user)
  give(store, user)
  scope = of_user(user)
  batch = store.ledger.claim(scope, 1).result(LATER)
  assert store.ledger.claim(scope, 1).result(LATER) is None
  assert [p.events for p in store.ledger.pending()] == [1]
  store.ledger.abandon(batch, 'why not').result(LATER)
  again = store.ledger.claim(scope, 1).result(LATER)
  assert seqs(again) == seqs(batch) and again.rng_seed == batch.rng_seed


def test_recovery_gives_the_same_batch(tmp_path, store, user):
  for _ in range(3):
    give(store, user)
  learn(store, tmp_path, of_user(user), limit=1)
  batch = store.ledger.claim(of_user(user), 2, replay=1).result(LATER)
  assert seqs(batch) == [2, 3] and seqs(batch, 'replay') == [1]
  store.close()
  again = Store(tmp_path / 'store.db')
  (found,) = again.ledger.recover()
  assert (found.id, found.rng_seed, found.version) == (batch.id, batch.rng_seed, 2)
  assert [i.event for i in found.items] == [i.event for i in batch.items]
  again.close()


def test_rejected_events_are_quarantined_and_the_innocent_wait_again(store, user):
  for _ in range(3):
    give(store, user)
  scope = of_user(user)
  batch = store.ledger.claim(scope).result(LATER)
  store.ledger.reject(batch, 'KL too far', seqs=[2]).result(LATER)
  receipt = store.events.of_author(user)[1]
  assert (receipt.status, receipt.reasons) == ('quarantined', ('KL too far',))
  assert seqs(store.ledger.claim(scope).result(LATER)) == [1, 3]


def test_a_deleted_conversation_does_not_teach(store, user):
  vote = give(store, user)
  conversation = store.chats.message(vote.message_id).conversation_id
  store.chats.delete(conversation).result(LATER)
  assert not store.ledger.pending() and store.ledger.claim(of_user(user)).result(LATER) is None


@pytest.mark.parametrize('edits, votes, words', [(3, 20, 2), (3, 1, 3), (1, 20, 1), (0, 20, 0)])
def test_what_was_written_is_repeated_beside_votes(tmp_path, store, user, edits, votes, words):
  scope = of_user(user)
  for number in range(edits):
    give(store, user, 'edit', dict(content='It is so.'), f'Question {number}?')
  for number in range(votes):
    give(store, user, prompt=f'Other {number}?')
  while any(p.scope == scope for p in store.ledger.pending()):
    learn(store, tmp_path, scope)
  give(store, user)
  again = seqs(learn(store, tmp_path, scope, replay=4), 'replay')
  assert len(again) == 4 and sum(seq <= edits for seq in again) == words


def test_older_votes_and_what_was_corrected_again_are_not_repeated(tmp_path, store, user):
  scope, old, new = of_user(user), 'It was so.', 'It is so.'
  for text in (old, new):
    give(store, user, 'edit', dict(content=text), 'Is it?')
  for number in range(20):
    give(store, user, prompt=f'Other {number}?')
  while any(p.scope == scope for p in store.ledger.pending()):
    learn(store, tmp_path, scope)
  give(store, user)
  again = seqs(learn(store, tmp_path, scope, replay=100), 'replay')
  assert again == [2, *range(7, 23)]


def test_what_was_taken_back_after_application_leaves_replay(tmp_path, store, user):
  votes, scope = [give(store, user) for _ in range(2)], of_user(user)
  learn(store, tmp_path, scope)
  store.events.retract(votes[0].id, user).result(LATER)
  assert store.events.receipt(votes[0].id).status == 'retracted'
  changed = feedback(votes[1].message_id, value={'label': False})
  store.events.add(changed, user).result(LATER)
  batch = learn(store, tmp_path, scope, replay=4)
  assert seqs(batch, 'replay') == [] and len(seqs(batch)) == 1
  assert len(applied(store, scope)) == 3


@pytest.mark.parametrize('events', ['quarantined', 'pending'])
def test_rollback_undoes_versions_and_their_ledger(events, tmp_path, store, user):
  votes, scope = [give(store, user) for _ in range(4)], of_user(user)
  for _ in range(3):
    learn(store, tmp_path, scope, limit=1)
  claimed = store.ledger.claim(scope).result(LATER)
  undone = store.versions.rollback(scope, 1, 'it went bad', 'me', events).result(LATER)
  assert undone == [2, 3]
  state = store.versions.state(scope)
  assert (state.live_version, state.frozen, state.n_events) == (1, True, 1)
  assert [v.status for v in store.versions.all(scope)] == ['rolled_back', 'rolled_back', 'live']
  assert applied(store, scope) == [1]
  with pytest.raises(LedgerError):
    store.ledger.apply(claimed, '', '', {}).result(LATER)
  assert store.ledger.claim(scope).result(LATER) is None, 'a frozen scope learns'
  store.versions.freeze(scope, False, 'me').result(LATER)
  again = store.ledger.claim(scope).result(LATER)
  assert again.version == 4 and again.parent_version == 1
  assert seqs(again) == ([4] if events == 'quarantined' else [2, 3, 4])
  status = store.events.receipt(votes[1].id).status
  assert status == ('rolled_back' if events == 'quarantined' else 'training')
  assert [a['action'] for a in store.samples.audit()] == ['freeze', 'rollback']


def test_only_an_ancestor_of_the_live_version_can_be_rolled_back_to(tmp_path, store, user):
  give(store, user)
  give(store, user)
  scope = of_user(user)
  learn(store, tmp_path, scope, limit=1)
  store.versions.rollback(scope, 0, 'bad', 'me', freeze=False).result(LATER)
  learn(store, tmp_path, scope, limit=1)
  for version in (1, 7):
    with pytest.raises(LedgerError, match='not an ancestor'):
      store.versions.rollback(scope, version, 'bad', 'me').result(LATER)


def test_freezing_stops_a_batch_in_flight(store, user):
  give(store, user)
  scope = of_user(user)
  batch = store.ledger.claim(scope).result(LATER)
  store.versions.freeze(scope, True, 'me').result(LATER)
  with pytest.raises(LedgerError):
    store.ledger.apply(batch, '', '', {}).result(LATER)
  assert store.versions.state(scope).live_version == 0


def test_a_canary_is_served_to_nobody_until_published(tmp_path, store, user):
  give(store, user)
  give(store, user)
  scope = of_user(user)
  learn(store, tmp_path, scope, limit=1, publish=False)
  assert store.versions.state(scope).live_version == 0
  assert store.ledger.claim(scope).result(LATER) is None
  store.versions.publish(scope, 1).result(LATER)
  assert store.versions.state(scope).live_version == 1
  with pytest.raises(LedgerError):
    store.versions.publish(scope, 1).result(LATER)
  assert store.ledger.claim(scope).result(LATER).parent_version == 1


def test_a_refused_canary_is_rolled_back(tmp_path, store, user):
  give(store, user)
  scope = of_user(user)
  learn(store, tmp_path, scope, publish=False)
  assert store.versions.rollback(scope, 0, 'failed', 'me').result(LATER) == [1]
  assert applied(store, scope) == []


def test_folding_the_history_gives_the_live_weights(tmp_path, store, user):
  scope = of_user(user)
  for _ in range(6):
    give(store, user)
  for _ in range(2):
    learn(store, tmp_path, scope, limit=1)
  store.versions.rollback(scope, 1, 'bad', 'me', 'pending', freeze=False).result(LATER)
  for _ in range(2):
    learn(store, tmp_path, scope, limit=2, replay=2)
  history = store.versions.history(scope)
  assert [batch.version for batch in history] == [1, 3, 4]
  weights = ''
  for batch in history:
    weights = folding.fold(weights, batch)
  assert weights == folding.weights(tmp_path, scope, 4)


def test_a_user_can_be_left_out_of_the_history(tmp_path, store):
  users = [store.users.create().result(LATER).id for _ in range(3)]
  for user in users:
    give(store, user)
  learn(store, tmp_path, GLOBAL)
  (batch,) = store.versions.history(GLOBAL, exclude_users=[users[1]])
  assert seqs(batch) == [1, 3]


def test_the_global_model_waits_for_a_quorum(store):
  users = [store.users.create().result(LATER).id for _ in range(3)]
  waiting = lambda: [p.events for p in store.ledger.pending() if p.scope == GLOBAL]
  for user in users[:2]:
    give(store, user)
    give(store, user)
  assert waiting() == []
  give(store, users[2], prompt='Something else?')
  give(store, users[2], value={'label': False})
  assert waiting() == []
  give(store, users[2], prompt='  hello ')
  assert waiting() == [3], 'the same intent in another spelling completes it, each counts once'


def test_the_quorum_grows_with_those_who_spoke_lately(store):
  users = [store.users.create().result(LATER).id for _ in range(16)]
  waiting = lambda: [p.events for p in store.ledger.pending() if p.scope == GLOBAL]
  for number, user in enumerate(users[:11]):
    give(store, user, prompt=f'Question {number}?')
  give(store, users[15], prompt='Something else?')
  for user in users[11:14]:
    give(store, user)
  assert waiting() == [], 'fifteen have spoken: three are no more than a fifth'
  give(store, users[14])
  assert waiting() == [4]


def test_one_sender_of_many_accounts_does_not_make_the_quorum_larger(store):
  waiting = lambda: [p.events for p in store.ledger.pending() if p.scope == GLOBAL]
  for number in range(20):
    user = store.users.create().result(LATER).id
    give(store, user, prompt=f'Question {number}?', origin='one block')
  for _ in range(3):
    give(store, store.users.create().result(LATER).id)
  assert waiting() == [3]


def test_a_retracted_vote_does_not_count_for_the_quorum(store):
  users = [store.users.create().result(LATER).id for _ in range(3)]
  first = give(store, users[0])
  store.events.retract(first.id, users[0]).result(LATER)
  for user in users[1:]:
    give(store, user)
  assert GLOBAL not in [p.scope for p in store.ledger.pending()]


def test_staff_teaches_everyone_alone_and_who_does_not_share_nobody(store):
  staff = store.users.create('Staff', staff=True).result(LATER).id
  private = store.users.create('Private').result(LATER).id
  store.users.share(private, False).result(LATER)
  vote = give(store, staff)
  give(store, private)
  assert [p.events for p in store.ledger.pending() if p.scope == GLOBAL] == [1]
  assert seqs(store.ledger.claim(GLOBAL).result(LATER)) == [vote.seq]


def test_people_have_equal_shares_of_a_global_batch(store):
  users = [store.users.create().result(LATER).id for _ in range(3)]
  for user in users:
    for number in range(5):
      give(store, user, prompt=f'Question {number}?')
  batch = store.ledger.claim(GLOBAL, 8).result(LATER)
  authors = [item.event.user_id for item in batch.items]
  assert [authors.count(user) for user in users] == [2, 2, 2]


def test_a_muted_user_teaches_only_the_own_adapter(store, user):
  store.users.judge(user, 0, 10).result(LATER)
  give(store, user)
  assert [p.scope for p in store.ledger.pending()] == [of_user(user)]


def test_agreement_with_others_is_trust(store):
  users = [store.users.create().result(LATER).id for _ in range(4)]
  for user, up in zip(users, (True, True, True, False), strict=True):
    give(store, user, value={'label': up})
  trust = [store.users.get(user).trust for user in users]
  assert trust == [0.6, 0.6, 0.6, 0.4]


def test_quarantine_stops_events_that_wait_or_are_being_learned(store, user):
  votes = [give(store, user) for _ in range(2)]
  scope = of_user(user)
  batch = store.ledger.claim(scope, 1).result(LATER)
  store.events.quarantine(store.events.seqs(user), 'spam', 'me').result(LATER)
  with pytest.raises(LedgerError):
    store.ledger.apply(batch, '', '', {}).result(LATER)
  assert {store.events.receipt(vote.id).status for vote in votes} == {'quarantined'}
  assert not store.ledger.pending()


@pytest.mark.parametrize('seed', range(4))
def test_any_course_of_things_keeps_ledger_and_weights_together(seed, tmp_path):
  """Votes, retractions, updates, rollbacks, freezes and restarts, at random."""
  noise, path = random.Random(seed), tmp_path / 'store.db'
  store = Store(path)
  user = store.users.create().result(LATER).id
  answers, scope = [chat(store, user) for _ in range(5)], of_user(user)
  for _ in range(60):
    match noise.choice(['vote', 'vote', 'vote', 'retract', 'learn', 'crash', 'rollback', 'thaw']):
      case 'vote':
        given = feedback(noise.choice(answers), value={'label': noise.random() < 0.5})
        store.events.add(given, user).result(LATER)
      case 'retract':
        for receipt in store.events.of_author(user, 1):
          store.events.retract(receipt.id, user).result(LATER)
      case 'learn':
        if batch := store.ledger.claim(scope, 3, replay=2).result(LATER):
          folding.learn(store, tmp_path, batch)
      case 'crash':
        store.ledger.claim(scope, 2).result(LATER)
        store.close()
        store = Store(path)
        for batch in store.ledger.recover():
          folding.learn(store, tmp_path, batch)
      case 'rollback':
        versions = [0, *(batch.version for batch in store.versions.history(scope))]
        events, frozen = noise.choice(['pending', 'quarantined']), noise.random() < 0.5
        to = noise.choice(versions)
        store.versions.rollback(scope, to, 'x', 'me', events, frozen).result(LATER)
      case 'thaw':
        store.versions.freeze(scope, False, 'me').result(LATER)
    check_agreement(store, tmp_path, scope)
  store.close()


def check_agreement(store, root, scope):
  """The ledger has what the live weights have seen, once, and nothing else."""
  history, weights = store.versions.history(scope), ''
  for batch in history:
    weights = folding.fold(weights, batch)
  live = store.versions.state(scope).live_version
  assert weights == folding.weights(root, scope, live)
  learned = [seq for batch in history for seq in seqs(batch)]
  assert sorted(learned) == applied(store, scope) and len(set(learned)) == len(learned)


@pytest.mark.slow
def test_commits_are_measured(store, user, capsys):
  answers = [chat(store, user) for _ in range(500)]
  times = []
  for answer in answers:
    start = time.perf_counter()
    store.events.add(edit(answer, 'Good day to you.'), user).result(LATER)
    times.append((time.perf_counter() - start) * 1000)
  times.sort()
  with capsys.disabled():
    print(f'\nfeedback durable: p50 {times[250]:.2f} ms, p95 {times[475]:.2f} ms')
  assert len(store.db.read('SELECT 1 FROM feedback_event')) == 500
