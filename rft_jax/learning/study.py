"""The loop of one batch: push what has not met its margin, watch how far the anchors move, and take
back what went too far."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rft_jax.learning.lessons import NEGATIVE, Lesson
from rft_jax.learning.margins import Verdict, judge
from rft_jax.learning.packed import Layout, Part
from rft_jax.learning.programs import Programs
from rft_jax.objectives import feedback as kinds
from rft_jax.objectives.feedback import BETA, KINDS, Rows, Seen
from rft_jax.types import Array, PyTree

State = dict[str, Any]
"""{'adapter': Adapter, 'opt': {'count': i32[], 'nu': Adapter}}, NumPy."""
CROWD = 8  # thumbs from which on they are measured against how far the policy has moved
DOWN = 0.2  # of the budget: for what only says what not to write
SCALES = (0.5, 0.25, 0.125)
FAR = 'not_learned: it would change too much of what the model says elsewhere'


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
  width (see `student.rate`); max_steps: of an update, vote_steps: of one in which nobody wrote what
  to say; anchors: of an update, drawn from all, `beside` of them beside each step's lessons; hold:
  weight of how far the
  anchors stray from the reference (see `feedback.strayed`), which keeps
  other answers, and at what is voted down, which keeps the loss from going anywhere; pair,
  single: the losses of pairs and thumbs (see `feedback.make_losses`); attempts: at a better answer,
  for each question."""

  context: int = 256
  rows: int = 2
  lr: float = 0.0
  max_steps: int = 36
  vote_steps: int = 12
  anchors: int = 48
  beside: int = 16
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
  """What is known of a candidate: of the tokens of some laps, of the lessons, and how far it is
  from the reference and from the version before (see `Budget`)."""

  seen: list[Seen]
  verdicts: list[Verdict]
  to_ref: float
  to_live: float


class Lap:
  """The lessons beside some of the anchors. groups: the rows whose straying is watched, of each
  part: the anchors, and what is voted down."""

  def __init__(self, layout: Layout, hold: float):
    self.parts, self.places = layout.parts, layout.places
    downs = [single(part.rows) & (part.rows.value < 0) for part in self.parts]
    self.groups = layout.anchors, downs
    for group in self.groups:
      for part, chosen in zip(self.parts, group, strict=True):
        part.rows.hold[chosen] = hold / max(self.tokens(group), 1)

  def tokens(self, group: list[np.ndarray]) -> int:
    return int(self.over(group, [part.rows.target for part in self.parts]))

  def over(self, group: list[np.ndarray], values: Sequence[np.ndarray]) -> float:
    """The sum over a group's tokens."""
    return sum(float(x[chosen].sum()) for x, chosen in zip(values, group, strict=True))


class Study:
  """One batch and the policy that it meets: weights, base, the adapter of the version before.

  layouts: of the same lessons, each beside other anchors: a step looks at one of them, in turn, and
  what comes out has to hold for all.
  """

  def __init__(
    self,
    programs: Programs,
    options: Options,
    policy: tuple[PyTree, PyTree, PyTree],
    lessons: Sequence[Lesson],
    layouts: Sequence[Layout],
  ):
    self.programs, self.options, self.lessons = programs, options, lessons
    self.weights, self.base, self.before = policy
    self.laps = [Lap(layout, options.hold) for layout in layouts]
    self.held = [[self._states(part) for part in lap.parts] for lap in self.laps]

  def learn(
    self,
    state: State,
    opt: PyTree,
    budget: Budget,
    nothing: PyTree,
    heed: Callable[[], None] = lambda: None,
  ) -> Outcome:
    """opt: that of the state, on the device; heed: called before each step."""
    candidate, steps = self.before, 0
    sight = self.first()
    if all(lesson.value < 0 for lesson in self.lessons):
      budget = budget._replace(to_ref=max(DOWN * budget.to_ref, sight.to_ref))
    if sum(lesson.kind == kinds.THUMB for lesson in self.lessons) >= CROWD:
      for part in (part for lap in self.laps for part in lap.parts):
        part.rows.shift[:] = sight.to_ref * part.rows.target.sum(1)
    while True:
      heed()
      number = steps % len(self.laps)
      self.weigh(self.laps[number], sight.verdicts)
      gradient, sight, losses = self.pull(number, candidate, nothing)
      stopped = self.stop(sight, budget, steps)
      if stopped:
        break
      candidate, opt = self.programs.push(candidate, opt, gradient)
      steps += 1
    candidate, sight, scale, rejected = self.within(candidate, budget)
    metrics = self.report(sight, losses) | dict(steps=steps, stopped=stopped, scale=scale)
    margins: dict[int, float] = {}
    for lesson, verdict in zip(self.lessons, sight.verdicts, strict=True):
      margins[lesson.seq] = min(verdict.slack, margins.get(lesson.seq, np.inf))
    after = state if rejected else jax.device_get({'adapter': candidate, 'opt': opt})
    return Outcome(after, metrics, margins, rejected)

  def weigh(self, lap: Lap, verdicts: list[Verdict]) -> None:
    """Only what has not met its margin counts; all together as much as one."""
    active = [x.weight * (v.slack < 0) for x, v in zip(self.lessons, verdicts, strict=True)]
    total = max(sum(active), 1e-9)
    for part in lap.parts:
      part.rows.weight[:] = 0
    for lesson, weight, (part, slot) in zip(self.lessons, active, lap.places, strict=True):
      share = weight / total if lesson.value >= 0 else min(weight / total, NEGATIVE)
      lap.parts[part].rows.weight[slot] = share / slope(lesson)

  def stop(self, sight: Sight, budget: Budget, steps: int) -> str:
    """Why learning ends here; '' where it goes on."""
    new = [v for lesson, v in zip(self.lessons, sight.verdicts, strict=True) if not lesson.replay]
    if excess(sight, budget):
      return 'budget'
    if all(verdict.slack >= 0 for verdict in new):
      return 'margin'
    most, votes = self.options.max_steps, self.options.vote_steps
    words = any(lesson.kind in kinds.WRITTEN for lesson in self.lessons if not lesson.replay)
    return 'steps' if steps >= (most if words else min(most, votes)) else ''

  def within(self, candidate: PyTree, budget: Budget) -> tuple[PyTree, Sight, float, str]:
    """The candidate, or the longest way towards it that is within the budget."""
    tried, sight = candidate, self.whole(candidate)
    reason = excess(sight, budget)
    if not reason:
      return candidate, sight, 1.0, ''
    for scale in SCALES:
      tried = self.programs.between(self.before, candidate, np.float32(scale))
      sight = self.whole(tried)
      if not excess(sight, budget):
        return tried, sight, scale, ''
    return self.before, sight, 0.0, reason

  def first(self) -> Sight:
    """What the policy says before it learns."""
    return self._peeked(self.before, [[old for _, old in held] for held in self.held])

  def whole(self, candidate: PyTree) -> Sight:
    """What a candidate says, beside all anchors."""
    look = lambda part: self._look(candidate, part, 1)
    return self._peeked(candidate, [[look(part) for part in lap.parts] for lap in self.laps])

  def pull(self, number: int, candidate: PyTree, nothing: PyTree):
    """(the gradient at a candidate, what it says, its loss by kind), of one lap."""
    gradient, seen, losses, lap = nothing, [], np.zeros(len(KINDS)), self.laps[number]
    for part, states in zip(lap.parts, self.held[number], strict=True):
      gradient, facts = self.programs.pull(
        self.weights, self.base, candidate, part, *states, gradient
      )
      seen.append(facts.seen)
      losses += jax.device_get(facts.losses)
    return gradient, self.sight([lap], seen), losses

  def sight(self, laps: Sequence[Lap], seen: list[Seen]) -> Sight:
    """seen: of all parts of the laps."""
    seen, first = jax.device_get(seen), laps[0]
    verdicts = [
      judge(lesson, slot, first.parts[part].rows, seen[part])
      for lesson, (part, slot) in zip(self.lessons, first.places, strict=True)
    ]
    moved = (moved_by(laps, [getattr(x, name) for x in seen]) for name in ('to_ref', 'to_old'))
    return Sight(seen, verdicts, *moved)

  def report(self, sight: Sight, losses: np.ndarray) -> dict[str, float | str]:
    rewards = [v.reward for v in sight.verdicts if v.reward]
    metrics: dict[str, float | str] = dict(kl_to_ref=sight.to_ref, kl_to_live=sight.to_live)
    metrics['sign'] = float(np.mean([reward > 0 for reward in rewards])) if rewards else 1.0
    metrics['replay_drift'] = self.drift(sight.seen)
    return metrics | {f'loss/{name}': float(loss) for name, loss in zip(KINDS, losses, strict=True)}

  def drift(self, seen: list[Seen]) -> float:
    """How far replayed answers have moved since the version before, in nats per token; seen: of all
    laps."""
    moved, lap = [], self.laps[0]
    for lesson, (part, slot) in zip(self.lessons, lap.places, strict=True):
      if lesson.replay:
        change = seen[part].logp[slot] - seen[part].old_logp[slot]
        moved.append(abs(change.sum()) / lap.parts[part].rows.target[slot].sum())
    return float(np.mean(moved)) if moved else 0.0

  def _peeked(self, candidate: PyTree, states: list[list[Array]]) -> Sight:
    """states: of the candidate, of each part of each lap."""
    seen = [
      self.programs.peek(self.weights, self.base, candidate, part, now, *held)
      for lap, held_by_lap, states_of_lap in zip(self.laps, self.held, states, strict=True)
      for part, held, now in zip(lap.parts, held_by_lap, states_of_lap, strict=True)
    ]
    return self.sight(self.laps, seen)

  def _states(self, part: Part) -> tuple[Array, Array]:
    """Of the reference, and of the policy before."""
    return self._look(self.before, part, 0), self._look(self.before, part, 1)

  def _look(self, candidate: PyTree, part: Part, share: int) -> Array:
    """One program at a time, so that those who wait for an answer get their turn in between."""
    states = self.programs.look(self.weights, self.base, candidate, np.float32(share), part)
    return jax.block_until_ready(states)


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
      return f'{FAR} (KL {spent:.3g} from {name}: at most {most:g})'
  return ''
