"""What a client meets first: the app of the server, or while it starts, what that waits for."""

import asyncio
import contextlib
import html

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from rft_jax.engine.protocol import EngineError
from rft_jax.serve.errors import ApiError, respond
from rft_jax.serve.service import Service

START_SECONDS = 2  # after which a client may look again
PAGE = (
  '<!doctype html><title>Starting</title><meta http-equiv="refresh" content="{seconds}">'
  '<p>The server is starting: {what}</p>'
)


class Gate:
  """An ASGI app. For one event loop; `waits_for` may be set from any thread."""

  def __init__(self):
    self.waits_for = 'the start'
    self.app: FastAPI | None = None
    self.service: Service | None = None
    self.stack = contextlib.AsyncExitStack()
    self.ended = asyncio.Event()

  async def open(self, service: Service, app: FastAPI):
    """From here on it is the app that answers."""
    await self.stack.enter_async_context(app.router.lifespan_context(app))
    self.service, self.app = service, app

  def stop(self):
    """Streams without an end end now."""
    if self.service:
      self.service.stopping.set()

  def break_off(self):
    """Answers that are still being written end with an error that their clients are told."""
    if self.service:
      self.service.break_off(EngineError('the server is stopping', 503, 'stopping'))

  def hang_up(self):
    """Whoever is still there is treated as if they had gone."""
    self.ended.set()

  async def close(self):
    await self.stack.aclose()

  async def __call__(self, scope: Scope, receive: Receive, send: Send):
    if scope['type'] == 'http':
      app = self.app or self.starting(scope['path'])
      await app(scope, lambda: self.heard(receive), send)

  async def heard(self, receive: Receive) -> Message:
    """What the client says, until the server ends."""
    hearing = asyncio.ensure_future(receive())
    ending = asyncio.ensure_future(self.ended.wait())
    try:
      await asyncio.wait({hearing, ending}, return_when=asyncio.FIRST_COMPLETED)
      return hearing.result() if hearing.done() else {'type': 'http.disconnect'}
    finally:
      hearing.cancel()
      ending.cancel()

  def starting(self, path: str) -> Response:
    what = self.waits_for
    if path == '/healthz':
      return JSONResponse({'status': 'ok'})
    if path == '/readyz':
      body = {'ready': False, 'engine': False, 'store': True, 'waits_for': [what]}
      return JSONResponse(body, 503)
    if path == '/':
      headers = {'Retry-After': str(START_SECONDS), 'Cache-Control': 'no-store'}
      return HTMLResponse(PAGE.format(seconds=START_SECONDS, what=html.escape(what)), 503, headers)
    return respond(ApiError(503, f'the server is starting: {what}', None, 'starting', 5))
