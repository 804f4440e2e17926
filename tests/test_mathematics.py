"""The reward `math`: equal answers in other words are paid, and nothing that was read by half."""

import builtins
import json
import pathlib
import sys
import threading
import time

import pytest

from rft_jax.data.expressions import expression
from rft_jax.data.matching import judge
from rft_jax.infra.scoring import Scorer
from rft_jax.registry import ConfigError
from rft_jax.types import Example

mathematics = pytest.importorskip('rft_jax.data.mathematics')
PAIRS = json.loads((pathlib.Path(__file__).parent / 'data/math_pairs.json').read_text('utf-8'))
PROSE = 'So $x = 3$, and we get $\\boxed{{{}}}$ as 7 was.'
TOWER = '9^{9^{9^{9}}}'


def paid(known: str, said: str) -> bool:
  return judge('math')['reward'](said, Example('', known)) == 1


@pytest.mark.parametrize('dressed', [False, True])
def test_equal_answers_are_paid_and_others_are_not(dressed):
  found = {}
  for known, said, equal in PAIRS:
    marked = 'boxed' in said or '####' in said
    text = PROSE.format(said) if dressed and not marked else said
    if paid(known, text) != equal:
      found[known, said] = not equal
  assert found == {}


def test_every_answer_equals_itself_and_the_order_of_the_two_does_not_matter():
  for known, said, equal in PAIRS:
    for text in filter(str.strip, (known, said)):
      if 'boxed' not in text and '####' not in text:
        assert paid(text, PROSE.format(text)), text
    if not equal and said.strip() and 'boxed' not in said and '%' not in known + said:
      assert not paid(said, known), (said, known)


@pytest.mark.parametrize(
  'text, wanted',
  [
    ('3 + 4 = \\boxed{7}. Then 8.', '7'),
    ('#### 7 apples', '7'),
    ('So the answer is $\\$36$.', '36'),
    ('Thus\nthe final answer is: 1,000.\nDone.', '1000'),
    ('First\n$x = 2$\nsecond', 'x = 2'),
    ('7', '7'),
    ('I do not\nknow', ''),
    ('', ''),
  ],
)
def test_the_answer_is_found_where_it_is_marked(text, wanted):
  assert judge('math')['answer'](text) == wanted


def test_a_column_of_answers_without_one_is_known():
  known = judge('math')['known']
  assert known(' ', '') is None and known('Thus\n\\boxed{\\frac12}', '') == '0.5'


@pytest.mark.parametrize(
  'text',
  [
    TOWER, '9^9^9', '1000!', '10!!', '(x+y+z)^{99}', '((x+1)^9)^9', '2^{9999}', 'x^{2^{20}}',
    '(' * 500, '1+' * 500 + '1', '9' * 500, 'x' * 500, '\\frac{' * 300, '1e3', '2 1/2', '12:30',
    '1/2x', '10_2', '3\\frac12', 'f(x)', 'east', '5%', '2 x 3', '1 2', '2024-05-01', '0.333...',
    'x^', '', '\\int x',
  ],
)  # fmt: skip
def test_what_has_two_readings_or_no_bound_is_no_expression(text):
  assert expression(text) is None


def test_nothing_hangs_in_a_thread_where_alarms_do_not_work():
  hard = ['(x+y)^9 (x-y)^9', '2^{255}', '100!', '\\sin^9 x \\cos^9 x', TOWER, '\\sqrt{2+\\sqrt{3}}']
  found, start = [], time.process_time()
  rows = [(one, other) for one in hard for other in hard]
  thread = threading.Thread(target=lambda: found.extend(paid(*row) for row in rows))
  thread.start(), thread.join()
  assert found == [one == other for one, other in rows]
  assert time.process_time() - start < 30


def test_a_completion_of_many_hard_parts_costs_no_more_than_one(monkeypatch):
  slow = lambda *_, **__: time.sleep(0.5)
  monkeypatch.setattr(mathematics.math_verify, 'verify', slow)
  start = time.monotonic()
  assert not paid(', '.join(['x + 1'] * 12), ', '.join(['1 + x'] * 12))
  assert time.monotonic() - start < 4


@pytest.mark.parametrize(
  'text', ['\\sin(\\sin(\\sin(\\sin(x))))', '(a+b+c+d)^{30}', '(x+y+z+a+b+c)^{10}']
)
def test_what_takes_seconds_to_multiply_out_is_no_expression(text):
  assert expression(text) is None


def test_workers_score_it_like_this_process():
  known = [row[0] for row in PAIRS[:8]] + [TOWER]
  said = [PROSE.format(row[1]) for row in PAIRS[:8]] + [f'${TOWER}$']
  with Scorer(judge('math')['reward'], workers=1) as scorer:
    scores = scorer.submit(said, [Example('', answer) for answer in known]).result()
  assert scores.tolist() == [1.0] * 9


def test_without_math_verify_it_is_a_config_error_that_names_the_extra(monkeypatch):
  real = builtins.__import__

  def missing(name, *rest, **options):
    if name.partition('.')[0] == 'math_verify':
      raise ModuleNotFoundError("No module named 'math_verify'", name='math_verify')
    return real(name, *rest, **options)

  monkeypatch.delitem(sys.modules, 'rft_jax.data.mathematics')
  monkeypatch.delattr('rft_jax.data.mathematics')
  monkeypatch.setattr(builtins, '__import__', missing)
  with pytest.raises(ConfigError, match=r"pip install 'rft_jax\[math\]'"):
    judge('math')
