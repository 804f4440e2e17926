"""Lessons beside anchors, as a step looks at them: what is held of them, and what is watched."""

from collections.abc import Iterator, Sequence

import numpy as np

from rft_jax.learning.lessons import Lesson
from rft_jax.learning.packed import Layout, Part
from rft_jax.objectives import feedback as kinds
from rft_jax.objectives.feedback import Rows
from rft_jax.types import Array


class Lap:
  """Lessons beside some anchors, as parts. groups: the rows whose straying is watched, of each
  part: the anchors, and what is voted down; held: states of each part, of the reference and of the
  version before."""

  def __init__(self, lessons: Sequence[Lesson], layout: Layout):
    self.lessons, self.parts, self.places = lessons, layout.parts, layout.places
    downs = [single(part.rows) & (part.rows.value < 0) for part in self.parts]
    self.groups = layout.anchors, downs
    self.held: list[tuple[Array, Array]] = []

  def tokens(self, group: list[np.ndarray]) -> int:
    return int(self.over(group, [part.rows.target for part in self.parts]))

  def over(self, group: list[np.ndarray], values: Sequence[np.ndarray]) -> float:
    """The sum over a group's tokens."""
    return sum(float(x[chosen].sum()) for x, chosen in zip(values, group, strict=True))


def parts_of(view: Sequence[Lap]) -> Iterator[tuple[Part, tuple[Array, Array]]]:
  """All parts of some laps, with what is held of each."""
  return (found for lap in view for found in zip(lap.parts, lap.held, strict=True))


def hold(view: Sequence[Lap], weight: float) -> None:
  """What is watched in one step counts `weight` all together, each group on its own."""
  for name in range(2):
    tokens = sum(lap.tokens(lap.groups[name]) for lap in view)
    for lap in view:
      for part, chosen in zip(lap.parts, lap.groups[name], strict=True):
        part.rows.hold[chosen] = weight / max(tokens, 1)


def moves(rows: Rows) -> bool:
  """Whether there is a loss of these rows at all."""
  return bool(rows.weight.any() or rows.hold.any())


def moved_by(laps: Sequence[Lap], kl: list[np.ndarray]) -> float:
  """The larger of the means over the tokens of the anchors and of what is voted down; kl: of all
  parts of the laps."""
  spent, tokens = np.zeros(2), np.zeros(2)
  rest = iter(kl)
  for lap in laps:
    values = [next(rest) for _ in lap.parts]
    spent += [lap.over(group, values) for group in lap.groups]
    tokens += [lap.tokens(group) for group in lap.groups]
  return float((spent / np.maximum(tokens, 1)).max())


def single(rows: Rows) -> np.ndarray:
  """Which answers are voted for or against on their own."""
  return rows.kind == kinds.THUMB
