"""Laws of the log: folding it again gives the weights; without a user, what never saw them did.
Laws of candidates for everyone on their way."""

import asyncio
import dataclasses

import pytest
import scholar
from scholar import EAGER, School
from talk import LATER, chat, feedback

from rft_jax.feedback.ledger import LedgerError
from rft_jax.feedback.records import GLOBAL, of_user
from rft_jax.learning.canary import Canary, Probe
from rft_jax.learning.fold import rebuild
from rft_jax.learning.ramp import RampOptions
from rft_jax.registry import UserError


def staffed(root, number=3, options=EAGER, canary=None):
  school = School(root, options, canary)
  users = [school.store.users.create(staff=True).result(LATER).id for _ in range(number)]
  return school, users


def give(school, user, label=True) -> str:
  given = feedback(chat(school.store, user), value={'label': label})
  return school.store.events.add(given, user).result(LATER).id


def everything(school):
  while school.training.turn(GLOBAL) is not None:
    pass


def unreplayed(options=EAGER):
  return dataclasses.replace(options, replay=0)


def rounds(root, shy: int | None):
  """Four rounds of votes by three users; the shy one shares nothing with everyone."""
  school, users = staffed(root, options=unreplayed())
  if shy is not None:
    school.store.users.share(users[shy], False).result(LATER)
  for number in range(4):
    for at, user in enumerate(users):
      if number != 1 or at == 1:  # In round 1 only user 1 says something.
        give(school, user)
    everything(school)
  return school, users


def test_folding_again_gives_the_live_weights(tmp_path):
  school, users = staffed(tmp_path)
  for user in users * 4:
    give(school, user)
    everything(school)
    school.training.turn(of_user(user))
  for scope in (GLOBAL, *map(of_user, users)):
    again = rebuild(school.store, school.student, scholar.told, scope)
    assert scholar.packed(again) == school.bits(scope)
  school.close()


def test_without_a_user_it_is_as_if_they_had_never_taught(tmp_path):
  all_of_them, users = rounds(tmp_path / 'all', None)
  without, _ = rounds(tmp_path / 'without', 1)
  teach = (all_of_them.store, all_of_them.student, scholar.told, GLOBAL)
  assert scholar.packed(rebuild(*teach)) == all_of_them.bits(GLOBAL) != without.bits(GLOBAL)
  assert scholar.packed(rebuild(*teach, [users[1]])) == without.bits(GLOBAL)
  for school in (all_of_them, without):
    school.close()


def test_what_was_installed_is_served_goes_on_and_folds_to_itself(tmp_path):
  school, users = rounds(tmp_path, None)
  expected = rebuild(school.store, school.student, scholar.told, GLOBAL, [users[1]])
  before = school.store.versions.state(GLOBAL).live_version
  school.store.events.quarantine(school.store.events.seqs(users[1]), 'x', 'admin').result(LATER)
  version = asyncio.run(school.learner.unlearn(users[1], 'admin'))
  assert version > before and school.engine.routes.live[GLOBAL] == version
  assert school.bits(GLOBAL) == scholar.packed(expected)
  query = 'SELECT DISTINCT e.user_id FROM applied JOIN feedback_event e ON seq = event_seq'
  taught = {row[0] for row in school.store.db.read(query + " WHERE scope = 'global'")}
  assert taught == {users[0], users[2]}
  everything(school)
  assert school.store.versions.state(GLOBAL).live_version == version, 'the excluded wait again'
  give(school, users[0])
  everything(school)
  again = rebuild(school.store, school.student, scholar.told, GLOBAL)
  assert scholar.packed(again) == school.bits(GLOBAL)
  asyncio.run(school.learner.rollback(GLOBAL, version, 'x', 'admin'))
  school.close()


def test_leaving_everyone_out_is_version_0(tmp_path):
  school, users = rounds(tmp_path, None)
  assert school.learner.install(GLOBAL, users, 'admin') == 0
  assert GLOBAL not in school.engine.routes.live
  with pytest.raises(UserError):
    school.learner.install(of_user(users[0]), [users[1]], 'admin')
  school.close()


def test_what_is_learned_meanwhile_stops_an_installation(tmp_path, monkeypatch):
  school, users = rounds(tmp_path, None)
  write = school.shelf.write

  def meanwhile(*parts):
    monkeypatch.setattr(school.shelf, 'write', write)
    give(school, users[0])
    everything(school)
    return write(*parts)

  monkeypatch.setattr(school.shelf, 'write', meanwhile)
  with pytest.raises(LedgerError, match='learned since'):
    school.learner.install(GLOBAL, [users[1]], 'admin')
  school.close()


def answers(bad: int):
  """A canary which the version `bad` does not pass."""
  right = lambda version: ['nonsense' if version == bad else 'four'] * 2
  probe = Probe('2 + 2?', lambda text: text == 'four')
  return Canary(lambda version, prompts: right(version), [probe, probe])


def test_a_candidate_that_fails_the_canary_is_never_live(tmp_path):
  school, users = staffed(tmp_path, canary=answers(bad=2))
  good, bad = give(school, users[0]), None
  everything(school)
  bad = give(school, users[1])
  everything(school)
  give(school, users[2])
  everything(school)
  versions = {v.version: v.status for v in school.store.versions.all(GLOBAL)}
  assert versions == {1: 'retired', 2: 'rolled_back', 3: 'live'}
  assert school.engine.routes.live[GLOBAL] == 3 and school.engine.routes.canary is None
  query = 'SELECT probe FROM canary_result WHERE version = 2 AND NOT passed'
  assert [row[0] for row in school.store.db.read(query)] == ['verifiable']
  gates = {e: school.store.events.receipt(e).seq for e in (good, bad)}
  query = "SELECT state FROM event_gate WHERE scope = 'global' AND event_seq = ?"
  states = [school.store.db.read(query, seq)[0][0] for seq in gates.values()]
  assert states == ['ok', 'rolled_back']
  school.close()


def test_of_several_events_only_the_one_that_fails_the_canary_is_set_aside(tmp_path):
  guilty: list[int] = []

  def says(version: int, prompts):
    history = school.store.versions.history(GLOBAL, version=version) if version else ()
    learned = {item.event.seq for batch in history for item in batch.items}
    return ['nonsense' if learned & {*guilty} else 'four'] * len(prompts)

  four = Probe('2 + 2?', lambda text: text == 'four')
  options = unreplayed()
  school, users = staffed(tmp_path, 4, options, canary=Canary(says, [four, four]))
  given = [give(school, user) for user in users]
  receipts = [school.store.events.receipt(one) for one in given]
  guilty.append(receipts[1].seq)
  everything(school)
  query = "SELECT state FROM event_gate WHERE scope = 'global' AND event_seq = ?"
  states = [school.store.db.read(query, one.seq)[0][0] for one in receipts]
  assert states == ['ok', 'rolled_back', 'ok', 'ok']
  learned = school.store.db.read("SELECT event_seq FROM applied WHERE scope = 'global'")
  assert {row[0] for row in learned} == {one.seq for one in receipts} - {*guilty}
  assert scholar.packed(rebuild(school.store, school.student, scholar.told, GLOBAL)) == school.bits(
    GLOBAL
  )
  school.close()


RAMP = RampOptions(shares=(0.25, 0.5), answers=6, votes_per_user=50)


def ramped(root):
  options = dataclasses.replace(EAGER, ramp=RAMP)
  school, users = staffed(root, number=2, options=options, canary=answers(bad=-1))
  give(school, users[0])
  school.training.turn(GLOBAL)
  return school, users


def rate(school, user, version, up, number):
  """So many thumbs on answers of a global version."""
  for _ in range(number):
    message = chat(school.store, user)
    query = 'UPDATE generation SET global_version = ? WHERE message_id = ?'
    school.store.db.write('v', lambda c: c.execute(query, (version, message)) and None).result(
      LATER
    )
    school.store.events.add(feedback(message, value={'label': up}), user).result(LATER)
  school.training.tend()


def test_users_get_a_candidate_in_stages(tmp_path):
  school, users = ramped(tmp_path)
  assert school.engine.routes.canary == (1, 0.25) and GLOBAL not in school.engine.routes.live
  rate(school, users[0], 1, True, 3)
  assert school.engine.routes.canary == (1, 0.25)
  rate(school, users[0], 1, True, 3)
  assert school.engine.routes.canary == (1, 0.5)
  rate(school, users[0], 1, True, 6)
  assert school.engine.routes.canary is None and school.engine.routes.live[GLOBAL] == 1
  school.close()


def test_a_candidate_that_users_dislike_is_undone(tmp_path):
  school, users = ramped(tmp_path)
  rate(school, users[0], 0, True, 12)
  rate(school, users[1], 1, False, 12)
  assert school.store.versions.get(GLOBAL, 1).status == 'rolled_back'
  assert school.engine.routes.canary is None and GLOBAL not in school.engine.routes.live
  assert school.learner.publisher.metrics.rollback._value.get() == 1
  school.close()


def test_a_restart_takes_a_trial_up_again(tmp_path):
  school, _ = ramped(tmp_path)
  school.close()
  options = dataclasses.replace(EAGER, ramp=RAMP)
  again = School(tmp_path, options, answers(bad=-1))
  again.learner.recover()
  again.training.tend()
  assert again.engine.routes.canary == (1, 0.25)
  asyncio.run(again.learner.rollback(GLOBAL, 0, 'x', 'admin'))
  assert again.engine.routes.canary is None
  again.training.tend()
  assert again.learner.status()['canary'] is None
  again.close()
