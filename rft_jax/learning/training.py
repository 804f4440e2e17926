"""One turn of a scope: a batch is claimed, becomes a version, and the ledger hears how it ended."""

import contextlib
import logging
from typing import NamedTuple

from rft_jax.feedback.database import StoreUnavailable
from rft_jax.feedback.ledger import LedgerError
from rft_jax.feedback.records import GLOBAL, Batch, Version
from rft_jax.feedback.store import Store
from rft_jax.infra.faults import reach
from rft_jax.infra.progress import Stopped
from rft_jax.learning.publishing import Publisher
from rft_jax.learning.trial import Refused, Trial
from rft_jax.learning.updating import Candidate, Rejected, Updater

log = logging.getLogger(__name__)
LONGEST = 60.0  # seconds between attempts


class Limits(NamedTuple):
  """`batch`: new events of one update, `replay`: learned ones; `backoff`: seconds after a first
  failure; `keep` versions stay on disk, and `way_back` ancestors of what is live."""

  batch: int
  replay: int
  backoff: float
  keep: int
  way_back: int
  config_sha: str


class Training:
  """For one thread only. `problems`: what went wrong last, by scope, until it learns again."""

  def __init__(
    self, store: Store, updater: Updater, publisher: Publisher, trial: Trial, limits: Limits
  ):
    self.store, self.updater, self.publisher = store, updater, publisher
    self.trial, self.limits = trial, limits
    self.sizes: dict[str, int] = {}  # of the next batch, where the last one was refused
    self.failures: dict[str, int] = {}  # in a row
    self.problems: dict[str, str] = {}
    self.claimed: dict[str, Batch] = {}  # whose end the ledger does not know yet

  def turn(self, scope: str) -> float | None:
    """Learns from what waits for a scope. Seconds until it should have another turn, None where
    nothing waits."""
    try:
      batch = self.claimed.get(scope) or self.claim(scope)
      if batch is None:
        return None
      self.claimed[scope] = batch
      pause = self.finish(batch)
    except StoreUnavailable as error:
      return self.failed(scope, error)
    del self.claimed[scope]
    return pause

  def claim(self, scope: str) -> Batch | None:
    size = self.sizes.get(scope, self.limits.batch)
    replay, sha = self.limits.replay, self.limits.config_sha
    return self.store.ledger.claim(scope, size, replay, sha).result()

  def finish(self, batch: Batch) -> float:
    try:
      candidate = self.updater.make(batch)
      version = self.apply(batch, candidate)
    except LedgerError:  # It was rolled back, frozen or taken back meanwhile.
      self.discard(batch)
      return 0.0
    except Stopped:  # It stays claimed.
      raise
    except Rejected as error:
      return self.refuse(batch, str(error))
    except Exception as error:
      return self.abandon(batch, error)
    self.sizes.pop(batch.scope, None)
    self.follow(batch, version, candidate)
    return 0.0

  def apply(self, batch: Batch, candidate: Candidate) -> Version:
    publish = batch.scope != GLOBAL or not self.trial.wanted
    parts = candidate.path, candidate.sha256, candidate.metrics
    return self.store.ledger.apply(batch, *parts, publish=publish).result()

  def follow(self, batch: Batch, version: Version, candidate: Candidate):
    """What comes after the ledger: a failure here loses nothing, and is made up for later."""
    reach('swap')
    try:
      self.record(batch, version)
      if version.status == 'canary':
        self.trial.begin(version)
        self.tend()
      else:
        made = candidate.adapter and (version.version, candidate.adapter)
        self.publisher.serve(batch.scope, made or None)
      if self.status(version) == 'live':
        self.publisher.measure(batch)
      self.publisher.prune(batch.scope, self.limits.keep, self.limits.way_back)
    except Exception as error:
      self.failed(batch.scope, error)
    else:
      self.failures.pop(batch.scope, None)
      self.problems.pop(batch.scope, None)

  def record(self, batch: Batch, version: Version):
    kind = GLOBAL if batch.scope == GLOBAL else 'personal'
    if (sign := version.metrics.get('sign')) is not None:
      n = sum(item.role == 'new' for item in batch.items)
      labels = {'scope': kind, 'version': version.version, 'n': n}
      self.store.samples.add('reflection', sign, **labels).result()
    if (kl := version.metrics.get('kl_to_ref')) is not None:
      self.publisher.metrics.kl.labels(kind).set(kl)

  def tend(self):
    """Takes a candidate for everyone as far as it may go now."""
    current = self.trial.current
    if current is None:
      return
    if self.status(current.version) != 'canary':
      return self.trial.end()
    if self.store.versions.state(GLOBAL).frozen:
      return
    try:
      if self.trial.advance():
        unsaid = self.trial.unsaid
        self.store.versions.publish(GLOBAL, current.version.version, unsaid).result()
        self.publisher.serve(GLOBAL)
    except Refused as error:
      self.undo(current.version, error)
    except LedgerError:  # Rolled back by hand meanwhile.
      pass
    if self.status(current.version) != 'canary':
      self.trial.end()

  def status(self, version: Version) -> str:
    record = self.store.versions.get(version.scope, version.version)
    return record.status if record else 'gone'

  def undo(self, version: Version, refused: Refused):
    """A candidate that failed the canary is learned again in parts, until the guilty wish is alone;
    that is tried again if several people want it (see `Versions.refuse`), else set aside, as is
    what users did not like."""
    counters, versions = self.publisher.metrics, self.store.versions
    counter = counters.rollback if refused.trial else counters.canary_fail
    counter.inc()
    new, reason = versions.size(version), str(refused)
    if not refused.trial and not self.halve(GLOBAL, new, version.batch_id):
      versions.refuse(version, reason, 'learner', refused.held).result()
    else:
      events = 'quarantined' if refused.trial else 'pending'
      parent = version.parent
      versions.rollback(GLOBAL, parent, reason, 'learner', events, freeze=False).result()
    self.publisher.serve(GLOBAL)

  def halve(self, scope: str, new: int, batch_id: str) -> bool:
    """Whether a batch of so many new events can be learned in parts: the next one is smaller."""
    parts = self.store.ledger.parts(batch_id) > 1
    if parts:
      self.sizes[scope] = new // 2
    else:
      self.sizes.pop(scope, None)
    return parts

  def refuse(self, batch: Batch, reason: str) -> float:
    """Quarantines a single event, or all that want the same; of more, learns from fewer, until the
    guilty ones are alone."""
    new = sum(item.role == 'new' for item in batch.items)
    self.problems[batch.scope] = reason
    with contextlib.suppress(LedgerError):
      if self.halve(batch.scope, new, batch.id):
        self.store.ledger.abandon(batch, f'learned in parts: {reason}').result()
      else:
        self.store.ledger.reject(batch, reason).result()
    return 0.0

  def abandon(self, batch: Batch, error: Exception) -> float:
    """The machine failed, not the events: they wait again."""
    try:
      self.store.ledger.abandon(batch, described(error)).result()
    except LedgerError:
      self.discard(batch)
    return self.failed(batch.scope, error)

  def failed(self, scope: str, error: Exception) -> float:
    """Notes a failure; seconds until the next attempt."""
    count = self.failures[scope] = self.failures.get(scope, 0) + 1
    if self.problems.get(scope) != described(error):
      log.warning('learning of %s failed: %s', scope, described(error))
    self.problems[scope] = described(error)
    return min(self.limits.backoff * 2 ** (count - 1), LONGEST)

  def discard(self, batch: Batch):
    """Removes the files of a batch that did not become a version."""
    if self.store.versions.get(batch.scope, batch.version) is None:
      self.updater.shelf.discard(batch.scope, batch.version)


def described(error: Exception) -> str:
  return f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""}'.strip(': ')
