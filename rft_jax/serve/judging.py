"""/v1/feedback: give it, follow it, take it back."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from rft_jax.feedback.ids import is_id, now_us
from rft_jax.feedback.receipts import ENDED
from rft_jax.feedback.records import Receipt
from rft_jax.feedback.schema import Feedback, Invalid, validate
from rft_jax.serve.auth import USERS, Caller
from rft_jax.serve.bodies import json_body
from rft_jax.serve.errors import ApiError
from rft_jax.serve.service import Service
from rft_jax.serve.sse import EventStream, event, pinged

EXCERPT = 200  # characters


def routes(service: Service) -> APIRouter:
  router = APIRouter()

  @router.post('/v1/feedback')
  async def give(request: Request) -> Response:
    received, start = now_us(), time.perf_counter()
    feedback = validate(await json_body(request))
    caller = author(service, request, feedback)
    receipt = await keep(service, request, caller, feedback, caller.source, received)
    service.metrics.ack.observe(time.perf_counter() - start)
    return JSONResponse(shown(receipt), 200 if receipt.duplicate else 201)

  @router.get('/v1/feedback')
  async def mine(request: Request) -> dict:
    caller = service.auth.identify(request, 'feedback')
    receipts = service.store.events.of_author(caller.user.id)
    return {'data': [{**shown(one), **excerpts(service, one)} for one in receipts]}

  @router.get('/v1/feedback/{event_id}')
  async def receipt(request: Request, event_id: str) -> dict:
    return shown(owned(service, request, event_id))

  @router.get('/v1/feedback/{event_id}/events')
  async def follow(request: Request, event_id: str) -> Response:
    user_id = owned(service, request, event_id).user_id
    news = changes(service, user_id, event_id)
    return EventStream(pinged(news, service.options.ping_seconds), nothing)

  @router.delete('/v1/feedback/{event_id}')
  async def retract(request: Request, event_id: str) -> dict:
    caller = service.auth.identify(request, 'feedback')
    service.limits.take('feedback', caller.name)
    receipt = await asyncio.wrap_future(service.store.events.retract(event_id, caller.user.id))
    service.learner.notify(receipt)
    return shown(receipt)

  return router


async def keep(
  service: Service, request: Request, caller: Caller, feedback: Feedback, source: str, recv_us: int
) -> Receipt:
  """Makes it durable and tells the learner. Raises ApiError 429, and as `store.events.add`."""
  service.limits.take('feedback', caller.name)
  origin = service.auth.origin(request)
  done = service.store.events.add(feedback, caller.user.id, source, origin, recv_us)
  receipt = await asyncio.wrap_future(done)
  if not receipt.duplicate:
    gate = receipt.status if receipt.status in ENDED else 'ok'
    service.metrics.feedback.labels(receipt.kind, gate).inc()
    service.learner.notify(receipt)
  return receipt


def author(service: Service, request: Request, feedback: Feedback) -> Caller:
  """Who gives it: the caller, or without one the user whom the token speaks for."""
  key = request.headers.get('idempotency-key', feedback.id)
  if key != feedback.id:
    raise Invalid('the header Idempotency-Key must equal id', 'id')
  if not feedback.token:
    return service.auth.identify(request, 'feedback')
  user = service.auth.by_token(feedback.token, feedback.message_id)
  try:
    caller = service.auth.identify(request, 'feedback')
  except ApiError as error:
    if error.status != 401 or 'authorization' in request.headers:
      raise
    return Caller(user, frozenset({'feedback'}), 'api', user.id)
  if caller.user.id == user.id:
    return caller
  if USERS in caller.scopes and service.store.users.owner(user.id) == caller.user.id:
    return service.auth.speaking(caller, user)
  raise ApiError(403, "the feedback token is another user's", 'feedback_token')


def owned(service: Service, request: Request, event_id: str) -> Receipt:
  caller = service.auth.identify(request, 'feedback')
  found = service.store.events.receipt(event_id) if is_id(event_id) else None
  if not found:
    raise ApiError(404, 'there is no such feedback', 'id')
  if found.user_id != caller.user.id:
    raise ApiError(403, 'this feedback belongs to another user', 'id')
  return found


async def changes(service: Service, user_id: str, event_id: str) -> AsyncIterator[str]:
  """The receipt now and at each change, until there can be none, or the server stops."""
  last = None
  with service.live.opened(user_id, status=False) as page:
    while True:
      receipt = service.store.events.receipt(event_id)
      if receipt and receipt != last:
        yield event(shown(receipt))
      if not receipt or receipt.status in ENDED or page.over or service.stopping.is_set():
        return
      last = receipt
      await page.woken.wait()
      page.woken.clear()


async def nothing():
  """Following a receipt holds nothing that must be freed."""


def shown(receipt: Receipt) -> dict[str, Any]:
  """A receipt as its author gets it."""
  parts = {name: value for name, value in vars(receipt).items() if name != 'user_id'}
  return {**parts, 'reasons': list(receipt.reasons), 'tags': list(receipt.tags)}


def excerpts(service: Service, receipt: Receipt) -> dict[str, str]:
  """What was asked and answered."""
  chats = service.store.chats
  answer = chats.message(receipt.message_id)
  asked = chats.message(answer.parent_id) if answer and answer.parent_id else None
  said = {'prompt': asked.content if asked else '', 'answer': answer.content if answer else ''}
  return {name: text[:EXCERPT] for name, text in said.items()}
