"""The page of the server, its health, and its metrics."""

import asyncio
import functools
import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from rft_jax.serve.auth import COOKIE, COOKIE_SECONDS
from rft_jax.serve.errors import ApiError
from rft_jax.serve.proxies import household
from rft_jax.serve.service import Service

WEB = Path(__file__).parent / 'web'
HEADERS = {
  'Content-Security-Policy': "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-cache',
}
TYPES = {
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.html': 'text/html',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
  '.woff2': 'font/woff2',
}


def routes(service: Service) -> APIRouter:
  router = APIRouter()
  get = functools.partial(router.api_route, methods=['GET', 'HEAD'])  # Proxies and probes ask so.

  @get('/')
  async def index(request: Request) -> Response:
    response = page('index.html')
    if request.method == 'GET' and not service.auth.by_cookie(request):
      service.limits.take('visit', household(request.client.host if request.client else ''))
      user = await asyncio.wrap_future(service.store.users.create())
      secure = request.url.scheme == 'https'
      value = service.auth.cookie(user.id)
      safe = {'httponly': True, 'samesite': 'lax', 'secure': secure}
      response.set_cookie(COOKIE, value, COOKIE_SECONDS, **safe)
    return response

  @get('/web/{name:path}')
  async def web(name: str) -> Response:
    return page(name)

  @get('/healthz')
  async def healthz() -> dict:
    return {'status': 'ok'}

  @get('/readyz')
  async def readyz() -> Response:
    waits = service.readiness.waits_for()
    parts = {'engine': service.engine.ready, 'store': not service.readiness.trouble}
    body = {'ready': not waits, **parts, 'waits_for': waits}
    return JSONResponse(body, 503 if waits else 200)

  @get('/metrics')
  async def metrics() -> Response:
    text = service.metrics.page(service.store, service.engine)
    return Response(text, media_type=CONTENT_TYPE_LATEST)

  return router


def page(name: str) -> Response:
  """A file of the page. Raises ApiError 404 for whatever is not one."""
  path = (WEB / name).resolve()
  if '\0' in name or not path.is_relative_to(WEB) or not path.is_file():
    raise ApiError(404, 'there is no such page')
  kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
  return FileResponse(path, 200, HEADERS, kind or 'application/octet-stream')
