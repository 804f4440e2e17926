"""One worker process of `infra.scoring`, the thread that feeds it, and its failures.

A worker is a fresh interpreter (spawned: no state of JAX in it) that answers one completion at a
time, so that whatever goes wrong is known by the completion that caused it.
"""

import math
import multiprocessing as mp
import numbers
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from decimal import Decimal
from typing import Any, NamedTuple

from rft_jax.registry import UserError

START_LIMIT = 120.0  # seconds that a worker may take to import its verifier
LARGEST = 3.4e38  # rewards are kept as float32


class ScoringError(UserError):
  """A verifier failed: the message is one line with the completion, what happened, the way out."""


class Problem(NamedTuple):
  """`types.Example` for a worker, which does not import JAX."""

  prompt: str
  answer: Any
  response: str


Row = tuple[str, Problem]


class Worker:
  """A process that scores, and the thread that feeds it; after a failure it gets a new process."""

  def __init__(self, payload: bytes, timeout: float, jobs: queue.SimpleQueue):
    self.payload, self.timeout, self.jobs = payload, timeout, jobs
    self.closed = False
    self.lock = threading.Lock()
    self.process: Any = None
    self.thread = threading.Thread(target=self.feed, daemon=True)
    self.thread.start()

  def feed(self):
    settle(Future(), self.ready)
    while (job := self.jobs.get()) is not None:
      rows, future = job
      settle(future, lambda: self.score(rows))

  def ready(self):
    """A live process that has imported the verifier. Raises ScoringError where it cannot."""
    if self.process:
      return
    with self.lock:  # a process started while `close` runs would outlive it
      if self.closed:
        raise ScoringError('the scorer was closed before this was scored')
      context = mp.get_context('spawn')
      self.pipe, theirs = context.Pipe()
      self.process = context.Process(target=serve, args=(theirs, self.payload), daemon=True)
      self.process.start()
      theirs.close()
    ok, problem = self.receive(START_LIMIT, 'its start')
    if not ok:
      self.kill()
      raise ScoringError(f'the verifier cannot be loaded ({problem}): it must be importable')

  def score(self, rows: list[Row]) -> list[float]:
    self.ready()
    try:
      self.pipe.send(rows)
    except OSError:  # it died while idle; a new one gets a clean try
      self.kill()
      self.ready()
      self.pipe.send(rows)
    answers = [self.receive(self.timeout, text) for text, _ in rows]
    return [checked(*answer, text) for answer, (text, _) in zip(answers, rows, strict=True)]

  def receive(self, timeout: float, text: str) -> tuple[bool, Any]:
    """What the worker says next. Raises ScoringError where it hangs or has died."""
    try:
      if self.pipe.poll(timeout):
        return self.pipe.recv()
      problem = f'took longer than {timeout:g} s: raise scoring.timeout or bound its work'
    except (EOFError, OSError):
      problem = 'killed its process: look for exits, crashes and memory in the verifier'
    self.kill()
    if self.closed:
      problem = 'did not get to it before the scorer was closed'
    raise ScoringError(f'the verifier of {shorten(text)} {problem}')

  def kill(self):
    process, self.process = self.process, None
    if process:
      process.kill()
      process.join()
      self.pipe.close()

  def close(self):
    with self.lock:
      self.closed = True
      if process := self.process:
        process.kill()


def serve(pipe, payload: bytes):
  """The life of a worker: load the verifier, then answer `(ok, value)` for every row sent."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides when to stop
  os.environ['JAX_PLATFORMS'] = 'cpu'  # should a verifier use JAX, then not the accelerator
  try:
    reward = pickle.loads(payload)
  except Exception as error:
    return pipe.send((False, describe(error)))
  pipe.send((True, ''))
  try:
    while True:
      for row in pipe.recv():
        pipe.send(attempt(reward, *row))
  except (EOFError, OSError):
    pass  # the main process is gone


def attempt(reward: Callable, completion: str, problem: Problem) -> tuple[bool, Any]:
  """(True, the score as a float where it is a number) or (False, what went wrong)."""
  try:
    return measured(reward(completion, problem))
  except Exception as error:
    return False, f'raised {describe(error)}'


def measured(value: Any) -> tuple[bool, Any]:
  """As `attempt`. Arrays without axes are numbers too, of whatever library."""
  if getattr(value, 'shape', None) == () and hasattr(value, 'item'):
    value = value.item()
  if not isinstance(value, numbers.Real | Decimal):
    return False, f'returned {shorten(value)}, not a number'
  try:
    number = float(value)
  except OverflowError:  # an integer or a fraction beyond any float
    number = math.inf
  if math.isnan(number) or (math.isinf(number) and number == value):
    return False, f'returned {number}'
  if abs(number) > LARGEST:
    return False, f'returned {shorten(value)}, beyond what a reward can be (±{LARGEST:g})'
  return True, number


def checked(ok: bool, value: Any, completion: str) -> float:
  """The score. Raises ScoringError for whatever went wrong instead."""
  if not ok:
    raise ScoringError(
      f'the verifier of {shorten(completion)} {value}: it must return a finite number for any text'
    )
  return value


def settle(future: Future, work: Callable):
  """Fills a future with what `work` returns or raises."""
  try:
    future.set_result(work())
  except BaseException as error:
    future.set_exception(error)


def describe(error: Exception) -> str:
  return f'{type(error).__name__}: {shorten(error)}'


def shorten(text: object, limit: int = 60) -> str:
  """The beginning of a text in quotes, on one line."""
  if isinstance(text, int):  # Python writes no integer of more than 4,300 digits, Decimal does
    text = Decimal(text)
  text = str(text)[: limit + 1]
  return repr(text if len(text) <= limit else text[:limit] + '...')
