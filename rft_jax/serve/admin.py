"""/admin: what is live, the way back, and who teaches what."""

import asyncio
import re
from typing import Any

from fastapi import APIRouter, Request

from rft_jax.feedback.records import GLOBAL, ScopeState, User, Version, of_user
from rft_jax.feedback.schema import (
  Invalid,
  boolean,
  choice,
  identifier,
  integer,
  mapping,
  required,
  text,
)
from rft_jax.feedback.store import Store
from rft_jax.serve.bodies import json_body
from rft_jax.serve.errors import ApiError
from rft_jax.serve.service import Service

ROWS = 200  # of a list in one answer
PLOTTED = 1000  # versions


def routes(service: Service) -> APIRouter:
  router = APIRouter(prefix='/admin')
  store, auth = service.store, service.auth

  @router.get('/versions')
  async def versions(request: Request, scope: str = GLOBAL, offset: str = '0') -> dict:
    auth.identify(request, 'admin')
    state = store.versions.state(known_scope(service, scope))
    found = store.versions.all(scope, ROWS + 1, first(offset))
    shown = [shown_version(v, store.versions.size(v)) for v in found[:ROWS]]
    more = len(found) > ROWS
    return {
      'scope': scope,
      'live': state.live_version,
      'frozen': state.frozen,
      'data': shown if more else [*shown, start(state)],
      'has_more': more,
    }

  @router.post('/rollback')
  async def rollback(request: Request) -> dict:
    actor = auth.identify(request, 'admin').name
    body = mapping(await json_body(request), 'body', {'scope', 'version', 'reason'})
    scope = known_scope(service, required(body, 'scope', 'scope'))
    version = integer(required(body, 'version', 'version'), 'version', 0, 2**31)
    reason = text(required(body, 'reason', 'reason'), 'reason', 1, 500)
    undone = await service.learner.rollback(scope, version, reason, actor)
    service.metrics.rollback.inc()
    return {'scope': scope, 'version': version, 'undone': undone}

  @router.post('/freeze')
  async def freeze(request: Request) -> dict:
    actor = auth.identify(request, 'admin').name
    body = mapping(await json_body(request), 'body', {'scope', 'frozen'})
    scope = known_scope(service, required(body, 'scope', 'scope'))
    frozen = boolean(required(body, 'frozen', 'frozen'), 'frozen')
    await service.learner.freeze(scope, frozen, actor)
    return {'scope': scope, 'frozen': frozen}

  @router.post('/quarantine')
  async def quarantine(request: Request) -> dict:
    actor = auth.identify(request, 'admin').name
    body = mapping(await json_body(request), 'body', {'event_ids', 'user_id', 'reason'})
    reason = text(required(body, 'reason', 'reason'), 'reason', 1, 500)
    if ('event_ids' in body) == ('user_id' in body):
      raise Invalid('give either event_ids or user_id', 'event_ids')
    if 'user_id' in body:
      return {'quarantined': await mute(known_user(service, body['user_id']), reason, actor)}
    seqs = named_events(service, body['event_ids'])
    await asyncio.wrap_future(store.events.quarantine(seqs, reason, actor))
    return {'quarantined': len(seqs)}

  @router.post('/unlearn')
  async def unlearn(request: Request) -> dict:
    actor = auth.identify(request, 'admin').name
    body = mapping(await json_body(request), 'body', {'user_id', 'reason'})
    reason = text(required(body, 'reason', 'reason'), 'reason', 1, 500)
    user = known_user(service, required(body, 'user_id', 'user_id'))
    quarantined = await mute(user, reason, actor)
    return {'version': await service.learner.unlearn(user.id, actor), 'quarantined': quarantined}

  async def mute(user: User, reason: str, actor: str) -> int:
    """A user who teaches nobody any more, and how many events that concerns."""
    await asyncio.wrap_future(store.users.set_state(user.id, 'muted', actor))
    seqs = store.events.seqs(user.id)
    await asyncio.wrap_future(store.events.quarantine(seqs, reason, actor))
    return len(seqs)

  @router.get('/users')
  async def users(
    request: Request,
    offset: str = '0',
    limit: str | None = None,
    before: str | None = None,
    visitors: str = 'false',
  ) -> dict:
    """By the number of their events; with `limit`, only those who said something or have a name,
    or only the silent `visitors`, after the cursor `before`."""
    me = auth.identify(request, 'admin').user.id
    if limit is None:
      found = store.people.most_active(ROWS + 1, first(offset))
      return {'data': [shown_user(*one) for one in found[:ROWS]], 'has_more': len(found) > ROWS}
    silent = choice(visitors, 'visitors', ('true', 'false')) == 'true'
    asked = (silent, place(before), page_size(limit), me)
    return await asyncio.to_thread(users_page, store, *asked)

  @router.get('/metrics')
  async def metrics(request: Request) -> dict:
    auth.identify(request, 'admin')
    reflection = store.samples.series('reflection')
    newest = store.versions.all(GLOBAL, PLOTTED)
    published = [v for v in reversed(newest) if v.published_us]
    return {
      'latency': store.samples.latency(),
      'reflection': [{'t_us': s.t_us, 'accuracy': s.value, **s.labels} for s in reflection],
      'satisfaction': store.samples.satisfaction(),
      'versions': [{'t_us': v.published_us, 'version': v.version} for v in published],
    }

  return router


def page_size(limit: str) -> int:
  return integer(digits(limit, 'limit'), 'limit', 1, 500)


def digits(value: str, param: str) -> int:
  if not re.fullmatch('[0-9]{1,18}', value):
    raise Invalid(f'{param} must be a number', param)
  return int(value)


def place(before: str | None) -> tuple[int, str] | None:
  """A cursor of a page of users: where the one before ended. Raises Invalid."""
  if before is None:
    return None
  events, _, user_id = before.partition('.')
  return digits(events, 'before'), identifier(user_id, 'before')


def users_page(
  store: Store, visitors: bool, before: tuple[int, str] | None, limit: int, me: str
) -> dict[str, Any]:
  found = store.people.page(visitors, before, limit + 1, me)
  last = found[limit - 1] if len(found) > limit else None
  return {
    'data': [shown_user(*one) for one in found[:limit]],
    'next': last and f'{last.events}.{last.user.id}',
    'visitors': store.people.visitors(me),
  }


def first(offset: str) -> int:
  """How many rows of a list to leave out. Raises Invalid."""
  return integer(digits(offset, 'offset'), 'offset', 0, 10**9)


def known_scope(service: Service, scope: object) -> str:
  """`global` or `u:<id of a user>`. Raises Invalid, ApiError 404."""
  if scope == GLOBAL:
    return GLOBAL
  name = text(scope, 'scope', 1, 64)
  if not name.startswith('u:'):
    raise Invalid('scope must be global or u:<user id>', 'scope')
  return of_user(known_user(service, name[2:]).id)


def known_user(service: Service, user_id: object) -> User:
  found = service.store.users.get(identifier(user_id, 'user_id'))
  if not found:
    raise ApiError(404, 'there is no such user', 'user_id')
  return found


def named_events(service: Service, value: object) -> list[int]:
  """The seqs of a list of event ids. Raises Invalid, ApiError 404."""
  if not isinstance(value, list) or not 1 <= len(value) <= 1000:
    raise Invalid('event_ids must be a list of 1 to 1000 ids', 'event_ids')
  receipts = [service.store.events.receipt(identifier(one, 'event_ids')) for one in value]
  seqs = [receipt.seq for receipt in receipts if receipt and receipt.seq is not None]
  if len(seqs) < len(value):
    raise ApiError(404, 'one of these is no feedback', 'event_ids')
  return seqs


def shown_version(version: Version, n_events: int) -> dict[str, Any]:
  parts = {name: value for name, value in vars(version).items() if name != 'path'}
  return {**parts, 'n_events': n_events, 'kl_to_ref': version.metrics.get('kl_to_ref')}


def start(state: ScopeState) -> dict[str, Any]:
  """Version 0: the model before it learned."""
  status = 'retired' if state.live_version else 'live'
  return {'version': 0, 'parent': None, 'status': status, 'created_us': 0, 'n_events': 0}


def shown_user(user: User, n_events: int, version: int) -> dict[str, Any]:
  return {
    'user_id': user.id,
    'display': user.display,
    'n_events': n_events,
    'trust': user.trust,
    'state': user.state,
    'staff': user.staff,
    'version': version,
    'quarantined': user.state != 'active',
    'created_us': user.created_us,
  }
