"""Verifiers in Python, in worker processes: a bad one cannot hang, crash or slow down training."""

import pickle
import queue
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from rft_jax.infra.workers import (
  Problem,
  Row,
  ScoringError,
  Worker,
  attempt,
  checked,
  describe,
  settle,
)
from rft_jax.registry import ConfigError
from rft_jax.types import Example


class Scores:
  """Rewards in the making."""

  def __init__(self, parts: list[Future]):
    self.parts = parts

  def result(self) -> np.ndarray:
    """f32[N], once all are there. Raises ScoringError where a verifier failed."""
    return np.array([score for part in self.parts for score in part.result()], np.float32)


class Scorer:
  """Scores completions by `reward(completion, example) -> float` in `workers` processes.

  `timeout`: seconds for one completion. Workers start in the background at construction;
  `workers=0` scores at once in this process, without a timeout. Raises ConfigError for a reward
  that cannot be pickled and for numbers out of range.
  """

  def __init__(self, reward: Callable, workers: int = 2, timeout: float = 10.0):
    if workers < 0 or not timeout > 0:
      raise ConfigError(
        f'scoring.workers={workers} must be 0 or more and scoring.timeout={timeout} above 0'
      )
    self.reward = reward
    self.jobs: queue.SimpleQueue = queue.SimpleQueue()
    self.closed = False
    payload = pickled(reward) if workers else b''
    self.workers = [Worker(payload, timeout, self.jobs) for _ in range(workers)]

  def submit(self, completions: list[str], examples: list[Example]) -> Scores:
    """Starts to score; `.result()` of what it returns waits for f32[N]."""
    if self.closed:
      raise ScoringError('the scorer is closed: submit before close()')
    if len(completions) != len(examples):
      raise ConfigError(
        f'{len(completions)} completions need as many examples, not '
        f'{len(examples)}: repeat those of a group'
      )
    rows = [
      (text, Problem(e.prompt, e.answer, e.response))
      for text, e in zip(completions, examples, strict=True)
    ]
    # Four chunks per worker: few messages, and none waits long for the slowest.
    size = max(1, -(-len(rows) // (4 * max(1, len(self.workers)))))
    return Scores([self.start(rows[i : i + size]) for i in range(0, len(rows), size)])

  def start(self, rows: list[Row]) -> Future:
    future: Future = Future()
    if self.workers:
      self.jobs.put((rows, future))
    else:
      settle(future, lambda: [checked(*attempt(self.reward, *row), row[0]) for row in rows])
    return future

  def close(self):
    """Kills the workers; results that are not there yet raise ScoringError."""
    self.closed = True
    for worker in self.workers:
      worker.close()
      self.jobs.put(None)
    for worker in self.workers:
      worker.thread.join()
    while not self.jobs.empty():
      if job := self.jobs.get():
        job[1].set_exception(ScoringError('the scorer was closed before this was scored'))

  def __enter__(self) -> 'Scorer':
    return self

  def __exit__(self, *_):
    self.close()


def pickled(reward: Callable) -> bytes:
  try:
    return pickle.dumps(reward)
  except Exception as error:
    raise ConfigError(
      f'the verifier cannot be sent to a worker ({describe(error)}): define it '
      'at the top of a module, or set scoring.workers=0'
    ) from error
