"""The learner: threads that turn feedback into versions and get them served, each event once.

    wake -> claim -> compute -> durable files -> apply -> (canary, ramp) -> publish

Whatever happens in between, the ledger says what is live, and everything else follows it.
"""

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rft_jax.engine.metrics import Metrics
from rft_jax.feedback.records import GLOBAL, Receipt, of_user
from rft_jax.feedback.store import Store
from rft_jax.infra.progress import Stopped
from rft_jax.learning.agenda import Agenda
from rft_jax.learning.canary import Canary
from rft_jax.learning.fold import Lessons, Rebuild, Student
from rft_jax.learning.installing import install, pruned, restore
from rft_jax.learning.publishing import Publisher, Serving
from rft_jax.learning.ramp import RampOptions
from rft_jax.learning.recovery import Loader, mend, mend_scope
from rft_jax.learning.shifts import SWEEP, Shifts
from rft_jax.learning.training import Limits, Training
from rft_jax.learning.trial import Trial
from rft_jax.learning.updating import Rehearse, Updater
from rft_jax.types import PyTree

log = logging.getLogger(__name__)
T = TypeVar('T')


@dataclass(frozen=True)
class LearnerOptions:
  """Times in seconds. `batch`: new events of one update; `replay`: learned ones beside them;
  `threads`: scopes that learn at the same time, whose arrays are all in memory."""

  enabled: bool = True  # False: what is live stays as it is, feedback waits
  batch: int = 8
  replay: int = 6
  threads: int = 1
  debounce: float = 0.2  # of silence before a user's feedback is learned,
  patience: float = 5.0  # but it never waits longer
  gather: float = 2.0  # for the global model, unless a batch is full before
  sweep: float = 5.0  # between looks for what nobody told of
  backoff: float = 0.5  # after a failure, doubled up to a minute
  keep: int = 20  # versions of a scope on disk,
  way_back: int = 5  # and ancestors of what is live
  config_sha: str = ''
  ramp: RampOptions = field(default_factory=RampOptions)


class OnlineLearner:
  """Implements `protocol.Learner`.

  `lessons` turns a batch into what the student learns (see `fold.taught`); `canary` judges
  candidates for everyone and `rehearse` personal ones, None lets all of them pass; `packed` makes
  the file that a user may take along of an adapter; `spare` says whether the machine has time for
  more than one scope.
  """

  def __init__(
    self,
    store: Store,
    engine: Serving,
    student: Student,
    lessons: Lessons,
    loader: Loader,
    options: LearnerOptions | None = None,
    metrics: Metrics | None = None,
    canary: Canary | None = None,
    packed: Callable[[PyTree], bytes] | None = None,
    rehearse: Rehearse | None = None,
    spare: Callable[[], bool] = lambda: True,
  ):
    self.store, self.engine, self.student, self.lessons = store, engine, student, lessons
    self.loader, self.shelf, self.packed = loader, loader.shelf, packed
    self.options = o = options or LearnerOptions()
    self.publisher = Publisher(store, engine, self.shelf, metrics or Metrics())
    updater = Updater(student, lessons, loader, self.publisher.metrics, rehearse)
    stage = lambda version, share: engine.stage_canary(version, share).result()
    trial = Trial(store, canary, o.ramp, stage)
    limits = Limits(o.batch, o.replay, o.backoff, o.keep, o.way_back, o.config_sha)
    self.training = Training(store, updater, self.publisher, trial, limits)
    self.agenda = Agenda(o.debounce, o.patience, o.batch, o.gather)
    self.shifts = Shifts(self.agenda, o.sweep, spare)
    self.suspects: set[str] = set()  # scopes with damaged files
    self.working = [threading.Lock() for _ in range(o.threads)]
    """Each held while a thread makes or removes the files of versions."""
    run = lambda lock: threading.Thread(target=self.run, args=[lock], name='learner', daemon=True)
    self.threads = [run(lock) for lock in self.working]
    self.thread = self.threads[0]
    loader.damaged = self.suspect

  def start(self):
    self.recover()
    for thread in self.threads:
      thread.start()

  def recover(self):
    """Falls back wherever files are damaged, brings the engine up to date, and finds out what the
    last process had begun."""
    mend(self.store, self.shelf, self.remake)
    self.publisher.catch_up()
    for version in self.store.versions.on_trial(GLOBAL):
      self.training.trial.begin(version)
    for batch in self.store.ledger.recover():
      self.training.claimed[batch.scope] = batch
      self.agenda.ask(batch.scope, time.monotonic())

  def remake(self, scope: str, version: int):
    """Makes the files of a version again from the log. Raises LedgerError."""
    restore(self.rebuilding(), self.shelf, scope, version)

  def stop(self, patience: float = 30.0):
    """Ends between two steps; what is then claimed is learned after the next start."""
    self.shifts.close()
    end = time.monotonic() + patience
    for thread in self.threads:
      if thread.is_alive():
        thread.join(max(0.0, end - time.monotonic()))

  def heed(self):
    """For whoever learns, between two steps. Raises Stopped."""
    if self.stopping:
      raise Stopped

  @property
  def stopping(self) -> bool:
    return self.shifts.closed

  def status(self) -> dict[str, Any]:
    """For whoever runs the server. `problems`: by scope, until it learns again."""
    current = self.training.trial.current
    return {
      'alive': all(thread.is_alive() for thread in self.threads),
      'enabled': self.options.enabled,
      'problems': dict(self.training.problems),
      'canary': current and current.version.version,
    }

  def run(self, lock: threading.Lock):
    while not self.stopping:
      scope = self.shifts.begin(self.options.enabled)
      if scope is None:
        continue
      with lock:
        work = self.sweep if scope == SWEEP else functools.partial(self.turn, scope)
        self.guarded(scope, work)
      self.shifts.end(scope)

  def guarded(self, scope: str, work: Callable[[], None]):
    """One failure must not end the thread."""
    try:
      work()
    except Exception as error:
      if self.stopping:  # The engine may have stopped before.
        return
      log.exception('the learner failed on %s', scope or GLOBAL)
      self.again(scope or GLOBAL, self.training.failed(scope or GLOBAL, error))

  def turn(self, scope: str):
    if scope == GLOBAL:
      self.training.tend()
    elif learned := self.store.ledger.taken_back().get(scope):
      self.take_back(scope, learned)
    pause = self.training.turn(scope)
    if pause is not None:
      self.again(scope, pause)

  def take_back(self, scope: str, version: int):
    """Back to before this version; what was learned since, and still counts, waits again."""
    record = self.store.versions.get(scope, version)
    assert record
    if pruned(self.store, self.shelf, scope, record.parent):
      self.remake(scope, record.parent)
    reason = 'taken back by its author'
    self.store.versions.rollback(
      scope, record.parent, reason, 'learner', 'pending', freeze=False
    ).result()
    self.publisher.serve(scope)

  def again(self, scope: str, pause: float):
    now = time.monotonic()
    self.agenda.ask(scope, now)
    self.agenda.rest(scope, now + pause)

  def sweep(self):
    """Looks for what nobody told of: feedback whose answer came later, what could not be served,
    stages of the ramp that are over, damaged files."""
    if self.options.enabled:
      waiting = [pending.scope for pending in self.store.ledger.pending()]
      if self.store.ledger.repeats():
        waiting.append(GLOBAL)
      for scope in (*waiting, *self.store.ledger.taken_back()):
        self.agenda.ask(scope, time.monotonic())
      self.training.tend()
    while self.suspects:
      mend_scope(self.store, self.shelf, self.suspects.pop())
    self.publisher.catch_up()

  def suspect(self, scope: str):
    """The files of what is live may be damaged. From any thread."""
    self.suspects.add(scope)
    self.shifts.hurry()

  def notify(self, receipt: Receipt) -> None:
    now = time.monotonic()
    for scope in (receipt.scope, GLOBAL):
      self.agenda.note(scope, now)
    self.shifts.wake()

  async def reset(self, user_id: str) -> None:
    scope = of_user(user_id)
    await asyncio.wrap_future(self.store.versions.reset(scope, user_id))
    await self.follow(scope)

  async def export(self, user_id: str) -> bytes | None:
    scope = of_user(user_id)
    version = self.store.versions.state(scope).live_version
    if not version or not self.packed:
      return None
    return self.packed(await asyncio.to_thread(self.loader, scope, version))

  async def forget(self, user_id: str) -> None:
    scope = of_user(user_id)
    await self.follow(scope)
    await asyncio.wrap_future(self.engine.drop(scope))
    await asyncio.to_thread(self.exclusively, lambda: self.shelf.forget(scope))

  async def rollback(self, scope: str, version: int, reason: str, actor: str) -> list[int]:
    undo = lambda: self.store.versions.rollback(scope, version, reason, actor)
    if pruned(self.store, self.shelf, scope, version):
      remade = lambda: self.restored(scope, version, undo)
      undone = await asyncio.to_thread(self.exclusively, remade)
    else:
      undone = await asyncio.wrap_future(undo())
    await self.follow(scope)
    return undone

  def restored(self, scope: str, version: int, undo: Callable[[], Future[T]]) -> T:
    self.remake(scope, version)
    return undo().result()

  async def freeze(self, scope: str, frozen: bool, actor: str) -> None:
    await asyncio.wrap_future(self.store.versions.freeze(scope, frozen, actor))
    if not frozen:
      self.agenda.ask(scope, time.monotonic())
      self.shifts.wake()

  async def unlearn(self, user_id: str, actor: str) -> int:
    return await asyncio.to_thread(self.install, GLOBAL, [user_id], actor)

  async def follow(self, scope: str):
    """The engine serves what the ledger says, whatever is being learned meanwhile."""
    live, ordered = self.publisher.swap(scope)
    if scope == GLOBAL:
      await asyncio.wrap_future(self.engine.stage_canary(0, 0.0))
    await asyncio.wrap_future(ordered)
    if live:
      await asyncio.wrap_future(self.store.versions.served(scope, live))

  def exclusively(self, work: Callable[[], T]) -> T:
    """While nothing is being learned."""
    with contextlib.ExitStack() as held:
      for lock in self.working:
        held.enter_context(lock)
      return work()

  def rebuilding(self, exclude_users: Collection[str] = ()) -> Rebuild:
    return Rebuild(self.store, self.student, self.lessons, exclude_users)

  def install(self, scope: str, exclude_users: Collection[str], actor: str) -> int:
    """Rebuilds a scope without some users' feedback, which never teaches it again, and serves the
    result; its version. Blocks while it folds the log. Raises UserError, LedgerError."""
    rebuild = self.rebuilding(exclude_users)
    version = self.exclusively(lambda: install(rebuild, self.shelf, scope, actor))
    self.publisher.serve(scope)
    return version
