"""A candidate for everyone on its way: canary, then the stages of the ramp, then live or undone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rft_jax.feedback.records import GLOBAL, Version
from rft_jax.feedback.store import Store
from rft_jax.feedback.tries import Held
from rft_jax.learning import surroundings
from rft_jax.learning.canary import Canary, Finding
from rft_jax.learning.neighbours import Wish
from rft_jax.learning.ramp import RampOptions, Vote, worse

NOBODY = 1e-300  # a share that routes no user, but lets the canary ask for the version
FAILED = {
  'questions': 'questions (a corrected answer has become neither the one before nor the corrected)',
  'neighbours': 'neighbours (answers have changed to questions that nobody voted on)',
}


@dataclass
class Stage:
  """Where a candidate is: `number` -1 before the canary; `votes` that it had when this began;
  `unsaid`: events whose texts it does not say."""

  version: Version
  number: int = -1
  began: float = 0.0
  votes: int = 0
  unsaid: tuple[int, ...] = ()


class Refused(Exception):
  """The candidate must be undone. `trial`: whether users had been served by it; `held`: what
  another try has to hold."""

  def __init__(self, reason: str, trial: bool, held: Sequence[Held] = ()):
    super().__init__(reason)
    self.trial, self.held = trial, held


class Trial:
  """At most one candidate at a time; for one thread only. `stage(version, share)` tells the engine
  how many users get it."""

  def __init__(
    self,
    store: Store,
    canary: Canary | None,
    options: RampOptions,
    stage: Callable[[int, float], None],
    clock: Callable[[], float] = time.monotonic,
  ):
    self.store, self.canary, self.options = store, canary, options
    self.stage, self.clock = stage, clock
    self.current: Stage | None = None

  @property
  def wanted(self) -> bool:
    """Whether candidates have to pass anything."""
    return bool(self.canary or self.options.shares)

  @property
  def unsaid(self) -> tuple[int, ...]:
    """Events that the candidate has learned and does not say."""
    return self.current.unsaid if self.current else ()

  def begin(self, version: Version):
    self.current = Stage(version)

  def end(self):
    self.current = None
    self.stage(0, 0.0)

  def advance(self) -> Version | None:
    """The candidate if it has passed everything, None while it has not. Raises Refused."""
    current = self.current
    if current is None:
      return None
    if current.number < 0:
      current.unsaid = self.judge(current.version)
    elif not self.over(current):
      return None
    return self.next(current)

  def next(self, current: Stage) -> Version | None:
    number = current.number + 1
    shares = [share for share in self.options.shares if share < 1]
    if number >= len(shares):
      return current.version
    self.stage(current.version.version, shares[number])
    votes = sum(vote.candidate for vote in self.votes(current.version))
    self.current = Stage(current.version, number, self.clock(), votes, current.unsaid)
    return None

  def judge(self, version: Version) -> tuple[int, ...]:
    """The events whose texts a candidate does not say, or is not sure of: those of its batch, and
    what was learned lately. Raises Refused where it does not pass."""
    if not self.canary:
      return ()
    self.stage(version.version, NOBODY)
    wishes = surroundings.wishes(self.store, version)
    found = self.keep(version, self.canary.judge(version.parent, version.version), wishes)
    if wishes:
      asked = surroundings.stored(self.store)
      around = self.canary.around(version.parent, version.version, wishes, asked)
      found += self.keep(version, around, wishes)
    others = self.canary.unsaid(version.version, surroundings.taught(self.store))
    unsure = {int(seq) for seq in str(version.metrics.get('short', '')).split()}
    written = {seq for wish in wishes if wish.text for seq in wish.seqs}
    said = (seq for one in found for seq in one.unsaid)
    return (*said, *sorted(unsure & written), *others)

  def keep(
    self, version: Version, found: Sequence[Finding], wishes: Sequence[Wish]
  ) -> list[Finding]:
    """Raises Refused where a candidate did not pass."""
    for one in found:
      self.store.versions.canary(
        GLOBAL, version.version, one.probe, one.passed, one.detail
      ).result()
    if failed := [FAILED.get(one.probe, one.probe) for one in found if not one.passed]:
      held = self.canary.hold(version.parent, found, wishes) if self.canary else ()
      raise Refused(f'canary: {", ".join(failed)}', trial=False, held=held)
    return [*found]

  def over(self, current: Stage) -> bool:
    """Whether a stage has seen enough. Raises Refused where the votes speak against it."""
    votes = self.votes(current.version)
    if worse(votes, self.options):
      raise Refused('users like it less than what was live', trial=True)
    new = sum(vote.candidate for vote in votes) - current.votes
    return new >= self.options.answers or self.clock() - current.began >= self.options.seconds

  def votes(self, version: Version) -> list[Vote]:
    found = self.store.samples.votes((version.version, version.parent), version.created_us)
    return [Vote(user, number == version.version, up) for user, number, up in found]
