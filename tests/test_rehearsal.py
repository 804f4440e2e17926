"""A personal candidate answers before anybody is served by it: what comes out decides."""

import functools

import grammar
import jax
import numpy as np
import pytest
from grammar import LOUD, PLAIN, QUIET, STOP, answer, question, questions
from scholar import School, told
from test_learner import LATER, give, settled, status

from rft_jax.feedback.records import of_user
from rft_jax.infra.progress import Stopped
from rft_jax.learning.fold import rebuild
from rft_jax.learning.lessons import Alone, Lesson, Said
from rft_jax.learning.rehearsal import GARBLED, LEAST, SELDOM, SPREAD, UNSAID, Cue, Tried, repeated
from rft_jax.learning.shelf import packed
from rft_jax.objectives import feedback as kinds

ASKED = questions(PLAIN, 1, seed=3)[0]
TEXTS = dict(
  loud=answer(ASKED, LOUD),
  quiet=answer(ASKED, QUIET),
  one=(LOUD, 9, STOP),
  long=(*range(8, 20), *range(19, 7, -1), STOP),
)


@functools.cache
def student():
  return grammar.student()


def wrote(text, prompt=ASKED, **more) -> Lesson:
  return Lesson(1, kinds.DEMONSTRATION, 1.0, Said(prompt, text, (1.0,) * len(text)), **more)


def thumb(value: float) -> Lesson:
  return Lesson(1, kinds.THUMB, 1.0, Said(ASKED, answer(ASKED)), value=value)


def noisy(state, size: float):
  draw = np.random.default_rng(0)
  shaken = lambda x: x + size * draw.standard_normal(x.shape).astype(np.float32)
  return state | {'adapter': jax.tree.map(shaken, state['adapter'])}


def rehearsed(after, *lessons: Lesson) -> str:
  return student().rehearse(student().fresh(0), after, None, lessons, 3)


@pytest.mark.parametrize('text', TEXTS)
def test_what_passes_is_said_and_what_was_not_learned_does_not_pass(text):
  lesson = wrote(TEXTS[text])
  outcome = student().learn(student().fresh(0), None, [lesson], 1)
  said = grammar.answers(student(), outcome.state['adapter'], [ASKED])[0]
  share = sum(ids == TEXTS[text][:6] for ids in said) / len(said)
  assert share > 0.7 if rehearsed(outcome.state, lesson) == '' else share < 0.99
  assert text not in ('loud', 'quiet') or rehearsed(outcome.state, lesson) == ''
  assert text in ('loud', 'quiet') or rehearsed(student().fresh(0), lesson) == UNSAID


@pytest.mark.parametrize('right, verdict', [(LEAST, ''), (LEAST - 1, SELDOM), (0, SELDOM)])
@pytest.mark.parametrize('text', ['long', 'loud'])
def test_what_nobody_had_said_must_come_out_of_samples_too(monkeypatch, text, right, verdict):
  lesson, other = wrote(TEXTS[text]), TEXTS['quiet']

  def say(weights, one, cues, first):
    left = iter([TEXTS[text]] * (right + 1) + [other] * len(cues))
    return [answer(ASKED) if cue.anchor else next(left) for cue in cues]

  monkeypatch.setattr(student().rehearsal, 'say', say)
  said_now_and_then = text == 'loud'
  assert rehearsed(student().fresh(0), lesson) == ('' if said_now_and_then else verdict)


def test_other_words_for_what_an_edit_left_as_it_was_are_as_good():
  who, spell = student().rehearsal, student().rehearsal.codec.text
  kept, new = answer(ASKED, QUIET)[:2], (LOUD, 9)
  edit = Said(ASKED, (*kept, *new, STOP), (0.2, 0.2, 1.0, 1.0, 1.0))
  assert who.wanted(edit).new == (spell(new).strip().casefold(),)
  wanted = [who.wanted(edit)]
  assert who.among((*kept, *new), wanted) and who.among((11, *new, 12), wanted)
  assert not who.among((*kept, LOUD, 11), wanted) and not who.among(kept, wanted)
  whole = [who.wanted(edit._replace(emphasis=()))]
  assert who.among((*kept, *new), whole) and not who.among((11, *new, 12), whole)


@pytest.mark.parametrize(
  'greedy, samples, verdict', [(0, 0, ''), (0, 1, ''), (0, 2, GARBLED), (1, 0, GARBLED)]
)
def test_chance_may_slip_once_but_never_what_is_likeliest(monkeypatch, greedy, samples, verdict):
  who = student().rehearsal
  monkeypatch.setattr(who, 'say', lambda weights, one, cues, first: [TEXTS['loud'] for _ in cues])

  def garbled(weights, one, cues, said):
    left = {True: greedy, False: samples}
    found = []
    for cue in cues:
      found.append(not cue.anchor and left[cue.greedy] > 0)
      left[cue.greedy] -= found[-1]
    return found

  monkeypatch.setattr(who, 'garbled', garbled)
  assert rehearsed(student().fresh(0), wrote(TEXTS['loud'])) == verdict


def test_a_word_of_what_was_taught_is_not_odd_in_another_case(monkeypatch):
  who = student().rehearsal
  monkeypatch.setattr(
    who.codec, 'text', lambda ids: ' '.join({1: ' Paris', 2: 'par', 3: 'x'}[i] for i in ids)
  )
  taught = ['paris is a city']
  assert [who.odd(token, taught) for token in (1, 2, 3)] == [False, False, True]


def test_short_questions_are_asked_as_long_ones_are(monkeypatch):
  who, cues = student(), [Cue(ASKED, True), Cue(ASKED, False)]
  tried = Tried(*jax.device_put((who.nothing, who.nothing, who.nothing)), [], 0)
  monkeypatch.setattr(who.rehearsal, 'widths', [who.rehearsal.context])
  long = who.rehearsal.say(who.weights, tried, cues, 0)
  monkeypatch.setattr(who.rehearsal, 'widths', [len(ASKED) + 1, who.rehearsal.context])
  assert who.rehearsal.say(who.weights, tried, cues, 0) == long and long[0]


def test_an_adapter_that_garbles_is_never_served_whatever_it_was_to_learn():
  for lesson in (thumb(1.0), thumb(-1.0), wrote(TEXTS['one'], replay=True)):
    assert rehearsed(noisy(student().fresh(0), 1.0), lesson) in (GARBLED, SPREAD)
    assert rehearsed(student().fresh(0), lesson) == ''


def test_what_was_taught_before_is_not_taken_for_noise():
  first = student().learn(student().fresh(0), None, [wrote(TEXTS['one'])], 1).state
  assert student().rehearse(first, first, None, [thumb(1.0)], 3) == ''


def test_candidates_are_judged_together_as_each_alone():
  who, fresh = student(), student().fresh(0)
  fine = who.learn(fresh, None, [wrote(TEXTS['quiet'])], 1).state
  bare = lambda state: who._here(state['adapter'])
  tried = [
    Tried(who.nothing, bare(fresh), bare(after), [wrote(TEXTS['quiet'])], 3)
    for after in (fine, fresh, noisy(fresh, 1.0), fine)
  ]
  alone = [who.rehearsal.verdicts(who.weights, [one])[0] for one in tried]
  assert who.rehearsal.verdicts(who.weights, tried) == alone and alone[0] == '' != alone[2]


def test_a_rehearsal_can_be_ended(monkeypatch):
  def stop():
    raise Stopped

  monkeypatch.setattr(student(), 'heed', stop)
  with pytest.raises(Stopped):
    rehearsed(student().fresh(0), thumb(1.0))


def test_repetition_is_seen():
  assert repeated([1, 2, 3, 4, 5]) == 0 == repeated([1]) and repeated([7] * 9) > 0.8


def test_a_question_stands_on_its_own_where_its_answer_does_not_need_what_came_before():
  other = question(PLAIN, 8, 19)
  before = (*other, *answer(other))
  stands = lambda said, prompt: student()._stands(
    (student().weights, student().nothing, student().fresh(0)['adapter']), Alone(said, prompt)
  )
  assert stands(Said((*before, *ASKED), answer(ASKED)), ASKED)
  assert not stands(Said(ASKED, answer(ASKED)), question(PLAIN, 12, 12))


def test_what_a_lesson_says_elsewhere_is_left_out_where_it_does_not_hold_or_fit():
  policy = student().weights, student().nothing, student().fresh(0)['adapter']
  own, far = wrote(TEXTS['one']), question(PLAIN, 12, 12)
  away = wrote(TEXTS['one'], far, own=False, alone=Alone(Said(ASKED, answer(ASKED)), far))
  long = wrote(TEXTS['one'], ASKED * 20, own=False)
  later = wrote(TEXTS['one'], ASKED * 2, own=False)
  assert student()._resolve(policy, [own, away, long, later], 0) == [own, later]


@pytest.fixture
def refusing(tmp_path):
  """A school whose third event garbles."""
  guilty = lambda lessons: any(lesson[0] == 3 for lesson in lessons if lesson[1] == 'new')
  rehearse = lambda before, after, base, lessons, seed: GARBLED if guilty(lessons) else ''
  school = School(tmp_path, rehearse=rehearse)
  yield school
  school.close()


def test_what_cannot_be_learned_is_said_never_served_and_blocks_nothing(refusing):
  school = refusing
  user = school.store.users.create('User').result(LATER).id
  ids = [give(school, user) for _ in range(8)]
  school.learner.start()
  settled(school, of_user(user))
  states = [status(school, vote) for vote in ids]
  assert states == ['served'] * 2 + ['not_learned'] + ['served'] * 5
  receipt = school.store.events.receipt(ids[2])
  assert receipt.reasons == (GARBLED,) and receipt.applied_version is None
  again = rebuild(school.store, school.student, told, of_user(user))
  assert packed(again) == school.bits(of_user(user))


def test_reasons_are_words_for_those_who_gave_the_feedback():
  for reason in (UNSAID, GARBLED, SPREAD):
    assert reason.startswith('not_learned: ') and not {'nats', 'KL', 'token'} & set(reason.split())
