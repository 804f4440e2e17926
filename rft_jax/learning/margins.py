"""Whether a lesson is learned: how far each event is past its margin. On the host, in NumPy."""

from typing import NamedTuple

import numpy as np

from rft_jax.learning.lessons import Lesson
from rft_jax.objectives import feedback as kinds
from rft_jax.objectives.feedback import BETA, FLOOR, Rows, Seen

VOTE = 0.1  # nats per token that a thumb moves an answer
CERTAIN = 0.02  # nats that an answer may be short of certain,
PER_TOKEN = 0.002  # and each of its tokens
HINDSIGHT = 0.1  # nats per unit of advantage


class Verdict(NamedTuple):
  """slack: by how much the margin is met, below 0 where it is not. reward: the implicit one, above
  0 where the answer moved away from the reference the way that was asked for."""

  slack: float
  reward: float


def judge(lesson: Lesson, row: int, rows: Rows, seen: Seen) -> Verdict:
  """The lesson whose (first) row this is; all arrays of NumPy. Votes and choices are measured from
  the version before, so that each of them adds to what those before it said; replayed ones from the
  reference: they only have to be kept."""
  total = lambda logp: np.where(rows.target, logp, 0).sum(1)[row : row + 2]
  length = np.maximum(rows.target.sum(1), 1)[row : row + 2]
  before = total(seen.ref_logp if lesson.replay else seen.old_logp)
  ratio, gain = total(seen.logp - seen.ref_logp), total(seen.logp) - before
  lacks = max(0.0, -before[0] - CERTAIN - PER_TOKEN * length[0])
  match lesson.kind:
    case kinds.THUMB:
      return thumb(lesson.value, gain[0], ratio[0], length[0], lacks)
    case kinds.PAIR:
      wanted = min(1 / BETA, max(2.5, 0.35 * length.mean()), lacks)
      return Verdict(gain[0] - gain[1] - wanted, ratio[0] - ratio[1])
    case kinds.TIE:
      return Verdict(1 - BETA * abs(ratio[0] - ratio[1]), 0.0)
    case kinds.EDIT:
      gap = ratio[0] - ratio[1]
      return Verdict(min(imitated(row, rows, seen), gap), gap)
    case kinds.DEMONSTRATION:
      return Verdict(imitated(row, rows, seen), ratio[0])
    case _:
      return hindsight(row, rows, seen)


def thumb(value: float, gain: float, ratio: float, length: int, lacks: float) -> Verdict:
  """VOTE for each token, or less for a weaker vote; a good answer has no more to gain than half of
  what it lacks, a bad one is left alone below FLOOR."""
  wanted = abs(value) * VOTE * length
  if value > 0:
    return Verdict((gain - min(wanted, 0.5 * value * lacks)) / length, ratio)
  return Verdict(max(-gain - wanted, FLOOR * length - ratio) / length, -ratio)


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
