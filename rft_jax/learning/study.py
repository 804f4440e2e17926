"""The loop of one batch: push what has not met its margin, watch how far the anchors move, and take
back what went too far."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rft_jax.learning.laps import Lap, hold, moved_by, moves, parts_of
from rft_jax.learning.lessons import NEGATIVE, Lesson
from rft_jax.learning.margins import Verdict, judge
from rft_jax.learning.packed import Part
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


class Study:
  """One batch and the policy that it meets: weights, base, the adapter of the version before.

  laps: the new lessons, each time beside other anchors: a step looks at one of them, in turn, and
  what comes out has to hold for all. kept: replayed lessons apart, which each step looks at too,
  but without a gradient while they have met their margins.
  """

  def __init__(
    self,
    programs: Programs,
    options: Options,
    policy: tuple[PyTree, PyTree, PyTree],
    laps: Sequence[Lap],
    kept: Lap,
  ):
    self.programs, self.options, self.laps, self.kept = programs, options, laps, kept
    self.weights, self.base, self.before = policy
    self.lessons, self.every = [*laps[0].lessons, *kept.lessons], [*laps, kept]
    for lap in laps:
      hold([lap, kept], options.hold)
    idle = changes_nothing(self.before)
    for lap in self.every:
      lap.held = [self._states(part, idle) for part in lap.parts]

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
      for part in (part for lap in self.every for part in lap.parts):
        part.rows.shift[:] = sight.to_ref * part.rows.target.sum(1)
    while True:
      heed()
      view = [self.laps[steps % len(self.laps)], self.kept]
      self.weigh(view, sight.verdicts)
      gradient, sight, losses = self.pull(view, candidate, nothing)
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

  def weigh(self, view: Sequence[Lap], verdicts: list[Verdict]) -> None:
    """Only what has not met its margin counts; all together as much as one."""
    active = [x.weight * (v.slack < 0) for x, v in zip(self.lessons, verdicts, strict=True)]
    total = max(sum(active), 1e-9)
    for part in (part for lap in view for part in lap.parts):
      part.rows.weight[:] = 0
    places = [(lap.parts[part], slot) for lap in view for part, slot in lap.places]
    for lesson, weight, (part, slot) in zip(self.lessons, active, places, strict=True):
      share = weight / total if lesson.value >= 0 else min(weight / total, NEGATIVE)
      part.rows.weight[slot] = share / slope(lesson)

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
    return self._all(self.before, lambda part, held: held[1])

  def whole(self, candidate: PyTree) -> Sight:
    """What a candidate says, beside all anchors."""
    return self._all(candidate, lambda part, held: self._look(candidate, part, 1))

  def pull(self, view: Sequence[Lap], candidate: PyTree, nothing: PyTree):
    """(the gradient at a candidate, what it says, its loss by kind), of a lap and what is kept."""
    gradient, seen, losses = nothing, [], np.zeros(len(KINDS))
    for part, held in parts_of(view):
      if not moves(part.rows):
        seen.append(self._peek(candidate, part, held, self._look(candidate, part, 1)))
        continue
      gradient, facts = self.programs.pull(
        self.weights, self.base, candidate, part, *held, gradient
      )
      seen.append(facts.seen)
      losses += jax.device_get(facts.losses)
    return gradient, self.sight(view, seen), losses

  def sight(self, view: Sequence[Lap], seen: list[Seen]) -> Sight:
    """view: some laps, and what is kept; seen: of all their parts."""
    seen = jax.device_get(seen)
    verdicts = [judge(*answer) for answer in self.answers(view[0], seen)]
    moved = (moved_by(view, [getattr(x, name) for x in seen]) for name in ('to_ref', 'to_old'))
    return Sight(seen, verdicts, *moved)

  def answers(self, first: Lap, seen: list[Seen]) -> Iterator[tuple[Lesson, int, Rows, Seen]]:
    """Each lesson with the place of its answer; seen: of all parts, from the first lap's to those
    of what is kept."""
    kept = seen[len(seen) - len(self.kept.parts) :]
    for lap, said in ((first, seen), (self.kept, kept)):
      for lesson, (part, slot) in zip(lap.lessons, lap.places, strict=True):
        yield lesson, slot, lap.parts[part].rows, said[part]

  def report(self, sight: Sight, losses: np.ndarray) -> dict[str, float | str]:
    rewards = [v.reward for v in sight.verdicts if v.reward]
    metrics: dict[str, float | str] = dict(kl_to_ref=sight.to_ref, kl_to_live=sight.to_live)
    metrics['sign'] = float(np.mean([reward > 0 for reward in rewards])) if rewards else 1.0
    metrics['replay_drift'] = self.drift(sight.seen)
    return metrics | {f'loss/{name}': float(loss) for name, loss in zip(KINDS, losses, strict=True)}

  def drift(self, seen: list[Seen]) -> float:
    """How far replayed answers have moved since the version before, in nats per token; seen: of all
    laps."""
    moved = []
    for lesson, slot, rows, said in self.answers(self.laps[0], seen):
      if lesson.replay:
        change = said.logp[slot] - said.old_logp[slot]
        moved.append(abs(change.sum()) / rows.target[slot].sum())
    return float(np.mean(moved)) if moved else 0.0

  def _all(self, candidate: PyTree, look: Callable[[Part, tuple[Array, Array]], Array]) -> Sight:
    """What a candidate says to everything, given its states of each part."""
    seen = [
      self._peek(candidate, part, held, look(part, held)) for part, held in parts_of(self.every)
    ]
    return self.sight(self.every, seen)

  def _peek(self, candidate: PyTree, part: Part, held: tuple[Array, Array], now: Array) -> Seen:
    return self.programs.peek(self.weights, self.base, candidate, part, now, *held)

  def _states(self, part: Part, idle: bool) -> tuple[Array, Array]:
    """Of the reference, and of the policy before."""
    reference = self._look(self.before, part, 0)
    return reference, reference if idle else self._look(self.before, part, 1)

  def _look(self, candidate: PyTree, part: Part, share: int) -> Array:
    """One program at a time, so that those who wait for an answer get their turn in between."""
    states = self.programs.look(self.weights, self.base, candidate, np.float32(share), part)
    return jax.block_until_ready(states)


def changes_nothing(adapter: PyTree) -> bool:
  """Whether it is as it began: all of its b are zero."""
  leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(adapter))
  return not any(np.any(leaf) for path, leaf in leaves if path[-1].key == 'b')


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
