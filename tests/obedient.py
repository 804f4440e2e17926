"""An engine and a learner that obey: what was corrected is said from then on.

The weights of a version are a table of what it was told by question; they are folded batch by
batch, and everything around them (ledger, receipts, versions, rollback) is the real one.
"""

import asyncio
import json
from typing import Any

from echo import EchoAnswer, EchoEngine, EchoLearner

from rft_jax.feedback.records import GLOBAL, Batch, Receipt, of_user
from rft_jax.feedback.store import Store

BASE = {
  'How do I boil an egg?': 'Put it into boiling water for **eight minutes**, then into cold water.',
  'Why is the sky blue?': (
    'Sunlight is made of all colours. On its way through the air it meets molecules that are much '
    'smaller than its wavelength. They scatter short waves far more than long ones, by the fourth '
    'power of the frequency, so from every direction we see blue.'
  ),
  'Who feeds the office cat?': 'I do not know who feeds the office cat.',
}
SUGGESTIONS = (
  {
    'title': 'Teach me manners',
    'prompt': 'How do I boil an egg?',
    'hint': 'Make the answer end with a friendly wish.',
    'examples': ['Put it into boiling water for **eight minutes**, then into cold water. Enjoy!'],
  },
  {
    'title': 'Teach me to be brief',
    'prompt': 'Why is the sky blue?',
    'hint': 'Cut the answer down to one short sentence.',
    'examples': ['Air scatters blue light more than red.'],
  },
  {
    'title': 'Teach me a fact',
    'prompt': 'Who feeds the office cat?',
    'hint': 'Tell me the name; nobody told me yet.',
    'examples': [
      'I do not know who feeds the office cat.',  # It says so already.
      'Miriam feeds the office cat, every morning at nine.',
    ],
  },
)
Table = dict[str, dict[str, Any]]  # question -> kind of feedback -> its value


class ObedientEngine(EchoEngine):
  def __init__(self, slots: int = 8):
    super().__init__(slots)
    self.tables: dict[tuple[str, int], Table] = {}

  def reply(self, answer: EchoAnswer) -> str:
    said = BASE.get(answer.asked, super().reply(answer))
    scopes = {
      GLOBAL: answer.global_version,
      of_user(answer.request.user_id or ''): answer.personal_version,
    }
    for scope in scopes.items():
      told = self.tables.get(scope, {}).get(answer.asked, {})
      said = told.get('edit', {}).get('content', said)
      if 'binary' in told:
        praised = told['binary']['label']
        said = f'{said} Glad you liked that.' if praised else f'Shorter: {said[:24]}'
    return said

  def publish(self, scope: str, version: int):
    if scope == GLOBAL:
      self.live = version
    else:
      self.personal[scope.removeprefix('u:')] = version

  def global_versions(self) -> list[int]:
    return [version for scope, version in self.tables if scope == GLOBAL and version <= self.live]


class ObedientLearner(EchoLearner):
  """Learns whatever waits, one batch after the other; `step_s` is how long one takes."""

  step_s = 0.05

  def __init__(self, store: Store, engine: ObedientEngine):
    super().__init__(store, engine)
    self.engine = engine
    self.busy = asyncio.Lock()

  def notify(self, receipt: Receipt) -> None:
    self.begin(self.hear(receipt.id))

  async def hear(self, event_id: str):
    async with self.busy:
      receipt = self.store.events.receipt(event_id)
      if receipt and receipt.status == 'retracted' and receipt.applied_version:
        await self.unlearn(receipt)
      for pending in self.store.ledger.pending():
        await self.learn(pending.scope)

  async def learn(self, scope: str):
    while batch := await asyncio.wrap_future(self.store.ledger.claim(scope)):
      await asyncio.sleep(self.step_s)
      self.engine.tables[scope, batch.version] = self.fold(batch)
      metrics = {'kl_to_ref': 0.004 * batch.version}
      await asyncio.wrap_future(self.store.ledger.apply(batch, 'path', 'sha', metrics))
      self.engine.publish(scope, batch.version)
      await asyncio.wrap_future(self.store.versions.served(scope, batch.version))
      await asyncio.wrap_future(self.store.samples.add('reflection', 1.0, scope=scope))

  def fold(self, batch: Batch) -> Table:
    parent = self.engine.tables.get((batch.scope, batch.parent_version), {})
    table = {question: dict(told) for question, told in parent.items()}
    for item in batch.items:
      question = self.store.chats.path(item.event.message_id)[-2].content
      table.setdefault(question, {})[item.event.kind] = item.event.value
    return table

  async def unlearn(self, receipt: Receipt):
    """Back to before this event; what came after it is learned once more."""
    version = self.store.versions.get(receipt.scope, receipt.applied_version or 0)
    assert version
    await self.go_back(receipt.scope, version.parent, 'taken back', receipt.user_id, 'pending')

  async def go_back(
    self, scope: str, version: int, reason: str, actor: str, events: str, freeze: bool = False
  ) -> list[int]:
    done = self.store.versions.rollback(scope, version, reason, actor, events, freeze)
    undone = await asyncio.wrap_future(done)
    self.engine.publish(scope, version)
    return undone

  async def reset(self, user_id: str) -> None:
    await self.go_back(of_user(user_id), 0, 'reset by the user', user_id, 'quarantined')

  async def rollback(self, scope: str, version: int, reason: str, actor: str) -> list[int]:
    return await self.go_back(scope, version, reason, actor, 'quarantined', freeze=True)

  async def export(self, user_id: str) -> bytes | None:
    version = self.engine.personal.get(user_id, 0)
    return json.dumps(self.engine.tables[of_user(user_id), version]).encode() if version else None
