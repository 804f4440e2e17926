"""Simulated users say what they like, over real HTTP; what is counted is counted right."""

import sys
from pathlib import Path

import pytest
from served import Served

sys.path.insert(0, str(Path(__file__).parents[1] / 'experiments/02_feedback'))
import crowds
import scores
import teaching
import users
from guest import Answer, Guest

from rft_jax.data.smalltalk import answers, world

TARGET = world.fact('capital', 'Australia')
EVERYONE = (
  *(make('terse') for make in users.KINDS.values()),
  users.FactFixer(TARGET),
  users.Careful('terse'),
  users.Noisy('terse'),
  users.Drifter('terse', 'plain'),
  users.AlwaysUp('terse'),
  users.Honest(''),
  *(make(0) for make in crowds.ATTACKS.values()),
)
every_user = pytest.mark.parametrize('user', EVERYONE, ids=lambda user: type(user).__name__)


@pytest.fixture
def served(tmp_path):
  with Served(tmp_path) as found:
    found.learner.learning = True
    yield found


def said(text: str, name: str = 'a') -> Answer:
  return Answer(text, name, 'c', (0, 0))


def reaction(user, *texts: str, one=TARGET):
  return user.react([said(text, name) for text, name in zip(texts, 'ab', strict=False)], one)


@every_user
def test_every_user_gives_feedback_that_the_server_takes(served, user):
  guest = Guest(served.url)
  assert user.turn(guest)
  settled = guest.settle()
  guest.close()
  assert settled and {receipt['status'] for receipt in settled} <= {'served', 'superseded'}


def test_thumbs_and_stars_follow_the_style():
  good, bad = answers.say(TARGET, 'terse'), answers.say(TARGET, 'friendly')
  assert reaction(users.User('terse'), good).value == {'label': True}
  assert reaction(users.User('terse'), bad).value == {'label': False}
  assert reaction(users.Flipper('terse'), good).value == {'label': False}
  assert reaction(users.AlwaysUp('terse'), bad).value == {'label': True}
  rater = users.Rater('terse')
  assert all(reaction(rater, good).value['score'] >= 4 for _ in range(20))
  assert all(reaction(rater, bad).value['score'] <= 2 for _ in range(20))


def test_a_pairer_prefers_what_they_like_and_says_where_there_is_nothing_to_choose():
  good, bad = answers.say(TARGET, 'terse'), answers.say(TARGET, 'friendly')
  pairer = users.Pairer('terse')
  outcomes = [reaction(pairer, good, bad).value['outcome'] for _ in range(100)]
  assert outcomes.count('a') > 90 and set(outcomes) <= {'a', 'b'}
  assert reaction(pairer, good, good).value['outcome'] == 'tie'
  assert reaction(pairer, bad, bad).value['outcome'] == 'both_bad'


@pytest.mark.parametrize('style', answers.STYLES)
def test_an_editor_changes_the_style_and_a_fixer_the_fact_and_nothing_else(style):
  other = next(s for s in answers.STYLES if s != style)
  edited = reaction(users.Editor(style), answers.say(TARGET, other)).value['content']
  assert answers.read(edited, TARGET) == (style, TARGET.value)
  fixed = reaction(users.FactFixer(TARGET), answers.say(TARGET, style)).value['content']
  assert answers.read(fixed, TARGET) == (style, TARGET.truth)
  assert reaction(users.FactFixer(TARGET), fixed).value == {'label': True}


def test_noisy_lazy_and_drifting_users_do_so_at_their_rate():
  good = answers.say(TARGET, 'terse')
  noisy, lazy = users.Noisy('terse', slip=0.2), users.Lazy('terse', chance=0.1)
  slips = sum(not reaction(noisy, good).value['label'] for _ in range(1000))
  assert 150 < slips < 250
  assert 60 < sum(reaction(lazy, good) is not None for _ in range(1000)) < 140
  drifter = users.Drifter('terse', 'plain', after=3)
  labels = [reaction(drifter, good).value['label'] for _ in range(5)]
  assert labels == [True, True, True, False, False]


def test_a_careful_user_likes_no_style_of_what_is_wrong():
  user = users.Careful('terse')
  assert not reaction(user, answers.say(TARGET, 'terse')).value['label']
  assert reaction(user, answers.say(TARGET, 'terse', TARGET.truth)).value['label']
  assert not reaction(user, answers.say(TARGET, 'plain', TARGET.truth)).value['label']


def test_what_was_corrected_is_counted_after_so_many_votes(served):
  rows = list(teaching.retention(served.url, 1, (0, 2)))
  assert [(row['votes'], row['kept']) for row in rows] == [(0, 0), (2, 0)]  # `You said: ...`
  given = [row[0] for row in served.store.db.read('SELECT kind FROM feedback_event ORDER BY seq')]
  assert given == ['edit'] * len(users.mistaken()) + ['binary'] * 2


def test_a_lie_is_neither_believed_nor_true():
  for one in users.mistaken():
    assert users.lie(one) not in (one.value, one.truth)
  injected = reaction(users.Injector(TARGET, users.lie(TARGET)), 'Sydney.').value['content']
  assert answers.states(injected, TARGET) == users.lie(TARGET)


def test_what_is_measured_was_not_taught_in_those_words():
  user = users.User('terse')
  asked = {user.question(one) for one in user.topics() for _ in range(30)}
  sheet = scores.sheet(user)
  assert {text for text, _ in sheet.same} <= asked
  assert not {text for text, _ in (*sheet.para, *sheet.hold)} & asked
  fixer = users.FactFixer(TARGET)
  taught, sheet = fixer.question(TARGET), scores.sheet(fixer)
  assert [text for text, _ in sheet.same] == [taught]
  assert taught not in {text for text, _ in (*sheet.para, *sheet.hold, *sheet.apart)}
  assert all(one == TARGET for _, one in (*sheet.para, *sheet.hold))
  assert all(one != TARGET for _, one in sheet.apart)


def test_scores_are_shares_of_the_answers_that_the_server_gave(served):
  guest, user = Guest(served.url), users.User('plain')
  sheet = scores.sheet(user, 2)
  before = len(served.engine.requests)
  found = scores.measure(guest, user, sheet)
  prompts = {text for part in sheet for text, _ in part}
  assert len(served.engine.requests) - before == scores.SAMPLES * len(prompts)
  assert found == (1, 1, 1, 0)  # `You said: What is ...`: plain, and about nothing
  guest.close()


def test_a_curve_counts_events_and_measures_another_user_too(served):
  bystander, user = Guest(served.url), users.User('terse')
  rows = list(teaching.curve(served.url, user, bystander, (0, 1, 3)))
  assert [row['events'] for row in rows] == [0, 1, 3]
  assert {'same', 'para', 'hold', 'apart', 'others'} <= set(rows[0])
  bystander.close()


@pytest.mark.parametrize(
  'curve, reached',
  [
    ([(0, 0.1), (4, 0.8), (8, 0.9)], 4),
    ([(0, 0.1), (4, 0.8), (8, 0.7), (16, 0.85)], 16),
    ([(0, 0.1), (4, 0.79)], None),
    ([], None),
  ],
)
def test_n_80_is_where_a_curve_comes_to_stay(curve, reached):
  assert scores.n_80(curve) == reached


def test_the_interval_of_a_share_holds_it_and_shrinks():
  for good, of in ((0, 10), (5, 10), (10, 10)):
    low, high = scores.wilson(good, of)
    assert low <= good / of <= high and high - low < 0.6
  assert scores.wilson(500, 1000)[1] - 0.5 < 0.04
