"""The reward `math`: whether two mathematical answers are equal, by math-verify behind a guard.

Numbers are compared exactly, tuples, sets and the like part by part. Only expressions of a grammar
(`expressions`) are given to math-verify, in a form that has one reading; whatever is no part of it
has to be the same text. So a wrong answer is not paid because half of it was read.
"""

import logging
import math
import re
import threading
import time
from contextvars import ContextVar
from fractions import Fraction
from typing import Any

import math_verify
from latex2sympy2_extended import NormalizationConfig
from sympy import Rational

from rft_jax.data.expressions import expression
from rft_jax.data.forms import TURNED, Form, bounded, final, form, trimmed
from rft_jax.data.numerals import SCALE, Value, numerals, plain, prepared, written
from rft_jax.data.plain import normalised

SECONDS = 2  # for one completion, whatever parts it has: well within scoring.timeout
DEADLINE: ContextVar[float] = ContextVar('deadline')
READ = [
  math_verify.LatexExtractionConfig(
    normalization_config=NormalizationConfig(
      basic_latex=False, units=False, malformed_operators=False, nits=False, boxed='none'
    )
  )
]
UNITS = {'%': 'percent', '°': 'degree', '$': 'dollar', '¢': 'cent', '€': 'euro', '£': 'pound'}
UNIT = r'(?:[%°¢€£]|°[CF]|(?:[A-Za-z][A-Za-z ]+|[mgshLl]|[A-Za-z]{1,5}/[A-Za-z]{1,5})(?:\^[0-9])?)?'
# An expression and its unit, which no product of letters is taken for.
MEASURED = re.compile(
  r'(?P<rest>.*[0-9)}πA-Za-z])\s+(?P<unit>(?:(?:square|cubic)\s+)?(?:units?|inch(?:es)?|feet|foot|'
  r'miles?|yards?|degrees?|dollars?|cents?|(?:centi|milli|kilo)?met(?:er|re)s?|[cmk]m)(?:\^[23])?)'
)
NAME = re.compile(r'[A-Za-z](?:_\{?\w\}?)?|[A-Za-z]\([a-z]\)|\([a-z](?:, ?[a-z])+\)')
LETTERS = re.compile(r'\\[a-z]+|[A-Za-z](?:_\{?\w+\}?)?')
logging.getLogger('math_verify').setLevel(logging.ERROR)  # it warns of each expression that is slow


def agrees(completion: str, example: Any) -> float:
  """1.0 where the completion's answer is equal to `example.answer`, else 0.0."""
  DEADLINE.set(time.monotonic() + SECONDS)
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
    if TURNED.get(one.kind) == other.kind:
      return in_order(one.parts[::-1], other.parts)
    one, other = bounded(one), bounded(other)
    return one.kind == other.kind and in_order(one.parts, other.parts)
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
  """'x = 5' and 'x = 2 + 3 = 5' are what 5 is."""
  equation, value = (one, other) if one.kind == '=' else (other, one)
  pair = lambda side: (side, value) if equation is one else (value, side)
  *before, last = equation.parts
  return alike(*pair(last)) and all(
    NAME.fullmatch(side.text) or (side.kind == 'atom' and alike(*pair(side))) for side in before
  )


def same_line(one: tuple[Form, ...], other: tuple[Form, ...]) -> bool:
  """Whether two equations differ by what is added to both sides, or by swapping these."""
  sides = [expression(f'({a.text}) - ({b.text})') for a, b in (one, other, other[::-1])]
  left, *rest = sides
  return any(left and right and by_math_verify(left, right) for right in rest)


def atoms_alike(one: str, other: str) -> bool:
  if spelt(one) == spelt(other):
    return True
  one, other = without_unit(one, other)
  left, right = quantity(one), quantity(other)
  if left and right:
    return same_quantity(left, right)
  if (left and left[1]) or (right and right[1]):  # a number with a unit is no expression
    return False
  first = ratio(left[0]) if left else expression(one)
  second = ratio(right[0]) if right else expression(other)
  if not first or not second:
    return False
  return first == second or by_math_verify(first, second)


def without_unit(one: str, other: str) -> tuple[str, str]:
  """Two texts without a unit that comes after an expression, where they do not have two."""
  found = [None if quantity(text) else MEASURED.fullmatch(text) for text in (one, other)]
  units = {spelt(unit['unit']).removesuffix('s') for unit in found if unit}
  if len(units) != 1:
    return one, other
  left, right = (
    unit['rest'] if unit else text for unit, text in zip(found, (one, other), strict=True)
  )
  return left, right


def quantity(text: str) -> tuple[Value, str] | None:
  """A text that is one number and perhaps its unit: '$36', '5 cm', '30°', '1,000'."""
  text = prepared(text)
  found = numerals(text)
  if len(found) != 1 or found[0].value is None:
    return None
  number, cluster = found[0], text[found[0].start : found[0].end]
  head, tail = text[: number.start].strip(' $\u2009'), text[number.end :].strip(' $\u2009')
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
  left = DEADLINE.get(math.inf) - time.monotonic()
  if left <= 0:
    return False
  main = threading.current_thread() is threading.main_thread()  # where alarms work
  limit: Any = max(1, min(SECONDS, round(left))) if main else None
  terms = [
    math_verify.parse(f'${term}$', READ, fallback_mode='no_fallback', parsing_timeout=limit)
    for term in (known, said)
  ]
  if not all(terms) or any(map(overlooked, terms, letters)):
    return False
  (one, *_), (other, *_) = terms
  try:
    if not (one.free_symbols or other.free_symbols):
      return same_value(one, other)
    return not apart(one, other) and math_verify.verify(terms[0], terms[1], timeout_seconds=limit)
  except Exception:  # SymPy's, of all kinds, over what has no value: oo - oo
    return False


def variables(latex: str) -> set[str]:
  return {name for name in LETTERS.findall(latex) if not name.startswith('\\') and name not in 'ei'}


def overlooked(term: list[Any], letters: set[str]) -> bool:
  """Whether letters that were written are not in what was read."""
  read = {symbol.name[0].lower() for symbol in term[0].free_symbols}
  return not {letter[0].lower() for letter in letters} <= read


def same_value(one: Any, other: Any) -> bool:
  """Whether two numbers are equal in 30 digits: math-verify takes differences below 1e-15 for none,
  and seconds over logarithms."""
  if not (one.is_finite and other.is_finite):
    return bool(one == other and one.is_extended_real)
  difference, size = abs((one - other).evalf(40)), abs(one.evalf(40))
  return bool(difference <= size * 10**-30)


def apart(one: Any, other: Any) -> bool:
  """Whether two expressions differ where their letters are numbers, which is soon known."""
  names = sorted(one.free_symbols | other.free_symbols, key=str)
  numbers = {name: Rational(10 * i + 13, 17) for i, name in enumerate(names)}
  difference = (one - other).subs(numbers).evalf(20)
  return bool(difference.is_number and difference.is_finite and abs(difference) > 1e-6)
