"""The forms of answers that many data sets share, and what a data set's `Check` consists of.

A grammar has to match a text from end to end before any code reads it, so what is read is small
and plain: no model text is ever evaluated.
"""

import json
import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any, NamedTuple

UNSIGNED = r'(?:(?:[1-9]\d{0,2}(?:,\d{3})+|0|[1-9]\d*)(?:\.\d+)?|\.\d+)'
NUMBER = rf'[+-]?{UNSIGNED}'
ANY = r'(?s:.+)'
STRING = r"'[^'\"\\]*'|\"[^'\"\\]*\""


def stored(found: dict) -> dict | None:
  """The library's own answer, where it is right and in the form that is asked for."""
  return None if found['answer'] is None else {'answer': str(found['answer'])}


class Check(NamedTuple):
  """How a data set's answers are checked.

  grammar: the form of an answer; facts: the metadata that `solves(text, problem)` reads.
  settle(found): the right answer as the question asks for it, as `answer`, and further facts; None
  for a problem that is left out. form: what is accepted; false: what the library's own answers get
  wrong, and what is done about it.
  """

  grammar: str
  facts: tuple[str, ...]
  solves: Callable[[str, dict], bool]
  settle: Callable[[dict], dict | None] = stored
  form: str = ''
  false: str = ''


def computed(answer: Callable[[dict], str | None]) -> Callable[[dict], dict | None]:
  """Settles problems by an answer of our own; None leaves the problem out."""

  def settle(found: dict) -> dict | None:
    text = answer(found)
    return None if text is None else {'answer': text}

  return settle


def same(text: str, problem: dict) -> bool:
  return text == problem['answer']


def same_word(text: str, problem: dict) -> bool:
  return text.casefold() == problem['answer'].casefold()


def same_number(text: str, problem: dict) -> bool:
  return value(text) == value(problem['answer'])


def same_words(text: str, problem: dict) -> bool:
  """Equal lists of words between commas."""
  return re.split(r',\s*', text) == re.split(r',\s*', problem['answer'])


def same_cells(text: str, problem: dict) -> bool:
  """Equal lines of equal cells; the width of the space between them is no part of an answer."""
  return cells(text) == cells(problem['answer'])


def same_strings(text: str, problem: dict) -> bool:
  """Equal lists of strings, in quotes of either kind."""
  return strings(text) == strings(problem['answer'])


def same_numbers(text: str, problem: dict) -> bool:
  """Equal lists of numbers in quotes."""
  return list(map(value, strings(text))) == list(map(value, strings(problem['answer'])))


def same_json(text: str, problem: dict) -> bool:
  return alike(read_json(text), read_json(problem['answer']))


def value(text: str) -> Fraction:
  """The exact value of a `NUMBER`, perhaps with an exponent. Raises ValueError for other texts."""
  if not re.fullmatch(NUMBER + r'(?:[eE][+-]?\d{1,3})?', text, re.ASCII):
    raise ValueError(f'{text[:20]} is no number')
  return Fraction(text.replace(',', ''))


def cells(text: str) -> list[list[str]]:
  return [line.split() for line in text.strip().split('\n')]


def strings(text: str) -> list[str]:
  return [item[1:-1] for item in re.findall(STRING, text)]


def read_json(text: str) -> Any:
  """Raises ValueError for what is not JSON, NaN and infinities included."""

  def refuse(name: str):
    raise ValueError(name)

  return json.loads(text, parse_constant=refuse)


def alike(one: Any, two: Any) -> bool:
  """Equality of JSON values: true is not 1, and floats may differ in their last digits."""
  if isinstance(one, bool) or isinstance(two, bool) or type(one) is str or type(two) is str:
    return type(one) is type(two) and one == two
  if isinstance(one, dict) and isinstance(two, dict):
    return one.keys() == two.keys() and all(alike(one[key], two[key]) for key in one)
  if isinstance(one, list) and isinstance(two, list):
    return len(one) == len(two) and all(map(alike, one, two))
  if isinstance(one, int | float) and isinstance(two, int | float):
    whole = isinstance(one, int) and isinstance(two, int)
    return one == two if whole else math.isclose(one, two, rel_tol=1e-9)
  return one == two


def rounded(exact: Fraction, places: int) -> set[Fraction]:
  """The value rounded to so many decimals: two values where it lies between them."""
  scaled = exact * 10**places
  low = math.floor(scaled)
  above = scaled - low
  near = (
    {low} if above < Fraction(1, 2) else {low + 1} if above > Fraction(1, 2) else {low, low + 1}
  )
  return {Fraction(n, 10**places) for n in near}


def significant(exact: Fraction, digits: int, up: bool = True) -> Decimal:
  """The value rounded to so many significant digits, from the half away from zero or towards it."""
  with localcontext() as context:
    context.prec = digits
    context.rounding = ROUND_HALF_UP if up else ROUND_HALF_DOWN
    return Decimal(exact.numerator) / Decimal(exact.denominator)


def fixed(exact: Fraction, places: int) -> str:
  """The value with so many decimals, from the half away from zero; no '-0'."""
  scaled = math.floor(abs(exact) * 10**places + Fraction(1, 2))
  whole, part = divmod(scaled, 10**places)
  sign = '-' if exact < 0 and scaled else ''
  return f'{sign}{whole}.{part:0{places}d}' if places else f'{sign}{whole}'


def repeated(item: str, separator: str) -> str:
  return f'(?:{item})(?:{separator}(?:{item}))*'


def json_list(item: str) -> str:
  return r'\[\s*' + repeated(item, r'\s*,\s*') + r'\s*\]'


LIST = r'\[\s*(?:' + repeated(STRING, r'\s*,\s*') + r')?\s*\]'
EXACT = Check(ANY, (), same, form='the text')
WORD = Check(ANY, (), same_word, form='the words, in capitals or not')
INTEGER = Check(NUMBER, (), same_number, form='the number; `1,234` and `1234.0` are 1234')
WORDS = Check(ANY, (), same_words, form='the words, with any space after commas')
GRID = Check(ANY, (), same_cells, form='rows of cells, with any space between cells')
STRINGS = Check(LIST, (), same_strings, form='a list of strings, quoted by `\'` or `"`')
JSON = Check(ANY, (), same_json, form='the JSON value; spaces and the order of keys are free')
