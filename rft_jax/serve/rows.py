"""Lessons and anchors as one batch of rows: what stands where, and how much it counts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rft_jax.objectives.feedback import Rows
from rft_jax.serve.lessons import Lesson, Said
from rft_jax.types import Array


class Layout(NamedTuple):
  """rows: arrays [N,T] and [N] of NumPy, N a multiple of the rows of a part; places: the (first)
  row of each lesson; anchors bool[N]."""

  rows: Rows
  places: list[int]
  anchors: Array


def arrange(lessons: Sequence[Lesson], anchors: Sequence[Said], part: int, length: int) -> Layout:
  """Pairs first, so that each is within a part at an even place, then single answers and anchors.
  `length` columns; what is longer loses the beginning of its prompt."""
  order = sorted(range(len(lessons)), key=lambda i: lessons[i].worse is None)
  count = sum(1 + (lesson.worse is not None) for lesson in lessons) + len(anchors)
  rows, places, row = empty(-(-count // part) * part, length), [0] * len(lessons), 0
  for index in order:
    lesson, places[index] = lessons[index], row
    put(rows, row, lesson.better, lesson, lesson.value)
    row += 1
    if lesson.worse is not None:
      put(rows, row, lesson.worse, lesson, -lesson.value)
      row += 1
  for said in anchors:
    write(rows, row, said)
    row += 1
  number = np.arange(len(rows.tokens))
  return Layout(rows, places, (number >= row - len(anchors)) & (number < row))


def empty(count: int, length: int) -> Rows:
  tokens = np.zeros((count, length), np.int32)
  flag = lambda: np.zeros((count, length), bool)
  number = lambda *shape: np.zeros((count, *shape), np.float32)
  kind = np.zeros(count, np.int32)
  return Rows(
    tokens,
    *(flag(), flag(), number(length), number(length)),
    *(kind, number(), number(), number(), number()),
  )


def put(rows: Rows, row: int, said: Said, lesson: Lesson, value: float) -> None:
  target = write(rows, row, said)
  rows.kind[row], rows.value[row] = lesson.kind, value
  size = target.stop - target.start
  if lesson.advantage:
    rows.advantage[row, target] = lesson.advantage[:size]


def write(rows: Rows, row: int, said: Said) -> slice:
  """The tokens from column 0 on; the columns of the answer."""
  length = rows.tokens.shape[1]
  answer = said.answer[: length - 1]
  prompt = said.prompt[-(length - len(answer)) :]
  target = slice(len(prompt), len(prompt) + len(answer))
  rows.tokens[row, : target.stop] = [*prompt, *answer]
  rows.valid[row, : target.stop] = True
  rows.target[row, target] = True
  rows.emphasis[row, target] = said.emphasis[: len(answer)] or 1.0
  return target


def longest(lessons: Sequence[Lesson], anchors: Sequence[Said]) -> int:
  said = [s for lesson in lessons for s in (lesson.better, lesson.worse) if s] + list(anchors)
  return max((len(s.prompt) + len(s.answer) for s in said), default=1)


def bucket(length: int, buckets: Sequence[int]) -> int:
  """The smallest that is long enough, else the longest."""
  return next((size for size in buckets if size >= length), buckets[-1])
