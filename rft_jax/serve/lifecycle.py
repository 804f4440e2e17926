"""The life of a server's process: it listens at once, gets ready in a thread, serves, and after
SIGTERM or SIGINT ends in order and in time. A second signal ends it at once."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from rft_jax.feedback.store import Store
from rft_jax.infra.progress import Stopped
from rft_jax.serve.gate import Gate
from rft_jax.serve.server import create_app
from rft_jax.serve.service import Service

KEEP_SECONDS = 75  # that an idle connection stays open: longer than clients keep theirs
LOOK_SECONDS = 0.5  # between looks whether it is worth waiting for the loop
DRAIN = 0.5  # of the time that a stop may take: then answers that are being written are broken off,
GONE = 0.6  # clients are left that still send or listen,
LATE = 0.9  # and threads that have not ended are
STOPPING = signal.SIGTERM, signal.SIGINT
THREADS = 'start', 'engine', 'learner'  # which may be in the middle of a long program
Prepare = Callable[[Callable[[str], None]], contextlib.AbstractContextManager[Service]]


class Lifecycle:
  """prepare(tell) makes the service, in a thread, and ends it there; it tells of each thing that
  takes time before it begins with it, which raises Stopped once the process shall end. grace:
  seconds that a stop may take; ready(url) is called once the service is."""

  def __init__(
    self,
    store: Store,
    listening: socket.socket,
    prepare: Prepare,
    grace: float,
    ready: Callable[[str], None],
  ):
    self.store, self.listening, self.grace = store, listening, grace
    self.prepare, self.ready = prepare, ready
    host, port = listening.getsockname()[:2]
    self.address = f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'
    self.gate = Gate()
    self.server = Server(self)
    self.stopping = threading.Event()
    self.signalled = 0.0
    self.failure: BaseException | None = None
    self.thread = threading.Thread(target=self.work, name='start', daemon=True)

  def run(self):
    """Returns when all has ended, or is to be left behind. Raises what `prepare` raises."""
    with hearing(self.hear):
      self.server.run([self.listening])
      self.thread.join(self.left(LATE))
      self.store.close()
    if self.failure:
      raise self.failure

  def left(self, share: float = 1.0) -> float:
    """Seconds until this share of the grace is over; all of it before a signal."""
    past = time.monotonic() - self.signalled if self.signalled else 0.0
    return max(0.0, share * self.grace - past)

  def work(self):
    """The life of the thread that gets everything ready."""
    try:
      with self.prepare(self.tell) as service:
        self.server.call(self.gate.open(service, create_app(service)))
        settle()
        self.ready(self.address)
        self.stopping.wait()
    except Stopped:
      pass
    except BaseException as error:
      if not self.stopping.is_set():
        self.failure = error
    finally:
      self.server.should_exit = True

  def tell(self, what: str):
    if self.stopping.is_set():
      raise Stopped
    self.gate.waits_for = what

  def hear(self, number: int, frame: Any = None):
    """A signal."""
    if self.stopping.is_set():
      os._exit(128 + number)
    self.signalled = time.monotonic()
    self.stopping.set()
    self.server.should_exit = True
    late = threading.Timer(self.grace, self.leave)
    late.daemon = True
    late.start()

  def leave(self):
    """Time is up, or a thread cannot be ended: what is durable is all that counts."""
    closing = threading.Thread(target=self.store.close, daemon=True)
    closing.start()
    closing.join(1.0)
    with contextlib.suppress(OSError, ValueError):
      sys.stdout.flush()
      sys.stderr.flush()
    os._exit(0)

  def end(self):
    """The last thing: an interpreter that ends under running threads would crash."""
    if any(thread.name in THREADS for thread in threading.enumerate()):
      self.leave()


def settle():
  """What is there after the start, such as models and programs, stays: a collection of garbage that
  looks through all of it would hold everybody up for a third of a second, again and again."""
  gc.collect()
  gc.freeze()


class Server(uvicorn.Server):
  """Answers from the first moment on, by the gate. Signals are the lifecycle's."""

  def __init__(self, life: Lifecycle):
    config = uvicorn.Config(
      life.gate,
      lifespan='off',
      ws='none',
      access_log=False,
      log_level='warning',
      server_header=False,
      proxy_headers=False,  # They are believed by `serve.proxies` only.
      timeout_keep_alive=KEEP_SECONDS,
      timeout_graceful_shutdown=round(max(1.0, life.grace * LATE)),
    )
    super().__init__(config)
    self.life, self.gate = life, life.gate

  @contextlib.contextmanager
  def capture_signals(self) -> Iterator[None]:
    yield

  def call(self, work: Any) -> Any:
    """What a coroutine gives, in the loop of the server, from another thread."""
    done = asyncio.run_coroutine_threadsafe(work, self.loop)
    while True:
      try:
        return done.result(LOOK_SECONDS)
      except TimeoutError:
        if self.life.stopping.is_set():  # The loop may have ended before it came to that.
          raise Stopped from None

  async def startup(self, sockets: list[socket.socket] | None = None):
    self.loop = asyncio.get_running_loop()
    await super().startup(sockets)
    self.life.thread.start()

  async def shutdown(self, sockets: list[socket.socket] | None = None):
    self.gate.stop()
    ends = {DRAIN: self.gate.break_off, GONE: self.gate.hang_up}
    timers = [self.loop.call_later(self.life.left(share), end) for share, end in ends.items()]
    try:
      await super().shutdown(sockets)
    finally:
      for timer in timers:
        timer.cancel()
      await self.gate.close()


@contextlib.contextmanager
def hearing(hear: Callable[[int, Any], None]) -> Iterator[None]:
  """`hear` gets the signals that end a process."""
  before = {number: signal.signal(number, hear) for number in STOPPING}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
