"""The records of the store, one class per thing; each is a fact as of when it was read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

TRUST_PRIOR = 2.0  # of both sides of the Beta distribution


@dataclass(frozen=True)
class User:
  """`trust_a` and `trust_b` are the parameters of a Beta posterior of being right."""

  id: str
  display: str = ''
  staff: bool = False
  trust_a: float = TRUST_PRIOR
  trust_b: float = TRUST_PRIOR
  state: str = 'active'  # active | muted (own adapter only) | blocked
  share_global: bool = True
  created_us: int = 0
  deleted_us: int | None = None

  @property
  def trust(self) -> float:
    """The mean of the posterior, .5 at the start."""
    return self.trust_a / (self.trust_a + self.trust_b)


@dataclass(frozen=True)
class ApiKey:
  """The hash of a key, never the key. `scopes`: words of chat, feedback, admin with spaces."""

  id: str
  user_id: str
  sha256: str
  scopes: str
  created_us: int = 0
  revoked_us: int | None = None
  last_used_us: int | None = None


@dataclass(frozen=True)
class Conversation:
  id: str
  user_id: str
  title: str = ''
  system_prompt: str = ''
  created_us: int = 0
  deleted_us: int | None = None


@dataclass(frozen=True)
class Message:
  """A node of a conversation's tree. `branch_idx` counts its elder siblings, and is the store's."""

  id: str
  conversation_id: str
  parent_id: str | None
  role: str
  content: str
  created_us: int = 0
  branch_idx: int = 0


@dataclass(frozen=True, eq=False)
class Generation:
  """How an answer came about: the exact tokens that were served, and who served them.

  prompt_ids i32[P], completion_ids i32[T], logp f32[T] (under the policy that sampled, at its
  temperature), versions u32[T] only where the tokens of one answer have several global versions.
  """

  message_id: str
  request_id: str
  global_version: int
  personal_version: int
  prompt_ids: np.ndarray
  completion_ids: np.ndarray
  logp: np.ndarray
  finish_reason: str  # stop | length | abort | error
  adapter_user: str | None = None
  versions: np.ndarray | None = None
  temperature: float = 1.0
  top_p: float = 1.0
  top_k: int = 0
  seed: int = 0
  pair_group: str | None = None
  pair_side: str | None = None
  ttft_us: int = 0
  total_us: int = 0


@dataclass(frozen=True)
class Event:
  """One feedback as it was given. `intent` identifies the prompt up to spelling, `direction` what
  the feedback asks for; both serve the quorum. `origin` is a hash of the sender's address block."""

  seq: int
  id: str
  payload_sha256: str
  user_id: str
  message_id: str
  other_message_id: str | None
  kind: str
  value: dict[str, Any]
  comment: str
  tags: tuple[str, ...]
  source: str
  recv_us: int
  durable_us: int
  shown_ms: int | None
  intent: str
  direction: str
  origin: str | None
  global_version: int
  personal_version: int


@dataclass(frozen=True)
class Item:
  """An event of a batch, with the generations it speaks of (None where they were erased), and what
  the user had asked, '' where that is not known."""

  event: Event
  role: str  # new | replay
  weight: float
  ref_logp: float | None
  generation: Generation | None
  other: Generation | None
  question: str = ''


@dataclass(frozen=True)
class Batch:
  """What one update of a scope learns from; `version` is the number that its result will have.

  `base_version`: the global adapter under a personal one, fixed with the claim; 0 for the global.
  """

  id: str
  scope: str
  parent_version: int
  version: int
  rng_seed: int
  config_sha: str
  status: str
  claimed_us: int
  items: tuple[Item, ...]
  base_version: int = 0


@dataclass(frozen=True)
class Version:
  """An adapter of a scope. Version 0 is the model without one, and has no record."""

  scope: str
  version: int
  parent: int
  batch_id: str
  path: str
  sha256: str
  status: str  # canary | live | retired | rolled_back
  metrics: dict[str, Any]
  created_us: int
  published_us: int | None
  first_served_us: int | None


@dataclass(frozen=True)
class ScopeState:
  scope: str
  live_version: int = 0
  frozen: bool = False
  kl_to_ref: float = 0.0
  n_events: int = 0


@dataclass(frozen=True)
class Receipt:
  """Where a feedback is on its way into a scope; the times are milliseconds spent in each stage."""

  id: str
  seq: int | None
  kind: str
  status: str
  reasons: tuple[str, ...]
  scope: str
  message_id: str
  user_id: str
  value: dict[str, Any]
  created_us: int
  policy_version: int
  applied_version: int | None = None
  latency_ms: dict[str, float] = field(default_factory=dict)
  duplicate: bool = False
  tags: tuple[str, ...] = ()
  comment: str = ''


def of_user(user_id: str) -> str:
  """The scope of a user's own adapter."""
  return f'u:{user_id}'


GLOBAL = 'global'
