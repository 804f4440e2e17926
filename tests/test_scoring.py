import multiprocessing
import os
import time
from decimal import Decimal
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from rft_jax.infra.scoring import Scorer, ScoringError
from rft_jax.registry import ConfigError
from rft_jax.types import Example

TROUBLE = {
  'raise': r"raised ValueError: 'two\\nlines'",
  'hang': 'raise scoring.timeout',
  'die': 'killed its process',
  'nan': 'returned nan',
  'inf': 'returned inf',
  'string': "returned '1', not a number",
  'none': "returned 'None'",
}


def misbehave(completion):
  if completion == 'raise':
    raise ValueError('two\nlines')
  if completion == 'hang':
    return 9**9**9  # years in one instruction: no signal handler of Python gets to run
  if completion == 'die':
    os._exit(1)
  return {'nan': float('nan'), 'inf': float('inf'), 'string': '1', 'none': None}[completion]


def verifier(completion, example):
  if completion in TROUBLE:
    return misbehave(completion)
  return len(completion) + example.answer


def examples(n):
  return [Example('p', i) for i in range(n)]


@pytest.fixture(scope='module')
def scorer():
  with Scorer(verifier, workers=2, timeout=0.5) as scorer:
    yield scorer


@pytest.mark.parametrize('n', [0, 1, 37])
def test_scores_keep_the_order_of_the_completions(scorer, n):
  scores = scorer.submit(['x' * (i % 3) for i in range(n)], examples(n)).result()
  assert scores.dtype == np.float32
  assert scores.tolist() == [i % 3 + i for i in range(n)]


def test_batches_may_wait_for_each_other(scorer):
  waiting = [scorer.submit(['x'] * 5, examples(5)) for _ in range(3)]
  assert [w.result().tolist() for w in reversed(waiting)] == [[1, 2, 3, 4, 5]] * 3


@pytest.mark.parametrize('completion, message', TROUBLE.items())
def test_trouble_is_one_line_with_the_completion_and_the_next_batch_is_fine(
  scorer, completion, message
):
  with pytest.raises(ScoringError, match=message) as caught:
    scorer.submit(['fine', completion, 'fine'], examples(3)).result()
  assert repr(completion) in str(caught.value) and '\n' not in str(caught.value)
  assert scorer.submit(['xx'], examples(1)).result().tolist() == [2]


@pytest.mark.parametrize(
  'value, score',
  [
    (True, 1),
    (np.bool_(True), 1),
    (np.int8(-3), -3),
    (np.float16(0.5), 0.5),
    (np.array(2.0), 2),
    (np.array(True), 1),
    (jnp.array(2), 2),
    (jnp.bfloat16(1.5), 1.5),
    (Decimal('0.25'), 0.25),
    (Fraction(1, 4), 0.25),
    (-(10**38), -1e38),
  ],
)
def test_whatever_stands_for_one_number_is_a_score(value, score):
  with Scorer(lambda completion, example: value, workers=0) as scorer:
    assert scorer.submit(['x'], examples(1)).result().tolist() == [np.float32(score)]


@pytest.mark.parametrize(
  'value, message',
  [
    (10**400, r"returned '1000000.*\.\.\.', beyond what a reward can be"),
    pytest.param(-(10**5000), "returned '-1000000.*beyond what a reward can", id='huge'),
    (Fraction(10**400, 3), 'beyond what a reward can be'),
    (Decimal('-1e999999999'), r"returned '-1E\+999999999', beyond"),
    (1e39, r"returned '1e\+39', beyond"),  # a float, but no float32
    (Decimal('NaN'), 'returned nan'),
    (np.float32('-inf'), 'returned -inf'),
    (np.array([1.0, 2.0]), r"returned '\[1. 2.\]', not a number"),
    (np.array(None), "returned 'None', not a number"),
    (np.str_('1'), "returned '1', not a number"),
    ([1.0], 'not a number'),
    (1j, 'not a number'),
  ],
)
def test_whatever_is_no_number_that_a_reward_can_be_is_named_with_the_rule(value, message):
  with Scorer(lambda completion, example: value, workers=0) as scorer:
    with pytest.raises(ScoringError, match=message):
      scorer.submit(['x'], examples(1)).result()


def test_closing_kills_workers_that_hang_and_fails_what_waits():
  scorer = Scorer(verifier, workers=1, timeout=100)
  assert scorer.submit(['x'], examples(1)).result().tolist() == [1]
  waiting = [scorer.submit([text], examples(1)) for text in ('hang', 'fine')]
  time.sleep(0.2)
  process, start = scorer.workers[0].process, time.monotonic()
  scorer.close()
  assert time.monotonic() - start < 2
  assert not process.is_alive()
  for scores in waiting:
    with pytest.raises(ScoringError, match='closed'):
      scores.result()
  with pytest.raises(ScoringError, match='closed'):
    scorer.submit(['x'], examples(1))


def test_without_workers_scoring_runs_inline_with_the_same_errors():
  before = len(multiprocessing.active_children())
  scorer = Scorer(verifier, workers=0)
  assert scorer.submit(['x', 'yy'], examples(2)).result().tolist() == [1, 3]
  assert len(multiprocessing.active_children()) == before
  with pytest.raises(ScoringError, match='returned nan'):
    scorer.submit(['nan'], examples(1)).result()


@pytest.mark.parametrize(
  'make',
  [
    lambda: Scorer(lambda completion, example: 1.0, workers=1),
    lambda: Scorer(verifier, workers=-1),
    lambda: Scorer(verifier, timeout=0.0),
    lambda: Scorer(verifier, workers=0).submit(['a', 'b'], examples(1)),
  ],
)
def test_what_cannot_work_is_a_config_error(make):
  with pytest.raises(ConfigError):
    make()
