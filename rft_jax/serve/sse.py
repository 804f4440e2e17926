"""Server-sent events, and requests whose client may leave before the end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rft_jax.serve.errors import ApiError

DONE = 'data: [DONE]\n\n'
PING = ': ping\n\n'
UNBUFFERED = {'Cache-Control': 'no-store, no-transform', 'X-Accel-Buffering': 'no'}  # by proxies
T = TypeVar('T')


def event(value: Any) -> str:
  return f'data: {json.dumps(value, ensure_ascii=False, separators=(",", ":"))}\n\n'


class EventStream(Response):
  """Sends events until they end or the client leaves; `close` runs then in any case, even where the
  events were never begun."""

  media_type = 'text/event-stream'

  def __init__(
    self,
    events: AsyncIterator[str],
    close: Callable[[], Awaitable[None]],
    headers: dict[str, str] | None = None,
  ):
    super().__init__(headers={**UNBUFFERED, **(headers or {})})
    del self.headers['content-length']
    self.events, self.close = events, close

  async def __call__(self, scope: Scope, receive: Receive, send: Send):
    try:
      await until_gone(receive, self.send_all(send))
    except ClientGone:
      pass  # Nobody is left to be told.
    finally:
      await asyncio.shield(asyncio.ensure_future(self.close()))

  async def send_all(self, send: Send):
    head = {'status': self.status_code, 'headers': self.raw_headers}
    await send({'type': 'http.response.start', **head})
    async for text in self.events:
      body = text.encode('utf-8', 'replace')
      await send({'type': 'http.response.body', 'body': body, 'more_body': True})
    await send({'type': 'http.response.body', 'body': b''})


class ClientGone(ApiError):
  def __init__(self):
    super().__init__(499, 'the client left')


async def until_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
  """What `work` gives; cancelled, with ClientGone, where the client leaves before."""
  working = asyncio.ensure_future(work)
  leaving = asyncio.ensure_future(gone(receive))
  try:
    await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
      return working.result()
    raise ClientGone
  finally:
    working.cancel()
    leaving.cancel()
    await asyncio.gather(working, leaving, return_exceptions=True)


async def gone(receive: Receive):
  while (await receive())['type'] != 'http.disconnect':
    pass


def attended(request: Request, work: Coroutine[Any, Any, T]) -> Awaitable[T]:
  """`until_gone` for a request whose body has been read."""
  return until_gone(request.receive, work)


async def pinged(events: AsyncIterator[str], seconds: float) -> AsyncIterator[str]:
  """The same events, with a comment whenever none came for a while."""
  upcoming = asyncio.ensure_future(anext(events, None))
  try:
    while True:
      done, _ = await asyncio.wait({upcoming}, timeout=seconds)
      if not done:
        yield PING
      elif (text := upcoming.result()) is None:
        return
      else:
        yield text
        upcoming = asyncio.ensure_future(anext(events, None))
  finally:
    upcoming.cancel()
    await asyncio.gather(upcoming, return_exceptions=True)
