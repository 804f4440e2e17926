"""The reward `math`: whether two mathematical answers are equal, by math-verify behind a guard.

Numbers are compared exactly, tuples, sets and the like part by part. Only expressions of a grammar
(`expressions`) are given to math-verify, in a form that has one reading; whatever is no part of it
has to be the same text. So a wrong answer is not paid because half of it was read.
"""

import logging
import re
import threading
from fractions import Fraction
from typing import Any

import math_verify
from latex2sympy2_extended import NormalizationConfig

from rft_jax.data.expressions import expression
from rft_jax.data.forms import Form, final, form, trimmed
from rft_jax.data.numerals import SCALE, Value, numerals, plain, prepared, written
from rft_jax.data.plain import normalised

SECONDS = 2  # for reading, and for comparing, one pair: with two pairs well within scoring.timeout
READ = [
  math_verify.LatexExtractionConfig(
    normalization_config=NormalizationConfig(
      basic_latex=False, units=False, malformed_operators=False, nits=False, boxed='none'
    )
  )
]
UNITS = {'%': 'percent', '°': 'degree', '$': 'dollar', '¢': 'cent', '€': 'euro', '£': 'pound'}
UNIT = r'(?:[%°¢€£]|[A-Za-z][A-Za-z ]+(?:\^[0-9])?|[mgshLl](?:\^[0-9])?)?'
LETTERS = re.compile(r'\\[a-z]+|[A-Za-z](?:_\{?\w+\}?)?')
logging.getLogger('math_verify').setLevel(logging.ERROR)  # it warns of each expression that is slow


def agrees(completion: str, example: Any) -> float:
  """1.0 where the completion's answer is equal to `example.answer`, else 0.0."""
  return float(equal(final(example.answer), final(completion)))


def answered(completion: str) -> str:
  """What a completion answers, in one spelling where it is a number; '' for nothing."""
  text = trimmed(final(completion))
  found = quantity(text)
  return written(found[0]) if found else normalised(text) or ''


def known(answer: str, prompt: str = '') -> str | None:
  """The answer of a column of answers, None for none."""
  return answered(answer) or None


def equal(known: str, said: str) -> bool:
  one, other = trimmed(known), trimmed(said)
  return bool(one and other) and (spelt(one) == spelt(other) or alike(form(one), form(other)))


def spelt(text: str) -> str:
  """A text without spacing that means nothing; words without regard to case."""
  text = re.sub(r'\s*([^\w\s,.])\s*', r'\1', ' '.join(text.split()))
  text = re.sub(r'([\^_])\{([0-9A-Za-z]+)\}', r'\1\2', text)
  return text.casefold() if re.fullmatch(r"[^\W\d_]{2,}[\w\s'-]*|\(?[A-Za-z]\)", text) else text


def alike(one: Form, other: Form) -> bool:
  """Whether two answers are equal part by part, sets and lists in any order."""
  if one.kind == '=' != other.kind or other.kind == '=' != one.kind:
    return assigned(one, other)
  if one.kind == other.kind == 'atom':
    return atoms_alike(one.text, other.text)
  loose = ('set', 'list')
  if one.kind != other.kind and not (one.kind in loose and other.kind in loose):
    turned = {'<': '>', '>': '<', '≤': '≥', '≥': '≤'}.get(one.kind) == other.kind
    return turned and in_order(one.parts[::-1], other.parts)
  if one.kind in (*loose, 'union'):
    return in_any_order(one.parts, other.parts)
  if one.kind in '=≠':
    return in_order(one.parts, other.parts) or same_line(one.parts, other.parts)
  return in_order(one.parts, other.parts)


def in_order(one: tuple[Form, ...], other: tuple[Form, ...]) -> bool:
  return len(one) == len(other) and all(map(alike, one, other))


def in_any_order(one: tuple[Form, ...], other: tuple[Form, ...]) -> bool:
  if len(one) != len(other) or len(one) > 12:
    return False
  left = list(other)
  for part in one:
    match = next((i for i, candidate in enumerate(left) if alike(part, candidate)), None)
    if match is None:
      return False
    left.pop(match)
  return True


def assigned(one: Form, other: Form) -> bool:
  """'x = 5' is what 5 is, and 'x = 1 or x = 2' what '1, 2' is."""
  equation, value = (one, other) if one.kind == '=' else (other, one)
  name, right = equation.parts
  return bool(re.fullmatch(r'[A-Za-z](?:_\{?\w\}?)?|[A-Za-z]\([a-z]\)', name.text)) and alike(
    *((right, value) if equation is one else (value, right))
  )


def same_line(one: tuple[Form, ...], other: tuple[Form, ...]) -> bool:
  """Whether two equations differ by what is added to both sides, or by swapping these."""
  sides = [expression(f'({a.text}) - ({b.text})') for a, b in (one, other, other[::-1])]
  left, *rest = sides
  return any(left and right and by_math_verify(left, right) for right in rest)


def atoms_alike(one: str, other: str) -> bool:
  if spelt(one) == spelt(other):
    return True
  left, right = quantity(one), quantity(other)
  if left and right:
    return same_quantity(left, right)
  if (left and left[1]) or (right and right[1]):  # a number with a unit is no expression
    return False
  first = ratio(left[0]) if left else expression(one)
  second = ratio(right[0]) if right else expression(other)
  return bool(first and second and by_math_verify(first, second))


def quantity(text: str) -> tuple[Value, str] | None:
  """A text that is one number and perhaps its unit: '$36', '5 cm', '30°', '1,000'."""
  text = prepared(text)
  found = numerals(text)
  if len(found) != 1 or found[0].value is None:
    return None
  number, cluster = found[0], text[found[0].start : found[0].end]
  head, tail = text[: number.start].strip(' $'), text[number.end :].strip(' $')
  if head or not re.fullmatch(UNIT, tail):
    return None
  glued = re.search(r'[A-Za-z]+(?:\^[0-9])?$', cluster)
  before = re.match(r'[-+]?([$¢€£])', cluster)
  words = [word for word in tail.split() if word not in SCALE]
  unit = ' '.join(words) or (glued and glued[0]) or (before and before[1]) or ''
  value = plain(Fraction(number.value or 0) * 10**number.scale)
  return value, '' if unit in SCALE else unit_name(unit)


def unit_name(word: str) -> str:
  word = UNITS.get(word, word).casefold()
  return word[:-1] if len(word) > 3 and word.endswith('s') else word


def same_quantity(known: tuple[Value, str], said: tuple[Value, str]) -> bool:
  """Equal numbers of which one may have no unit. 50% is 1/2, and 50 where percents were asked."""
  (one, unit), (other, another) = known, said
  if unit == another or (
    not (unit and another) and one == other and 'percent' not in (unit, another)
  ):
    return one == other
  if unit == 'percent' and not another:
    return one == other or Fraction(one) / 100 == other
  if another == 'percent' and not unit:
    return Fraction(other) / 100 == one or (one == other and abs(other) >= 1)
  return False


def ratio(value: Value) -> str:
  exact = Fraction(value)
  return f'\\frac{{{exact.numerator}}}{{{exact.denominator}}}' if len(str(exact)) < 60 else ''


def by_math_verify(known: str, said: str) -> bool:
  """Whether two expressions of the grammar are equal."""
  letters = [variables(term) for term in (known, said)]
  both = letters[0] | letters[1]
  if len({letter.lower() for letter in both}) < len(both):
    return False  # it reads A and a as one
  main = threading.current_thread() is threading.main_thread()  # where alarms work
  limit: Any = SECONDS if main else None
  terms = [
    math_verify.parse(f'${term}$', READ, fallback_mode='no_fallback', parsing_timeout=limit)
    for term in (known, said)
  ]
  if not all(terms) or any(map(overlooked, terms, letters)):
    return False
  one, other = terms
  return math_verify.verify(one, other, timeout_seconds=limit) and not apart(one[0], other[0])


def variables(latex: str) -> set[str]:
  return {name for name in LETTERS.findall(latex) if not name.startswith('\\') and name not in 'ei'}


def overlooked(term: list[Any], letters: set[str]) -> bool:
  """Whether letters that were written are not in what was read."""
  read = {symbol.name[0].lower() for symbol in term[0].free_symbols}
  return not {letter[0].lower() for letter in letters} <= read


def apart(one: Any, other: Any) -> bool:
  """Whether two numbers differ in 30 digits: math-verify takes differences below 1e-15 for none."""
  if one.free_symbols or other.free_symbols:
    return False
  difference, size = abs((one - other).evalf(40)), abs(one.evalf(40))
  return bool(difference > size * 10**-30)
