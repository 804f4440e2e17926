"""Which versions a user is answered by: live, on trial, or none."""

import dataclasses
import hashlib
from collections.abc import Mapping

from rft_jax.engine.protocol import EngineError
from rft_jax.feedback.records import GLOBAL, of_user


@dataclasses.dataclass(frozen=True)
class Routes:
  """Never changed in place, so that any thread may read them.

  live: scope -> version, no entry for none. canary: (version, share of users who get it in place of
  the live global one). holdout: share of users who are answered by the model without adapters, to
  compare with. named: further global versions that a request may pin.
  """

  live: Mapping[str, int] = dataclasses.field(default_factory=dict)
  canary: tuple[int, float] | None = None
  holdout: float = 0.0
  named: frozenset[int] = frozenset()

  def versions(self, user_id: str | None) -> tuple[int, int]:
    """(global, personal); without a user there is neither trial nor hold-out."""
    version = self.live.get(GLOBAL, 0)
    if user_id is None:
      return version, 0
    if place(user_id, 'holdout') < self.holdout:
      return 0, 0
    if self.canary and place(user_id, f'canary {self.canary[0]}') < self.canary[1]:
      version = self.canary[0]
    return version, self.live.get(of_user(user_id), 0)

  def asked(self, user_id: str | None, pinned: int | None) -> tuple[int, int]:
    """The versions for a request that may pin the global one; 0 pins the model without adapters.
    Raises EngineError 404 for a version that is not there."""
    if pinned is None:
      return self.versions(user_id)
    if pinned == 0:
      return 0, 0
    if pinned not in self.global_versions():
      raise EngineError(f'there is no version {pinned}', 404, 'model_not_found')
    return pinned, self.live.get(of_user(user_id), 0) if user_id else 0

  def global_versions(self) -> list[int]:
    """What a request may pin besides 0."""
    known = {*self.named, self.live.get(GLOBAL, 0), *(self.canary or ())[:1]}
    return sorted(int(version) for version in known if version)

  def published(self, scope: str, version: int) -> 'Routes':
    """With this version live, 0 for none. A trial of the same version has ended; the version
    before can still be pinned."""
    live = {**self.live, scope: version}
    if not version:
      del live[scope]
    if scope != GLOBAL:
      return dataclasses.replace(self, live=live)
    canary = None if self.canary and self.canary[0] == version else self.canary
    named = self.named | {self.live.get(GLOBAL, 0)}
    return dataclasses.replace(self, live=live, canary=canary, named=named)


def place(user_id: str, purpose: str) -> float:
  """Where a user stands in [0, 1): always the same, and unrelated from purpose to purpose."""
  digest = hashlib.sha256(f'{purpose}\n{user_id}'.encode()).digest()
  return int.from_bytes(digest[:7]) / 2**56
