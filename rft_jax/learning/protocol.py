"""What the server needs from the learner that teaches the model."""

from typing import Protocol

from rft_jax.feedback.records import Receipt


class Learner(Protocol):
  """It reads the ledger itself; the server only wakes it, and asks for what moves served weights.

  It keeps `store.versions.served`, the `reflection` series of `store.samples`, and the metrics of
  training up to date.
  """

  def notify(self, receipt: Receipt) -> None:
    """Feedback was given or taken back, durably. Called in the event loop: must not block."""

  async def reset(self, user_id: str) -> None:
    """Back to no personal adapter; what it had learned never teaches it again."""

  async def export(self, user_id: str) -> bytes | None:
    """The personal adapter as safetensors with PEFT names; None where there is none."""
    ...

  async def forget(self, user_id: str) -> None:
    """The store has erased this user: drop the adapter from memory and disk."""

  async def rollback(self, scope: str, version: int, reason: str, actor: str) -> list[int]:
    """By `store.versions.rollback`, then in the engine. The versions undone; LedgerError."""
    ...

  async def freeze(self, scope: str, frozen: bool, actor: str) -> None:
    """By `store.versions.freeze`."""

  async def unlearn(self, user_id: str, actor: str) -> int:
    """Everyone's model as if this user had never taught it; the version that is live then. Takes as
    long as learning it all again. LedgerError where it has learned meanwhile."""
    ...
