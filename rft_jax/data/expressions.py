"""A grammar of expressions: what is of it is written in LaTeX of one form that has one reading.

math-verify reads much more, but part of that wrongly: '1e3' as 1, '2 1/2' as 1, '10_2' as 10. What
is not of this grammar is compared as text.
"""

import math
import re
from fractions import Fraction
from typing import NamedTuple

LONGEST, DEEPEST = 200, 20  # tokens of an expression, and brackets within brackets
LARGEST, STEEPEST = 20_000, 30  # bits of a number, and the degree of a polynomial
LONGEST_SUM = 1000  # terms of a product that is multiplied out
FUNCTIONS = 'arcsin arccos arctan sinh cosh tanh sin cos tan cot sec csc log ln exp'.split()
GREEK = 'alpha beta gamma delta epsilon theta lambda mu rho sigma tau phi omega varphi'.split()
TOKEN = re.compile(
  rf'\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|\\?(?P<function>{"|".join(FUNCTIONS)})(?![a-z])'
  rf'|\\(?P<greek>{"|".join(GREEK)})(?![A-Za-z])|(?P<frac>\\frac)(?![A-Za-z])'
  r'|(?P<letter>[A-Za-z])(?![A-Za-z]{2})|(?P<sign>\*\*|[-+*/^_!()\[\]{}|√π∞×·÷]))'
)
# What looks like an expression, and is none or is read as another: 1e3, 2 x 3, 1 2, 3\frac12, f(2),
# a date.
TRAPS = re.compile(
  r'[0-9]\s*[eE]\s*[-+]?[0-9]|[0-9]\s*x\s*[0-9]|[0-9]\s+[.0-9]|[0-9]\.(?![0-9])|[.0-9]\s*\\frac|'
  r'(?<![A-Za-z\\])[fghFGHP]\s*\(|[0-9]{4}-[0-9]{1,2}-[0-9]'
)


class Term(NamedTuple):
  """LaTeX, and how large what it says can get: the degree of a polynomial, the bits of a number,
  the terms when it is multiplied out."""

  latex: str
  degree: float = 0.0
  bits: float = 1.0
  terms: float = 1.0


class NoExpression(Exception):
  """A text that is not of the grammar."""


def expression(text: str) -> str | None:
  """LaTeX of one form for a text of the grammar; None for any other."""
  text = re.sub(r'(log\s*_)\s*([0-9a-z])', r'\1{\2}', text)
  if TRAPS.search(text):
    return None
  try:
    parser = Parser(text)
    term = parser.sum(0)
    return None if parser.kind else term.latex
  except NoExpression:
    return None


class Parser:
  """Reads tokens from left to right; each rule returns the Term that it has read."""

  def __init__(self, text: str):
    self.tokens = list(tokens(text.strip()))
    if len(self.tokens) > LONGEST:
      raise NoExpression
    self.at = 0

  @property
  def kind(self) -> str:
    """What comes next: the kind of a token, a sign itself, '' at the end."""
    kind, word = self.tokens[self.at] if self.at < len(self.tokens) else ('', '')
    return word if kind == 'sign' else kind

  def take(self, *kinds: str) -> str:
    if not self.kind or self.kind not in kinds:
      raise NoExpression
    self.at += 1
    return self.tokens[self.at - 1][1]

  def sum(self, depth: int) -> Term:
    if depth > DEEPEST:
      raise NoExpression
    parts = []
    while not parts or self.kind in ('+', '-'):
      sign = self.take('+', '-') if self.kind in ('+', '-') else '+'
      parts.append((sign, self.product(depth)))
    latex = ' '.join(f'{sign} {term.latex}' for sign, term in parts).removeprefix('+ ')
    degrees, bits, terms = zip(*(term[1:] for _, term in parts), strict=True)
    return bounded(Term(latex, max(degrees), max(bits), sum(terms)))

  def product(self, depth: int) -> Term:
    whole = self.power(depth)
    while True:
      if self.kind in ('*', '×', '·'):
        self.at += 1
        whole = joined(r'{} \cdot {}', whole, self.power(depth))
      elif self.kind in ('/', '÷'):
        self.at += 1
        whole = joined(r'\frac{{{}}}{{{}}}', whole, self.power(depth))
        if self.begins():  # 1/2x: half of x, or one over 2x
          raise NoExpression
      elif self.begins():
        whole = joined(r'{} \cdot {}', whole, self.power(depth))
      else:
        return whole

  def begins(self) -> bool:
    return self.kind in ('number', 'letter', 'greek', 'function', 'frac', '(', '{', '√', 'π', '∞')

  def power(self, depth: int) -> Term:
    base = self.atom(depth)
    if self.kind == '!':
      self.take('!')
      if base.degree > 1 or base.bits > 7:
        raise NoExpression
      base = Term(f'({base.latex})!', 8 * base.degree, 600)
    if self.kind not in ('^', '**'):
      return base
    self.at += 1
    sign = '-' if self.kind == '-' and self.take('-') else ''
    exponent = self.atom(depth + 1)
    if self.kind in ('^', '**', '!') or exponent.bits > 8:
      raise NoExpression
    times = 2**exponent.bits if exponent.bits > 1 else 1
    return bounded(
      Term(
        f'{{({base.latex})}}^{{{sign}{exponent.latex}}}',
        base.degree * times,
        base.bits * times,
        math.comb(round(times) + round(base.terms) - 1, round(times)),
      )
    )

  def atom(self, depth: int) -> Term:
    kind = self.kind
    if kind == 'number':
      return number(self.take(kind))
    if kind in ('(', '{', '|'):
      return self.bracket(depth)
    if kind == 'function':
      return self.function(depth)
    if kind == 'frac':
      self.take(kind)
      return joined(r'\frac{{{}}}{{{}}}', self.argument(depth), self.argument(depth))
    if kind == '√':
      return self.root(depth)
    word = self.take('letter', 'greek', 'π', '∞')
    latex = {'π': r'\pi', '∞': r'\infty'}.get(word, word if kind == 'letter' else f'\\{word}')
    if kind == 'letter' and self.kind == '_':
      self.take('_')
      latex += f'_{{{self.index()}}}'
    return Term(latex, float(kind in ('letter', 'greek')))

  def index(self) -> str:
    if self.kind != '{':
      return self.take('number', 'letter')
    self.take('{')
    word = self.take('number', 'letter')
    self.take('}')
    return word

  def bracket(self, depth: int) -> Term:
    opening = self.take('(', '{', '|')
    inside = self.sum(depth + 1)
    self.take({'(': ')', '{': '}', '|': '|'}[opening])
    written = f'|({inside.latex})|' if opening == '|' else f'({inside.latex})'
    return inside._replace(latex=written)

  def argument(self, depth: int) -> Term:
    """A group in braces, or one digit or letter: \\frac12."""
    if self.kind == '{':
      return self.bracket(depth)
    if self.kind == 'number':
      word = self.tokens[self.at][1]
      if not word.isdigit():
        raise NoExpression
      self.tokens[self.at : self.at + 1] = [('number', digit) for digit in word]
      return number(self.take('number'))
    return self.atom(depth)

  def root(self, depth: int) -> Term:
    self.take('√')
    degree = ''
    if self.kind == '[':
      self.take('[')
      degree = f'[{self.take("number", "letter")}]'
      self.take(']')
    inside = self.bracket(depth) if self.kind in ('(', '{') else self.atom(depth + 1)
    return Term(rf'\sqrt{degree}{{{inside.latex}}}', inside.degree, inside.bits)

  def function(self, depth: int) -> Term:
    """Of what is in brackets, or of the product up to the next sign that comes after it."""
    name, base, exponent = self.take('function'), '', ''
    if self.kind == '_' and name == 'log':
      self.take('_')
      base = f'_{{{self.argument(depth).latex}}}'
    if self.kind == '^':
      self.take('^')
      exponent = f'^{{{self.argument(depth).latex}}}'
    if '-' in exponent:  # the inverse function, or one over it
      raise NoExpression
    if self.kind in ('(', '{'):
      inside = self.bracket(depth)
    else:
      inside = self.power(depth + 1)
      while self.begins() and self.kind != 'function':
        inside = joined(r'{} \cdot {}', inside, self.power(depth + 1))
    written = rf'\{name}{base}({inside.latex})'
    written = f'({written})'  # or the next product would be taken into it
    written = f'{{{written}}}{exponent}' if exponent else written
    return bounded(Term(written, 8 + inside.degree, inside.bits))


def tokens(text: str):
  """(kind, word) of each token. Raises NoExpression for what is none."""
  at = 0
  while at < len(text):
    found = TOKEN.match(text, at)
    if not found:
      raise NoExpression
    at = found.end()
    yield str(found.lastgroup), found[str(found.lastgroup)]


def number(word: str) -> Term:
  """Exactly: a float would be compared by its first digits."""
  if len(word) > 40:
    raise NoExpression
  value = Fraction(word)
  size = math.log2(max(value.numerator, value.denominator, 2))
  whole = value.denominator == 1
  return Term(
    str(value) if whole else rf'\frac{{{value.numerator}}}{{{value.denominator}}}', 0, size
  )


def joined(form: str, left: Term, right: Term) -> Term:
  return bounded(
    Term(
      form.format(left.latex, right.latex),
      left.degree + right.degree,
      left.bits + right.bits,
      left.terms * right.terms,
    )
  )


def bounded(term: Term) -> Term:
  if term.degree > STEEPEST or term.bits > LARGEST or term.terms > LONGEST_SUM:
    raise NoExpression
  return term
