"""The engine that answers: one thread writes on all answers at once, and takes new adapters in
between."""

import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future

import jax

from rft_jax.engine.bank import Load
from rft_jax.engine.batch import Batch
from rft_jax.engine.codec import Codec
from rft_jax.engine.loop import Loop
from rft_jax.engine.protocol import EngineError, Request
from rft_jax.engine.routes import Routes
from rft_jax.engine.slots import BIASES
from rft_jax.engine.tickets import Collector, Completed, Reader, Ticket
from rft_jax.feedback.records import GLOBAL
from rft_jax.models.config import ModelConfig
from rft_jax.registry import ConfigError
from rft_jax.types import PyTree

QUEUE = 4
"""So many requests per slot may wait."""


class SlotEngine:
  """Implements `protocol.Engine`. Its methods may be called from any thread.

  params: of a policy; its adapters, if any, are passed over. config: `lora.adapters` of what was
  learned are kept on the device. slots: answers that are written at once, each with `context`
  tokens of prompt and answer together. routes: what is live to begin with. chunk: tokens between
  two looks at the queue, 0 for 4 on CPUs and 8 elsewhere. Raises ConfigError for what cannot work.
  """

  def __init__(
    self,
    params: PyTree,
    config: ModelConfig,
    codec: Codec,
    slots: int,
    context: int,
    load: Load,
    routes: Routes | None = None,
    chunk: int = 0,
  ):
    if config.lora is None:
      raise ConfigError('what is served learns through adapters: set model.lora.rank')
    longest = config.longest or config.max_position_embeddings
    if 0 < longest < context:
      raise ConfigError(
        f'context={context} is more than the {longest} tokens that the model was made for'
      )
    chunk = chunk or (4 if jax.default_backend() == 'cpu' else 8)
    self.codec, self.slots, self.context = codec, slots, context
    self.routes, self.warm = routes or Routes(), False
    self.batch = Batch(params, config, codec.stop, (slots, context), load, chunk)
    self.loop = Loop(self.batch, lambda r: self.routes.asked(r.user_id, r.version))

  @property
  def ready(self) -> bool:
    return self.warm and self.loop.open

  @property
  def slots_busy(self) -> int:
    return sum(not ticket.cancelled for ticket in list(self.batch.tickets.values()))

  def rows(self) -> dict[str, int]:
    """How many adapters are kept on the device, and for how many more there is room."""
    kept = len(self.batch.bank.kept)
    return {'kept': kept, 'free': self.batch.bank.room - kept}

  def versions(self, user_id: str | None) -> tuple[int, int]:
    return self.routes.versions(user_id)

  def global_versions(self) -> list[int]:
    return self.routes.global_versions()

  async def submit(self, request: Request) -> Reader:
    ticket = self._ticket(request)
    reader = Reader(ticket)
    self.loop.enqueue(ticket, QUEUE * self.slots)
    try:
      await reader.admitted()
    except BaseException:
      ticket.cancel()
      raise
    return reader

  def spell(self, ids: Sequence[int]) -> str:
    return self.codec.spell(ids)

  def generate(self, requests: Sequence[Request]) -> list[Completed]:
    """Blocks until all are answered; not for the event loop. They take at most half of the slots at
    a time, so that users find room. Raises EngineError."""
    room = threading.Semaphore(max(1, self.slots // 2))
    collectors = [Collector(self._ticket(request), room.release) for request in requests]
    for collector in collectors:
      room.acquire()
      self.loop.enqueue(collector.ticket)
    return [collector.answer.result() for collector in collectors]

  def publish(self, scope: str, version: int, adapter: PyTree | None = None) -> Future[None]:
    """This version is what the scope's next requests get, 0: none. Resolves once that is so. Fails
    with what `load` raises, and with ValueError for an adapter that does not fit."""
    return self.loop.order(lambda: self._publish(scope, version, adapter))

  def stage_canary(self, version: int, share: float) -> Future[None]:
    """Such a share of the users gets this global version in place of the live one; 0 ends the
    trial. Resolves and fails like `publish`."""
    return self.loop.order(lambda: self._stage(version, share))

  def offer(self, versions: Iterable[int]) -> Future[None]:
    """Requests may pin these global versions, besides what is live or on trial, and no others."""
    named = frozenset(versions)
    return self.loop.order(lambda: self._route(named=named))

  def drop(self, scope: str) -> Future[None]:
    """Forgets a user's adapters: none is live from here on."""
    return self.loop.order(lambda: self._drop(scope))

  def start(self) -> None:
    self.loop.thread.start()

  def warm_up(self, progress: Callable[[int, int], None] = lambda done, of: None) -> None:
    """Compiles everything; then the engine is ready. Blocks; call `start` before.

    progress(done, of) is called after each program.
    """
    self.loop.order(lambda: self.batch.warm_up(progress)).result()
    self.warm = True

  def stop(self, patience: float = 30.0) -> None:
    """Takes on no more requests, and finishes those it has within so many seconds."""
    self.loop.stop(patience)

  def _ticket(self, request: Request) -> Ticket:
    if not self.ready:
      raise EngineError('the model is not ready yet', 503, 'not_ready')
    self.routes.asked(request.user_id, request.version)
    self._check_bias(request.logit_bias)
    if request.prompt is None:
      ids = self.codec.prompt(request.messages)
    else:
      ids = self.codec.raw(request.prompt)
    room, spare = self.context - len(ids), min(request.spare, request.max_tokens, self.context // 2)
    if room < max(1, spare):
      raise EngineError(
        f'a prompt of {len(ids)} tokens and an answer of at least one do not fit into a context of '
        f'{self.context} and max_tokens={request.max_tokens}',
        400,
        'context_length_exceeded',
        fits=max(0, self.context - spare) / len(ids),
      )
    return Ticket(request, ids, min(room, request.max_tokens), self.codec)

  def _check_bias(self, bias: Mapping[int, float]):
    count = self.batch.device.decoder.config.vocab_size
    if strange := [id for id in bias if not 0 <= id < count]:
      message = f'logit_bias has the token {strange[0]}, the model has {count}'
    elif len(bias) > BIASES:
      message = f'logit_bias has {len(bias)} tokens, the most are {BIASES}'
    else:
      return
    raise EngineError(message, 400, 'invalid_value', 'logit_bias')

  def _publish(self, scope: str, version: int, adapter: PyTree | None):
    self._seat(scope, version, adapter)
    self.routes = self.routes.published(scope, version)

  def _seat(self, scope: str, version: int, adapter: PyTree | None = None):
    if adapter is not None:
      self.batch.bank.put(scope, version, adapter)
    elif version:
      self.batch.bank.get(scope, version)

  def _stage(self, version: int, share: float):
    if share:
      self._seat(GLOBAL, version)
    self._route(canary=(version, share) if share else None)

  def _drop(self, scope: str):
    self.routes = self.routes.published(scope, 0)
    self.batch.bank.drop(scope)

  def _route(self, **changes):
    self.routes = dataclasses.replace(self.routes, **changes)
