"""How the server is: asked for by /v1/status, and told by /v1/live as long as a page is open."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response

from rft_jax.feedback.ids import is_id
from rft_jax.feedback.records import Receipt
from rft_jax.feedback.schema import Invalid
from rft_jax.serve.auth import Caller
from rft_jax.serve.judging import shown
from rft_jax.serve.service import Service
from rft_jax.serve.sse import EventStream, event

FOLLOWED = 100  # receipts that a page may ask for as it begins


def routes(service: Service) -> APIRouter:
  router = APIRouter()
  auth, live = service.auth, service.live

  @router.get('/v1/status')
  async def status(request: Request) -> dict:
    return live.status(auth.identify(request, 'chat').user.id)

  @router.get('/v1/live')
  async def listen(request: Request, follow: str = '') -> Response:
    caller = auth.identify(request, 'chat')
    names = [name for name in follow.split(',') if name]
    if len(names) > FOLLOWED or not all(map(is_id, names)):
      raise Invalid(f'follow must be up to {FOLLOWED} ids of feedback with commas', 'follow')
    live.admit(caller.user.id)
    hears = 'feedback' in caller.scopes
    follow_them = lambda: owned(service, caller, names) if hears else []
    check = lambda: auth.identify(request, 'chat')
    stack = contextlib.ExitStack()
    page = stack.enter_context(live.opened(caller.user.id))
    news = live.news(page, follow_them, service.options.ping_seconds, check)

    async def leave():
      stack.close()

    return EventStream(told(news, hears), leave)

  return router


def owned(service: Service, caller: Caller, names: list[str]) -> list[Receipt]:
  """Of these, the receipts of the caller."""
  found = [service.store.events.receipt(name) for name in names]
  return [one for one in found if one and one.user_id == caller.user.id]


async def told(
  news: AsyncIterator[tuple[dict[str, Any], list[Receipt]]], receipts: bool
) -> AsyncIterator[str]:
  """One event for each; one that is empty says that the line holds."""
  async for status, changed in news:
    said: dict[str, Any] = {'status': status} if status else {}
    if changed and receipts:
      said['receipts'] = [shown(one) for one in changed]
    yield event(said)
