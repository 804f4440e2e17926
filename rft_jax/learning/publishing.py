"""From a live version in the ledger to answers that come from it."""

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Protocol

from rft_jax.engine.metrics import Metrics
from rft_jax.feedback.ids import now_us
from rft_jax.feedback.records import GLOBAL, Batch
from rft_jax.feedback.store import Store
from rft_jax.learning.shelf import Shelf
from rft_jax.types import PyTree


class Routed(Protocol):
  @property
  def live(self) -> Mapping[str, int]: ...


class Serving(Protocol):
  """What the learner needs of the engine; see `engine.engine`. Callable from any thread."""

  @property
  def routes(self) -> Routed: ...

  def publish(self, scope: str, version: int, adapter: PyTree | None = None) -> Future[None]: ...

  def stage_canary(self, version: int, share: float) -> Future[None]: ...

  def rows(self) -> dict[str, int]: ...

  def offer(self, versions: Iterable[int]) -> Future[None]: ...

  def drop(self, scope: str) -> Future[None]: ...


class Publisher:
  """Keeps the engine at what the ledger says is live. May be called from any thread."""

  def __init__(self, store: Store, engine: Serving, shelf: Shelf, metrics: Metrics):
    self.store, self.engine, self.shelf, self.metrics = store, engine, shelf, metrics
    self.lock = threading.Lock()
    self.behind: set[str] | None = None  # scopes that the engine may serve otherwise; None: any

  def swap(self, scope: str, made: tuple[int, PyTree] | None = None) -> tuple[int, Future[None]]:
    """Orders the live version of a scope to be served; it, and when that is so.

    `made`: a version and its adapter, where they are at hand. The ledger is asked and the order is
    placed under a lock, so that the last order is for what is live.
    """
    with self.lock:
      live = self.store.versions.state(scope).live_version
      adapter = made[1] if made and made[0] == live else None
      return live, self.engine.publish(scope, live, adapter)

  def serve(self, scope: str, made: tuple[int, PyTree] | None = None):
    """The live version of a scope is served when this returns, and receipts say so."""
    live, ordered = self.swap(scope, made)
    ordered.result()
    if live:
      self.store.versions.served(scope, live).result()
    for state, number in self.engine.rows().items():
      self.metrics.adapter_rows.labels(state).set(number)

  def catch_up(self):
    """Serves what is live wherever the engine has another version: at first all scopes are looked
    at, then those that have moved."""
    moved, live = self.store.db.news.moved(), self.engine.routes.live
    if self.behind is None:
      states = self.store.versions.states()
      self.behind = {s.scope for s in states if live.get(s.scope, 0) != s.live_version}
    self.behind |= moved
    for scope in sorted(self.behind):
      if self.engine.routes.live.get(scope, 0) != self.store.versions.state(scope).live_version:
        self.serve(scope)
      self.behind.discard(scope)

  def measure(self, batch: Batch):
    """How long the new events of a batch took from the user's hand to the served weights."""
    kind = GLOBAL if batch.scope == GLOBAL else 'personal'
    now = now_us()
    for item in batch.items:
      if item.role == 'new':
        self.metrics.to_served.labels(kind).observe((now - item.event.recv_us) / 1e6)

  def prune(self, scope: str, keep: int, way_back: int):
    """Leaves the newest `keep` versions of a scope on disk, the last ancestors of what is live, and
    what batches are being learned over."""
    line = self.store.versions.lineage(scope, way_back + 1)
    claimed = self.store.ledger.recover()
    used = {batch.base_version for batch in claimed} if scope == GLOBAL else set()
    used |= {batch.parent_version for batch in claimed if batch.scope == scope}
    self.shelf.prune(scope, {*line, *used}, keep)
    if scope == GLOBAL:
      records = [self.store.versions.get(GLOBAL, number) for number in self.shelf.numbers(GLOBAL)]
      known = [r.version for r in records if r and r.status in ('live', 'retired')]
      self.engine.offer(known).result()
