"""/admin/agreements: what people want of everyone's model, and an administrator's word on it."""

import asyncio
import dataclasses
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from fastapi import APIRouter, Request

from rft_jax.feedback.records import Agreement
from rft_jax.feedback.sameness import fingerprint
from rft_jax.feedback.schema import Invalid, choice, integer, mapping, required, text
from rft_jax.serve.admin import digits, named_events, page_size
from rft_jax.serve.bodies import json_body
from rft_jax.serve.errors import ApiError
from rft_jax.serve.service import Service

STATES = ('held', 'accepted', 'quarantined', 'rejected')
PAGE = '50'


def routes(service: Service) -> APIRouter:
  router = APIRouter(prefix='/admin/agreements')
  store, auth = service.store, service.auth

  @router.get('')
  async def page(
    request: Request, state: str | None = None, before: str | None = None, limit: str = PAGE
  ) -> dict:
    """Wishes, the newest first, perhaps of one `state`; `next` is the `before` of the next page."""
    auth.identify(request, 'admin')
    wanted = None if state is None else choice(state, 'state', STATES)
    start, size = None if before is None else digits(before, 'before'), page_size(limit)
    found = await asyncio.to_thread(store.agreements.page, wanted, start, size + 1)
    counts = await asyncio.to_thread(store.agreements.counts)
    following = found[size - 1].cursor if len(found) > size else None
    data = [shown(one) for one in found[:size]]
    return {'data': data, 'next': following, 'counts': {name: 0 for name in STATES} | counts}

  @router.post('/release')
  async def release(request: Request) -> dict:
    actor, seqs, _ = await order(request, 'release')
    return await done(store.events.release(seqs, actor), seqs)

  @router.post('/reject')
  async def reject(request: Request) -> dict:
    actor, seqs, reason = await order(request, 'reject')
    return await done(store.events.reject(seqs, reason, actor), seqs)

  @router.post('/quarantine')
  async def quarantine(request: Request) -> dict:
    actor, seqs, reason = await order(request, 'quarantine')
    return await done(store.events.quarantine(seqs, reason, actor), seqs)

  async def order(request: Request, what: str) -> tuple[str, list[int], str]:
    """(who says so, about which events, why); a release needs no reason. `state`: of the wish as it
    was seen, where another one is to be refused."""
    actor = auth.identify(request, 'admin').name
    body = mapping(await json_body(request), 'body', {'id', 'event_ids', 'reason', 'state'})
    if ('id' in body) == ('event_ids' in body):
      raise Invalid('give either the id of a wish or event_ids', 'id')
    given = body.get('reason', 'released') if what == 'release' else None
    reason = text(given or required(body, 'reason', 'reason'), 'reason', 1, 500)
    if 'event_ids' in body:
      return actor, named_events(service, body['event_ids']), reason
    wish = await asyncio.to_thread(store.agreements.get, integer(body['id'], 'id', 1, 2**62))
    if not wish:
      raise ApiError(404, 'there is no such wish', 'id')
    if choice(body.get('state', wish.state), 'state', STATES) != wish.state:
      why = f'somebody has decided meanwhile: this is {wish.state} now'
      raise ApiError(409, why, 'state', 'decided')
    return actor, store.agreements.seqs(wish.id), reason

  async def done(future: Future[Any], seqs: Sequence[int]) -> dict:
    await asyncio.wrap_future(future)
    event = store.events.get(seqs[0])
    if event and (receipt := store.events.receipt(event.id)):
      service.learner.notify(receipt)  # Something may be learned now.
    return {'events': len(seqs)}

  return router


def shown(wish: Agreement) -> dict[str, Any]:
  """`better`: the text that a preference prefers, '' for everything else."""
  wins = [
    answer
    for answer in (wish.answer, wish.other)
    if wish.direction.startswith(f'preference:{fingerprint(answer)}>')
  ]
  return {**dataclasses.asdict(wish), 'better': wins[0] if wins else ''}
