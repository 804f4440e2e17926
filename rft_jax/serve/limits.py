"""How much one caller may ask: token buckets, and requests at the same time."""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from rft_jax.serve.errors import ApiError

CALLERS = 10_000  # buckets that are remembered


@dataclass(frozen=True)
class Rates:
  """Requests that one caller may make."""

  chat_per_minute: int = 60
  feedback_per_minute: int = 30
  feedback_per_day: int = 500
  visits_per_minute: int = 30  # new anonymous users by address
  concurrent: int = 4


class Bucket:
  """Holds up to `size` tokens, refilled evenly within `seconds`."""

  def __init__(self, size: int, seconds: float, now: float):
    self.size, self.rate, self.level, self.then = size, size / seconds, float(size), now

  def wait(self, now: float) -> float:
    """Seconds until there is a token, 0 where there is one."""
    self.level = min(self.size, self.level + (now - self.then) * self.rate)
    self.then = now
    return max(0.0, (1 - self.level) / self.rate)


class Limits:
  def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic):
    self.clock, self.concurrent = clock, rates.concurrent
    self.sizes = {
      'chat': ((rates.chat_per_minute, 60.0),),
      'feedback': ((rates.feedback_per_minute, 60.0), (rates.feedback_per_day, 86_400.0)),
      'visit': ((rates.visits_per_minute, 60.0),),
    }
    self.buckets: OrderedDict[tuple[str, str], list[Bucket]] = OrderedDict()
    self.running: Counter[str] = Counter()

  def take(self, what: str, caller: str):
    """Counts one request. Raises ApiError 429 with Retry-After where there were too many."""
    now = self.clock()
    make = lambda: [Bucket(size, seconds, now) for size, seconds in self.sizes[what]]
    buckets = self.buckets.setdefault((what, caller), make())
    self.buckets.move_to_end((what, caller))
    if len(self.buckets) > CALLERS:
      self.buckets.popitem(last=False)
    if wait := max(bucket.wait(now) for bucket in buckets):
      raise ApiError(429, f'too many {what} requests', None, 'rate_limit', math.ceil(wait))
    for bucket in buckets:
      bucket.level -= 1

  def enter(self, caller: str):
    """Begins a request that takes a while; `leave` ends it. Raises ApiError 429."""
    if self.running[caller] >= self.concurrent:
      raise ApiError(429, f'{self.concurrent} requests are running', None, 'too_many_running', 1)
    self.running[caller] += 1

  def leave(self, caller: str):
    self.running[caller] -= 1
    if not self.running[caller]:
      del self.running[caller]
