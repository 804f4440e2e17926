"""The requests that have a slot: they are admitted, written on, and leave. For one thread only."""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from rft_jax.engine.bank import Bank, Load
from rft_jax.engine.protocol import EngineError
from rft_jax.engine.slots import NOTHING, Device, Wish
from rft_jax.engine.tickets import Ticket
from rft_jax.feedback.records import GLOBAL, of_user
from rft_jax.models.config import ModelConfig
from rft_jax.models.transformer import Decoder
from rft_jax.types import PyTree

log = logging.getLogger(__name__)


class Batch:
  """size: slots, and tokens of each; chunk: tokens that are written between two looks."""

  def __init__(
    self,
    params: PyTree,
    config: ModelConfig,
    stop: Sequence[int],
    size: tuple[int, int],
    load: Load,
    chunk: int,
  ):
    self.device = Device(Decoder(config), params, stop, size, chunk)
    self.bank = Bank(config, load, self.device.home)
    self.tickets: dict[int, Ticket] = {}
    self.free = list(range(size[0]))[::-1]

  def admit(self, ticket: Ticket, versions: tuple[int, int]) -> None:
    """Gives it a slot, and tells it so, or what failed."""
    user = of_user(ticket.request.user_id or '')
    try:
      adapters = self.bank.get(GLOBAL, versions[0]), self.bank.get(user, versions[1])
    except Exception as error:
      return ticket.tell(_unloadable(error, ticket))
    ticket.versions = versions
    slot = self.free.pop()
    self.tickets[slot] = ticket
    try:
      bias = ticket.request.logit_bias
      self.device.prefill(slot, ticket.prompt_ids, _wish(ticket), adapters, bias)
    except Exception as error:
      return self._broken(error, [slot])
    ticket.tell(None)

  def step(self) -> None:
    """Writes on, and tells the readers."""
    active = np.zeros(self.device.count, bool)
    active[list(self.tickets)] = True
    if not active.any():
      return
    try:
      written = self.device.decode(active)
    except Exception as error:
      return self._broken(error, list(self.tickets))
    for slot, ticket in list(self.tickets.items()):
      new = written.count[slot]
      self._heard(slot, ticket, *(part[slot, :new] for part in (written[:2] + written[3:])))

  def sweep(self) -> None:
    """Frees the slots of those who were cancelled."""
    for slot, ticket in list(self.tickets.items()):
      if ticket.cancelled:
        self._leave(slot)

  def end(self, error: EngineError, slots: Sequence[int] | None = None) -> None:
    """Those in these slots fail, by default all."""
    for slot in list(self.tickets) if slots is None else slots:
      self._leave(slot).tell(error)

  def warm_up(self, progress: Callable[[int, int], None]) -> None:
    """Compiles everything; progress(done, of) after each program."""
    idle, nothing = np.zeros(self.device.count, bool), (self.bank.nothing,) * 2
    prompts = [[0] * size for size in self.device.buckets]
    steps = [
      lambda: self.device.decode(idle),
      *(lambda ids=ids: self.device.prefill(0, ids, NOTHING, nothing) for ids in prompts),
    ]
    for number, step in enumerate(steps):
      step()
      progress(number + 1, len(steps))

  def _heard(self, slot, ticket: Ticket, ids, logps, top, top_logps):
    if not np.isfinite(logps).all():
      return self.end(EngineError("the model's probabilities are not finite"), [slot])
    piece = ticket.hear(ids, logps, (top, top_logps))
    if piece.finish_reason:
      self._leave(slot)
    ticket.tell(piece)

  def _leave(self, slot) -> Ticket:
    ticket = self.tickets.pop(slot)
    self.free.append(slot)
    return ticket

  def _broken(self, error: Exception, slots: Sequence[int]):
    """A program failed for these slots, and for all if what it was to change is lost."""
    log.error('a program of the engine failed', exc_info=error)
    everyone = len(slots) == len(self.tickets) or self.device.lost()
    if everyone:
      self.device.clear()
    self.end(EngineError('the model failed to answer'), None if everyone else slots)


def _unloadable(error: Exception, ticket: Ticket) -> EngineError:
  """Only a version that was asked for by name may be missing."""
  log.error('an adapter cannot be loaded', exc_info=error)
  if ticket.request.version and isinstance(error, LookupError | FileNotFoundError):
    return EngineError(f'there is no version {ticket.request.version}', 404, 'model_not_found')
  return EngineError('an adapter cannot be loaded')


def _wish(ticket: Ticket) -> Wish:
  request, n = ticket.request, len(ticket.prompt_ids)
  return Wish(
    np.int32(n),
    np.int32(n + ticket.limit),
    np.uint32(request.seed % 2**32),
    np.float32(request.temperature),
    np.float32(request.top_p),
    np.int32(request.top_k),
    np.float32(request.frequency_penalty),
    np.float32(request.presence_penalty),
    np.int32(request.top),
  )
