"""The engine's thread: who waits for it, and in which order it does things."""

import functools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from rft_jax.engine.batch import Batch
from rft_jax.engine.protocol import EngineError, Request
from rft_jax.engine.tickets import Ticket

log = logging.getLogger(__name__)
Route = Callable[[Request], tuple[int, int]]
"""The (global, personal) version that a request is answered by if it is admitted now. Raises
EngineError."""


class Loop:
  """Orders come first, then those who wait are admitted in turn, then all answers are written on.

  Only its thread touches the batch. Everything without an underscore is for other threads.
  """

  def __init__(self, batch: Batch, route: Route):
    self.batch, self.route = batch, route
    self.waiting: deque[Ticket] = deque()
    self.orders: deque[tuple[Callable[[], object], Future[None]]] = deque()
    self.changed = threading.Condition()
    self.deadline, self.open = math.inf, True
    self.thread = threading.Thread(target=self._run, name='engine', daemon=True)

  def enqueue(self, ticket: Ticket, limit: float = math.inf) -> None:
    """Raises EngineError 429 where so many wait already, 503 once it stops. Those of one group
    count as one."""
    with self.changed:
      if not self.open:
        raise EngineError('the engine is stopping', 503, 'not_ready')
      if len({one.group for one in self.waiting} - {ticket.group}) >= limit:
        raise EngineError('too many requests wait for an answer', 429, 'queue_full')
      ticket.withdraw = functools.partial(self._withdraw, ticket)
      self.waiting.append(ticket)
      self.changed.notify()

  def order(self, do: Callable[[], object]) -> Future[None]:
    """`do` is called in the thread, after the orders before it. Fails with what it raises."""
    future: Future[None] = Future()
    with self.changed:
      if self.open:
        self.orders.append((do, future))
        self.changed.notify()
      else:
        future.set_exception(EngineError('the engine is stopping', 503, 'not_ready'))
    return future

  def stop(self, patience: float) -> None:
    """Finishes what it has taken on, for at most so many seconds; takes on nothing more."""
    with self.changed:
      self.open, self.deadline = False, time.monotonic() + patience
      self.changed.notify()
    if self.thread.ident:
      self.thread.join()

  def _withdraw(self, ticket: Ticket):
    with self.changed:
      if ticket in self.waiting:
        self.waiting.remove(ticket)
      self.changed.notify()

  def _run(self):
    error = EngineError('the engine is stopping', 503, 'not_ready')
    try:
      while self._goes_on():
        self._obey()
        self._admit()
        self.batch.sweep()
        self.batch.step()
    except Exception as bug:
      log.critical('the engine broke down', exc_info=bug)
      error = EngineError('the engine broke down', 503, 'not_ready')
    self._close(error)

  def _goes_on(self) -> bool:
    """Sleeps while there is nothing to do."""
    busy = lambda: bool(self.orders or self.waiting or self.batch.tickets)
    with self.changed:
      self.changed.wait_for(lambda: busy() or not self.open)
      return self.open or (busy() and time.monotonic() < self.deadline)

  def _obey(self):
    while self.orders:
      do, future = self.orders.popleft()
      try:
        do()
      except Exception as error:
        future.set_exception(error)
      else:
        future.set_result(None)

  def _admit(self):
    while self.batch.free and (ticket := self._next()):
      try:
        versions = self.route(ticket.request)
      except EngineError as error:
        ticket.tell(error)
      else:
        self.batch.admit(ticket, versions)

  def _next(self) -> Ticket | None:
    with self.changed:
      while self.waiting:
        ticket = self.waiting.popleft()
        if not ticket.cancelled:
          return ticket
    return None

  def _close(self, error: EngineError):
    with self.changed:
      self.open = False
      waiting, orders = list(self.waiting), list(self.orders)
      self.waiting.clear()
      self.orders.clear()
    self.batch.end(error)
    for ticket in waiting:
      ticket.tell(error)
    for _, future in orders:
      future.set_exception(error)
