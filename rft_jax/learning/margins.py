"""Whether a lesson is learned: how far each event is past its margin. On the host, in NumPy."""

from typing import NamedTuple

import numpy as np

from rft_jax.learning.lessons import Lesson
from rft_jax.objectives import feedback as kinds
from rft_jax.objectives.feedback import BETA, Rows, Seen

VOTE = 0.1  # nats per token that a thumb moves an answer
CERTAIN = 0.1  # nats that all changed tokens of an edit may be short of certain,
PER_TOKEN = 0.01  # and each of them
HINDSIGHT = 0.1  # nats per unit of advantage


class Verdict(NamedTuple):
  """slack: by how much the margin is met, below 0 where it is not. reward: the implicit one, above
  0 where the answer moved away from the reference the way that was asked for."""

  slack: float
  reward: float


def judge(lesson: Lesson, row: int, rows: Rows, seen: Seen) -> Verdict:
  """The lesson whose (first) row this is; all arrays of NumPy."""
  ratio = np.where(rows.target, seen.logp - seen.ref_logp, 0).sum(1)
  length = np.maximum(rows.target.sum(1), 1)
  match lesson.kind:
    case kinds.THUMB:
      return thumb(lesson.value, ratio[row], length[row], seen.ref_logp[row].sum())
    case kinds.RATING:
      return rating(lesson.value, ratio[row], length[row], seen.ref_logp[row].sum())
    case kinds.PAIR | kinds.TIE:
      gap = ratio[row] - ratio[row + 1]
      return pair(lesson.kind, gap, (length[row] + length[row + 1]) / 2)
    case kinds.EDIT:
      gap = ratio[row] - ratio[row + 1]
      return Verdict(min(imitated(row, rows, seen), gap), gap)
    case kinds.DEMONSTRATION:
      return Verdict(imitated(row, rows, seen), ratio[row])
    case _:
      return hindsight(row, rows, seen)


def thumb(value: float, ratio: float, length: int, ref_logp: float) -> Verdict:
  """VOTE for each token; a good answer has no more to gain than half of what it lacks."""
  wanted = min(VOTE * length, -0.5 * ref_logp) if value > 0 else VOTE * length
  sign = 1 if value > 0 else -1
  return Verdict((sign * ratio - wanted) / length, sign * ratio)


def rating(value: float, ratio: float, length: int, ref_logp: float) -> Verdict:
  """Half of the way to the value, but no further than a thumb moves an answer down, or than half
  of what a good one lacks."""
  most = -ref_logp if value > 0 else 2 * VOTE * length
  wanted = 0.5 * min(abs(value) / BETA, most)
  sign = 1 if value > 0 else -1
  return Verdict((sign * ratio - wanted) / length, sign * ratio)


def pair(kind: int, gap: float, length: float) -> Verdict:
  """beta gap >= 1, or what can be gained within so few tokens."""
  if kind == kinds.TIE:
    return Verdict(1 - BETA * abs(gap), 0.0)
  return Verdict(gap - min(1 / BETA, max(2, 0.3 * length)), gap)


def imitated(row: int, rows: Rows, seen: Seen) -> float:
  """What sampling would give: the chance of all changed tokens, not their mean."""
  changed = rows.target[row] & (rows.emphasis[row] >= 1)
  allowed = CERTAIN + PER_TOKEN * changed.sum()
  return allowed + np.where(changed, seen.logp[row], 0).sum()


def hindsight(row: int, rows: Rows, seen: Seen) -> Verdict:
  advantage = np.where(rows.target[row], rows.advantage[row], 0)
  size = np.abs(advantage).sum()
  if not size:
    return Verdict(0.0, 0.0)
  gain = (advantage * (seen.logp[row] - seen.old_logp[row])).sum() / size
  return Verdict(gain - HINDSIGHT, gain)
