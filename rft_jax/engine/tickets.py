"""A request on its way through the engine, and its two kinds of readers: coroutines and threads."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from rft_jax.engine.codec import Codec, Stream
from rft_jax.engine.protocol import EngineError, Piece, Request, Token

Told = Piece | EngineError | None


class Ticket:
  """What the engine knows of one request. Its reader is told, in the engine's thread: None once it
  is admitted, then pieces up to the one with a finish_reason; an EngineError is the last.

  limit: how many tokens it may have; versions: (global, personal), fixed at admission.
  """

  def __init__(self, request: Request, prompt_ids: Sequence[int], limit: int, codec: Codec):
    self.request, self.prompt_ids, self.limit = request, tuple(prompt_ids), limit
    self.codec, self.said = codec, Transcript(codec, request.stop)
    self.tell: Callable[[Told], None] = lambda told: None
    self.withdraw: Callable[[], None] = lambda: None
    self.versions: tuple[int, int] = (0, 0)
    self.group = request.group or id(self)
    self.tokens = 0
    self.cancelled = False

  def cancel(self) -> None:
    """From any thread."""
    if not self.cancelled:
      self.cancelled = True
      self.withdraw()

  def hear(
    self, ids: np.ndarray, logps: np.ndarray, top: tuple[np.ndarray, np.ndarray] | None = None
  ) -> Piece:
    """The piece that these tokens [n] make; those behind the end are left out. top: the likeliest
    at each place and their log-probabilities [n,T], for those who asked."""
    text, tokens, reason = '', [], None
    for place, (id, logp) in enumerate(zip(ids.tolist(), logps.tolist(), strict=True)):
      new, ended = self.said.push(id)
      text += new
      others = self._likeliest(top[0][place], top[1][place]) if top and self.request.top else ()
      tokens.append(self._token(id, logp)._replace(top=others))
      self.tokens += 1
      if ended or self.tokens == self.limit:
        reason = 'stop' if ended else 'length'
        text += self.said.flush()
        break
    return Piece(text, tuple(tokens), reason)

  def _token(self, id: int, logp: float) -> Token:
    return Token(id, logp, self.codec.token_text(id), self.codec.token_bytes(id))

  def _likeliest(self, ids: np.ndarray, logps: np.ndarray) -> tuple[Token, ...]:
    """As many as were asked for, of those that could have been sampled."""
    pairs = list(zip(ids.tolist(), logps.tolist(), strict=True))[: self.request.top]
    return tuple(self._token(id, logp) for id, logp in pairs if math.isfinite(logp))


class Transcript:
  """The text of an answer up to the first text that it stops at, the ends of turns among them; what
  may yet become one is held back."""

  def __init__(self, codec: Codec, stop: Sequence[str]):
    self.codec, self.stop = codec, [*codec.ends, *filter(None, stop)]
    self.stream, self.held, self.ended = Stream(codec), '', False

  def push(self, id: int) -> tuple[str, bool]:
    """The text that became certain, and whether the answer ends here."""
    text = self._grown(self.stream.push(id))
    if id not in self.codec.stop:
      return text, self.ended
    return text + self.flush(), True

  def flush(self) -> str:
    """What was held back, at the end."""
    text = self._grown(self.stream.flush()) + self.held
    self.held = ''
    return text

  def _grown(self, text: str) -> str:
    if self.ended:
      return ''
    text = self.held + text
    found = [text.index(stop) for stop in self.stop if stop in text]
    if found:
      self.ended, self.held = True, ''
      return text[: min(found)]
    sure = len(text) - max((_overlap(text, stop) for stop in self.stop), default=0)
    self.held = text[sure:]
    return text[:sure]


def _overlap(text: str, stop: str) -> int:
  """How many characters at the end of the text begin the stop string."""
  longest = min(len(stop) - 1, len(text))
  return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class Reader:
  """`protocol.Answer` for a coroutine of the loop that made it."""

  def __init__(self, ticket: Ticket):
    self.ticket, self.loop = ticket, asyncio.get_running_loop()
    self.queue: asyncio.Queue[Told] = asyncio.Queue()
    ticket.tell = self.tell

  @property
  def prompt_ids(self) -> tuple[int, ...]:
    return self.ticket.prompt_ids

  @property
  def global_version(self) -> int:
    return self.ticket.versions[0]

  @property
  def personal_version(self) -> int:
    return self.ticket.versions[1]

  def tell(self, told: Told) -> None:
    try:
      self.loop.call_soon_threadsafe(self.queue.put_nowait, told)
    except RuntimeError:  # The loop is closed: nobody reads any more.
      self.ticket.cancel()

  async def admitted(self) -> None:
    """Waits for a slot. Raises EngineError."""
    told = await self.queue.get()
    if isinstance(told, EngineError):
      raise told

  async def __aiter__(self) -> AsyncIterator[Piece]:
    while (told := await self.queue.get()) is not None:
      if isinstance(told, EngineError):
        raise told
      yield told
      if told.finish_reason:
        return

  def cancel(self) -> None:
    self.ticket.cancel()
    self.tell(None)


class Completed(NamedTuple):
  """A whole answer."""

  text: str
  ids: tuple[int, ...]
  logps: tuple[float, ...]
  finish_reason: str
  prompt_ids: tuple[int, ...]
  global_version: int
  personal_version: int


class Collector:
  """For a thread that waits for the whole answer; `done` is called when there is one, or none."""

  def __init__(self, ticket: Ticket, done: Callable[[], object]):
    self.ticket, self.done = ticket, done
    self.pieces: list[Piece] = []
    self.answer: Future[Completed] = Future()
    ticket.tell = self.tell

  def tell(self, told: Told) -> None:
    if isinstance(told, Piece):
      self.pieces.append(told)
      if told.finish_reason:
        self.answer.set_result(self.completed(told.finish_reason))
        self.done()
    elif isinstance(told, EngineError):
      self.answer.set_exception(told)
      self.done()

  def completed(self, finish_reason: str) -> Completed:
    tokens = [token for piece in self.pieces for token in piece.tokens]
    return Completed(
      ''.join(piece.text for piece in self.pieces),
      tuple(token.id for token in tokens),
      tuple(token.logp for token in tokens),
      finish_reason,
      self.ticket.prompt_ids,
      *self.ticket.versions,
    )
