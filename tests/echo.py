"""An engine and a learner for tests of the server: it answers with what it was told."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from rft_jax.engine.protocol import EngineError, Piece, Request, Token
from rft_jax.feedback.records import Receipt, of_user
from rft_jax.feedback.store import Store


class EchoAnswer:
  """Says `You said: ...` word by word, and waits at each while the engine is paused."""

  def __init__(self, engine: 'EchoEngine', request: Request):
    self.engine, self.request = engine, request
    self.prompt_ids = tuple(range(len(request.messages) or 1))
    self.global_version = engine.live if request.version is None else request.version
    self.personal_version = engine.personal.get(request.user_id or '', 0)
    self.words = engine.reply(self).split(' ')
    self.ended = False

  @property
  def asked(self) -> str:
    request = self.request
    return request.messages[-1].content if request.prompt is None else request.prompt

  async def __aiter__(self) -> AsyncIterator[Piece]:
    for number, word in enumerate(self.words[: self.request.max_tokens]):
      while not self.engine.going.is_set() and not self.ended:
        await asyncio.sleep(0.01)
      await asyncio.sleep(self.engine.word_s)
      if self.ended:
        return
      if number == self.engine.fail_at:
        raise EngineError('the engine broke', 500)
      text = word if number == 0 else f' {word}'
      yield Piece(text, (Token(len(word), -0.5, text),))
    whole = len(self.words) <= self.request.max_tokens
    self.cancel()
    yield Piece('', (), 'stop' if whole else 'length')

  def cancel(self):
    if not self.ended:
      self.ended = True
      self.engine.slots_busy -= 1


class EchoEngine:
  ready = True
  word_s = 0.0  # per word
  context = 0  # words of a prompt and an answer together, 0: any

  def __init__(self, slots: int = 8):
    self.slots, self.slots_busy, self.live, self.fail_at = slots, 0, 0, -1
    self.personal: dict[str, int] = {}
    self.requests: list[Request] = []
    self.going = asyncio.Event()
    self.going.set()
    self.loop: asyncio.AbstractEventLoop | None = None

  async def submit(self, request: Request) -> EchoAnswer:
    if request.version not in (None, 0, *self.global_versions()):
      raise EngineError('this version is gone', 404, 'model_not_found')
    self.check_length(request)
    if self.slots_busy >= self.slots:
      raise EngineError('the queue is full', 429, 'queue_full')
    self.loop = asyncio.get_running_loop()
    self.slots_busy += 1
    self.requests.append(request)
    return EchoAnswer(self, request)

  def check_length(self, request: Request):
    words = sum(len(message.content.split()) for message in request.messages)
    spare = min(request.spare, request.max_tokens, self.context // 2)
    if self.context and self.context - words < max(1, spare):
      fits = max(0, self.context - spare) / words
      raise EngineError(f'{words} words do not fit', 400, 'context_length_exceeded', fits=fits)

  def reply(self, answer: EchoAnswer) -> str:
    return f'You said: {answer.asked}'

  def spell(self, ids: Sequence[int]) -> str:
    return ' '.join(map(str, ids))

  def pause(self):
    """From any thread: answers come to a halt before their next word."""
    self.going.clear()

  def resume(self):
    if self.loop and not self.loop.is_closed():
      self.loop.call_soon_threadsafe(self.going.set)

  def versions(self, user_id: str | None) -> tuple[int, int]:
    return self.live, self.personal.get(user_id or '', 0)

  def global_versions(self) -> list[int]:
    return list(range(1, self.live + 1))


class EchoLearner:
  """Learns at once, without weights, where `learning`; else it only takes notes."""

  def __init__(self, store: Store, engine: EchoEngine):
    self.store, self.engine = store, engine
    self.noted: list[Receipt] = []
    self.learning = False
    self.tasks: set[asyncio.Task] = set()

  def notify(self, receipt: Receipt) -> None:
    self.noted.append(receipt)
    if self.learning:
      self.begin(self.learn(receipt.scope))

  def begin(self, work: Coroutine[Any, Any, None]):
    task = asyncio.ensure_future(work)
    self.tasks.add(task)
    task.add_done_callback(self.tasks.discard)

  async def learn(self, scope: str):
    batch = await asyncio.wrap_future(self.store.ledger.claim(scope))
    if batch:
      await asyncio.wrap_future(self.store.ledger.apply(batch, 'path', 'sha', {'kl_to_ref': 0.1}))
      self.engine.personal[scope.removeprefix('u:')] = batch.version
      await asyncio.wrap_future(self.store.versions.served(scope, batch.version))

  async def reset(self, user_id: str) -> None:
    await self.rollback(of_user(user_id), 0, 'reset by the user', user_id)

  async def export(self, user_id: str) -> bytes | None:
    return b'weights' if self.engine.personal.get(user_id) else None

  async def forget(self, user_id: str) -> None:
    self.engine.personal.pop(user_id, None)

  async def rollback(self, scope: str, version: int, reason: str, actor: str) -> list[int]:
    done = self.store.versions.rollback(scope, version, reason, actor)
    undone = await asyncio.wrap_future(done)
    self.engine.personal[scope.removeprefix('u:')] = version
    return undone

  async def freeze(self, scope: str, frozen: bool, actor: str) -> None:
    await asyncio.wrap_future(self.store.versions.freeze(scope, frozen, actor))

  async def unlearn(self, user_id: str, actor: str) -> int:
    self.unlearned = user_id
    return self.store.versions.state('global').live_version
