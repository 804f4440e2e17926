"""Which thread does what next: each scope is at one of them at a time."""

import threading
import time
from collections.abc import Callable

from rft_jax.feedback.records import GLOBAL
from rft_jax.learning.agenda import Agenda

SWEEP = ''  # stands among scopes for a look at all of them


class Shifts:
  """Shared by all threads. `sweep`: seconds between looks at everything; `spare` says whether the
  machine has time for more than one scope."""

  def __init__(self, agenda: Agenda, sweep: float, spare: Callable[[], bool]):
    self.agenda, self.sweep, self.spare = agenda, sweep, spare
    self.woken = threading.Condition()
    self.busy: set[str] = set()
    self.swept, self.closed = -sweep, False

  def begin(self, learns: bool) -> str | None:
    """What a thread is to do now, and has to `end`; None after a rest, because there may be
    something since."""
    with self.woken:
      if self.closed:
        return None
      scope = self.choice(learns, time.monotonic())
      if scope is None:
        self.woken.wait(self.rest(learns, time.monotonic()))
      else:
        self.busy.add(scope)
      return scope

  def end(self, scope: str):
    with self.woken:
      self.busy.remove(scope)
      self.woken.notify_all()

  def choice(self, learns: bool, now: float) -> str | None:
    if self.sweeps() and now - self.swept >= self.sweep:
      self.swept = now
      return SWEEP
    return self.agenda.take(now, self.taken()) if learns and self.open() else None

  def rest(self, learns: bool, now: float) -> float:
    """Seconds until there may be something to do; who is done with something tells so before."""
    turn = self.agenda.next_turn(self.taken()) if learns and self.open() else None
    times = [now + self.sweep] if turn is None else [turn]
    return max(0.0, min([*times, self.swept + self.sweep] if self.sweeps() else times) - now)

  def taken(self) -> set[str]:
    """A look at everything is at everyone's too."""
    return self.busy | {GLOBAL} if SWEEP in self.busy else self.busy

  def sweeps(self) -> bool:
    return not self.busy & {GLOBAL, SWEEP}

  def open(self) -> bool:
    """Whether a scope may learn now. What everyone gets is mostly tried, by the engine, which keeps
    nobody from learning meanwhile."""
    return not self.busy - {GLOBAL, SWEEP} or self.spare()

  def hurry(self):
    """A look at everything is due."""
    with self.woken:
      self.swept = -self.sweep
      self.woken.notify_all()

  def wake(self):
    """The agenda has changed."""
    with self.woken:
      self.woken.notify_all()

  def close(self):
    with self.woken:
      self.closed = True
      self.woken.notify_all()
