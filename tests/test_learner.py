"""Laws of the learner: what is served is what the ledger says, whatever happens meanwhile."""

import asyncio
import random
import threading
import time

import numpy as np
import pytest
import scholar
from scholar import School
from served import until
from talk import LATER, chat, feedback

from rft_jax.engine.protocol import EngineError
from rft_jax.feedback.database import StoreUnavailable
from rft_jax.feedback.ledger import LedgerError
from rft_jax.feedback.records import GLOBAL, of_user
from rft_jax.learning import shelf as shelves
from rft_jax.learning.fold import rebuild
from rft_jax.learning.learner import LearnerOptions


@pytest.fixture
def school(tmp_path):
  school = School(tmp_path)
  yield school
  school.student.going.set()
  school.close()


@pytest.fixture
def user(school):
  return school.store.users.create('Ada').result(LATER).id


def give(school, user, value=None, kind='binary', answer='') -> str:
  """One feedback, told to the learner; its id."""
  given = feedback(answer or chat(school.store, user), kind, value)
  school.learner.notify(school.store.events.add(given, user).result(LATER))
  return given.id


def learned(school, scope) -> bool:
  """Whether nothing waits for a scope, neither to be learned nor to be unlearned, and what is live
  is served."""
  ledger, versions = school.store.ledger, school.store.versions
  waiting = lambda: any(p.scope == scope for p in ledger.pending())
  # In this order: what is claimed while one looks waits no more, and is live only afterwards.
  if waiting() or ledger.is_training() or scope in ledger.taken_back() or waiting():
    return False
  live = versions.state(scope).live_version
  record = versions.get(scope, live)
  return served(school, scope) == live and (record is None or record.first_served_us is not None)


def served(school, scope) -> int:
  return school.engine.routes.live.get(scope, 0)


def settled(school, scope):
  until(lambda: learned(school, scope))
  check(school, scope)


def check(school, scope):
  """Weights = fold(ledger); the engine has those very weights."""
  again = rebuild(school.store, school.student, scholar.told, scope)
  assert scholar.packed(again) == school.bits(scope) or not school.store.versions.lineage(scope)
  adapter = school.engine.adapters.get(scope)
  if adapter is not None:
    assert scholar.packed(adapter) == scholar.packed(school.state(scope)['adapter'])
  live = {batch.version for batch in school.store.versions.history(scope)}
  query = 'SELECT event_seq, version FROM applied WHERE scope = ?'
  rows = school.store.db.read(query, scope)
  assert {row['version'] for row in rows} <= live


def status(school, event_id) -> str:
  return school.store.events.receipt(event_id).status


def test_feedback_is_learned_and_served_without_anyone_asking(school, user):
  school.learner.start()
  scope = of_user(user)
  votes = [give(school, user) for _ in range(3)]
  until(lambda: {status(school, vote) for vote in votes} == {'served'})
  settled(school, scope)
  (sample, *_) = school.store.samples.series('reflection')
  assert (sample.value, sample.labels['scope']) == (1.0, 'personal')
  page = school.learner.publisher.metrics.page
  assert page and school.store.versions.state(scope).kl_to_ref == 0.125


def test_staff_teaches_everyone_and_personal_adapters_know_what_they_stand_on(school):
  staff = school.store.users.create('Staff', staff=True).result(LATER).id
  school.learner.start()
  for _ in range(4):
    give(school, staff)
  for scope in (GLOBAL, of_user(staff)):
    settled(school, scope)
  bases = [batch.base_version for batch in school.store.versions.history(of_user(staff))]
  assert bases == sorted(bases) and school.store.versions.state(GLOBAL).live_version == 4


def test_an_update_over_another_global_version_is_another_update(school):
  staff = school.store.users.create('Staff', staff=True).result(LATER).id
  give(school, staff)
  assert school.training.turn(GLOBAL) == 0
  batch = school.store.ledger.claim(of_user(staff)).result(LATER)
  give(school, staff)
  school.training.turn(GLOBAL)
  school.training.claimed[of_user(staff)] = batch  # The global model has moved meanwhile.
  school.training.turn(of_user(staff))
  assert (batch.base_version, school.store.versions.state(GLOBAL).live_version) == (1, 2)
  check(school, of_user(staff))


def test_a_guilty_event_is_found_and_the_innocent_are_learned(school, user):
  ids = [give(school, user) for _ in range(8)]
  school.student.guilty = {3}
  school.learner.start()
  settled(school, of_user(user))
  states = [status(school, vote) for vote in ids]
  assert states == ['served'] * 2 + ['quarantined'] + ['served'] * 5
  assert school.store.events.receipt(ids[2]).reasons == ('too far from the reference',)


@pytest.mark.parametrize('how', ['poison', 'broken'])
def test_what_is_not_finite_or_cannot_be_learned_never_goes_live(how, school, user):
  good, bad = give(school, user), give(school, user)
  school.student.poison = {2} if how == 'poison' else set()
  school.student.broken = {2: ValueError('too long')} if how == 'broken' else {}
  school.learner.start()
  until(lambda: status(school, bad) == 'quarantined')
  settled(school, of_user(user))
  assert status(school, good) == 'served'
  assert np.isfinite(school.state(of_user(user))['adapter']['layers']['qkv']['q_proj']['b']).all()


def test_a_failing_machine_loses_nothing(school, user, monkeypatch):
  full = OSError(28, 'No space left on device')
  monkeypatch.setattr(shelves, 'write_file', lambda path, data: (_ for _ in ()).throw(full))
  vote = give(school, user)
  school.learner.start()
  scope = of_user(user)
  until(lambda: 'No space left' in school.learner.status()['problems'].get(scope, ''))
  assert status(school, vote) in ('queued', 'training') and served(school, scope) == 0
  monkeypatch.undo()
  settled(school, scope)
  assert status(school, vote) == 'served'
  until(lambda: not school.learner.status()['problems'])


def test_a_store_that_cannot_write_keeps_its_claim_for_later(school, user, monkeypatch):
  vote, scope = give(school, user), of_user(user)
  batch = school.store.ledger.claim(scope).result(LATER)
  school.training.claimed[scope] = batch
  fail = lambda *a, **k: (_ for _ in ()).throw(StoreUnavailable('the disk is full'))
  with monkeypatch.context() as patch:
    patch.setattr(school.store.ledger, 'apply', fail)
    patch.setattr(school.store.ledger, 'abandon', fail)
    assert school.training.turn(scope) > 0
  assert school.training.claimed == {scope: batch} and status(school, vote) == 'training'
  calls = school.student.calls
  assert school.training.turn(scope) == 0
  assert school.student.calls == calls, 'the files were there: nothing is computed again'
  assert status(school, vote) == 'served'


def test_an_engine_that_fails_is_brought_up_to_date_later(school, user):
  school.engine.failing = RuntimeError('every row is held')
  give(school, user)
  school.learner.start()
  scope = of_user(user)
  until(lambda: school.store.versions.state(scope).live_version == 1)
  until(lambda: 'every row' in str(school.learner.status()['problems']))
  school.engine.failing = None
  settled(school, scope)


def test_flips_that_race_the_trainer_end_as_the_last_one_says(school, user):
  school.learner.start()
  answer, scope = chat(school.store, user), of_user(user)
  noise = random.Random(1)
  ids = []
  for turn in range(24):
    ids.append(give(school, user, {'label': turn % 2 == 0}, answer=answer))
    time.sleep(noise.choice([0, 0.002, 0.01]))
  settled(school, scope)
  states = [status(school, one) for one in ids]
  assert states == ['superseded'] * 23 + ['served']


def hold(school, user) -> str:
  """A vote that is being learned and will not be done before `going`."""
  school.student.going.clear()
  school.student.learning.clear()
  vote = give(school, user)
  assert school.student.learning.wait(5)
  return vote


def test_what_is_taken_back_is_unlearned_and_the_rest_is_learned_again(school, user):
  scope = of_user(user)
  school.learner.start()
  votes = []
  for _ in range(3):
    votes.append(give(school, user))
    until(lambda: learned(school, scope))
  school.learner.notify(school.store.events.retract(votes[0], user).result(LATER))
  until(lambda: not school.store.ledger.taken_back() and learned(school, scope))
  check(school, scope)
  taught = [i.event.id for b in school.store.versions.history(scope) for i in b.items]
  assert votes[0] not in taught and set(taught) >= set(votes[1:])
  assert [status(school, vote) for vote in votes] == ['retracted', 'served', 'served']


def test_a_retraction_while_it_is_learned_counts_from_then_on(school, user):
  school.learner.start()
  vote = hold(school, user)
  school.learner.notify(school.store.events.retract(vote, user).result(LATER))
  school.student.going.set()
  settled(school, of_user(user))
  assert status(school, vote) == 'retracted'
  give(school, user)
  settled(school, of_user(user))
  (*_, last) = school.store.versions.history(of_user(user))
  assert [item.role for item in last.items] == ['new'], 'it is not replayed'


def test_rollback_while_it_learns_is_served_at_once(school, user):
  school.learner.start()
  scope = of_user(user)
  give(school, user)
  settled(school, scope)
  give(school, user)
  settled(school, scope)
  live = school.store.versions.state(scope).live_version
  hold(school, user)
  undone = asyncio.run(school.learner.rollback(scope, 1, 'it is rude', 'admin'))
  assert undone == list(range(2, live + 1)) and served(school, scope) == 1
  school.student.going.set()
  time.sleep(0.1)
  until(lambda: not school.store.ledger.is_training())
  check(school, scope)
  assert served(school, scope) == 1 and school.shelf.numbers(scope) == list(range(1, live + 1))


def test_a_rollback_between_ledger_and_engine_wins(school, user, monkeypatch):
  scope = of_user(user)
  give(school, user)

  def undone(batch, version):
    asyncio.run(school.learner.rollback(scope, 0, 'at once', 'admin'))

  monkeypatch.setattr(school.training, 'record', undone)
  school.training.turn(scope)
  assert served(school, scope) == school.store.versions.state(scope).live_version == 0


def test_a_rollback_can_go_further_back_than_the_files(school, user):
  scope = of_user(user)
  for _ in range(4):
    give(school, user)
    school.training.turn(scope)
  bits = school.shelf.path(scope, 1).joinpath('adapter.safetensors').read_bytes()
  school.shelf.prune(scope, {4}, 1)
  assert school.shelf.numbers(scope) == [4]
  asyncio.run(school.learner.rollback(scope, 1, 'far back', 'admin'))
  assert school.shelf.path(scope, 1).joinpath('adapter.safetensors').read_bytes() == bits
  assert served(school, scope) == 1
  with pytest.raises(LedgerError):
    asyncio.run(school.learner.rollback(scope, 3, 'not an ancestor', 'admin'))


def test_a_frozen_scope_learns_nothing_and_goes_on_when_thawed(school, user):
  school.learner.start()
  scope = of_user(user)
  vote = hold(school, user)
  asyncio.run(school.learner.freeze(scope, True, 'admin'))
  school.student.going.set()
  time.sleep(0.3)
  assert school.store.versions.state(scope).live_version == 0 and status(school, vote) == 'queued'
  asyncio.run(school.learner.freeze(scope, False, 'admin'))
  settled(school, scope)
  assert status(school, vote) == 'served'


def test_after_a_reset_nothing_old_is_learned(school, user):
  school.learner.start()
  scope = of_user(user)
  old = give(school, user)
  settled(school, scope)
  late = hold(school, user)
  asyncio.run(school.learner.reset(user))
  assert served(school, scope) == 0
  school.student.going.set()
  new = give(school, user)
  until(lambda: status(school, new) == 'served')
  assert {status(school, old), status(school, late)} == {'rolled_back'}
  (batch,) = school.store.versions.history(scope)
  assert [item.event.id for item in batch.items] == [new]
  check(school, scope)


def test_who_is_erased_leaves_no_files(school, user):
  school.learner.start()
  scope = of_user(user)
  give(school, user)
  settled(school, scope)
  hold(school, user)

  async def leave():
    await asyncio.wrap_future(school.store.users.erase(user, user))
    task = asyncio.create_task(school.learner.forget(user))
    await asyncio.sleep(0.05)
    school.student.going.set()
    await task

  asyncio.run(leave())
  assert not school.shelf.home(scope).exists() and scope not in school.engine.adapters
  assert served(school, scope) == 0


def test_a_version_that_was_half_removed_is_gone_after_the_start(school, user):
  give(school, user)
  school.training.turn(of_user(user))
  path = school.shelf.path(of_user(user), 1)
  path.rename(path.with_name('v0.tmp'))
  school.learner.recover()
  assert not list(school.shelf.folder.rglob('*.tmp'))


def test_what_a_crash_left_of_an_erased_user_is_removed_at_the_start(school, user):
  give(school, user)
  school.training.turn(of_user(user))
  school.store.users.erase(user, user).result(LATER)
  school.learner.recover()
  assert not school.shelf.home(of_user(user)).exists() and served(school, of_user(user)) == 0


def test_an_adapter_can_be_taken_along(school, user):
  assert asyncio.run(school.learner.export(user)) is None
  give(school, user)
  school.training.turn(of_user(user))
  adapter = school.state(of_user(user))['adapter']
  assert asyncio.run(school.learner.export(user)) == scholar.packed(adapter)


def test_with_learning_off_no_file_changes(tmp_path):
  school = School(tmp_path, LearnerOptions(enabled=False, debounce=0, gather=0, sweep=0.05))
  user = school.store.users.create().result(LATER).id
  give(school, user)
  school.training.turn(of_user(user))
  files = lambda: {p: p.read_bytes() for p in (tmp_path / 'adapters').rglob('*') if p.is_file()}
  before = files()
  school.learner.start()
  vote = give(school, user)
  time.sleep(0.3)
  assert files() == before and status(school, vote) == 'queued' and before
  school.close()


@pytest.mark.parametrize('found', ['at the start', 'when it is loaded'])
def test_a_damaged_live_version_falls_back_and_is_learned_again(found, school, user):
  scope = of_user(user)
  votes = []
  for _ in range(3):
    votes.append(give(school, user))
    school.training.turn(scope)
  for version in (2, 3):
    path = school.shelf.path(scope, version) / 'adapter.safetensors'
    path.write_bytes(path.read_bytes()[:-1] + b'!')
  if found == 'at the start':
    school.shelf.path(scope, 3).joinpath('opt.safetensors').unlink()
    school.learner.recover()
    assert school.store.versions.state(scope).live_version == 1
  else:
    with pytest.raises(LookupError):
      school.loader(scope, 3)
  school.learner.start()
  until(lambda: school.store.versions.state(scope).live_version > 3)
  settled(school, scope)
  assert {status(school, vote) for vote in votes} == {'served'}
  assert school.store.versions.lineage(scope)[0] == 1


def test_old_versions_leave_the_disk_and_the_way_back_stays(tmp_path):
  options = LearnerOptions(keep=3, way_back=2, sweep=1)
  school = School(tmp_path, options)
  user = school.store.users.create().result(LATER).id
  scope = of_user(user)
  for _ in range(6):
    give(school, user)
    school.training.turn(scope)
  assert school.shelf.numbers(scope) == [4, 5, 6]
  school.store.versions.rollback(scope, 4, 'x', 'me', freeze=False).result(LATER)
  give(school, user)
  school.training.turn(scope)
  assert school.shelf.numbers(scope) == [4, 5, 6, 7], 'the parent is needed'
  for _ in range(2):
    give(school, user)
    school.training.turn(scope)
  assert school.store.versions.lineage(scope) == [1, 2, 3, 4, 7, 8, 9]
  assert school.shelf.numbers(scope) == [7, 8, 9]
  check(school, scope)
  school.close()


@pytest.mark.parametrize('name', ['u:../../etc', 'u:', '..', 'u:a/b', 'global/..', 'GLOBAL'])
def test_no_scope_is_a_path(name, school):
  with pytest.raises(ValueError, match='neither global nor'):
    school.shelf.path(name, 1)


@pytest.mark.parametrize('seed', range(3))
def test_any_course_of_things_keeps_weights_and_ledger_together(seed, tmp_path):
  wander(tmp_path, seed, 40)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(100, 120))
def test_any_long_course_of_things_keeps_weights_and_ledger_together(seed, tmp_path):
  wander(tmp_path, seed, 300)


STEPS = ['post'] * 4 + ['train'] * 4 + ['retract', 'rollback', 'reset', 'thaw', 'restart']


def wander(root, seed: int, steps: int):
  """Posts, retractions, flips, updates, rollbacks, resets and restarts of two users, at random."""
  noise = random.Random(seed)
  school = School(root)
  users = [school.store.users.create(staff=staff).result(LATER).id for staff in (False, True)]
  answers = {user: [chat(school.store, user) for _ in range(4)] for user in users}
  scopes = [GLOBAL, *map(of_user, users)]
  for _ in range(steps):
    user, scope = noise.choice(users), noise.choice(scopes)
    match noise.choice(STEPS):
      case 'post':
        label = {'label': noise.random() < 0.5}
        give(school, user, label, answer=noise.choice(answers[user]))
      case 'retract':
        for receipt in school.store.events.of_author(user, 1):
          school.store.events.retract(receipt.id, user).result(LATER)
      case 'train':
        school.training.turn(scope)
      case 'rollback':
        to = noise.choice([0, *school.store.versions.lineage(scope)])
        asyncio.run(school.learner.rollback(scope, to, 'x', 'admin'))
      case 'reset':
        asyncio.run(school.learner.reset(user))
      case 'thaw':
        asyncio.run(school.learner.freeze(scope, False, 'admin'))
      case 'restart':
        school.store.ledger.claim(scope).result(LATER)
        school.close()
        school = School(root)
        school.learner.recover()
        for claimed in list(school.training.claimed):
          school.training.turn(claimed)
    for one in scopes:
      check(school, one)
      assert served(school, one) == school.store.versions.state(one).live_version
  school.close()


def test_a_learner_that_is_stopped_ends_between_steps_and_the_next_one_goes_on(tmp_path):
  school = School(tmp_path)
  school.student.heed = school.learner.heed
  user = school.store.users.create('Ada').result(LATER).id
  school.student.going.clear()
  school.learner.start()
  vote = give(school, user)
  assert school.student.learning.wait(LATER)
  stopping = threading.Thread(target=school.learner.stop)
  stopping.start()
  until(lambda: school.learner.stopping)
  school.student.going.set()
  stopping.join(5)
  assert not school.learner.thread.is_alive() and not school.learner.status()['problems']
  assert [batch.scope for batch in school.store.ledger.recover()] == [of_user(user)]
  assert status(school, vote) == 'training'
  school.close()
  school = School(tmp_path)
  school.learner.start()
  settled(school, of_user(user))
  assert status(school, vote) == 'served'
  school.close()


def test_an_engine_that_stops_is_no_reason_to_quarantine(school, user):
  vote = give(school, user)
  school.student.broken = {1: EngineError('the engine is stopping', 503, 'not_ready')}
  assert school.training.turn(of_user(user)) > 0
  assert status(school, vote) == 'queued'


def test_a_candidate_on_trial_without_its_files_is_given_up_and_learned_again(tmp_path):
  school = School(tmp_path, canary=scholar.steady_canary())
  staff = school.store.users.create('Staff', staff=True).result(LATER).id
  vote = give(school, staff)
  batch = school.store.ledger.claim(GLOBAL).result(LATER)
  made = school.training.updater.make(batch)
  school.store.ledger.apply(batch, made.path, made.sha256, made.metrics, publish=False).result(
    LATER
  )
  school.shelf.discard(GLOBAL, 1)
  school.learner.start()
  until(lambda: served(school, GLOBAL) == 2)
  until(lambda: status(school, vote) == 'served')
  school.close()
