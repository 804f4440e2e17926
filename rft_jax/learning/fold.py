"""A scope's weights are a fold over its batches: one step of it, and all of it again.

Everything that a step depends on is in the ledger, so the same history gives the same bits.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from rft_jax.engine.codec import Codec
from rft_jax.feedback.batches import seed_of
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import GLOBAL, Batch, Item
from rft_jax.feedback.store import Store
from rft_jax.learning.lessons import Lesson, Ratings, lessons
from rft_jax.types import PyTree

WAYS = (1.0, 1.0, 0.5, 0.25)
"""How much of the way to what it has learned a batch goes, by how many of its wish were refused."""
Lessons = Callable[[Batch], Sequence[Any]]


class Outcome(Protocol):
  """What learning gave. `margins`: how far each event, by seq, is past its margin; `rejected`: why
  it may not be used, None or '' where it may."""

  @property
  def state(self) -> PyTree: ...

  @property
  def metrics(self) -> Mapping[str, Any]: ...

  @property
  def margins(self) -> Mapping[int, float]: ...

  @property
  def rejected(self) -> str | None: ...


class Student(Protocol):
  """The mathematics of learning; see `learning.student`. A state has the parts adapter and opt."""

  def fresh(self, rng_seed: int) -> PyTree: ...

  def learn(
    self,
    state: PyTree,
    base: PyTree | None,
    lessons: Sequence[Any],
    seed: int,
    shared: bool = False,
  ) -> Outcome: ...


def taught(store: Store, codec: Codec) -> Lessons:
  """The lessons of a batch, with its users' ratings as they were when its last event came."""

  def of_batch(batch: Batch) -> list[Lesson]:
    seqs = [item.event.seq for item in batch.items]
    counts = store.events.ratings({item.event.user_id for item in batch.items}, max(seqs))
    stars = {user: Ratings((n[1], n[2], n[3], n[4], n[5])) for user, n in counts.items()}
    return lessons(batch, codec, stars)

  return of_batch


def start(student: Student, scope: str) -> PyTree:
  """Version 0: an adapter that changes nothing, always the same one for a scope."""
  return student.fresh(seed_of(scope, 0, []))


def step(
  student: Student, state: PyTree, base: PyTree | None, found: Sequence[Any], batch: Batch
) -> tuple[PyTree, Outcome]:
  """One step of the fold: the State after a batch. What was refused before goes a shorter way."""
  outcome = student.learn(state, base, found, batch.rng_seed, shared=batch.scope == GLOBAL)
  way = WAYS[min(batch.attempt, len(WAYS) - 1)]
  if outcome.rejected or way == 1:
    return outcome.state, outcome
  part = lambda a, b: a + np.asarray(way, a.dtype) * (b - a)
  adapter = jax.tree.map(part, state['adapter'], outcome.state['adapter'])
  return {**outcome.state, 'adapter': adapter}, outcome


def infinite(tree: PyTree) -> bool:
  """Whether there is a number in a pytree that is none."""
  return not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


class Rebuild:
  """Folds the ledger again, as if some users had never given feedback.

  Users who were erased count as excluded: what they said is gone. Personal adapters are learned
  over global versions, and those are folded again without the excluded users too.
  """

  def __init__(
    self, store: Store, student: Student, lessons: Lessons, exclude_users: Collection[str] = ()
  ):
    self.store, self.student, self.lessons = store, student, lessons
    erased = (user.id for user in store.users.all() if user.deleted_us is not None)
    self.excluded = {*exclude_users, *erased}
    self.bases: dict[int, PyTree] = {}

  def history(self, scope: str, version: int | None = None) -> list[Batch]:
    """The batches without the excluded users', those that have nothing new left out, numbered and
    seeded as if there had been no others. The same as the ledger's where nobody is excluded."""
    kept: list[Batch] = []
    dropped = changed = 0
    for batch in self.store.versions.history(scope, version=version):
      items = tuple(item for item in batch.items if item.event.user_id not in self.excluded)
      changed += len(items) < len(batch.items)
      if not new(items):
        dropped += 1
        continue
      kept.append(renumbered(batch, items, batch.version - dropped) if changed else batch)
    return kept

  def states(self, scope: str, batches: Sequence[Batch]) -> Iterator[PyTree]:
    """The State after each of `batches`, from version 0."""
    state = start(self.student, scope)
    for batch in batches:
      if found := self.lessons(batch):
        state, _ = step(self.student, state, self.base(batch.base_version), found, batch)
      yield state

  def base(self, version: int) -> PyTree | None:
    """The adapter of a global version, None for 0."""
    if version and version not in self.bases:
      batches = self.history(GLOBAL, version)
      self.bases[version] = self.last(GLOBAL, batches)['adapter'] if batches else None
    return self.bases.get(version)

  def state(self, scope: str, version: int | None = None) -> PyTree:
    """The State of the live version, or of another: its bits where nobody is excluded."""
    return self.last(scope, self.history(scope, version))

  def last(self, scope: str, batches: Sequence[Batch]) -> PyTree:
    states = [start(self.student, scope)]
    for state in self.states(scope, batches):
      states = [state]
    return states[0]


def rebuild(
  store: Store,
  student: Student,
  lessons: Lessons,
  scope: str,
  exclude_users: Collection[str] = (),
  version: int | None = None,
) -> PyTree:
  """The State of a scope's live version, or of another, folded again from version 0.

  Equal to it bit for bit where nobody is excluded; else to that of a run of the same batches which
  never saw the excluded users' events.
  """
  return Rebuild(store, student, lessons, exclude_users).state(scope, version)


def new(items: Sequence[Item]) -> list[int]:
  """The seqs that are not replayed."""
  return [item.event.seq for item in items if item.role != 'replay']


def renumbered(batch: Batch, items: tuple[Item, ...], version: int) -> Batch:
  seed = seed_of(batch.scope, version, new(items))
  return dataclasses.replace(batch, items=items, version=version, rng_seed=seed)


def line(batches: Sequence[Batch], first: int) -> list[Batch]:
  """The batches as a new line of versions from number `first` on; seeds stay, so the fold does."""
  numbers = range(first, first + len(batches))
  return [
    dataclasses.replace(batch, id=uuid7(), version=number, parent_version=number - 1 if at else 0)
    for at, (batch, number) in enumerate(zip(batches, numbers, strict=True))
  ]
