"""From events to lessons: what is learned of each kind, from the very tokens that were served."""

import dataclasses

import numpy as np
import pytest
import talk

from rft_jax.data.text import characters
from rft_jax.engine.codec import Codec
from rft_jax.engine.protocol import ChatMessage
from rft_jax.feedback.records import GLOBAL, Batch, Event, Item
from rft_jax.learning.lessons import KEPT, Ratings, difference, lessons
from rft_jax.objectives import feedback as kinds

TEMPLATE = (
  "{% for m in messages %}<{{ m['role'][0] }}>{{ m['content'] }}<e>{% endfor %}"
  '{% if add_generation_prompt %}<a>{% endif %}'
)


def codec() -> Codec:
  tokenizer = characters()
  tokenizer.chat_template = TEMPLATE
  return Codec(tokenizer, [tokenizer.eos_token_id])


def item(kind: str, value: dict, tags=(), role: str = 'new', weight: float = 1.0, **more) -> Item:
  event = Event(
    *(1, 'id', '', 'user', 'm1', 'm2' if kind == 'preference' else None, kind, value, '', tags),
    *('web', 0, 0, None, '', '', None, 0, 0),
  )
  mine, other = talk.answered('m1'), talk.answered('m2', tokens=4)
  fields = dict(generation=mine, other=other if kind == 'preference' else None)
  return Item(event, role, weight, None, **{**fields, **more})


def taught(*items: Item, statistics=None):
  batch = Batch('b', 'u:user', 0, 1, 0, '', 'claimed', 0, items)
  return lessons(batch, codec(), statistics)


def test_served_tokens_are_taken_as_they_are():
  (lesson,) = taught(item('binary', {'label': True}))
  assert lesson.better.prompt == (0, 1, 2, 3, 4) and lesson.better.answer == (7, 8, 9)
  assert all(type(x) is int for x in lesson.better.prompt)


def test_what_a_try_has_to_hold_is_an_anchor_and_nothing_to_learn():
  held = (('its colour?', 'green, I think'),)
  one = item('binary', {'label': True})
  batch = Batch('b', GLOBAL, 0, 1, 0, '', 'claimed', 0, (one,), attempt=1, held=held)
  vote, anchor = lessons(batch, codec())
  assert not vote.anchor and anchor.anchor and not anchor.weight
  assert anchor.better.prompt == conversation(('user', 'its colour?'))
  assert anchor.better.answer == tuple(codec().answer('green, I think'))
  empty = dataclasses.replace(batch, items=(dataclasses.replace(one, generation=None),))
  assert not lessons(empty, codec())


@pytest.mark.parametrize(
  ('kind', 'value', 'expected'),
  [
    ('binary', {'label': True}, [(kinds.THUMB, 1.0, 1.0)]),
    ('binary', {'label': False}, [(kinds.THUMB, -1.0, 0.5)]),
    ('reward', {'reward': 0.25}, [(kinds.THUMB, 0.25, 0.25)]),
    ('reward', {'reward': -1.0}, [(kinds.THUMB, -1.0, 0.5)]),
    ('reward', {'reward': 0.0}, []),
    ('rating', {'score': 5}, [(kinds.THUMB, 1.0, 1.0)]),
    ('rating', {'score': 2}, [(kinds.THUMB, -0.5, 0.5)]),
    ('rating', {'score': 3}, []),
    ('preference', {'outcome': 'a'}, [(kinds.PAIR, 1.0, 1.0)]),
    ('preference', {'outcome': 'tie'}, [(kinds.TIE, 0.0, 1.0)]),
    ('preference', {'outcome': 'both_bad'}, [(kinds.THUMB, -0.5, 0.5)] * 2),
  ],
)
def test_each_kind_has_its_loss_direction_and_weight(kind, value, expected):
  found = [(x.kind, x.value, x.weight) for x in taught(item(kind, value))]
  assert found == expected


def test_the_preferred_answer_comes_first():
  for outcome, better, worse in (('a', 3, 4), ('b', 4, 3)):
    (lesson,) = taught(item('preference', {'outcome': outcome}))
    assert (len(lesson.better.answer), len(lesson.worse.answer)) == (better, worse)


def test_a_rating_is_measured_by_what_its_user_usually_gives():
  content, strict = Ratings((0, 0, 0, 0, 6)), Ratings((6, 0, 0, 0, 0))
  assert content.strength(3) < 0 < strict.strength(3) and Ratings().strength(5) == 1
  assert 0 < content.strength(5) < strict.strength(5)
  (lesson,) = taught(item('rating', {'score': 3}), statistics={'user': content})
  assert -1 < lesson.value < 0


def test_what_is_good_is_never_pushed_down_nor_what_is_bad_up():
  """Once most answers please, a four is below the mean, and must not undo them."""
  content, strict = Ratings((0, 0, 0, 0, 30)), Ratings((30, 0, 0, 0, 0))
  assert content.mean > 4 > 2 > strict.mean
  assert content.strength(4) == strict.strength(2) == 0
  assert not taught(item('rating', {'score': 4}), statistics={'user': content})


def test_only_what_an_edit_changed_is_emphasised():
  assert difference((5, 6, 7, 2), (5, 9, 7, 2)) == ((KEPT, 1.0, KEPT, KEPT), 0.25)
  assert difference((5, 6, 7, 2), (5, 2))[0] == (KEPT, 1.0)  # It must learn to stop.
  assert difference((5, 6), (5, 6)) == ((KEPT, KEPT), 0.0)


def test_an_edit_is_encoded_with_its_end_and_stands_above_the_answer():
  before = np.array(codec().answer('yes, Bob'), np.int32)
  mine = dataclasses.replace(talk.answered('m1'), completion_ids=before)
  (lesson,) = taught(item('edit', {'content': 'yes, Ann'}, generation=mine))
  assert lesson.kind == kinds.EDIT and lesson.better.answer == tuple(codec().answer('yes, Ann'))
  assert lesson.worse.answer == tuple(before)
  (other,) = taught(item('edit', {'content': '#' * 40}, generation=mine))
  assert other.kind == kinds.DEMONSTRATION and other.worse is None


def test_a_critique_follows_the_stored_answer_and_is_never_part_of_it():
  said = codec().prompt([ChatMessage('user', 'hi')])
  mine = dataclasses.replace(
    talk.answered('m1'),
    prompt_ids=np.array(said, np.int32),
    completion_ids=np.array(codec().answer('hello'), np.int32),
  )
  (lesson,) = taught(item('critique', {'text': 'Oh.'}, ('too_long',), generation=mine))
  assert lesson.kind == kinds.HINDSIGHT and lesson.critique.chip == 'too_long'
  turns = [('user', 'hi'), ('assistant', 'hello')]
  words = 'That was too long. Answer again, much shorter. Oh.'
  whole = codec().prompt([ChatMessage(*t) for t in (*turns, ('user', words))])
  assert list(lesson.critique.prompt) == whole


def test_a_critique_that_cannot_be_written_still_says_that_the_answer_was_not_liked():
  (lesson,) = taught(item('critique', {'text': 'schön ist das nicht'}))
  assert lesson.critique.prompt == () and lesson.critique.chip == ''


def test_erased_answers_teach_nothing_and_replay_is_told_apart():
  assert not taught(item('binary', {'label': True}, generation=None))
  assert not taught(item('preference', {'outcome': 'a'}, other=None))
  (lesson,) = taught(item('binary', {'label': True}, role='replay'))
  assert lesson.replay


def conversation(*turns: tuple[str, str]) -> tuple[int, ...]:
  return tuple(codec().prompt([ChatMessage(*turn) for turn in turns]))


def corrected(turns: list[tuple[str, str]], scope: str = 'u:user', role: str = 'new'):
  """The lessons of an edit of the answer to the last turn."""
  before = np.array(codec().answer('blue, I think'), np.int32)
  mine = dataclasses.replace(
    talk.answered('m1'), prompt_ids=np.array(conversation(*turns), np.int32), completion_ids=before
  )
  one = item('edit', {'content': 'green, I think'}, generation=mine, role=role)
  one = dataclasses.replace(one, question=turns[-1][1])
  return lessons(Batch('b', scope, 0, 1, 0, '', 'claimed', 0, (one,)), codec())


def test_an_edit_is_also_learned_where_its_question_will_be_asked_again():
  asked, wrong, right = ('user', 'its colour?'), 'blue, I think', 'green, I think'
  first, *later = corrected([asked])
  assert first.own and first.better.prompt == conversation(asked)
  again = [conversation(asked, ('assistant', said), asked) for said in (wrong, right)]
  assert [x.better.prompt for x in later] == again
  head = [('user', 'hi'), ('assistant', 'hello')]
  first, alone, *later = corrected([*head, asked])
  assert alone.better.prompt == conversation(asked)
  again = [conversation(*head, asked, ('assistant', said), asked) for said in (wrong, right)]
  assert [x.better.prompt for x in later] == again
  for lesson in (alone, *later):
    assert lesson.better.answer == first.better.answer and lesson.weight < first.weight
    assert not lesson.own and lesson.alone.prompt == conversation(asked)
    assert lesson.alone.said == first.worse


def test_elsewhere_nothing_is_learned_for_everyone_or_when_it_is_repeated():
  asked = [('user', 'its colour?')]
  assert len(corrected(asked, scope='global')) == len(corrected(asked, role='replay')) == 1
