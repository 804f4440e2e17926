"""Laws of what people agreed on and everyone's model has not got yet: a candidate that is refused
is tried again and no fault of theirs; what does not come out is repeated; all of it is in the log.
"""

import numpy as np
import pytest
import scholar
from scholar import EAGER, School
from talk import LATER, chat, edit

from rft_jax.feedback.records import GLOBAL
from rft_jax.feedback.tries import REPEATS, RETRIES
from rft_jax.learning.canary import Canary, Probe
from rft_jax.learning.fold import WAYS, rebuild

TRUTH = 'It is Paris.'
NEAR = 'What is the capital of Spain?'
ASKED = 'What is the capital of France?'


class Town:
  """People, and a canary: versions of `bad` fail the probes, those of `mute` do not say
  what was agreed on, those of `astray` say something else to other questions."""

  def __init__(self, root, people=4):
    self.bad, self.mute, self.astray = set[int](), set[int](), set[int]()
    self.taught = {ASKED}
    self.school = School(root, EAGER, self.canary)
    self.users = [self.school.store.users.create().result(LATER).id for _ in range(people)]

  @property
  def canary(self):
    probe = Probe('2 + 2?', lambda text: text == 'four')
    return Canary(self.says, [probe, probe], anchors=[NEAR])

  def says(self, version, prompts):
    return [self.say(version, one if isinstance(one, str) else one[-1].content) for one in prompts]

  def say(self, version, question):
    if question == NEAR:
      return 'Rome.' if version in self.astray else 'Madrid.'
    if question in self.taught:
      return TRUTH if version and version not in self.mute else 'It is Lyon.'
    if 'capital' in question:
      return 'Rome.' if version in self.astray else 'Lima.'
    return 'five' if version in self.bad else 'four'

  def agree(self, question=ASKED, content=TRUTH):
    """All of them write the same correction; the seqs."""
    store = self.school.store
    self.taught.add(question)
    given = [edit(chat(store, user, question, 'It is Lyon.'), content) for user in self.users]
    events = zip(given, self.users, strict=True)
    return [store.events.add(one, user).result(LATER).seq for one, user in events]

  def learn(self):
    while self.school.training.turn(GLOBAL) is not None:
      pass

  @property
  def statuses(self):
    return [v.status for v in reversed(self.school.store.versions.all(GLOBAL))]

  @property
  def trust(self):
    found = {user.id: user.trust for user in self.school.store.users.all()}
    return [found[user] for user in self.users]

  @property
  def wish(self):
    return self.school.store.agreements.page()[-1]

  def check(self):
    """The same bits from the log, which has learned each event once."""
    again = rebuild(self.school.store, self.school.student, scholar.told, GLOBAL)
    assert scholar.packed(again) == self.school.bits(GLOBAL)


@pytest.fixture
def town(tmp_path):
  town = Town(tmp_path)
  yield town
  town.school.close()


@pytest.mark.parametrize('refused', range(1, RETRIES + 1))
def test_what_was_agreed_on_is_tried_again_and_costs_nobody_trust(refused, town):
  town.bad |= set(range(1, refused + 1))
  seqs = town.agree()
  before = town.trust
  town.learn()
  assert town.statuses == ['rolled_back'] * refused + ['live']
  assert town.trust == before and max(before) > 0.5
  assert (town.wish.state, town.wish.applied_version) == ('accepted', refused + 1)
  (batch,) = town.school.store.versions.history(GLOBAL)
  assert batch.attempt == refused
  assert {i.event.seq for i in batch.items} <= {*seqs}
  town.check()


def test_each_further_try_goes_a_shorter_way(town):
  town.bad |= {1, 2}
  town.agree()
  town.learn()
  (batch,) = town.school.store.versions.history(GLOBAL)
  student = town.school.student
  start = student.fresh(batch.rng_seed)['adapter']['layers']['qkv']['q_proj']['b']
  whole = student.learn(student.fresh(0), None, scholar.told(batch), batch.rng_seed, shared=True)
  values = town.school.state(GLOBAL)['adapter']['layers']['qkv']['q_proj']['b']
  made = whole.state['adapter']['layers']['qkv']['q_proj']['b']
  assert WAYS[batch.attempt] == 0.5 and np.abs(values - start).max() > 0
  assert np.abs(values - start).max() <= 0.5 * 255 + 1e-3 < np.abs(made - start).max() + 128


def test_after_so_many_tries_an_administrator_reads_why(town):
  town.bad |= set(range(1, 20))
  seqs = town.agree()
  before = town.trust
  town.learn()
  assert town.statuses == ['rolled_back'] * (RETRIES + 1)
  assert town.wish.state == 'quarantined' and 'canary: verifiable' in town.wish.reasons[0]
  assert f'tried {RETRIES + 1} times' in town.wish.reasons[0]
  assert town.trust == before
  query = "SELECT event_seq, state FROM event_gate WHERE scope = 'global'"
  states = dict(tuple(row) for row in town.school.store.db.read(query))
  assert {states[seq] for seq in seqs} <= {'rolled_back', 'quarantined'}
  town.bad.clear()
  town.school.store.events.release(seqs, 'admin').result(LATER)
  town.learn()
  assert town.wish.state == 'accepted' and town.wish.applied_version


def test_what_cannot_be_learned_is_nobodys_fault_either(town):
  seqs = town.agree()
  town.school.student.guilty |= {*seqs}
  before = town.trust
  town.learn()
  assert town.school.student.calls == RETRIES + 1 and not town.statuses
  assert town.wish.state == 'quarantined' and 'too far from the reference' in town.wish.reasons[0]
  assert town.trust == before


def test_what_was_not_tried_yet_comes_first(town):
  town.bad.add(1)
  first = town.agree()
  batch = town.school.store.ledger.claim(GLOBAL).result(LATER)
  town.school.training.claimed[GLOBAL] = batch
  second = town.agree('What is the capital of Italy?')
  town.learn()
  batches = town.school.store.versions.history(GLOBAL)
  new = [{i.event.seq for i in b.items if i.role == 'new'} for b in batches]
  assert new[0] <= {*second} and new[1] <= {*first}
  assert [b.attempt for b in batches] == [0, 1]
  town.check()


def test_what_strayed_is_held_in_the_next_try(town):
  town.astray |= {1}
  asked = [f'What is the capital of {name}?' for name in ('Peru', 'Chile')]
  answers = [chat(town.school.store, town.users[0], question) for question in asked]
  town.agree()
  town.learn()
  assert town.statuses == ['rolled_back', 'live']
  (batch,) = town.school.store.versions.history(GLOBAL)
  assert batch.held == ((NEAR, 'Madrid.'),)
  assert {one.message_id for one in batch.beside} == {*answers}
  town.check()


def test_what_is_learned_and_not_said_is_repeated(town):
  town.mute |= {1, 2}
  seqs = town.agree()
  town.learn()
  assert town.statuses == ['retired', 'retired', 'live']
  roles = [{i.role for i in b.items} for b in town.school.store.versions.history(GLOBAL)]
  assert roles[0] == {'new'} and all('again' in one for one in roles[1:])
  learned = town.school.store.db.read("SELECT event_seq FROM applied WHERE scope = 'global'")
  assert len(learned) == len({row[0] for row in learned}) and {row[0] for row in learned} <= {*seqs}
  assert not town.school.store.ledger.repeats()
  town.check()


def test_what_was_learned_short_of_its_margin_is_repeated(town):
  learn, left = town.school.student.learn, [0.5, 0.5, 0.0]

  def short(state, base, lessons, *args, **more):
    slack = left.pop(0) if left else 0.0
    return learn(state, base, lessons, *args, **more)._replace(
      margins={lesson[0]: -slack for lesson in lessons}
    )

  town.school.student.learn = short
  town.agree()
  town.learn()
  assert town.statuses == ['retired', 'retired', 'live'] and not left
  town.check()


def test_what_later_updates_lose_is_repeated(town):
  town.agree()
  town.learn()
  town.agree('What is the capital of Italy?')
  say = town.say
  town.say = lambda version, asked: (
    'It is Lyon.' if (version, asked) == (2, ASKED) else say(version, asked)
  )
  town.learn()
  assert town.statuses == ['retired', 'retired', 'live']
  *_, last = town.school.store.versions.history(GLOBAL)
  asked = {item.question for item in last.items if item.role == 'again'}
  assert asked == {ASKED} and not town.school.store.ledger.repeats()
  town.check()


def test_what_is_repeated_beside_is_of_as_many_wishes_as_there_are(town):
  questions = [f'What is the capital of {name}?' for name in ('Peru', 'Chile', 'Cuba', 'Mali')]
  for question in questions:
    town.agree(question)
    town.learn()
  *_, last = town.school.store.versions.history(GLOBAL)
  asked = {item.question for item in last.items if item.role == 'replay'}
  assert asked == {*questions[:3]}


def test_it_is_not_repeated_for_ever(town):
  town.mute |= set(range(20))
  town.agree()
  town.learn()
  assert town.statuses == ['retired'] * REPEATS + ['live']
  town.check()


def test_a_repetition_that_is_refused_leaves_what_was_learned(town):
  town.mute |= set(range(20))
  town.bad |= {2, 3, 4, 5, 6, 7, 8}
  town.agree()
  before = town.trust
  town.learn()
  assert town.statuses == ['live'] + ['rolled_back'] * REPEATS
  assert town.wish.state == 'accepted' and town.trust == before
  town.check()


def test_a_user_can_be_left_out_of_what_was_repeated(town):
  town.mute |= {1}
  town.agree()
  town.learn()
  user = town.users[0]
  again = rebuild(town.school.store, town.school.student, scholar.told, GLOBAL, [user])
  assert scholar.packed(again) != town.school.bits(GLOBAL)
  everybody = rebuild(town.school.store, town.school.student, scholar.told, GLOBAL, town.users)
  fresh = rebuild(town.school.store, town.school.student, scholar.told, GLOBAL, version=0)
  assert scholar.packed(everybody) == scholar.packed(fresh)


def test_a_process_that_dies_between_two_tries_goes_on(tmp_path):
  town = Town(tmp_path)
  town.bad |= {1}
  town.agree()
  town.school.training.turn(GLOBAL)
  town.school.close()
  again = School(tmp_path, EAGER, town.canary)
  town.school = again
  again.learner.recover()
  town.learn()
  assert town.statuses == ['rolled_back', 'live']
  town.check()
  again.close()
