"""Triangles: from their corners, to the decimals asked for."""

import math
from fractions import Fraction

from rft_jax.data.gym.forms import fixed, rounded

Point = tuple[Fraction, ...]


def triangle(found: dict) -> dict:
  """From the corners, to 3 decimals."""
  facts = found['metadata']
  corners = [tuple(Fraction(x) for x in facts[name]) for name in 'ABC']
  kind = facts['task_type']
  if kind == 'orthocenter':
    x, y = (spellings(part) for part in orthocenter(*corners))
    return {'answer': f'({x[0]}, {y[0]})', 'readings': [f'({a},{b})' for a in x for b in y]}
  exact = angle(*corners) if kind == 'angle_measure' else incircle(*corners)
  texts = spellings(exact)
  sign = '°' if kind == 'angle_measure' else ''
  return {'answer': texts[0] + sign, 'readings': texts}


def one_of(text: str, problem: dict) -> bool:
  return text.replace(' ', '').removesuffix('°') in problem['facts']['readings']


def spellings(exact: Fraction) -> list[str]:
  """With 3 decimals, and without zeros at the end; halves rounded either way."""
  texts = dict.fromkeys([fixed(exact, 3), *(fixed(x, 3) for x in sorted(rounded(exact, 3)))])
  for text in list(texts):
    while text.endswith('0') and '.' in text:
      text = text[:-1].removesuffix('.')
      texts[text] = None
  return list(texts)


def orthocenter(a: Point, b: Point, c: Point) -> tuple[Fraction, Fraction]:
  """Where (h - a) is at right angles to (c - b), and (h - b) to (c - a)."""
  (p, q), (r, s) = ((c[0] - b[0], c[1] - b[1]), (c[0] - a[0], c[1] - a[1]))
  one, two = p * a[0] + q * a[1], r * b[0] + s * b[1]
  area = p * s - q * r
  return (one * s - q * two) / area, (p * two - one * r) / area


def length(a: Point, b: Point) -> Fraction:
  """To 20 decimals."""
  square = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
  return Fraction(math.isqrt(int(square * 10**40)), 10**20)


def incircle(a: Point, b: Point, c: Point) -> Fraction:
  area = abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]))
  return area / (length(a, b) + length(b, c) + length(c, a))


def angle(a: Point, b: Point, c: Point) -> Fraction:
  """At b, in degrees, to 12 digits."""
  (p, q), (r, s) = ((a[0] - b[0], a[1] - b[1]), (c[0] - b[0], c[1] - b[1]))
  radians = math.atan2(abs(p * s - q * r), p * r + q * s)
  return Fraction(round(math.degrees(radians), 11)).limit_denominator(10**12)
