"""Laws of several scopes that learn at the same time: it shows in nothing but the time it takes."""

import dataclasses
import threading

import jax
import pytest
import scholar
from scholar import EAGER, School
from served import until
from talk import LATER, chat, feedback

from rft_jax.feedback.records import GLOBAL, of_user
from rft_jax.learning.canary import Canary, Probe
from rft_jax.learning.fold import rebuild
from rft_jax.serve.classroom import learners


def opened(root, threads: int = 2, **more) -> School:
  return School(root, dataclasses.replace(EAGER, threads=threads), **more)


def users(school, count: int, **more) -> list[str]:
  return [school.store.users.create(f'{i}', **more).result(LATER).id for i in range(count)]


def give(school, user: str) -> str:
  given = feedback(chat(school.store, user), 'binary')
  school.learner.notify(school.store.events.add(given, user).result(LATER))
  return given.id


def status(school, vote: str) -> str:
  return school.store.events.receipt(vote).status


@pytest.mark.parametrize('threads', [1, 2, 4])
def test_a_crowd_is_served_and_each_adapter_is_the_fold_of_its_events(tmp_path, threads):
  school = opened(tmp_path, threads)
  crowd = users(school, 24)
  school.learner.start()
  votes = [give(school, user) for _ in range(2) for user in crowd]
  until(lambda: {status(school, vote) for vote in votes} == {'served'})
  for scope in map(of_user, crowd):
    again = rebuild(school.store, school.student, scholar.told, scope)
    assert scholar.packed(again) == school.bits(scope)
    assert school.engine.routes.live[scope] == school.store.versions.state(scope).live_version
  school.close()


def test_two_learn_at_once_but_never_one_scope_twice(tmp_path):
  school = opened(tmp_path)
  ada, bob = users(school, 2)
  school.student.going.clear()
  school.learner.start()
  give(school, ada)
  until(lambda: school.student.calls == 1)
  give(school, ada)  # It waits, though a thread is free,
  give(school, bob)  # which this shows.
  until(lambda: school.student.calls == 2)
  assert school.learner.shifts.busy == {of_user(ada), of_user(bob)}
  school.student.going.set()
  until(lambda: not school.store.ledger.pending() and not school.store.ledger.is_training())
  assert school.store.versions.state(of_user(ada)).live_version == 2
  school.close()


def test_where_the_machine_has_no_time_to_spare_one_learns_after_the_other(tmp_path):
  school = opened(tmp_path)
  school.learner.shifts.spare = lambda: False
  crowd, together = users(school, 6), []
  learn = school.student.learn
  school.student.learn = lambda *args, **more: (
    together.append(len(school.learner.shifts.busy - {GLOBAL, ''})) or learn(*args, **more)
  )
  school.learner.start()
  votes = [give(school, user) for user in crowd]
  until(lambda: {status(school, vote) for vote in votes} == {'served'})
  assert set(together) == {1}
  school.close()


def test_what_everyone_gets_is_tried_while_others_learn(tmp_path):
  asked, going = threading.Event(), threading.Event()

  def ask(version, prompts):
    asked.set()
    going.wait(LATER)
    return ['Paris.'] * len(prompts)

  school = opened(tmp_path, canary=Canary(ask, [Probe('?', bool)]))
  school.learner.shifts.spare = lambda: False
  (staff,), (user,) = users(school, 1, staff=True), users(school, 1)
  school.learner.start()
  give(school, staff)
  assert asked.wait(LATER)
  vote = give(school, user)
  until(lambda: status(school, vote) == 'served')
  assert not school.store.versions.state(GLOBAL).live_version
  going.set()
  until(lambda: school.store.versions.state(GLOBAL).live_version == 1)
  school.close()


@pytest.mark.parametrize('threads', [1, 2])
def test_many_votes_of_one_do_not_delay_the_others(tmp_path, threads):
  school = opened(tmp_path, threads)
  many, *crowd = users(school, 6)
  votes = [give(school, many) for _ in range(5 * EAGER.batch)]
  votes += [give(school, user) for user in crowd]
  school.learner.start()
  until(lambda: {status(school, vote) for vote in votes} == {'served'})
  made = lambda user, version: school.store.versions.get(of_user(user), version).created_us
  assert school.store.versions.state(of_user(many)).live_version == 5
  assert max(made(user, 1) for user in crowd) < made(many, 3)
  school.close()


def test_what_needs_everything_to_rest_waits_for_all_threads(tmp_path):
  school = opened(tmp_path)
  school.student.going.clear()
  school.learner.start()
  for user in users(school, 2):
    give(school, user)
  until(lambda: school.student.calls == 2)
  rested = threading.Thread(target=school.learner.exclusively, args=[lambda: None])
  rested.start()
  rested.join(0.2)
  assert rested.is_alive()
  school.student.going.set()
  rested.join(LATER)
  assert not rested.is_alive()
  school.close()


def test_all_threads_end_between_steps(tmp_path):
  school = opened(tmp_path)
  school.student.heed = school.learner.heed
  school.student.going.clear()
  school.learner.start()
  for user in users(school, 3):
    give(school, user)
  until(lambda: school.student.calls == 2)
  stopping = threading.Thread(target=school.learner.stop)
  stopping.start()
  until(lambda: school.learner.stopping)
  school.student.going.set()
  stopping.join(LATER)
  assert not any(thread.is_alive() for thread in school.learner.threads)
  assert len(school.store.ledger.recover()) == 2
  school.close()


def test_only_of_a_small_model_two_scopes_learn_at_the_same_time():
  weights = lambda *shape: {'decoder': jax.ShapeDtypeStruct(shape, 'float32')}
  assert learners(weights(1024, 1024)) == 2 and learners(weights(24, 4096, 4096)) == 1
