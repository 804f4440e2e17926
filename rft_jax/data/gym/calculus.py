"""Antiderivatives: a text is one if its derivative equals the integrand at many places.

Read by Python's parser, which runs nothing, and evaluated with 60 digits, by value and derivative;
what is not real, or larger than any answer, is wrong.
"""

import ast
import re
from collections.abc import Callable
from typing import Any

import mpmath

WORDS = 'exp|sin|cos|tan|log|ln|asin|acos|atan|sqrt|pi|E|C'
CALCULUS = rf'(?:{WORDS}|[A-Za-z]\b|[\d+\-*/() .])+'
PLACES = [
  0.0713,
  0.1931,
  0.3117,
  0.7311,
  1.3719,
  2.9173,
  5.3117,
  9.7131,
  12.713,
  17.119,
  25.319,
  41.71,
]
LIMIT = mpmath.mpf(10) ** 2000
CONTEXT = mpmath.mp.clone()
CONTEXT.dps = 60
Dual = tuple[Any, Any]  # a value and its derivative


def function(value: Callable, slope: Callable) -> Callable[[Dual], Dual]:
  return lambda x: (value(x[0]), slope(x[0]) * x[1])


FUNCTIONS = {
  'exp': function(CONTEXT.exp, CONTEXT.exp),
  'sin': function(CONTEXT.sin, CONTEXT.cos),
  'cos': function(CONTEXT.cos, lambda x: -CONTEXT.sin(x)),
  'tan': function(CONTEXT.tan, lambda x: 1 / CONTEXT.cos(x) ** 2),
  'log': function(CONTEXT.log, lambda x: 1 / x),
  'ln': function(CONTEXT.log, lambda x: 1 / x),
  'asin': function(CONTEXT.asin, lambda x: 1 / CONTEXT.sqrt(1 - x * x)),
  'acos': function(CONTEXT.acos, lambda x: -1 / CONTEXT.sqrt(1 - x * x)),
  'atan': function(CONTEXT.atan, lambda x: 1 / (1 + x * x)),
  'sqrt': function(CONTEXT.sqrt, lambda x: 1 / (2 * CONTEXT.sqrt(x))),
}
OPERATIONS: dict[type, Callable[[Dual, Dual], Dual]] = {
  ast.Add: lambda a, b: (a[0] + b[0], a[1] + b[1]),
  ast.Sub: lambda a, b: (a[0] - b[0], a[1] - b[1]),
  ast.Mult: lambda a, b: (a[0] * b[0], a[1] * b[0] + a[0] * b[1]),
  ast.Div: lambda a, b: (a[0] / b[0], (a[1] * b[0] - a[0] * b[1]) / b[0] ** 2),
  ast.Pow: lambda a, b: power(a, b),
}


def integral(text: str, problem: dict) -> bool:
  facts = problem['facts']
  variable = facts['variable']
  said, asked = (ast.parse(x.strip(), mode='eval').body for x in (text, facts['integrand']))
  compared = 0
  for place in [*PLACES, *(-x for x in PLACES)]:
    names = named(variable, CONTEXT.mpf(str(place)))
    try:
      expected, slope = evaluate(asked, names)[0], evaluate(said, names)[1]
    except (ValueError, ZeroDivisionError):
      continue  # one of them has no value there
    if abs(slope - expected) > abs(expected) * CONTEXT.mpf(10) ** -20:
      return False
    compared += 1
  return compared >= 4


def named(variable: str, place: Any) -> dict[str, Dual]:
  zero = CONTEXT.mpf(0)
  constants = dict(E=CONTEXT.e, pi=CONTEXT.pi, C=CONTEXT.mpf('0.618'))
  return {name: (+value, zero) for name, value in constants.items()} | {
    variable: (place, CONTEXT.mpf(1))
  }


def evaluate(node: ast.AST, names: dict[str, Dual]) -> Dual:
  """Value and derivative. Raises ValueError for what is not real, too large, or other syntax."""
  if isinstance(node, ast.Constant) and type(node.value) in (int, float):
    out = CONTEXT.mpf(repr(node.value)), CONTEXT.mpf(0)
  elif isinstance(node, ast.Name) and node.id in names:
    out = names[node.id]
  elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
    sign = -1 if isinstance(node.op, ast.USub) else 1
    inner = evaluate(node.operand, names)
    out = sign * inner[0], sign * inner[1]
  elif isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
    sides = evaluate(node.left, names), evaluate(node.right, names)
    out = OPERATIONS[type(node.op)](*sides)
  elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
    out = applied(node.func.id, [evaluate(argument, names) for argument in node.args])
  else:
    raise ValueError(f'{type(node).__name__} is no expression')
  return real(out)


def applied(name: str, arguments: list[Dual]) -> Dual:
  if name not in FUNCTIONS or len(arguments) != 1:
    raise ValueError(f'{name} is no function of one number')
  if name == 'exp' and abs(arguments[0][0]) > 4000:
    raise ValueError('too large')
  return FUNCTIONS[name](arguments[0])


def power(base: Dual, exponent: Dual) -> Dual:
  if abs(exponent[0]) * (1 + abs(CONTEXT.log(abs(base[0])))) > 4000:
    raise ValueError('too large')
  out = base[0] ** exponent[0]
  slope = exponent[0] * base[0] ** (exponent[0] - 1) * base[1]
  return out, slope + (out * CONTEXT.log(base[0]) * exponent[1] if exponent[1] else 0)


def real(number: Dual) -> Dual:
  if any(isinstance(part, CONTEXT.mpc) or not abs(part) < LIMIT for part in number):
    raise ValueError('not real, or too large')
  return number


def settle(found: dict) -> dict | None:
  """The library's answer where its derivative is the integrand, else one that is worked out anew:
  some are stored as the integral that was to be found."""
  facts = {name: found['metadata'][name] for name in ('integrand', 'variable')}
  for text in (found['answer'], worked_out(facts)):
    if re.fullmatch(CALCULUS, text) and integral(text, {'facts': facts}):
      return {'answer': text}
  return None


def worked_out(facts: dict) -> str:
  import sympy  # reasoning-gym needs it too

  integrand = sympy.parse_expr(facts['integrand'])  # text of the library, not of a model
  return f'{sympy.integrate(integrand, sympy.Symbol(facts["variable"]))} + C'
