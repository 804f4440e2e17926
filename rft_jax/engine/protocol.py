"""What the server needs from the engine that answers.

The server knows no tokenizer and no arrays: an engine takes messages and gives text with token ids.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class ChatMessage(NamedTuple):
  role: str  # system | user | assistant
  content: str


@dataclass(frozen=True)
class Request:
  """One answer that is wanted. Exactly one of `messages` and `prompt` (raw text) is given.

  `user_id` names the personal adapter, None for none; `version` pins a global version, 0 is the
  model without adapters, None is what is live at admission. `spare`: tokens of an answer that there
  must be room for, as far as `max_tokens` and half of the context allow.
  """

  id: str
  messages: tuple[ChatMessage, ...] = ()
  prompt: str | None = None
  user_id: str | None = None
  version: int | None = None
  max_tokens: int = 256
  temperature: float = 1.0
  top_p: float = 1.0
  top_k: int = 0  # 0: all
  seed: int = 0
  stop: tuple[str, ...] = ()
  frequency_penalty: float = 0.0  # taken off a logit for each time that the answer has the token
  presence_penalty: float = 0.0  # the same once, where it has it at all
  logit_bias: Mapping[int, float] = field(default_factory=dict)  # token id -> added to its logit
  top: int = 0  # so many of the likeliest tokens are told with each token
  group: str = ''  # of answers that are wanted together: they take one place in the queue
  spare: int = 1


class Token(NamedTuple):
  """`logp`: of the distribution that it was sampled from, which is the policy at its temperature,
  after biases, penalties, top_k and top_p. What follows serves the `logprobs` of an answer only:
  `text` may be a part of a letter, `spelled` are its bytes (None: those of `text`), `top` are the
  likeliest tokens at this place."""

  id: int
  logp: float
  text: str = ''
  spelled: bytes | None = None
  top: tuple['Token', ...] = ()

  @property
  def bytes(self) -> bytes:
    return self.text.encode('utf-8', 'replace') if self.spelled is None else self.spelled


class Piece(NamedTuple):
  """A part of an answer. The last one, and only that, has a finish_reason: stop or length.

  Text that may turn out to be part of a stop string, or half a letter, is held back; so pieces may
  have tokens without text.
  """

  text: str
  tokens: tuple[Token, ...] = ()
  finish_reason: str | None = None


class Answer(Protocol):
  """An admitted request: versions are fixed from here on. Iterating gives its pieces once; a reader
  may be slow, the engine buffers. Iteration raises EngineError where generation fails."""

  @property
  def prompt_ids(self) -> tuple[int, ...]: ...

  @property
  def global_version(self) -> int: ...

  @property
  def personal_version(self) -> int: ...

  def __aiter__(self) -> AsyncIterator[Piece]: ...

  def cancel(self) -> None:
    """Frees the slot at once; who iterates gets no more. Idempotent, also after the end."""


class EngineError(Exception):
  """The engine cannot do this. `status`: 400 (prompt too long), 404 (unknown version), 429 (queue
  full), 503 (not ready), 500. `fits`: the share of a too long prompt that there is room for, 1 if
  unknown."""

  def __init__(
    self,
    message: str,
    status: int = 500,
    code: str | None = None,
    param: str | None = None,
    fits: float = 1.0,
  ):
    super().__init__(message)
    self.message, self.status, self.code, self.param = message, status, code, param
    self.fits = fits


class Engine(Protocol):
  @property
  def ready(self) -> bool:
    """Whether everything is compiled and loaded."""
    ...

  @property
  def slots_busy(self) -> int: ...

  async def submit(self, request: Request) -> Answer:
    """Waits for a slot. Raises EngineError; cancelling the call gives the place in the queue up."""
    ...

  def spell(self, ids: Sequence[int]) -> str:
    """The text of token ids, special ones included. Raises EngineError 400 for ids of no token."""
    ...

  def versions(self, user_id: str | None) -> tuple[int, int]:
    """(global, personal) version that this user is answered by now."""
    ...

  def global_versions(self) -> list[int]:
    """What `rft@vN` can name."""
    ...
