"""The loop of one batch: push what has not met its margin, watch how far the anchors move, and take
back what went too far."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rft_jax.learning.lessons import NEGATIVE, Lesson
from rft_jax.learning.margins import Verdict, judge
from rft_jax.learning.packed import Layout, Part
from rft_jax.learning.programs import Programs
from rft_jax.objectives import feedback as kinds
from rft_jax.objectives.feedback import BETA, KINDS, Rows, Seen
from rft_jax.types import PyTree

State = dict[str, Any]
"""{'adapter': Adapter, 'opt': {'count': i32[], 'nu': Adapter}}, NumPy."""
CROWD = 8  # thumbs from which on they are measured against how far the policy has moved
DOWN = 0.2  # of the budget: for what only says what not to write
SCALES = (0.5, 0.25, 0.125)


class Budget(NamedTuple):
  """How far in nats per token the anchors, and what is voted down, may stray: from the reference,
  and from the version before."""

  to_ref: float
  to_live: float


PERSONAL, SHARED = Budget(0.5, 0.10), Budget(0.15, 0.02)


@dataclasses.dataclass(frozen=True)
class Options:
  """context: tokens of a text, at most; rows: of one part of a batch, at least two of which each
  holds a text of that length, or several shorter ones; lr: 0 for what suits the
  width (see `student.rate`); anchors: of an update, drawn from all; hold: weight of how far the
  anchors stray from the reference (see `feedback.strayed`), which keeps
  other answers, and at what is voted down, which keeps the loss from going anywhere; pair,
  single: the losses of pairs and thumbs (see `feedback.make_losses`); attempts: at a better answer,
  for each question."""

  context: int = 256
  rows: int = 2
  lr: float = 0.0
  max_steps: int = 8
  anchors: int = 48
  hold: float = 4.0
  pair: str = 'dpop'
  single: str = 'kto'
  attempts: int = 4
  personal: Budget = PERSONAL
  shared: Budget = SHARED


class Outcome(NamedTuple):
  """state: the new one, or the one before where `rejected` has a reason. metrics: steps, stopped
  (margin | budget | steps), scale, kl_to_ref, kl_to_live (see `Budget`), sign,
  replay_drift, loss/KIND. margins: by event seq, how far it is past its margin."""

  state: State
  metrics: dict[str, float | str]
  margins: dict[int, float]
  rejected: str = ''


class Sight(NamedTuple):
  """What is known of a candidate: of its tokens, its lessons, the loss by kind, and how far it is
  from the reference and from the version before (see `Budget`)."""

  seen: list[Seen]
  verdicts: list[Verdict]
  losses: np.ndarray
  to_ref: float
  to_live: float


class Study:
  """One batch and the policy that it meets: weights, base, the adapter of the version before."""

  def __init__(
    self,
    programs: Programs,
    options: Options,
    policy: tuple[PyTree, PyTree, PyTree],
    lessons: Sequence[Lesson],
    layout: Layout,
  ):
    self.programs, self.options, self.lessons, self.layout = programs, options, lessons, layout
    self.weights, self.base, self.before = policy
    self.held = [self._states(part) for part in layout.parts]
    downs = [single(part.rows) & (part.rows.value < 0) for part in layout.parts]
    self.groups = [group for group in (layout.anchors, downs) if np.any(group)]
    for group in self.groups:
      for part, chosen in zip(layout.parts, group, strict=True):
        part.rows.hold[chosen] = options.hold / self.tokens(group)

  def learn(self, state: State, opt: PyTree, budget: Budget, nothing: PyTree) -> Outcome:
    """opt: that of the state, on the device."""
    candidate, steps = self.before, 0
    sight = self.first()
    if all(lesson.value < 0 for lesson in self.lessons):
      budget = budget._replace(to_ref=max(DOWN * budget.to_ref, sight.to_ref))
    if sum(lesson.kind == kinds.THUMB for lesson in self.lessons) >= CROWD:
      for part in self.layout.parts:
        part.rows.shift[:] = sight.to_ref * part.rows.target.sum(1)
    while True:
      self.weigh(sight.verdicts)
      gradient, sight = self.pull(candidate, nothing)
      stopped = self.stop(sight, budget, steps)
      if stopped:
        break
      candidate, opt = self.programs.push(candidate, opt, gradient)
      steps += 1
    candidate, sight, scale, rejected = self.within(candidate, sight, budget, nothing)
    metrics = self.report(sight) | dict(steps=steps, stopped=stopped, scale=scale)
    margins: dict[int, float] = {}
    for lesson, verdict in zip(self.lessons, sight.verdicts, strict=True):
      margins[lesson.seq] = min(verdict.slack, margins.get(lesson.seq, np.inf))
    after = state if rejected else jax.device_get({'adapter': candidate, 'opt': opt})
    return Outcome(after, metrics, margins, rejected)

  def weigh(self, verdicts: list[Verdict]) -> None:
    """Only what has not met its margin counts; all together as much as one."""
    active = [x.weight * (v.slack < 0) for x, v in zip(self.lessons, verdicts, strict=True)]
    total = max(sum(active), 1e-9)
    for part in self.layout.parts:
      part.rows.weight[:] = 0
    for lesson, weight, (part, slot) in zip(self.lessons, active, self.layout.places, strict=True):
      share = weight / total if lesson.value >= 0 else min(weight / total, NEGATIVE)
      self.layout.parts[part].rows.weight[slot] = share / slope(lesson)

  def stop(self, sight: Sight, budget: Budget, steps: int) -> str:
    """Why learning ends here; '' where it goes on."""
    new = [v for lesson, v in zip(self.lessons, sight.verdicts, strict=True) if not lesson.replay]
    if excess(sight, budget):
      return 'budget'
    if all(verdict.slack >= 0 for verdict in new):
      return 'margin'
    return 'steps' if steps >= self.options.max_steps else ''

  def within(self, candidate: PyTree, sight: Sight, budget: Budget, nothing: PyTree):
    """The candidate, or the longest way towards it that is within the budget."""
    reason = excess(sight, budget)
    if not reason:
      return candidate, sight, 1.0, ''
    for scale in SCALES:
      tried = self.programs.between(self.before, candidate, np.float32(scale))
      _, sight = self.pull(tried, nothing)
      if not excess(sight, budget):
        return tried, sight, scale, ''
    return self.before, sight, 0.0, reason

  def first(self) -> Sight:
    """What the policy says before it learns."""
    policy, pairs = (
      (self.weights, self.base, self.before),
      zip(self.layout.parts, self.held, strict=True),
    )
    seen = [self.programs.peek(*policy, part, states[1], *states) for part, states in pairs]
    return self.sight(seen, np.zeros(len(KINDS)))

  def pull(self, candidate: PyTree, nothing: PyTree) -> tuple[PyTree, Sight]:
    """The gradient at a candidate, and what it says."""
    gradient, seen, losses = nothing, [], np.zeros(len(KINDS))
    for part, states in zip(self.layout.parts, self.held, strict=True):
      gradient, facts = self.programs.pull(
        self.weights, self.base, candidate, part, *states, gradient
      )
      seen.append(facts.seen)
      losses += jax.device_get(facts.losses)
    return gradient, self.sight(seen, losses)

  def sight(self, seen: list[Seen], losses: np.ndarray) -> Sight:
    seen, layout = jax.device_get(seen), self.layout
    verdicts = [
      judge(lesson, slot, layout.parts[part].rows, seen[part])
      for lesson, (part, slot) in zip(self.lessons, layout.places, strict=True)
    ]
    moved = (self.moved([getattr(x, name) for x in seen]) for name in ('to_ref', 'to_old'))
    return Sight(seen, verdicts, losses, *moved)

  def tokens(self, group: list[np.ndarray]) -> int:
    pairs = zip(self.layout.parts, group, strict=True)
    return sum(int(part.rows.target[chosen].sum()) for part, chosen in pairs)

  def moved(self, kl: list[np.ndarray]) -> float:
    """The larger of the means over the tokens of the anchors and of what is voted down."""
    spent = lambda group: sum(float(x[chosen].sum()) for x, chosen in zip(kl, group, strict=True))
    return max(spent(group) / self.tokens(group) for group in self.groups)

  def report(self, sight: Sight) -> dict[str, float | str]:
    rewards = [v.reward for v in sight.verdicts if v.reward]
    metrics: dict[str, float | str] = dict(kl_to_ref=sight.to_ref, kl_to_live=sight.to_live)
    metrics['sign'] = float(np.mean([reward > 0 for reward in rewards])) if rewards else 1.0
    metrics['replay_drift'] = self.drift(sight.seen)
    return metrics | {
      f'loss/{name}': float(loss) for name, loss in zip(KINDS, sight.losses, strict=True)
    }

  def drift(self, seen: list[Seen]) -> float:
    """How far replayed answers have moved since the version before, in nats per token."""
    moved = []
    for lesson, (part, slot) in zip(self.lessons, self.layout.places, strict=True):
      if lesson.replay:
        change = seen[part].logp[slot] - seen[part].old_logp[slot]
        moved.append(abs(change.sum()) / self.layout.parts[part].rows.target[slot].sum())
    return float(np.mean(moved)) if moved else 0.0

  def _states(self, part: Part):
    """Of the reference, and of the policy before. One program at a time, so that those who wait for
    an answer get their turn in between."""
    policy = self.weights, self.base, self.before
    looks = (self.programs.look(*policy, np.float32(share), part) for share in (0, 1))
    return tuple(jax.block_until_ready(states) for states in looks)


def single(rows: Rows) -> np.ndarray:
  """Which answers are voted for or against on their own."""
  return rows.kind == kinds.THUMB


def slope(lesson: Lesson) -> float:
  """Of the lesson's loss when it begins, by the log-probability of an average token: losses of all
  kinds are divided by it, and so push as hard as imitation does."""
  slopes = {kinds.THUMB: BETA / 4, kinds.PAIR: BETA / 2, kinds.TIE: BETA / 2}
  return slopes[lesson.kind] * len(lesson.better.answer) if lesson.kind in slopes else 1.0


def excess(sight: Sight, budget: Budget) -> str:
  """What a candidate overspends; '' where it may be served."""
  if not all(np.isfinite(x).all() for part in sight.seen for x in part):
    return 'not finite'
  for name, spent, most in (
    ('the reference', sight.to_ref, budget.to_ref),
    ('the version before', sight.to_live, budget.to_live),
  ):
    if spent > most:
      return f'KL {spent:.3g} from {name}: at most {most:g}'
  return ''
