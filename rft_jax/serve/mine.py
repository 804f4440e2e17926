"""What belongs to the caller: conversations, the personal adapter, the account itself."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from rft_jax.feedback.records import Generation, Message, Receipt, of_user
from rft_jax.feedback.schema import boolean, mapping, required
from rft_jax.serve.auth import COOKIE
from rft_jax.serve.bodies import json_body
from rft_jax.serve.errors import ApiError
from rft_jax.serve.judging import shown
from rft_jax.serve.service import Service
from rft_jax.serve.turns import owned_conversation


def routes(service: Service) -> APIRouter:
  router = APIRouter()
  store, auth = service.store, service.auth

  @router.get('/v1/conversations')
  async def conversations(request: Request) -> dict:
    user = auth.identify(request, 'chat').user
    found = store.chats.of_user(user.id)
    return {'data': [{'id': c.id, 'title': c.title, 'created_us': c.created_us} for c in found]}

  @router.get('/v1/conversations/{conversation_id}')
  async def conversation(request: Request, conversation_id: str) -> dict:
    user = auth.identify(request, 'chat').user
    found = owned_conversation(store, user.id, conversation_id)
    given: dict[str, list[Receipt]] = {}
    for receipt in store.events.of_conversation(found.id):
      given.setdefault(receipt.message_id, []).append(receipt)
    messages = [
      shown_message(m, store.chats.generation(m.id), given.get(m.id, []))
      for m in store.chats.messages(found.id)
    ]
    return {'id': found.id, 'title': found.title, 'messages': messages}

  @router.delete('/v1/conversations/{conversation_id}')
  async def delete_conversation(request: Request, conversation_id: str) -> dict:
    user = auth.identify(request, 'chat').user
    found = owned_conversation(store, user.id, conversation_id)
    await asyncio.wrap_future(store.chats.delete(found.id))
    return {'id': found.id, 'deleted': True}

  @router.get('/v1/me')
  async def me(request: Request) -> dict:
    caller = auth.identify(request, 'chat')
    return {
      'user_id': caller.user.id,
      'scopes': sorted(caller.scopes),
      'version': versions(service, caller.user.id),
      'model': service.options.model,
      'suggestions': list(service.options.suggestions),
      'share': caller.user.share_global,
    }

  @router.put('/v1/me/sharing')
  async def sharing(request: Request) -> dict:
    """Whether the caller's votes may teach everyone."""
    user = auth.identify(request, 'feedback').user
    body = mapping(await json_body(request), 'body', {'share'})
    share = boolean(required(body, 'share', 'share'), 'share')
    await asyncio.wrap_future(store.users.share(user.id, share))
    return {'share': share}

  @router.delete('/v1/me')
  async def erase(request: Request) -> Response:
    user = auth.identify(request, 'chat').user
    await asyncio.wrap_future(store.users.erase(user.id, user.id))
    await service.learner.forget(user.id)
    await auth.ensure_local()
    response = JSONResponse({'user_id': user.id, 'deleted': True})
    response.delete_cookie(COOKIE)
    return response

  @router.get('/v1/me/adapter')
  async def adapter(request: Request) -> dict:
    user = auth.identify(request, 'chat').user
    state = store.versions.state(of_user(user.id))
    live = store.versions.get(state.scope, state.live_version)
    return {
      'version': state.live_version,
      'n_events': state.n_events,
      'kl_to_ref': state.kl_to_ref,
      'updated_us': live.published_us if live else None,
    }

  @router.post('/v1/me/adapter/reset')
  async def reset(request: Request) -> dict:
    user = auth.identify(request, 'feedback').user
    await service.learner.reset(user.id)
    return {'version': store.versions.state(of_user(user.id)).live_version}

  @router.get('/v1/me/adapter/export')
  async def export(request: Request) -> Response:
    user = auth.identify(request, 'feedback').user
    data = await service.learner.export(user.id)
    if data is None:
      raise ApiError(404, 'there is no personal adapter yet')
    headers = {'Content-Disposition': 'attachment; filename="adapter.safetensors"'}
    return Response(data, 200, headers, 'application/octet-stream')

  @router.get('/v1/status')
  async def status(request: Request) -> dict:
    user = auth.identify(request, 'chat').user
    pending = store.ledger.pending()
    return {
      'ready': not service.readiness.waits_for(),
      'version': versions(service, user.id),
      'pending_events': sum(p.events for p in pending),
      'training': store.ledger.is_training(),
      'frozen': store.versions.state('global').frozen,
    }

  return router


def versions(service: Service, user_id: str) -> dict[str, int]:
  return dict(zip(('global', 'personal'), service.engine.versions(user_id), strict=True))


def shown_message(
  message: Message, generation: Generation | None, given: list[Receipt]
) -> dict[str, Any]:
  version = generation and {
    'global': generation.global_version,
    'personal': generation.personal_version,
  }
  return {
    'id': message.id,
    'parent_id': message.parent_id,
    'role': message.role,
    'content': message.content,
    'version': version,
    'finish_reason': generation and generation.finish_reason,
    'feedback': [shown(receipt) for receipt in given],
  }
