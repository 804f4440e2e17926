"""What open pages are told: one look at the store for all of them, then to each what is new."""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from rft_jax.engine.protocol import Engine
from rft_jax.feedback.records import GLOBAL, Receipt
from rft_jax.feedback.store import Store
from rft_jax.serve.errors import ApiError
from rft_jax.serve.readiness import Readiness

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.2  # between looks: a page hears at most five times a second
LOAD_SECONDS = 5.0  # between news of nothing but how much waits
READ = 100  # receipts that are read in one look
PAGES = 32  # that one user may have open
LOAD = ('pending_events', 'training')


class Page:
  """An open page of a user, or, without `status`, whoever else waits for their receipts; what it
  has not heard yet."""

  def __init__(self, user_id: str, status: bool):
    self.user_id, self.wants_status = user_id, status
    self.status: dict[str, Any] = {}  # as it was told last
    self.newer: dict[str, Any] = {}
    self.receipts: dict[str, Receipt] = {}
    self.told = 0.0
    self.over = False
    self.woken = asyncio.Event()

  def see(self, status: dict[str, Any], now: float):
    """A change of what waits is no reason to wake anyone, unless the page has slept for a while."""
    self.newer = status
    changed = {name for name in status if status[name] != self.status.get(name)}
    if changed and (changed - set(LOAD) or now - self.told >= LOAD_SECONDS):
      self.woken.set()

  def hear(self, receipt: Receipt):
    self.receipts[receipt.id] = receipt
    self.woken.set()

  def take(self, now: float) -> tuple[dict[str, Any], list[Receipt]]:
    """The status, empty where it is the one that was told last, and receipts that changed."""
    self.woken.clear()
    status = self.newer if self.newer != self.status else {}
    receipts, self.receipts = list(self.receipts.values()), {}
    self.status, self.told = self.newer, now
    return status, receipts

  def end(self):
    self.over = True
    self.woken.set()


class Live:
  """For one event loop."""

  def __init__(
    self,
    store: Store,
    engine: Engine,
    readiness: Readiness,
    stopping: asyncio.Event,
    clock: Callable[[], float] = time.monotonic,
  ):
    self.store, self.engine, self.readiness, self.clock = store, engine, readiness, clock
    self.stopping = stopping
    self.pages: dict[str, set[Page]] = {}
    self.asked = -1  # commits when the store was asked last,
    self.answer: dict[str, Any] = {}  # and what it said

  def admit(self, user_id: str):
    """Raises ApiError 429 where a user has too many pages."""
    if len(self.pages.get(user_id, ())) >= PAGES:
      raise ApiError(429, f'{PAGES} pages of this user are open', None, 'too_many_pages', 30)

  @contextlib.contextmanager
  def opened(self, user_id: str, status: bool = True) -> Iterator[Page]:
    """Hears of everything that becomes durable from here on."""
    page = Page(user_id, status)
    self.pages.setdefault(user_id, set()).add(page)
    self.store.db.news.watch(user_id)
    try:
      yield page
    finally:
      self.store.db.news.leave(user_id)
      self.pages[user_id].remove(page)
      if not self.pages[user_id]:
        del self.pages[user_id]

  def status(self, user_id: str) -> dict[str, Any]:
    """As /v1/status gives it."""
    version = dict(zip(('global', 'personal'), self.engine.versions(user_id), strict=True))
    return {'ready': not self.readiness.waits_for(), 'version': version, **self.stored()}

  def stored(self) -> dict[str, Any]:
    """What the store says, which is asked once for all, after each commit."""
    commits = self.store.db.news.commits
    if commits != self.asked:
      self.answer = {
        'pending_events': self.store.ledger.backlog().events,
        'training': self.store.ledger.is_training(),
        'frozen': self.store.versions.state(GLOBAL).frozen,
      }
      self.asked = commits
    return self.answer

  def look(self):
    """Brings everybody what has changed since the last look."""
    for user_id, name in self.store.db.news.changed(READ):
      receipt = self.store.events.receipt(name) if user_id in self.pages else None
      if receipt:
        for page in self.pages[user_id]:
          page.hear(receipt)
    now = self.clock()
    for user_id, pages in self.pages.items():
      status = self.status(user_id)
      for page in pages:
        if page.wants_status:
          page.see(status, now)

  async def keep_looking(self):
    """Until the server stops; everybody's news end then."""
    try:
      while not self.stopping.is_set():
        await asyncio.sleep(LOOK_SECONDS)
        try:
          self.look()
        except sqlite3.Error as error:  # What was to be told is lost: pages come again and ask.
          log.error('open pages are sent away: %s', error)
          self.hang_up()
    finally:
      self.hang_up()

  def hang_up(self):
    for pages in self.pages.values():
      for page in pages:
        page.end()

  async def news(
    self,
    page: Page,
    follow: Callable[[], Iterable[Receipt]],
    quiet: float,
    check: Callable[[], object],
  ) -> AsyncIterator[tuple[dict[str, Any], list[Receipt]]]:
    """What a page is told: at once the status and the receipts that it follows, then every change,
    and nothing where `quiet` seconds have passed. `check` is asked as often, and ApiError ends it.
    """
    page.see(self.status(page.user_id), self.clock())
    for receipt in follow():
      page.hear(receipt)
    checked = self.clock()
    while not (page.over or self.stopping.is_set()):
      yield page.take(self.clock())
      with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(quiet):  # `wait_for` may swallow that the page leaves.
          await page.woken.wait()
      if self.clock() - checked >= quiet:
        checked = self.clock()
        try:
          check()
        except ApiError:
          return
