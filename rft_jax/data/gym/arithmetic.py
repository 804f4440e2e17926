"""Answers that are numbers: exact values from the question's own text, in the form asked for."""

import ast
import math
import operator
import re
from decimal import Decimal
from fractions import Fraction

from rft_jax.data.gym.forms import UNSIGNED, cells, fixed, rounded, significant, value

OPERATORS = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.truediv,
}
SCIENTIFIC = r'[+-]?[1-9](?:\.\d{1,2})?[eE][+-]?\d{1,4}'
FRACTION = r'(-?\d+) ?/ ?(\d+)'
LATEX = r'\\d?frac\{ ?(-?\d+) ?\}\{ ?(\d+) ?\}'
TERM = rf'(?:{UNSIGNED}i?|i)'
COMPLEX = rf'\(?[+-]?{TERM}(?: ?[+-] ?{TERM})?\)?'


def evaluate(node: ast.AST) -> Fraction:
  """The exact value of an expression of numbers. Raises ValueError for any other syntax."""
  if isinstance(node, ast.Constant) and type(node.value) in (int, float):
    return Fraction(repr(node.value))
  if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
    return -evaluate(node.operand)
  if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
    return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
  raise ValueError(f'{type(node).__name__} is not arithmetic')


def exactly(expression: str) -> Fraction:
  """Raises ZeroDivisionError, and ValueError for what is no arithmetic."""
  return evaluate(ast.parse(expression.strip(), mode='eval').body)


def whole(exact: Fraction) -> str | None:
  return str(exact.numerator) if exact.denominator == 1 else None


def quotient(found: dict) -> str | None:
  """Exact division; problems whose value is no whole number are left out."""
  return whole(exactly(re.sub(r'\b0+(?=\d)', '', found['metadata']['expression'])))


def arithmetic(text: str, problem: dict) -> bool:
  """Exactly the given numbers, each once, and exactly the target (24 where none is given)."""
  facts = problem['facts']
  if sorted(map(int, re.findall(r'\d+', text))) != sorted(facts['numbers']):
    return False
  tree = ast.parse(text, mode='eval').body
  return evaluate(tree) == facts.get('target', 24)


def decimals(found: dict) -> dict | None:
  """To as many significant digits as the question says, rounding up from the half."""
  asked = re.search(r'maximum of (\d+) significant digits.*?\n(.*) = \?', found['question'], re.S)
  if not asked:
    return None
  answer = f'{significant(exactly(asked[2]), int(asked[1])):f}'
  return {'answer': answer.rstrip('0').rstrip('.') if '.' in answer else answer}


def power(found: dict) -> dict | None:
  base, exponent = Fraction(str(found['metadata']['base'])), int(found['metadata']['exponent'])
  exact = base**exponent
  if not exact:
    return None  # a zero has no significant figures
  readings = [scientific(significant(exact, 3, up)) for up in (True, False)]
  return {'answer': readings[0], 'readings': sorted({str(Decimal(r)) for r in readings})}


def scientific(number: Decimal) -> str:
  return f'{number:.2e}'


def same_power(text: str, problem: dict) -> bool:
  return any(Decimal(text) == Decimal(reading) for reading in problem['facts']['readings'])


def pick(found: dict) -> dict:
  """The listed spelling of the largest or smallest of the numbers as they are spelled."""
  facts = found['metadata']
  best = max if facts['size'] == 'largest' else min
  return {'answer': best(facts['formatted_candidates'], key=value)}


def polygon(found: dict) -> str | None:
  """The last angle; a polygon with an angle of 180 degrees or more is not convex: left out."""
  facts = found['metadata']
  angles = [Fraction(str(angle)) for angle in facts['known_angles']]
  last = 180 * (facts['n_sides'] - 2) - sum(angles)
  if not all(0 < angle < 180 for angle in [*angles, last]):
    return None
  return whole(last) or fixed(last, 1)


def coin(found: dict) -> dict:
  facts = found['metadata']
  trials, heads = facts['num_trials'], facts['k_heads']
  counted = [heads] if facts['problem_type'] == 'exact' else range(heads, trials + 1)
  exact = Fraction(sum(math.comb(trials, k) for k in counted), 2**trials)
  return {'answer': str(exact)}


def same_chance(text: str, problem: dict) -> bool:
  """The fraction, the exact decimal, or a decimal rounded to four significant digits or more."""
  exact, ratio = Fraction(problem['answer']), re.fullmatch(FRACTION, text)
  if ratio:
    return Fraction(int(ratio[1]), int(ratio[2])) == exact
  said = Decimal(text)
  parts = said.as_tuple()
  near = rounded(exact, -int(parts.exponent))
  return Fraction(text) == exact or (len(parts.digits) >= 4 and Fraction(text) in near)


def lowest(text: str, problem: dict) -> bool:
  """The fraction in lowest terms, plain or in LaTeX, with or without dollar signs."""
  facts, bare = problem['facts'], text.strip('$').strip()
  parts = re.fullmatch(FRACTION, bare) or re.fullmatch(LATEX, bare)
  return bool(parts) and [int(parts[1]), int(parts[2])] == [
    facts['simplified_numerator'],
    facts['simplified_denominator'],
  ]


def in_lowest_terms(found: dict) -> dict | None:
  facts = found['metadata']
  exact = Fraction(facts['numerator'], facts['denominator'])
  terms = (facts['simplified_numerator'], facts['simplified_denominator'])
  return {'answer': found['answer']} if (exact.numerator, exact.denominator) == terms else None


def dice(found: dict) -> str:
  """The chance, by counting sums of all dice; reduced."""
  puzzle = found['metadata']['puzzle']
  ways = {0: 1}
  sides = [int(side) for side in re.findall(r'1d(\d+)', puzzle['dice_str'])]
  for side in sides:
    sums = [(total + face, n) for total, n in ways.items() for face in range(1, side + 1)]
    ways = {}
    for total, n in sums:
      ways[total] = ways.get(total, 0) + n
  reached = sum(n for total, n in ways.items() if total >= puzzle['target'])
  exact = Fraction(reached, math.prod(sides))
  return f'{exact.numerator}/{exact.denominator}'


def same_dice(text: str, problem: dict) -> bool:
  return text.replace(' ', '') == problem['answer']


def same_factors(text: str, problem: dict) -> bool:
  """The prime factors, in any order."""
  factors = lambda answer: sorted(int(part) for part in answer.split('×'))
  return factors(text) == factors(problem['answer'])


def complex_answer(found: dict) -> str:
  """From the two numbers, exactly; written without decimals where there are none."""
  facts = found['metadata']
  (a, b), (c, d) = ([Fraction(str(x)) for x in facts[name]] for name in ('num1', 'num2'))
  parts = {'+': (a + c, b + d), '-': (a - c, b - d), '*': (a * c - b * d, a * d + b * c)}.get(
    facts['operation']
  )
  if parts is None:
    norm = c * c + d * d
    parts = ((a * c + b * d) / norm, (b * c - a * d) / norm)
  real, imaginary = (whole(part) or str(float(part)) for part in parts)
  if imaginary == '0':
    return real
  sign, size = ('-', imaginary[1:]) if imaginary.startswith('-') else ('+', imaginary)
  size = '' if size == '1' else size
  return f'{real} {sign} {size}i' if real != '0' else f'{sign.strip("+")}{size}i'


def same_complex(text: str, problem: dict) -> bool:
  return complex_parts(text) == complex_parts(problem['answer'])


def complex_parts(text: str) -> tuple[Fraction, Fraction]:
  """Real and imaginary part of one or two terms, in either order. Raises ValueError for others."""
  bare = text.replace(' ', '')
  if bare.startswith('(') != bare.endswith(')'):
    raise ValueError('an odd bracket')
  parts: list[Fraction | None] = [None, None]
  terms = re.findall(r'[+-]?[^+-]+', bare.strip('()'))
  for term in terms:
    imaginary = term.endswith('i')
    size = term.rstrip('i')
    number = value(size + '1' if size in ('', '+', '-') else size)
    if parts[imaginary] is not None:
      raise ValueError('two parts of a kind')
    parts[imaginary] = number
  if not terms:
    raise ValueError('no term')
  return parts[0] or Fraction(0), parts[1] or Fraction(0)


def pooled(found: dict) -> dict:
  """Each block's maximum, or its mean with two decimals; blocks at the edge may be smaller."""
  facts = found['metadata']
  matrix, size = facts['matrix'], facts['pool_size']
  blocks = [
    [
      [x for row in matrix[i : i + size] for x in row[j : j + size]]
      for j in range(0, len(matrix[0]), size)
    ]
    for i in range(0, len(matrix), size)
  ]
  mean = facts['pool_type'] == 'average'
  exact = [[Fraction(sum(b), len(b)) if mean else Fraction(max(b)) for b in row] for row in blocks]
  written = [[fixed(x, 2) if mean else str(x) for x in row] for row in exact]
  return {
    'answer': '\n'.join(map(' '.join, written)),
    'exact': [[str(x) for x in row] for row in exact],
  }


def same_pool(text: str, problem: dict) -> bool:
  said, exact = cells(text), problem['facts']['exact']
  return list(map(len, said)) == list(map(len, exact)) and all(
    value(a) in rounded(Fraction(b), 2)
    for row, line in zip(said, exact, strict=True)
    for a, b in zip(row, line, strict=True)
  )
