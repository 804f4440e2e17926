"""The experiment on corrections and their history sends what clients send."""

import sys
from pathlib import Path

import pytest
from served import Served

sys.path.insert(0, str(Path(__file__).parents[1] / 'experiments/02_feedback'))
import histories
import scores
import users

from rft_jax.data.smalltalk import answers, world
from rft_jax.data.smalltalk.grammar import asked

COUNT = scores.SAMPLES


@pytest.fixture
def served(tmp_path):
  with Served(tmp_path) as found:
    found.learner.learning = True
    yield found


def test_a_correction_is_measured_with_its_history_as_each_client_sends_it(served):
  rows = list(histories.repeats(served.url))
  assert [row['turn'] for row in rows] == [1, 2, 3, 4] * 2
  assert all(row['status'] == 'served' for row in rows)
  shares = [row[name] for row in rows for name in ('before', 'api', 'page', 'later', 'new')]
  assert set(shares) == {0}  # `You said: What is ...`
  for depth, one in enumerate(users.mistaken()[: histories.TURNS]):
    question = asked(one, 'train')[0]
    last = [r.messages for r in served.engine.requests if r.messages[-1].content == question]
    wrong, right = f'You said: {question}', answers.say(one, 'plain', one.truth)
    longer = [said for said in last if len(said) == 2 * depth + 3]
    for answer in (wrong, right):
      seen = [said for said in longer if said[-2].content == answer]
      assert len(seen) == COUNT
      assert all(said[-3].content == question and said[-3].role == 'user' for said in seen)
      assert all(turn.content.startswith('You said: ') for turn in seen[0][1 : 2 * depth : 2])


def test_turns_are_counted_with_what_was_really_said_before(served):
  rows = list(histories.turns(served.url, 3))
  assert rows == [dict(turn=turn, right=0, of=3) for turn in range(1, 5)]
  lengths = [len(request.messages) for request in served.engine.requests]
  assert lengths == [1, 3, 5, 7] * 3


def test_what_is_asked_in_a_conversation_is_believed_rightly_and_of_several_kinds():
  for start in range(30):
    facts = histories.sound(start, 4)
    assert len({one.kind for one in facts}) == 4
    assert all(one.value == one.truth and one.kind in world.TAUGHT for one in facts)
