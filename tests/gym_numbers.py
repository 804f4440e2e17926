"""Answers to questions of reasoning-gym in numbers, worked out here from the question's text."""

import itertools
import math
import re
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import numpy as np
import sympy

ANSWERS = {}


def answers(function):
  """Joins the functions that turn a question into an answer; named as the data set is."""
  ANSWERS[function.__name__] = function
  return function


def ints(text: str) -> list[int]:
  return [int(x) for x in re.findall(r'-?\d+', text)]


def grid(question: str) -> list[list[int]]:
  """The last block of numbers."""
  block = re.findall(r'(?:^[ \d]+$\n?)+', question.strip(), re.M)[-1]
  return [list(map(int, line.split())) for line in block.strip().split('\n')]


def exactly(expression: str) -> Fraction:
  return eval(re.sub(r'\d+(?:\.\d+)?', lambda m: f'Fraction({m[0]!r})', expression), globals())


def reached(starts, open_, height: int, width: int) -> dict:
  """{place: distance} of what can be reached."""
  found = dict.fromkeys(starts, 0)
  places = list(starts)
  for i, j in places:
    for place in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
      inside = 0 <= place[0] < height and 0 <= place[1] < width
      if inside and place not in found and open_(place):
        found[place] = found[i, j] + 1
        places.append(place)
  return found


@answers
def basic_arithmetic(q):
  return str(exactly(q.removeprefix('Calculate').removesuffix('.').strip()))


@answers
def chain_sum(q):
  return f'{int(exactly(q.split(":")[1].removesuffix("=").strip())):,}'


@answers
def decimal_chain_sum(q):
  with localcontext() as context:
    context.prec = 60
    terms = re.findall(r'([+-]?) ?(\d+(?:\.\d+)?)', q.split(':')[1])
    return f'{sum(Decimal(sign + number) for sign, number in terms):f}'


@answers
def products(q):
  return f'{math.prod(ints(q)):,}'


@answers
def count_bits(q):
  return str(bin(ints(q)[-1]).count('1'))


@answers
def count_primes(q):
  low, high = ints(q)
  return str(
    sum(all(n % d for d in range(2, math.isqrt(n) + 1)) for n in range(max(2, low), high + 1))
  )


@answers
def gcd(q):
  return str(math.gcd(*ints(q)))


@answers
def lcm(q):
  return f'{math.lcm(*ints(q)):,}'


@answers
def prime_factorization(q):
  n, factors = ints(q)[0], []
  while n > 1:
    factors.append(next(d for d in range(2, n + 1) if n % d == 0))
    n //= factors[-1]
  return ' × '.join(map(str, factors[::-1]))


@answers
def letter_counting(q):
  letter, text = re.search(r'letter "(.)" .* text: "(.*)"', q).groups()
  return str(sum(c == letter for c in text))


@answers
def leg_counting(q):
  legs = dict.fromkeys('snake sea_slug jellyfish flatworm leech'.split(), 0)
  legs |= dict.fromkeys('chicken bird human duck'.split(), 2)
  legs |= dict.fromkeys('spider scorpion'.split(), 8) | dict.fromkeys(
    'crab lobster shrimp'.split(), 10
  )
  legs |= dict.fromkeys('dog cat cow horse lion elephant giraffe tiger deer sheep'.split(), 4)
  legs |= dict(starfish=5, woodlouse=14)
  animals = re.findall(r'(\d+) ([a-z ]+?)s?(?:,|\?)', q)
  return str(sum(int(n) * legs.get(name.replace(' ', '_'), 6) for n, name in animals))


@answers
def maze(q):
  rows = q.split('\n```\n')[1].split('\n')
  start, goal = re.search(r"from '(.)' \(start\) to '(.)'", q).groups()
  wall = re.search(r"'(.)' = Wall", q)[1]
  at = {(i, j): c for i, row in enumerate(rows) for j, c in enumerate(row)}
  place = {c: p for p, c in at.items()}
  found = reached([place[start]], lambda p: at[p] != wall, len(rows), len(rows[0]))
  return str(found[place[goal]])


@answers
def largest_island(q):
  cells = grid(q.split('An island')[0])
  land = lambda p: cells[p[0]][p[1]] == 1
  places = itertools.product(range(len(cells)), range(len(cells[0])))
  return str(
    max([len(reached([p], land, len(cells), len(cells[0]))) for p in places if land(p)] or [0])
  )


@answers
def rotten_oranges(q):
  cells = np.array(grid(q))
  rotten = [tuple(p) for p in np.argwhere(cells == 2).tolist()]
  found = reached(rotten, lambda p: cells[p] == 1, *cells.shape)
  whole = all(tuple(p) in found for p in np.argwhere(cells == 1).tolist())
  return str(max(found.values(), default=0) if whole else -1)


@answers
def binary_alternation(q):
  bits = q.strip().split()[-1]
  wanted = [start * len(bits) for start in ('01', '10')]
  swaps = [
    sum(a != b for a, b in zip(bits, text, strict=False)) / 2
    for text in wanted
    if text[: len(bits)].count('1') == bits.count('1')
  ]
  return f'{min(swaps, default=-1):.0f}'


@answers
def aiw(q):
  return str(int(re.search(r'(\d+) (?:sisters|female friends)', q)[1]) + 1)


@answers
def simple_equations(q):
  left, right = q.split(':')[-1].split('=')
  name = re.search('[a-z]', left + right)[0]
  side = lambda text, x: exactly(re.sub(rf'\b{name}\b', f'({x})', text))
  at = [side(left, x) - side(right, x) for x in (0, 1)]
  return str(-at[0] / (at[1] - at[0]))


@answers
def simple_geometry(q):
  sides = int(re.search(r'(\d+)(?: sides|-gon)', q)[1])
  last = 180 * (sides - 2) - sum(map(Fraction, re.findall(r'([\d.]+)°', q)))
  return f'{float(last):.1f}'


@answers
def bitwise_arithmetic(q):
  return hex(eval(q.split('\n')[-1])).upper().replace('X', 'x')


@answers
def power_function(q):
  base, exponent = re.search(r'Compute (\S+)\^(\S+)\. Return', q).groups()
  with localcontext() as context:
    context.prec = 60
    mantissa, power = f'{Decimal(base) ** int(exponent):.2e}'.split('e')
  return f'{mantissa}e{int(power):+d}'


@answers
def decimal_arithmetic(q):
  exact = exactly(q.split('\n')[-1].removesuffix(' = ?'))
  with localcontext() as context:
    context.prec, context.rounding = 12, ROUND_HALF_UP
    return f'{Decimal(exact.numerator) / Decimal(exact.denominator):f}'


@answers
def number_format(q):
  size, listed = re.search(r'pick the (\w+) number of the following candidates: (.*)', q).groups()
  order = max if size == 'largest' else min
  return order(listed.split(), key=lambda text: Decimal(text.replace(',', '')))


@answers
def coin_flip(q):
  kind, heads, flips = re.search(r'(exactly|at least) (\d+) heads in (\d+)', q).groups()
  heads, flips = int(heads), int(flips)
  counted = [heads] if kind == 'exactly' else range(heads, flips + 1)
  return f'{sum(math.comb(flips, k) for k in counted)}/{2**flips}'


@answers
def dice(q):
  sides, target = (
    list(map(int, re.findall(r'1d(\d+)[,.]', q))),
    int(re.search(r'rolling (\d+)', q)[1]),
  )
  ways = np.array([1], object)
  for side in sides:
    ways = np.convolve(ways, np.array([0] + [1] * side, object))
  return str(Fraction(int(sum(ways[target:])), math.prod(sides)))


@answers
def fraction_simplification(q):
  a, b = ints(q.replace('{', ' ').replace('}', ' '))[:2]
  return str(Fraction(a, b))


@answers
def complex_arithmetic(q):
  one, sign, two = re.search(r'\((.*)\) (\S) \((.*)\)', q).groups()
  a, b = (complex(text.replace(' ', '').replace('i', 'j')) for text in (one, two))
  z = {'+': a + b, '-': a - b, '×': a * b, '÷': a / b if b else 0}[sign]
  return f'{round(z.imag)}i + {round(z.real)}'.replace('+ -', '- ')


@answers
def polynomial_equations(q):
  name = re.search(r'real (?:value\(s\) of )?(\w)\b', q)[1]
  text = re.search(r'(?:: |:\n|equation: )(.*) = 0', q)[1]
  roots = sympy.Poly(sympy.sympify(text.replace(name, 'x')), sympy.Symbol('x')).real_roots()
  return ', '.join(sorted({f'{float(sympy.N(root, 30)):.4f}' for root in roots}))


@answers
def polynomial_multiplication(q):
  product = sympy.expand(sympy.sympify(re.search(r': (.*)\n', q)[1]))
  terms = sorted(map(str, product.args if product.is_Add else [product]))
  return ' + '.join(terms[::-1])


@answers
def simple_integration(q):
  text = re.search(r'∫ (.*) dx', q)[1]
  x = sympy.Symbol('X' if 'X' in text else 'x')
  terms = sympy.integrate(sympy.sympify(text), x).as_ordered_terms()
  return 'C + ' + ' + '.join(str(term) for term in terms[::-1])


@answers
def intermediate_integration(q):
  x = sympy.Symbol('x')
  whole = sympy.integrate(sympy.sympify(re.search(r'∫ (.*) dx', q)[1]), x)
  return ' + '.join(f'({term})' for term in sorted(map(str, sympy.Add.make_args(whole)))) + ' + C'


@answers
def advanced_geometry(q):
  a, b, c = (np.array(ints(p), float) for p in re.findall(r'[ABC]=(\([^)]*\))', q))
  if 'orthocenter' in q or 'altitudes' in q or 'concurrency' in q:
    x, y = np.linalg.solve(np.array([c - b, c - a]), [np.dot(a, c - b), np.dot(b, c - a)])
    return f'({x + 0.0:.3f}, {y + 0.0:.3f})'
  sides = [np.linalg.norm(p - r) for p, r in ((b, c), (c, a), (a, b))]
  if re.search(r'\bangle\b', q.split('For all')[0]):
    cosine = np.dot(a - b, c - b) / sides[0] / sides[2]
    return f'{np.degrees(np.arccos(cosine)):.3f}°'
  return f'{abs(np.linalg.det([b - a, c - a])) / sum(sides):.3f}'
