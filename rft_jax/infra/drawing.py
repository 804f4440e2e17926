"""Problems that are drawn in processes of their own, ahead of when they are needed.

A drawer is a fresh interpreter without JAX, in which strings hash the same everywhere, so what it
draws is a function of the call alone. It ends when the process that started it does.
"""

import atexit
import importlib
import itertools
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from typing import Any

from rft_jax.registry import ConfigError, UserError

PATIENCE, LIMIT = 30.0, 900.0  # seconds until a slow problem is told of, and until it is given up
KEPT = 8192  # results: what training reads ahead, and what evaluations ask for again
NOW, AHEAD = 0, 1
FIXED = dict(
  PYTHONHASHSEED='0',
  PYTHONWARNINGS='ignore',  # some problems are code that warns when it is compiled
  JAX_PLATFORMS='cpu',
  OMP_NUM_THREADS='1',
  OPENBLAS_NUM_THREADS='1',
)
Call = tuple  # ('package.module:function', argument, ...): all hashable


class DrawingError(UserError):
  """A drawer died or hung: the message says over what."""


class Drawers:
  """Up to `count` processes, started when there is work for them; those who wait come first.
  settings: of their environment, beyond `FIXED`."""

  def __init__(self, count: int | None = None, settings: dict[str, str] | None = None):
    self.settings = FIXED | (settings or {})
    self.count = count or min(4, max(1, (os.cpu_count() or 1) - 1))
    self.queue: queue.PriorityQueue = queue.PriorityQueue()
    self.numbers = itertools.count()
    self.lock = threading.Lock()
    self.results: OrderedDict[Call, Future] = OrderedDict()
    self.drawers: list[Drawer] = []
    self.idle, self.closed = 0, False
    self.place = tempfile.TemporaryDirectory()  # some of what is drawn writes files
    atexit.register(self.close)

  def get(self, call: Call) -> Any:
    """What the call returns. Raises its ConfigError, and DrawingError where it cannot be made."""
    future = self.start(call, NOW)
    begun = time.monotonic()
    while True:
      try:
        return future.result(PATIENCE)
      except Late:
        if future.done():
          raise
        waited = time.monotonic() - begun
        print(f'still drawing {shown(call)} ({waited:.0f} s so far)', file=sys.stderr)

  def ahead(self, calls: list[Call]):
    """Starts what will be asked for, in this order."""
    for call in calls:
      self.start(call, AHEAD)

  def start(self, call: Call, when: int) -> Future:
    with self.lock:
      future = self.results.get(call)
      if future is None:
        future = self.results[call] = Future()
      elif when == AHEAD or future.running() or future.done():
        self.results.move_to_end(call)
        return future
      self.results.move_to_end(call)
      self.forget()
      self.queue.put((when, next(self.numbers), call, future))
      if not self.idle and len(self.drawers) < self.count:
        self.drawers.append(Drawer(self))
      return future

  def forget(self):
    """Drops the oldest results beyond those kept."""
    for call in list(itertools.islice(self.results, max(0, len(self.results) - KEPT))):
      if self.results[call].done():
        del self.results[call]

  def close(self):
    """Ends the processes; what is not drawn by then never is."""
    self.closed = True
    for drawer in self.drawers:
      drawer.kill()
    self.place.cleanup()


class Drawer:
  """A process, and the thread that feeds it; after a failure it gets a new process."""

  def __init__(self, pool: Drawers):
    self.pool = pool
    self.process: subprocess.Popen | None = None
    self.thread = threading.Thread(target=self.feed, daemon=True)
    self.thread.start()

  def feed(self):
    while True:
      with self.pool.lock:
        self.pool.idle += 1
      call, future = self.pool.queue.get()[2:]
      with self.pool.lock:
        self.pool.idle -= 1
        fresh = not future.running() and not future.done()  # else it was asked for twice
        if fresh:
          future.set_running_or_notify_cancel()
      if self.pool.closed:
        return
      if fresh:
        self.answer(call, future)

  def answer(self, call: Call, future: Future):
    kind, value = self.attempt(call)
    if kind == 'died' and not self.pool.closed:  # perhaps killed from outside, as for memory
      kind, value = self.attempt(call)
    if kind in ('died', 'late'):
      with self.pool.lock:
        self.pool.results.pop(call, None)  # who asks again may have better luck
    if kind == 'value':
      future.set_result(value)
    elif kind == 'config':
      future.set_exception(ConfigError(value))
    else:
      future.set_exception(
        DrawingError(f'{shown(call)} cannot be drawn: {value}; choose easier options, or another')
      )

  def attempt(self, call: Call) -> tuple[str, Any]:
    late = threading.Event()
    limit = threading.Timer(LIMIT, lambda: (late.set(), self.kill()))
    limit.start()
    try:
      return self.ask(call)
    except (EOFError, OSError, pickle.UnpicklingError):
      self.kill()
      if late.is_set():
        return 'late', f'it took longer than {LIMIT:.0f} s'
      return 'died', 'its process died twice: look for crashes and memory'
    finally:
      limit.cancel()

  def ask(self, call: Call) -> tuple[str, Any]:
    if self.process is None:
      path = os.pathsep.join(map(os.path.abspath, sys.path))
      self.process = subprocess.Popen(
        [sys.executable, '-m', __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=self.pool.place.name,
        env=os.environ | self.pool.settings | {'PYTHONPATH': path},
      )
    sender, receiver = self.process.stdin, self.process.stdout
    assert sender and receiver
    pickle.dump(call, sender)
    sender.flush()
    return pickle.load(receiver)

  def kill(self):
    process, self.process = self.process, None
    if process:
      process.kill()
      process.wait()


def shown(call: Call) -> str:
  return ' '.join(str(part) for part in call[1:])


def serve():
  """The life of a drawer: answers every call with a kind and a value, until its parent is gone."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides when to stop
  replies = os.fdopen(os.dup(1), 'wb')
  os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # some of what is called prints
  calls: queue.SimpleQueue = queue.SimpleQueue()
  threading.Thread(target=listen, args=(calls,), daemon=True).start()
  while True:
    pickle.dump(attempt(calls.get()), replies)
    replies.flush()


def listen(calls: queue.SimpleQueue):
  """Takes calls in while others are answered, so that the end of the parent is seen at once."""
  try:
    while True:
      calls.put(pickle.load(sys.stdin.buffer))
  except EOFError:
    os._exit(0)


def attempt(call: Call) -> tuple[str, Any]:
  module, _, name = call[0].partition(':')
  try:
    return 'value', getattr(importlib.import_module(module), name)(*call[1:])
  except ConfigError as error:
    return 'config', str(error)
  except Exception as error:
    return 'error', f'{type(error).__name__}: {error}'


if __name__ == '__main__':
  serve()
