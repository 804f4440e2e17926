"""When which scope learns next: pure bookkeeping of wishes and times, safe from any thread."""

import threading
from collections.abc import Collection
from dataclasses import dataclass

from rft_jax.feedback.records import GLOBAL


@dataclass
class Wish:
  """Feedback for a scope since it learned last: how many, from when on, and when its turn is."""

  first: float
  due: float
  events: int = 0


class Agenda:
  """`note` wishes of feedback, `take` the scope whose turn it is. Times are seconds of any clock.

  A personal scope waits until its user has paused for `debounce`, at most `patience`; the global
  one for `enough` events or `gather` seconds.
  """

  def __init__(self, debounce: float, patience: float, enough: int, gather: float):
    self.debounce, self.patience, self.enough, self.gather = debounce, patience, enough, gather
    self.wishes: dict[str, Wish] = {}
    self.resting: dict[str, float] = {}
    self.lock = threading.Lock()

  def note(self, scope: str, now: float):
    """One more feedback for a scope."""
    with self.lock:
      wish = self.wishes.setdefault(scope, Wish(now, now))
      wish.events += 1
      wish.due = min(self.turn(scope, wish, now), max(wish.first + self.patience, now))

  def turn(self, scope: str, wish: Wish, now: float) -> float:
    if scope != GLOBAL:
      return now + self.debounce
    return now if wish.events >= self.enough else wish.first + self.gather

  def ask(self, scope: str, now: float):
    """A scope may have something to learn right away."""
    with self.lock:
      wish = self.wishes.setdefault(scope, Wish(now, now))
      wish.due = min(wish.due, now)

  def rest(self, scope: str, until: float):
    """No turn for a scope before then."""
    with self.lock:
      self.resting[scope] = until

  def take(self, now: float, busy: Collection[str] = ()) -> str | None:
    """The scope whose turn came first, which is thereby taken off the list; none that is busy."""
    with self.lock:
      free = self.wishes.keys() - busy
      ready = {scope: t for scope in free if (t := self.when(scope)) <= now}
      scope = min(ready, key=lambda scope: (ready[scope], scope), default=None)
      if scope is not None:
        del self.wishes[scope]
        self.resting.pop(scope, None)
      return scope

  def next_turn(self, busy: Collection[str] = ()) -> float | None:
    """When `take` will have something."""
    with self.lock:
      return min((self.when(scope) for scope in self.wishes.keys() - busy), default=None)

  def when(self, scope: str) -> float:
    return max(self.wishes[scope].due, self.resting.get(scope, 0.0))
