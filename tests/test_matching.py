"""Numbers, boxes, choices and texts: what a completion says is read whole, or not at all."""

import json
import pathlib
import random
import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from rft_jax.data import filling
from rft_jax.data.choices import known
from rft_jax.data.matching import judge, letter, number, shown
from rft_jax.data.numerals import written
from rft_jax.data.plain import normalised
from rft_jax.types import Example

READINGS = json.loads((pathlib.Path(__file__).parent / 'data/readings.json').read_text('utf-8'))
READ, CHOSEN = READINGS['numbers'], READINGS['choices']


@pytest.mark.parametrize('value', READ)
def test_a_number_is_read_in_each_of_its_spellings(value):
  assert {text: number(text) for text in READ[value]} == dict.fromkeys(READ[value], Fraction(value))
  assert {shown(text, read=number) for text in READ[value]} == {value}


@pytest.mark.parametrize('text', [*READINGS['no_numbers'], '9' * 2000])
def test_what_is_no_number_is_not_read_in_part(text):
  assert number(text) is None


def spellings(value: Fraction, draw: random.Random) -> list[str]:
  """Ways to write a number; those of exact decimals only where it is one."""
  sign, size = '-' if value < 0 else '', abs(value)
  above, below = size.numerator, size.denominator
  found = [
    f'{sign}{above}/{below}',
    rf'{sign}\frac{{{above}}}{{{below}}}',
    f'{value.numerator} / {below}',
  ]
  if above > below > 1:
    found += [f'{sign}{above // below} {above % below}/{below}']
    found += [rf'{sign}{above // below}\frac{{{above % below}}}{{{below}}}']
  text = written(Decimal(f'{above}e0') / below) if not 10**6 % below else ''
  if text:
    whole, dot, rest = text.partition('.')
    groups = [
      f'{int(whole):,}'.replace(',', mark) for mark in (',', '_', ' ', '\u2009', '{,}', r'\,')
    ]
    found += [f'{sign}{group}{dot}{rest}' for group in groups]
    found += [
      f'{sign}${text}',
      f'{sign}{text}%',
      f'{sign}{text} apples.',
      f'{sign}{text}{"" if dot else "."}0',
    ]
    shift = draw.randint(-8, 8)
    scaled = f'{Decimal(text).scaleb(-shift):f}'
    found += [f'{sign}{scaled}{form.format(shift)}' for form in FORMS]
  return found


FORMS = ('e{}', 'E{:+}', ' x 10^{}', r' \times 10^{{{}}}', '×10**{}')
DRESS = (
  '{}',
  'So 3 of 9 and 1:30, it is {}',
  '#### {}',
  r'\boxed{{{}}} of 8',
  r'$\boxed{{\text{{{}}}}}$',
)


def test_a_spelling_has_its_number_and_no_other():
  draw = random.Random(0)
  values = [
    Fraction(draw.randint(-(10**9), 10**9), draw.choice((1, 1, 10, 1000, 8, 3, 7)))
    for _ in range(60)
  ]
  values += [Fraction(draw.randint(-40, 40), draw.randint(1, 12)) for _ in range(60)]
  for value in values:
    for text in spellings(value, draw):
      for dress in DRESS:
        assert number(dress.format(text)) == value, dress.format(text)


def test_a_cut_spelling_is_never_another_number_that_is_whole():
  """What is left of a spelling without its end is its own value or none: nothing is skipped."""
  for text, value in (('2 1/2', 2), ('12:30', 12), ('1e3', 1), ('3 x 10^5', 3), ('1,234', 1)):
    assert number(f'#### {text}') != value


@pytest.mark.parametrize(
  'value, text',
  [
    (0.00001, '0.00001'),
    (1e16, '10000000000000000'),
    (1e22, '10000000000000000000000'),
    (2.5e-7, '0.00000025'),
    (-0.0, '-0.0'),
    (5.0, '5.0'),
    (10**40, '1' + '0' * 40),
    (np.float32(0.1), '0.1'),
    (np.int8(-3), '-3'),
    (Decimal('1.50'), '1.50'),
    (Decimal('1E+3'), '1000'),
    (5e-324, '0.' + '0' * 323 + '5'),
  ],
)
def test_a_number_of_a_column_is_read_back_as_that_number(value, text):
  assert filling.number(value, 'n') == text
  assert number(text) == Decimal(str(value))


def paid(name: str, answer: str, completion: str, prompt: str = '') -> bool:
  return judge(name)['reward'](completion, Example(prompt, answer)) == 1


def test_millions_are_units_where_only_one_side_says_them():
  assert paid('gsm8k', '4', '4 million') and paid('gsm8k', '4 million', '4')
  assert paid('gsm8k', '4000000', '4 million') and paid('gsm8k', '4 thousand', '4,000')
  assert not paid('gsm8k', '4 million', '4 thousand') and not paid('gsm8k', '5', '4 million')


def test_a_choice_is_read_as_models_say_it_and_articles_are_none():
  for wanted, texts in CHOSEN.items():
    assert {text: letter(text) for text in texts} == dict.fromkeys(texts, wanted)
  assert {text: letter(text) for text in READINGS['no_choices']} == dict.fromkeys(
    READINGS['no_choices']
  )


LISTED = 'Which?\nA. Rome\nB. Paris\nC. 3\nD. 2\nAnswer:'


@pytest.mark.parametrize(
  'answer, prompt, wanted',
  [
    ('b', '', 'B'),
    ('B. Paris', LISTED, 'B'),
    ('Paris', LISTED, 'B'),
    ('Paris', '(A) Rome (B) Paris', 'B'),
    ('0', '', 'A'),
    ('1', LISTED, 'B'),
    ('1.0', LISTED, 'B'),
    ('Paris', '', None),
    ('Berlin', LISTED, None),
    ('26', '', None),
    ('7', LISTED, None),
    ('2', LISTED, None),  # index of C, and the text of D
    ('1', 'Which?\n1. Rome\n2. Paris', None),  # a label or an index
  ],
)
def test_an_answer_column_holds_letters_indices_from_0_or_texts_of_options(answer, prompt, wanted):
  assert known(answer, prompt) == wanted


def test_the_text_of_an_option_is_its_letter():
  for text in ('Paris', 'The answer is Paris.', r'\boxed{\text{Paris}}', '(B)'):
    assert paid('choice', '1', text, LISTED)
  assert not paid('choice', '1', 'Rome or Paris', LISTED)


def test_texts_that_are_other_numbers_stay_others():
  different = ['105', '10⁵', '10₅', '1/2', '11/2', '1½', '½', 'x2', 'x²']
  assert len({normalised(text) for text in different}) == len(different)
  assert normalised('Ｔｈｅ ﬁrst\u00a0CAFE\u0301.') == normalised('the first café')


@pytest.mark.parametrize(
  'piece', [r'\text{', '{', r'\boxed{', '1 ', '1,', '(', '"', 'answer ', 'A) ', '1 x ']
)
def test_long_texts_of_one_piece_are_read_fast(piece):
  start = time.process_time()
  number(piece * 4000), letter(piece * 4000)
  assert time.process_time() - start < 2
