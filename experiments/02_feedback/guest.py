"""One user's way to a server: plain HTTP, as any client would."""

import time
from typing import Any, NamedTuple

import httpx

from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.receipts import ENDED

PATIENCE = 300.0  # seconds
SHOWN_MS = 1500


class Answer(NamedTuple):
  """What a guest got; version: (global, personal)."""

  text: str
  message_id: str
  conversation_id: str
  version: tuple[int, int]


class Guest:
  """`key`: an API key; without one the server gives it a cookie, and so a new user. `address`: that
  a proxy says they have."""

  def __init__(self, url: str, key: str = '', address: str = ''):
    headers = {'Authorization': f'Bearer {key}'} if key else {}
    headers |= {'X-Forwarded-For': address} if address else {}
    self.client = httpx.Client(base_url=url, headers=headers, timeout=PATIENCE)
    self.receipts: list[dict] = []
    if not key:
      self.client.get('/').raise_for_status()

  def ask(
    self,
    prompt: str,
    n: int = 1,
    model: str = 'rft',
    temperature: float = 1.0,
    note: str = '',
    after: Answer | None = None,
    seed: int | None = None,
  ) -> list[Answer]:
    """n answers, at most 4. note: a system prompt. after: the answer that the prompt follows."""
    said = [dict(role='user', content=prompt)]
    messages = [dict(role='system', content=note), *said] if note else said
    body: dict[str, Any] = dict(model=model, messages=messages, n=n, temperature=temperature)
    if seed is not None:
      body['seed'] = seed
    if after:
      body['metadata'] = dict(parent_message_id=after.message_id)
    return read(self.call('POST', '/v1/chat/completions', body))

  def judge(self, answer: Answer, kind: str, value: dict, **more) -> dict:
    """Gives feedback; its receipt at once."""
    target = dict(message_id=answer.message_id)
    body = dict(id=uuid7(), target=target, kind=kind, value=value, shown_ms=SHOWN_MS)
    receipt = self.call('POST', '/v1/feedback', body | more)
    self.receipts.append(receipt)
    return receipt

  def settled(self, receipt: dict, pause: float = 0.05) -> dict:
    """The receipt once nothing more will happen to it, asked for every `pause` seconds. Raises
    TimeoutError after PATIENCE."""
    end = time.monotonic() + PATIENCE
    while receipt['status'] not in ENDED:
      if time.monotonic() > end:
        raise TimeoutError(f'feedback {receipt["id"]} is still {receipt["status"]}')
      time.sleep(pause)
      receipt = self.call('GET', f'/v1/feedback/{receipt["id"]}')
    return receipt

  def settle(self) -> list[dict]:
    """All receipts of this guest, settled."""
    self.receipts = [self.settled(receipt) for receipt in self.receipts]
    return self.receipts

  def call(self, method: str, path: str, body: dict | None = None) -> dict:
    """Waits where the server says that it is too early; raises for any other failure."""
    while True:
      response = self.client.request(method, path, json=body)
      if response.status_code != 429:
        break
      time.sleep(float(response.headers.get('Retry-After', 1)))
    if response.is_error:
      raise RuntimeError(f'{method} {path}: {response.status_code} {response.text[:300]}')
    return response.json()

  def close(self):
    self.client.close()


def read(found: dict) -> list[Answer]:
  rft = found['rft']
  ids = [one['message_id'] for one in rft.get('choices', [rft])]
  version = rft['version']['global'], rft['version']['personal']
  return [
    Answer(choice['message']['content'], message_id, rft['conversation_id'], version)
    for choice, message_id in zip(found['choices'], ids, strict=True)
  ]
