"""Lessons and anchors as parts of one shape: their texts lie side by side in a few long rows.

So one program is enough for texts of any length, and little of it is padding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from flax import struct

from rft_jax.learning.lessons import Lesson, Said
from rft_jax.objectives.feedback import Rows
from rft_jax.types import Array

SLOTS = 24  # answers of a part, at most
NARROWEST = 256  # tokens of its rows, at least,
SHORTER = 2  # but for texts that are all short they may be cut in two so many times


class Part(struct.PyTreeNode):
  """tokens i32[R,T]; texts i32[R,T]: which text a token belongs to, 0 for none; rows: the answers,
  SLOTS of them, over the R * T columns of all rows."""

  tokens: Array
  texts: Array
  rows: Rows


class Place(NamedTuple):
  """The (first) answer of a lesson."""

  part: int
  slot: int


class Shape(NamedTuple):
  """Of a part's tokens."""

  rows: int
  width: int


class Layout(NamedTuple):
  """places: of the lessons; anchors: bool[SLOTS] of each part."""

  parts: list[Part]
  places: list[Place]
  anchors: list[np.ndarray]


class Filling:
  """A part that is being filled."""

  def __init__(self, rows: int, context: int):
    self.part = empty(rows, context)
    self.used = [0] * rows
    self.slot = 0
    self.anchors = np.zeros(SLOTS, bool)

  def rows_for(self, sizes: Sequence[int]) -> list[int]:
    """A row for each text, [] where they do not all fit."""
    used, found = list(self.used), []
    if self.slot + len(sizes) > SLOTS:
      return []
    for size in sizes:
      row = next((i for i, n in enumerate(used) if n + size <= self.part.tokens.shape[1]), None)
      if row is None:
        return []
      used[row] += size
      found.append(row)
    return found

  def write(self, row: int, said: Said, lesson: Lesson | None = None, value: float = 0.0) -> None:
    """A text into the next slot."""
    start, width = self.used[row], self.part.tokens.shape[1]
    end = start + len(said.prompt) + len(said.answer)
    self.part.tokens[row, start:end] = [*said.prompt, *said.answer]
    self.part.texts[row, start:end] = self.part.texts[row].max() + 1
    answer = slice(row * width + end - len(said.answer), row * width + end)
    rows, slot = self.part.rows, self.slot
    rows.target[slot, answer] = True
    rows.emphasis[slot, answer] = said.emphasis or 1.0
    if lesson is None:
      self.anchors[slot] = True
    else:
      rows.kind[slot], rows.value[slot] = lesson.kind, value
      rows.advantage[slot, answer] = lesson.advantage or 0.0
    self.used[row], self.slot = end, slot + 1


def widths(context: int) -> list[int]:
  """How long rows may be: powers of two, and the whole context."""
  return [*(NARROWEST * 2**i for i in range(32) if NARROWEST * 2**i < context), context]


def width_of(texts: Sequence[Said], context: int) -> int:
  """The shortest rows that the texts fit into, or the longest that there are."""
  longest = max(len(said.prompt) + len(said.answer) for said in texts)
  return next((width for width in widths(context) if width >= longest), context)


def narrow(rows: int, context: int) -> list[Shape]:
  """Shapes for short texts: as many tokens in shorter rows, in which attention costs less."""
  found = [NARROWEST // 2**i for i in range(SHORTER, 0, -1)]
  return [Shape(rows * NARROWEST // width, width) for width in found if width < context]


def shapes(rows: int, context: int) -> list[Shape]:
  """All that parts may have."""
  return [*narrow(rows, context), *(Shape(rows, width) for width in widths(context))]


def fitting(texts: Sequence[Said], rows: int, context: int) -> list[Shape]:
  """Those that the texts fit into, the one with the shortest rows first; or the longest one."""
  longest = max(len(said.prompt) + len(said.answer) for said in texts)
  short = [shape for shape in narrow(rows, context) if shape.width >= longest]
  return [*short, Shape(rows, width_of(texts, context))]


def arrange(lessons: Sequence[Lesson], anchors: Sequence[Said], rows: int, context: int) -> Layout:
  """Rows of `context` tokens. Pairs first, so that each begins at an even slot, then single
  answers, then anchors. Texts of more tokens lose the beginning of their prompts."""
  order = sorted(range(len(lessons)), key=lambda i: lessons[i].worse is None)
  fillings: list[Filling] = []
  places = [Place(0, 0)] * len(lessons)

  def place(texts: list[Said], lesson: Lesson | None) -> Place:
    texts = [fitted(said, context) for said in texts]
    sizes = [len(said.prompt) + len(said.answer) for said in texts]
    index = next((i for i, f in enumerate(fillings) if f.rows_for(sizes)), len(fillings))
    if index == len(fillings):
      fillings.append(Filling(rows, context))
    filling = fillings[index]
    found = Place(index, filling.slot)
    for i, (row, said) in enumerate(zip(filling.rows_for(sizes), texts, strict=True)):
      filling.write(row, said, lesson, lesson.value * (1, -1)[i] if lesson else 0.0)
    return found

  for index in order:
    lesson = lessons[index]
    texts = [lesson.better] if lesson.worse is None else [lesson.better, lesson.worse]
    places[index] = place(texts, lesson)
  for said in anchors:
    place([said], None)
  return Layout([f.part for f in fillings], places, [f.anchors for f in fillings])


def empty(rows: int, context: int) -> Part:
  text = lambda: np.zeros((rows, context), np.int32)
  wide = lambda: np.zeros((SLOTS, rows * context), np.float32)
  number = lambda: np.zeros(SLOTS, np.float32)
  kind = np.zeros(SLOTS, np.int32)
  answers = Rows(wide() > 0, wide(), wide(), kind, number(), number(), number(), number())
  return Part(text(), text(), answers)


def fitted(said: Said, context: int) -> Said:
  """The end of the prompt with as much of the answer as there is room for behind one token."""
  answer = said.answer[: context - 1]
  prompt = said.prompt[-(context - len(answer)) :]
  return Said(prompt, answer, said.emphasis[: context - 1])
