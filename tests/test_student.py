"""What one event teaches, what it leaves alone, and what is refused."""

import contextlib
import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor

import grammar
import jax
import numpy as np
import pytest
from grammar import FIXED, LOUD, PLAIN, QUIET, answer, questions

from rft_jax.infra.progress import Stopped
from rft_jax.learning import packed, shelf
from rft_jax.learning.lessons import Critique, Lesson, Said, difference
from rft_jax.learning.packed import arrange, fitting, shapes, width_of, widths
from rft_jax.learning.student import Student
from rft_jax.learning.study import Budget, Options
from rft_jax.objectives import feedback as kinds
from rft_jax.registry import ConfigError

ASKED = questions(PLAIN, 1, seed=3)[0]
OTHERS = questions(PLAIN, 8, seed=7)
ELSEWHERE = questions(FIXED, 8, seed=8)


@functools.cache
def student(**options) -> Student:
  return grammar.student(**options)


def said(style: int, prompt=ASKED) -> Said:
  return Said(prompt, answer(prompt, style), (1.0,) * 5)


def edit(prompt=ASKED, style: int = LOUD, seq: int = 1, **more) -> Lesson:
  better, worse = said(style, prompt), said(LOUD + QUIET - style, prompt)
  emphasis, changed = difference(worse.answer, better.answer)
  better = better._replace(emphasis=emphasis)
  return Lesson(seq, kinds.EDIT, max(changed, 0.1), better, worse, **more)


def vote(value: float, style: int = LOUD, prompt=ASKED, seq: int = 1, **more) -> Lesson:
  weight = 1.0 if value > 0 else 0.5
  return Lesson(seq, kinds.THUMB, weight, said(style, prompt), value=value, **more)


def criticised(chip: str = '') -> Lesson:
  prompt = (*ASKED, *answer(ASKED, QUIET), *ASKED)
  critique = Critique(chip, prompt)
  return Lesson(1, kinds.HINDSIGHT, 0.5, said(QUIET), value=0.0, critique=critique)


EVENTS = dict(
  up=vote(1.0),
  down=vote(-1.0, QUIET),
  pair=Lesson(1, kinds.PAIR, 1.0, said(LOUD), said(QUIET)),
  edit=edit(),
  demonstration=Lesson(1, kinds.DEMONSTRATION, 1.0, said(LOUD)),
  critique=criticised('wrong_format'),
)


def learned(*lessons: Lesson, state=None, seed: int = 0, base=None, who=None, **more):
  who = who or student()
  state = who.fresh(0) if state is None else state
  return who.learn(state, base, list(lessons), seed, **more)


def loud(adapter, prompts) -> float:
  return grammar.styles(grammar.answers(student(), adapter, prompts))


def right(adapter, prompts) -> float:
  return grammar.right(grammar.answers(student(), adapter, prompts), prompts)


def test_before_it_learns_both_styles_are_as_likely_and_answers_right():
  nothing = student().nothing
  assert 0.35 < loud(nothing, [ASKED, *OTHERS]) < 0.65
  assert right(nothing, [*OTHERS, *ELSEWHERE]) > 0.95


@pytest.mark.parametrize('event', EVENTS)
def test_one_event_moves_the_answer_its_way_and_meets_its_margin(event):
  outcome = learned(EVENTS[event])
  assert not outcome.rejected and outcome.metrics['stopped'] == 'margin'
  assert 1 <= outcome.metrics['steps'] <= student().options.max_steps
  assert outcome.margins[1] >= 0 and outcome.metrics['sign'] == 1
  assert loud(outcome.state['adapter'], [ASKED]) > loud(student().nothing, [ASKED]) + 0.1


def test_an_anchor_among_the_lessons_is_held_and_not_learned():
  prompt = ELSEWHERE[0]
  anchor = Lesson(0, kinds.DEMONSTRATION, 0.0, Said(prompt, answer(prompt, FIXED)), anchor=True)
  plain, held = learned(edit()), learned(edit(), anchor)
  assert held.margins.keys() == {1} and held.margins[1] >= 0
  same = learned(edit(), anchor)
  bits = [shelf.packed(one.state) for one in (held, same, plain)]
  assert bits[0] == bits[1] != bits[2]


def test_one_edit_is_learned_generalises_and_leaves_the_rest_alone():
  adapter = learned(edit()).state['adapter']
  assert loud(adapter, [ASKED]) >= 0.9
  assert loud(adapter, OTHERS) >= 0.7
  assert (
    right(adapter, [*OTHERS, *ELSEWHERE]) >= right(student().nothing, [*OTHERS, *ELSEWHERE]) - 0.03
  )


def test_users_who_contradict_each_other_each_get_their_own():
  for style, low, high in ((LOUD, 0.9, 1), (QUIET, 0, 0.1)):
    assert low <= loud(learned(edit(style=style)).state['adapter'], [ASKED]) <= high


def test_a_personal_adapter_lies_on_the_shared_one_and_can_undo_it():
  base = learned(edit()).state['adapter']
  assert learned(vote(1.0), base=base).metrics['steps'] <= learned(vote(1.0)).metrics['steps']
  state = student().fresh(0)
  for _ in range(4):  # Each time as far as the budget allows.
    mine = learned(edit(style=QUIET), state=state, base=base)
    assert not mine.rejected and mine.metrics['kl_to_live'] <= 0.1
    state = mine.state
  samples = grammar.answers(student(), state['adapter'], [ASKED], base)
  assert mine.metrics['sign'] == 1 and grammar.styles(samples) <= 0.1


def test_what_is_learned_already_is_not_pushed_again():
  first = learned(edit())
  again = learned(edit(), edit(seq=2, replay=True), state=first.state)
  assert again.metrics['steps'] == 0 and again.metrics['stopped'] == 'margin'
  assert same(again.state, first.state)


def test_beside_a_new_lesson_what_has_met_its_margin_counts_for_nothing():
  state, old = learned(vote(1.0)).state, vote(1.0, replay=True)
  beside, idle = (
    learned(edit(seq=2), lesson, state=state)
    for lesson in (old, dataclasses.replace(old, weight=0.0))
  )
  assert beside.metrics['steps'] > 0 and same(beside.state, idle.state)


def test_replayed_lessons_do_not_keep_learning_going():
  never = dataclasses.replace(edit(style=QUIET, seq=2, replay=True), weight=0.01)
  outcome = learned(edit(), never)
  assert outcome.metrics['stopped'] == 'margin' and outcome.margins[2] < 0
  assert outcome.metrics['replay_drift'] > 0


def test_the_same_arguments_give_the_same_bits():
  lessons = [edit(), vote(-1.0, seq=2), criticised('wrong_fact')]
  assert same(learned(*lessons).state, learned(*lessons).state)
  other = grammar.student().learn(student().fresh(0), None, lessons, 0)
  assert same(other.state, learned(*lessons).state)
  assert not same(learned(edit()).state, learned(edit(), state=student().fresh(1)).state)


def test_whoever_learns_beside_does_not_matter():
  def learn(i: int) -> list:
    first = learned(edit(OTHERS[i]), state=student().fresh(i), seed=i)
    again = [vote(-1.0, QUIET, OTHERS[i + 1], seq=2), edit(OTHERS[i], replay=True)]
    return learned(*again, state=first.state, seed=i + 9).state

  alone = [learn(i) for i in range(5)]
  with ThreadPoolExecutor(3) as pool:
    beside = list(pool.map(learn, range(5)))
  assert all(map(same, alone, beside)) and not same(*alone[:2])


def test_what_is_replayed_costs_no_gradient_while_it_is_met(monkeypatch):
  state, pulled, pull = learned(edit()).state, [], student().programs.pull
  count = lambda *args: pulled.append(1) or pull(*args)
  monkeypatch.setattr(student().programs, 'pull', count)
  replayed = [edit(seq=seq, replay=True) for seq in range(2, 14)]
  outcome = learned(edit(OTHERS[0]), *replayed, state=state)
  assert min(outcome.margins.values()) >= 0 and len(pulled) == outcome.metrics['steps'] + 1
  pulled.clear()
  lost = [edit(seq=seq, prompt=OTHERS[4], style=QUIET, replay=True) for seq in range(2, 14)]
  outcome = learned(edit(OTHERS[0]), *lost, state=state)
  assert len(pulled) > outcome.metrics['steps'] + 1


def test_lessons_without_weight_change_nothing():
  idle = Lesson(9, kinds.PAIR, 0.0, said(QUIET, OTHERS[0]), said(LOUD, OTHERS[0]), replay=True)
  plain, beside = learned(edit()), learned(edit(), idle)
  assert same(plain.state, beside.state)


def test_in_a_long_conversation_only_the_judged_turn_teaches():
  turns = [x for q in OTHERS[:3] for x in (q, answer(q))]
  prompt = tuple(sum(turns, ())) + ASKED
  part, place, _ = arranged(Lesson(1, kinds.THUMB, 1.0, Said(prompt, answer(ASKED)), value=1.0))
  target = part.rows.target[place.slot].reshape(part.tokens.shape)
  start = len(prompt)
  assert part.tokens[target].tolist() == list(answer(ASKED)) and target[0, start : start + 5].all()
  policy = student().weights, student().nothing, student().fresh(0)['adapter']
  pull = lambda part: student().programs.pull(
    *policy, part, *states(policy, part), student().nothing
  )
  part.rows.weight[place.slot] = 1.0
  whole, facts = pull(part)
  assert max(float(np.abs(x).max()) for x in jax.tree.leaves(whole)) > 0
  assert not facts.seen.logp[place.slot][~part.rows.target[place.slot]].any()
  after = part.tokens.copy()
  after[0, start + 5 :] = 9  # What comes later cannot matter.
  assert same(pull(part.replace(tokens=after))[0], whole)


def arranged(lesson: Lesson):
  layout = arrange([lesson], grammar.anchors(1), 2, grammar.WIDTH)
  return layout.parts[0], layout.places[0], layout.anchors


def states(policy, part):
  return [student().programs.look(*policy, np.float32(share), part) for share in (0, 1)]


def test_rows_are_as_short_as_the_longest_text_allows():
  said = lambda n: Said((3,) * (n - 1), (4,))
  assert [widths(n) for n in (64, 256, 300, 1024)] == [[64], [256], [256, 300], [256, 512, 1024]]
  longest = lambda *sizes: width_of([said(n) for n in sizes], 1024)
  assert [longest(9, n) for n in (10, 256, 257, 1000, 5000)] == [256, 256, 512, 1024, 1024]


def test_short_texts_lie_in_short_rows_of_as_many_tokens():
  said = lambda n: Said((3,) * (n - 1), (4,))
  of = lambda rows, context, *sizes: fitting([said(n) for n in sizes], rows, context)[0]
  assert of(2, 1024, 9, 64) == (8, 64) and of(2, 1024, 9, 65) == (4, 128)
  assert of(2, 1024, 129) == (2, 256) and of(2, 1024, 257) == (2, 512)
  assert of(3, 64, 9) == (3, 64) and of(2, 300, 5000) == (2, 300)
  assert {of(2, 1024, n) for n in (9, 99, 200, 300, 9999)} == {*shapes(2, 1024)}


def test_nothing_compiles_after_the_warm_up(monkeypatch):
  monkeypatch.setattr(packed, 'NARROWEST', 32)
  who, base = grammar.student(), learned(edit()).state['adapter']
  heard = []
  who.warm_up(heard.append)
  assert len(heard) >= 3
  long = edit()
  long = dataclasses.replace(long, better=long.better._replace(prompt=(3,) * 40))
  crowd = [vote((-1.0) ** i, prompt=p, seq=i) for i, p in enumerate(questions(PLAIN, 20, 5))]
  with compilations() as seen:
    state = who.fresh(3)
    state = who.fresh(4, like=who.learn(state, None, [edit()], 1).state)
    who.learn(state, base, [*EVENTS.values()], 2)
    who.learn(state, base, [long], 2)
    who.learn(state, None, crowd, 3, shared=True)
    who.learn(ruined(state), None, [edit()], 1)
  assert not seen


def ruined(state):
  """Its next step is as large as no budget allows."""
  nu = jax.tree.map(lambda x: np.full_like(x, 1e-12), state['opt']['nu'])
  return state | {'opt': state['opt'] | {'nu': nu, 'count': np.int32(1000)}}


@contextlib.contextmanager
def compilations():
  """Counts what XLA is asked to compile."""
  seen = []

  def listen(event, duration, **_):
    if event == '/jax/core/compile/backend_compile_duration':
      seen.append(duration)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    yield seen
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_step_that_is_much_too_long_is_taken_back_as_far_as_it_must():
  state, most = student().fresh(0), student().options.personal
  longer = lambda times: grammar.student(lr=times * student().lr).learn(state, None, [edit()], 0)
  shortened, refused = longer(100), longer(10**5)
  assert shortened.metrics['stopped'] == refused.metrics['stopped'] == 'budget'
  assert 0 < shortened.metrics['scale'] < 1 and not shortened.rejected
  assert shortened.metrics['kl_to_live'] <= most.to_live
  assert shortened.metrics['kl_to_ref'] <= most.to_ref
  assert 'at most' in refused.rejected and refused.state is state


def test_a_candidate_that_is_not_finite_is_rejected():
  state = student().fresh(0)
  broken = state | {
    'opt': state['opt'] | {'nu': jax.tree.map(lambda x: x * np.nan, state['adapter'])}
  }
  outcome = student().learn(broken, None, [edit()], 0)
  assert outcome.rejected == 'not finite' and outcome.state is broken


def test_a_shared_adapter_may_move_less():
  most = Budget(0.0005, 0.0005)
  mine, outcome = (learned(edit(), who=student(shared=most), shared=shared) for shared in (0, 1))
  assert mine.metrics['kl_to_live'] > most.to_live and mine.metrics['scale'] == 1
  assert (
    outcome.metrics['kl_to_live'] <= most.to_live and outcome.metrics['kl_to_ref'] <= most.to_ref
  )
  assert 0 < outcome.metrics['scale'] < 1 or outcome.rejected


def test_a_student_without_anchors_is_refused():
  with pytest.raises(ConfigError, match='needs anchors'):
    Student(grammar.CONFIG, student().weights, grammar.Words(), [])


@pytest.mark.slow
def test_five_hundred_thumbs_down_destroy_nothing():
  """Against both styles alike. Which of them is left is open, as the reference leaves it; but the
  other one can be had back, and what is known stays known."""
  who, draw = student(), np.random.default_rng(0)
  state, prompts = who.fresh(0), questions(PLAIN, 500, 11)
  for i in range(0, 500, 4):
    down = [
      vote(-1.0, int(draw.choice((LOUD, QUIET))), p, i + j)
      for j, p in enumerate(prompts[i : i + 4])
    ]
    outcome = who.learn(state, None, down, i)
    state = outcome.state
  assert right(state['adapter'], [*OTHERS, *ELSEWHERE]) > 0.9
  assert outcome.metrics['kl_to_ref'] <= who.options.personal.to_ref
  likes_loud = lambda: grammar.styles(grammar.answers(who, state['adapter'], OTHERS)) > 0.5
  left = likes_loud()
  for i, prompt in enumerate(prompts[:12]):
    state = who.learn(state, None, [vote(1.0, QUIET if left else LOUD, prompt, i)], i).state
  assert likes_loud() != left
  assert right(state['adapter'], [*OTHERS, *ELSEWHERE]) > 0.9


def same(a, b) -> bool:
  return all(
    np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def test_votes_add_up():
  """Each is measured from the version before: the second one does not find its work done."""
  state, likes = student().fresh(0), [loud(student().nothing, OTHERS)]
  for seq, prompt in enumerate([ASKED, *questions(PLAIN, 3, seed=11)], 1):
    outcome = learned(vote(1.0, prompt=prompt, seq=seq), state=state, seed=seq)
    state = outcome.state
    likes.append(loud(state['adapter'], OTHERS))
  assert likes[1] > likes[0] and likes[-1] > max(0.85, likes[1])


def test_each_update_is_held_by_other_anchors_and_the_same_one_by_the_same():
  weights, anchors = grammar.taught()[0], grammar.anchors(40)
  who = Student(grammar.CONFIG, weights, grammar.Words(), anchors, Options(anchors=5, beside=3))
  first, again, other = (who._drawn(seed) for seed in (1, 1, 2))
  assert first == again != other and [len(set(few)) for few in first] == [3, 2]


def test_what_comes_out_is_judged_beside_all_anchors():
  """The first step moves away from all alike, whichever of them it looks at."""
  most, state = Budget(9.0, 9.0), student().fresh(0)
  judged = lambda beside: grammar.student(beside=beside, max_steps=1, personal=most).learn(
    state, None, [edit()], 0
  )
  few, all_of_them = judged(1), judged(6)
  assert few.metrics['steps'] == all_of_them.metrics['steps'] == 1
  for name in ('kl_to_ref', 'kl_to_live'):
    assert few.metrics[name] == pytest.approx(all_of_them.metrics[name], rel=1e-3) and (
      all_of_them.metrics[name] > 0
    )
  assert few.margins == pytest.approx(all_of_them.margins, rel=1e-3)


def test_settings_are_told_apart_by_all_that_changes_the_bits():
  shas = [
    grammar.student(**options).settings_sha for options in ({}, {}, dict(lr=0.1), dict(beside=3))
  ]
  fewer = student()
  fewer = Student(grammar.CONFIG, fewer.weights, grammar.Words(), fewer.anchors[1:], fewer.options)
  assert shas[0] == shas[1] and len({*shas, fewer.settings_sha}) == 4


def test_learning_can_be_ended_before_any_step(monkeypatch):
  learner, left = student(), [2]

  def heed():
    left[0] -= 1
    if left[0] == 0:
      raise Stopped

  monkeypatch.setattr(learner, 'heed', heed)
  with pytest.raises(Stopped):
    learner.learn(learner.fresh(0), None, [edit()], 0)
  assert left == [0]
