"""Answers that are polynomials or their roots: read by a parser of our own, compared exactly."""

import ast
import math
from fractions import Fraction
from typing import Any

from rft_jax.data.gym.forms import fixed, rounded, value

POLYNOMIAL = r'[A-Za-z\d+\-*/() .]+'
DEGREE, TERMS, DIGITS = 64, 400, 200  # a text may not ask for more work than any problem needs
Polynomial = dict[tuple[tuple[str, int], ...], Fraction]


def polynomial(text: str) -> Polynomial:
  """{((variable, exponent), ...): coefficient}, no zeros. Raises ValueError for other texts."""
  return expand(ast.parse(text.strip(), mode='eval').body)


def expand(node: ast.AST) -> Polynomial:
  if isinstance(node, ast.Constant) and type(node.value) in (int, float):
    return bounded({(): Fraction(repr(node.value))})
  if isinstance(node, ast.Name) and len(node.id) == 1:
    return {((node.id, 1),): Fraction(1)}
  if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
    sign = -1 if isinstance(node.op, ast.USub) else 1
    return {key: sign * x for key, x in expand(node.operand).items()}
  if isinstance(node, ast.BinOp):
    if isinstance(node.op, ast.Pow):
      return raised(expand(node.left), expand(node.right))
    return joined(node.op, expand(node.left), expand(node.right))
  raise ValueError(f'{type(node).__name__} is no polynomial')


def joined(op: ast.operator, one: Polynomial, two: Polynomial) -> Polynomial:
  if isinstance(op, ast.Mult):
    return product(one, two)
  if isinstance(op, ast.Div):
    if set(two) != {()}:
      raise ValueError('only numbers divide')
    return {key: x / two[()] for key, x in one.items()}
  if not isinstance(op, ast.Add | ast.Sub):
    raise ValueError(f'{type(op).__name__} is no operation of polynomials')
  sign = 1 if isinstance(op, ast.Add) else -1
  keys = dict.fromkeys([*one, *two])
  return bounded({key: one.get(key, Fraction(0)) + sign * two.get(key, 0) for key in keys})


def product(one: Polynomial, two: Polynomial) -> Polynomial:
  out: Polynomial = {}
  for left, x in one.items():
    for right, y in two.items():
      powers = dict(left)
      for name, exponent in right:
        powers[name] = powers.get(name, 0) + exponent
      key = tuple(sorted(powers.items()))
      out[key] = out.get(key, Fraction(0)) + x * y
  return bounded(out)


def raised(base: Polynomial, power: Polynomial) -> Polynomial:
  exponent = power.get((), Fraction(0)) if set(power) <= {()} else Fraction(-1)
  if exponent.denominator != 1 or not 0 <= exponent <= DEGREE:
    raise ValueError('an exponent must be a small whole number')
  out: Polynomial = {(): Fraction(1)}
  for _ in range(int(exponent)):
    out = product(out, base)
  return out


def bounded(terms: Polynomial) -> Polynomial:
  """Without zeros. Raises ValueError for what is larger than any answer."""
  kept = {key: x for key, x in terms.items() if x}
  large = any(max(abs(x.numerator), x.denominator) > 10**DIGITS for x in kept.values())
  if large or len(kept) > TERMS or any(sum(e for _, e in key) > DEGREE for key in kept):
    raise ValueError('too large')
  return kept


def addends(node: ast.AST) -> list[ast.AST]:
  """What a sum is the sum of."""
  if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
    return addends(node.left) + addends(node.right)
  return [node]


def expanded(text: str, problem: dict) -> bool:
  """The product, multiplied out: every power of the variables in one term."""
  parts = addends(ast.parse(text.strip(), mode='eval').body)
  nested = [n for part in parts for n in ast.walk(part) if isinstance(n, ast.Add | ast.Sub)]
  terms = [expand(part) for part in parts]
  said, asked = polynomial(text), polynomial(problem['facts']['polynomial_expr'])
  return not nested and said == asked and len(terms) == max(1, len(said))


def antiderivative(text: str, problem: dict) -> bool:
  """Its derivative is the integrand; any constant C may be added."""
  facts, said = problem['facts'], polynomial(text)
  if not {name for key in said for name, _ in key} <= {facts['variable'], 'C'}:
    return False
  return derivative(said, facts['variable']) == polynomial(facts['integrand'])


def derivative(terms: Polynomial, variable: str) -> Polynomial:
  out: Polynomial = {}
  for key, x in terms.items():
    powers = dict(key)
    if exponent := powers.pop(variable, 0):
      if exponent > 1:
        powers[variable] = exponent - 1
      out[tuple(sorted(powers.items()))] = x * exponent
  return out


def solution(found: dict) -> str | None:
  """Of a linear equation in one unknown; None where it is no whole number."""
  left, right = map(polynomial, found['metadata']['equation'].split('='))
  both = joined(ast.Sub(), left, right)
  name = found['metadata']['variable']
  slope, rest = both.get(((name, 1),), Fraction(0)), both.get((), Fraction(0))
  if not slope or not set(both) <= {(), ((name, 1),)}:
    return None
  root = -rest / slope
  return str(root) if root.denominator == 1 else None


def real_roots(found: dict) -> dict | None:
  """All real roots, isolated exactly; rounded down, as asked. None where there is none: an empty
  text is no answer."""
  import sympy  # reasoning-gym needs it too

  facts = found['metadata']
  terms = polynomial(facts['polynomial_expr'])
  degree = max((exponent for key in terms for _, exponent in key), default=0)
  powers = [
    terms.get(((facts['variable'], n),) if n else (), Fraction(0)) for n in range(degree + 1)
  ]
  factor = math.lcm(*(x.denominator for x in powers))
  poly = sympy.Poly([int(x * factor) for x in reversed(powers)], sympy.Symbol('x'))
  if degree == 0:
    return None
  isolated: Any = poly.intervals(eps=sympy.Rational(1, 10**12))
  roots = [exact(poly, Fraction(str(ends[0]))) for ends, _ in isolated]
  if not roots:
    return None
  return {'answer': ', '.join(map(cut, roots)), 'roots': [readings(root) for root in roots]}


def exact(poly, near: Fraction) -> Fraction:
  """The simple fraction close by, if it is a root; else the lower end of where the root is."""
  simple = near.limit_denominator(10**5)
  return near if poly.eval(simple) else simple


def cut(root: Fraction) -> str:
  """Four decimals, the others dropped; at least one is written."""
  digits = fixed(Fraction(int(root * 10**4), 10**4), 4).rstrip('0')
  return digits + '0' if digits.endswith('.') else digits


def readings(root: Fraction) -> list[str]:
  """What 'rounding down when the 5th decimal place is 5 or greater' may mean, and the nearest."""
  scaled = root * 10**4
  down = {Fraction(int(scaled), 10**4), Fraction(math.floor(scaled), 10**4)}
  return sorted(map(str, down | rounded(root, 4)))


def same_roots(text: str, problem: dict) -> bool:
  """Every root, in any order."""
  said, roots = [value(part.strip()) for part in text.split(',')], problem['facts']['roots']
  allowed = sorted(roots, key=lambda root: min(map(Fraction, root)))
  return len(said) == len(roots) and all(
    x in set(map(Fraction, root)) for x, root in zip(sorted(said), allowed, strict=True)
  )
