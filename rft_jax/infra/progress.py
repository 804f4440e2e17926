"""What a person sees while a run goes on, and where its time goes."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import tqdm

EVERY = 10.0
LINE = '{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]'


class Stopped(Exception):
  """Whoever watches wants what goes on to end; what was begun can be taken up again."""


class Progress:
  """A bar on stderr from step `initial` to `total`; in a log, a line every `every` seconds."""

  def __init__(
    self,
    total: int,
    initial: int = 0,
    description: str = '',
    every: float = EVERY,
    unit: str = 'step',
  ):
    self.total, self.initial, self.description, self.every = total, initial, description, every
    self.unit = unit
    self._start = time.monotonic()
    self._last = self._start - every
    self._line = ''
    self._bar = (
      tqdm.tqdm(total=total, initial=initial, desc=description, file=sys.stderr, dynamic_ncols=True)
      if sys.stderr.isatty()
      else None
    )

  def update(self, step: int, postfix: Mapping[str, float] | None = None) -> None:
    """`step` of `total` steps are done; `postfix` is shown beside them, e.g. reward, tokens/s."""
    text = ', '.join(f'{key}={compact(value)}' for key, value in (postfix or {}).items())
    if self._bar is not None:
      self._bar.set_postfix_str(text, refresh=False)
      self._bar.update(step - self._bar.n)
      return
    now = time.monotonic()
    self._line = tqdm.tqdm.format_meter(
      step,
      self.total,
      now - self._start,
      prefix=self.description,
      postfix=text,
      unit=self.unit,
      initial=self.initial,
      bar_format=LINE,
    )
    if now - self._last >= self.every:
      self._print(now)

  def close(self) -> None:
    """Leaves the last state to be seen."""
    if self._bar is not None:
      self._bar.close()
    elif self._line:
      self._print(time.monotonic())

  def _print(self, now: float) -> None:
    print(self._line, file=sys.stderr, flush=True)
    self._last, self._line = now, ''


def compact(value: float) -> str:
  """0.51234 -> '0.512', 12345 -> '12.3k'."""
  value = float(value)
  return tqdm.tqdm.format_sizeof(value) if 1000 <= abs(value) < 1e15 else f'{value:.3g}'


class Clock:
  """Accounts for wall time by name. Every moment counts once: under the innermost name, or 'other'.

  For one thread. `now` returns seconds.
  """

  def __init__(self, now: Callable[[], float] = time.perf_counter):
    self._now = now
    self._names = ['other']
    self._spent = {'other': 0.0}
    self._mark = now()

  @contextlib.contextmanager
  def __call__(self, name: str) -> Iterator[None]:
    self._charge()
    self._names.append(name)
    try:
      yield
    finally:
      self._charge()
      self._names.pop()

  def take(self) -> dict[str, float]:
    """Seconds by name since the last take (or the start); they add up to the time between."""
    self._charge()
    spent, self._spent = self._spent, {'other': 0.0}
    return spent

  def _charge(self) -> None:
    now, name = self._now(), self._names[-1]
    self._spent[name] = self._spent.get(name, 0.0) + now - self._mark
    self._mark = now
