"""The records of the store, one class per thing; each is a fact as of when it was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TRUST_PRIOR = 2.0  # of both sides of the Beta distribution


@dataclass(frozen=True)
class User:
  """`trust_a` and `trust_b` are the parameters of a Beta posterior of being right.

  keyed: a key is this user's own, or an application's key names them, so that who shares their
  address is somebody else; spoke_us, origin: of the last feedback, the latter as in Event.
  """

  id: str
  display: str = ''
  staff: bool = False
  trust_a: float = TRUST_PRIOR
  trust_b: float = TRUST_PRIOR
  state: str = 'active'  # active | muted (own adapter only) | blocked
  share_global: bool = True
  created_us: int = 0
  deleted_us: int | None = None
  keyed: bool = False
  spoke_us: int = 0
  origin: str | None = None

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
  """A node of a conversation's tree. `branch_idx` counts its elder siblings, and is the store's.

  Of a question: `raw` where the model read it alone and without a template; `corrections`: the
  edits (their seq) that the model read in place of its own answers above.
  """

  id: str
  conversation_id: str
  parent_id: str | None
  role: str
  content: str
  created_us: int = 0
  branch_idx: int = 0
  raw: bool = False
  corrections: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Generation:
  """How an answer came about: the exact tokens that were served, and who served them.

  prompt_ids i32[P], completion_ids i32[T], logp f32[T] (of the distribution that was sampled from:
  the policy at its temperature, after penalties, logit_bias, top_k and top_p), versions u32[T] only
  where the tokens of one answer have several global versions.
  dropped: so many of the oldest messages the prompt left out, because they did not fit.
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
  frequency_penalty: float = 0.0
  presence_penalty: float = 0.0
  logit_bias: Mapping[int, float] = field(default_factory=dict)
  dropped: int = 0


@dataclass(frozen=True)
class Event:
  """One feedback as it was given. `intent` identifies the whole context up to spelling, `direction`
  what the feedback asks for, and of which answer: with both, people agree. `origin` is a hash of
  the sender's address block."""

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
  """An event of a batch, with the generations it speaks of (None where they were erased).

  text_only: what the user wrote is taught, and nothing about the answer that it replaces, since
  only its author gets such answers. question: what the user had asked, '' where not known."""

  event: Event
  role: str  # new | again (learned, but not said yet) | replay
  weight: float
  ref_logp: float | None
  generation: Generation | None
  other: Generation | None
  text_only: bool = False
  question: str = ''


@dataclass(frozen=True)
class Batch:
  """What one update of a scope learns from; `version` is the number that its result will have.

  `base_version`: the global adapter under a personal one, fixed with the claim; 0 for the global.
  attempt: how many candidates of the same wish were refused before; held: questions and answers
  that have to stay as they are beside it, as have the answers `beside`, which users got.
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
  attempt: int = 0
  held: tuple[tuple[str, str], ...] = ()
  beside: tuple[Generation, ...] = ()


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
  """Where a feedback is on its way into a scope; the times are milliseconds spent in each stage.

  everyone: the same for the model that answers everybody: held, accepted, learned, quarantined,
  rejected, rolled_back, or '' where its author does not share it.
  """

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
  everyone: str = ''
  everyone_reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Supporter:
  """Who stands for a wish. origin: equal for those who count once; state: of the event for all."""

  user_id: str
  display: str
  trust: float
  young: bool
  origin: str
  event_id: str
  seq: int
  state: str
  reasons: tuple[str, ...]
  text: str
  given_us: int


@dataclass(frozen=True)
class Agreement:
  """What people want of everyone's model, and how far it has come.

  question, answer: texts of the newest event's; other: of the answer that it was compared with;
  text: what was written (an edit, a critique), else ''. people, against: how many independent ones
  are for it and against it; needed: as many must agree today. authors: the first of n_authors.
  """

  id: int
  intent: str
  direction: str
  kind: str
  state: str  # held | accepted | quarantined | rejected
  reasons: tuple[str, ...]
  system: str
  question: str
  answer: str
  other: str
  text: str
  authors: tuple[Supporter, ...]
  people: int
  against: int
  needed: int
  first_us: int
  last_us: int
  accepted_us: int | None
  applied_version: int | None
  n_authors: int

  @property
  def seqs(self) -> list[int]:
    return [author.seq for author in self.authors]

  @property
  def cursor(self) -> int:
    """Where the next page begins: `before` of `Agreements.page`."""
    return self.id


def of_user(user_id: str) -> str:
  """The scope of a user's own adapter."""
  return f'u:{user_id}'


GLOBAL = 'global'
