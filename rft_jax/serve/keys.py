"""API keys: whose they are, what they open, and how an administrator makes and ends them.

A key is shown once, when it is made; the store keeps its hash. Mode `keys` does the same with the
file of a server that does not run.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from rft_jax.feedback.records import ApiKey, User
from rft_jax.feedback.schema import Invalid, boolean, mapping, required, text
from rft_jax.feedback.store import Store
from rft_jax.registry import UserError
from rft_jax.serve.auth import LOCAL, PREFIX, make_key
from rft_jax.serve.bodies import json_body
from rft_jax.serve.errors import ApiError
from rft_jax.serve.service import Service


def routes(service: Service) -> APIRouter:
  router = APIRouter(prefix='/admin/keys')
  store, auth = service.store, service.auth

  @router.get('')
  async def keys(request: Request) -> dict:
    auth.identify(request, 'admin')
    return {'data': [shown(key, store.users.get(key.user_id)) for key in store.users.keys()]}

  @router.post('')
  async def make(request: Request) -> JSONResponse:
    auth.identify(request, 'admin')
    body = mapping(await json_body(request), 'body', {'name', 'scopes', 'staff'})
    name = text(required(body, 'name', 'name'), 'name', 1, 100)
    scopes = word_list(required(body, 'scopes', 'scopes'))
    staff = boolean(body.get('staff', False), 'staff')
    if 'admin' not in scopes and not store.users.has_keys():
      raise Invalid('the first key needs the scope admin: nobody could make a second', 'scopes')
    try:
      key = await asyncio.to_thread(grant, store, name, scopes, staff)
    except UserError as error:
      raise ApiError(400, str(error)) from None
    made = store.users.key(id_of(key))
    assert made
    return JSONResponse({**shown(made, store.users.get(made.user_id)), 'key': key}, 201)

  @router.delete('/{key_id}')
  async def revoke(request: Request, key_id: str) -> dict:
    actor = auth.identify(request, 'admin').name
    if not store.users.key(key_id):
      raise ApiError(404, 'there is no such key', 'id')
    await asyncio.wrap_future(store.users.revoke_key(key_id, actor))
    return {'id': key_id, 'revoked': True}

  return router


def grant(store: Store, name: str, scopes: tuple[str, ...], staff: bool = False) -> str:
  """A new key of the user of this name, who is made where there is none. Blocks.

  Raises UserError for a name that is taken by the server, unknown scopes, and a user whose `staff`
  is another.
  """
  if name == LOCAL:
    raise UserError(f'name={name!r} is the nameless caller from this machine: choose another')
  user = store.users.named(name) or store.users.create(name, staff).result()
  if user.staff != staff:
    raise UserError(f'{name!r} exists with staff={user.staff}: say so, or choose another name')
  return make_key(store, user.id, scopes)


def id_of(key: str) -> str:
  return key.removeprefix(PREFIX).partition('.')[0]


def word_list(value: object) -> tuple[str, ...]:
  if not isinstance(value, list) or not value:
    raise Invalid('scopes must be a list of one or more', 'scopes', 'invalid_type')
  return tuple(text(word, 'scopes', 1, 20) for word in value)


def shown(key: ApiKey, user: User | None) -> dict[str, Any]:
  return {
    'id': key.id,
    'name': user.display if user else '',
    'user_id': key.user_id,
    'staff': bool(user and user.staff),
    'scopes': key.scopes.split(),
    'created_us': key.created_us,
    'revoked_us': key.revoked_us,
  }
