"""A student, an engine and the wiring for tests of the learner: weights are a hash of all that was
learned, in order. Also a program, like `folding`, which kills may hit anywhere.

`python scholar.py FOLDER EVENTS` gives votes as staff, which teach two scopes: their own and,
behind a canary, everyone's.
"""

import hashlib
import json
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import folding
import numpy as np
from folding import ME, SCOPE

from rft_jax.engine.routes import Routes
from rft_jax.feedback import rows
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.records import GLOBAL, Batch, User
from rft_jax.feedback.store import Store
from rft_jax.learning.canary import Canary, Probe
from rft_jax.learning.learner import LearnerOptions, OnlineLearner
from rft_jax.learning.recovery import Loader
from rft_jax.learning.shelf import Shelf, packed

SHAPE = (2, 4, 2)
EAGER = LearnerOptions(debounce=0.0, gather=0.0, sweep=0.2, backoff=0.01)


class Learned(NamedTuple):
  state: Any
  metrics: dict[str, Any]
  margins: dict[int, float]
  rejected: str = ''


class Scholar:
  """`guilty` seqs are refused, `broken` ones raise, `poison` ones give weights that are not finite.
  While `paused` nothing is learned; `learning` says that it has got there."""

  def __init__(self):
    self.guilty: set[int] = set()
    self.broken: dict[int, Exception] = {}
    self.poison: set[int] = set()
    self.going, self.learning = threading.Event(), threading.Event()
    self.going.set()
    self.calls = 0
    self.heed = lambda: None

  def fresh(self, rng_seed: int):
    zeros = np.zeros(SHAPE, np.float32)
    pair = {'a': zeros + np.float32(rng_seed % 7), 'b': zeros}
    digest = np.zeros(32, np.uint8)
    return {
      'adapter': {'layers': {'qkv': {'q_proj': pair}}},
      'opt': {'count': np.int32(0), 'seen': digest},
    }

  def learn(self, state, base, lessons, seed, shared=False) -> Learned:
    self.calls += 1
    self.learning.set()
    self.going.wait(10)
    self.heed()
    seqs = {lesson[0] for lesson in lessons}
    for seq in seqs & set(self.broken):
      raise self.broken[seq]
    if seqs & self.guilty:
      return Learned(state, {}, {}, 'too far from the reference')
    under = packed(base) if base else b''
    said = json.dumps([lessons, seed, shared]).encode()
    digest = hashlib.sha256(packed(state['opt']) + under + said).digest()
    seen = np.frombuffer(digest, np.uint8)
    values = np.resize(seen, SHAPE).astype(np.float32)
    values[(seqs & self.poison and ...) or np.zeros(SHAPE, bool)] = np.nan
    pair = {'a': state['adapter']['layers']['qkv']['q_proj']['a'], 'b': values}
    count = np.asarray(state['opt']['count'] + 1, np.int32)
    new = {'adapter': {'layers': {'qkv': {'q_proj': pair}}}, 'opt': {'count': count, 'seen': seen}}
    return Learned(new, {'kl_to_ref': 0.125, 'sign': 1.0, 'stopped': 'margin'}, {})


def told(batch: Batch) -> list[list]:
  """What a batch says, as the scholar's lessons."""
  return [[i.event.seq, i.role, i.weight, i.event.value] for i in batch.items if i.generation]


class Desk:
  """An engine that serves nobody, with a thread of its own; `adapters`: what each scope has."""

  def __init__(self, load):
    self.load, self.routes = load, Routes()
    self.adapters: dict[str, Any] = {}
    self.offered: set[int] = set()
    self.thread = ThreadPoolExecutor(1)
    self.failing: Exception | None = None

  def publish(self, scope: str, version: int, adapter=None) -> Future[None]:
    def publish():
      if self.failing:
        raise self.failing
      found = self.load(scope, version) if version and adapter is None else adapter
      self.adapters[scope] = found if version else None
      self.routes = self.routes.published(scope, version)

    return self.thread.submit(publish)

  def stage_canary(self, version: int, share: float) -> Future[None]:
    def stage():
      if share:
        self.load(GLOBAL, version)
      canary = (version, share) if share else None
      self.routes = Routes(self.routes.live, canary, 0.0, self.routes.named)

    return self.thread.submit(stage)

  def offer(self, versions: Iterable[int]) -> Future[None]:
    return self.thread.submit(lambda: self.offered.clear() or self.offered.update(versions))

  def rows(self) -> dict[str, int]:
    return {'kept': len(self.adapters)}

  def drop(self, scope: str) -> Future[None]:
    return self.thread.submit(lambda: self.adapters.pop(scope, None) and None)


class School:
  """Everything that learns, on one folder."""

  def __init__(
    self,
    root: Path,
    options: LearnerOptions = EAGER,
    canary=None,
    student=None,
    teach=None,
    rehearse=None,
  ):
    """teach(store) -> lessons of a batch."""
    self.store = Store(root / 'store.db', Rules(young_us=0))
    self.student: Any = student or Scholar()
    self.lessons = teach(self.store) if teach else told
    self.shelf = Shelf(root / 'adapters', self.student.fresh(0))
    self.loader = Loader(self.store, self.shelf)
    self.engine = Desk(self.loader)
    self.learner = OnlineLearner(
      self.store,
      self.engine,
      self.student,
      self.lessons,
      self.loader,
      options,
      canary=canary,
      packed=packed,
      rehearse=rehearse,
    )

  @property
  def training(self):
    return self.learner.training

  def state(self, scope: str):
    """The State of what is live, as it lies on disk."""
    version = self.store.versions.state(scope).live_version
    if not version:
      return self.student.fresh(0)
    record = self.store.versions.get(scope, version)
    assert record
    return self.shelf.read(scope, version, record.sha256)

  def bits(self, scope: str) -> bytes:
    return packed(self.state(scope))

  def close(self):
    self.learner.stop()
    self.engine.thread.shutdown()
    self.store.close()


def steady_canary() -> Canary:
  return Canary(lambda version, prompts: ['Paris.'] * len(prompts), [Probe('?', bool)])


def run(root: Path, events: int):
  go_on(School(root, canary=steady_canary()), events)


def go_on(school: School, events: int):
  """What is done next depends only on what is durable."""
  store, training = school.store, school.training
  school.learner.recover()
  training.tend()
  for scope in list(training.claimed):
    training.turn(scope)
  if not store.users.get(ME):
    user = User(ME, staff=True)
    store.db.write('user', lambda c: rows.insert(c, 'user', vars(user))).result(5)
  while True:
    given = len(store.events.of_author(ME, events))
    waiting = {p.scope: p.events for p in store.ledger.pending()}
    ready = [
      scope
      for scope in (GLOBAL, SCOPE)
      if waiting.get(scope, 0) >= 3 or (scope in waiting and given == events)
    ]
    if ready:
      assert training.turn(ready[0]) == 0 and not training.problems, training.problems
    elif given < events:
      folding.vote(store, given)
    else:
      return school.close()


if __name__ == '__main__':
  run(Path(sys.argv[1]), int(sys.argv[2]))
