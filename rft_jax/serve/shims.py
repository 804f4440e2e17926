"""Rewards as clients of Trinity-RFT and AReaL send them, kept as feedback of the kind `reward`.

`POST /feedback {reward, msg_ids, task_id?, run_id?}` (Trinity) rewards several answers; `msg_ids`
are the ids of completions. `POST /commit` waits until what the caller said has been learned: here
learning needs no asking. `POST /rl/set_reward {reward, interaction_id?}` (AReaL) rewards one
answer, by default the caller's last. Another reward for the same answer replaces the first. The
caller is whoever the key or the cookie says; `task_id` and `run_id` are ignored; rewards outside
-1..1 are an error, not cut off.
"""

import asyncio
import re
import time
from typing import Any

from fastapi import APIRouter, Request

from rft_jax.feedback.ids import now_us, uuid7
from rft_jax.feedback.records import Receipt, of_user
from rft_jax.feedback.schema import Feedback, Invalid, mapping, required, validate
from rft_jax.serve.bodies import json_body
from rft_jax.serve.errors import ApiError
from rft_jax.serve.judging import keep
from rft_jax.serve.service import Service
from rft_jax.serve.sse import attended

MOST = 256  # answers of one request
COMMIT_SECONDS = 60.0
LOOK_SECONDS = 0.1


def routes(service: Service) -> APIRouter:
  router = APIRouter()

  @router.post('/feedback')
  async def feedback(request: Request) -> dict:
    body = mapping(await json_body(request), 'body', {'reward', 'msg_ids', 'task_id', 'run_id'})
    names = required(body, 'msg_ids', 'msg_ids')
    if not isinstance(names, list) or not 1 <= len(names) <= MOST:
      raise Invalid(f'msg_ids must be a list of 1 to {MOST}', 'msg_ids', 'invalid_type')
    value = required(body, 'reward', 'reward')
    said = [reward(name, value) for name in names]
    receipts = [await give(service, request, one) for one in said]
    return {'status': 'success', 'ids': [receipt.id for receipt in receipts]}

  @router.post('/commit')
  async def commit(request: Request) -> dict:
    user = service.auth.identify(request, 'feedback').user
    left = await attended(request, learned(service, of_user(user.id)))
    return {'status': 'success', 'pending': left}

  @router.post('/rl/set_reward')
  async def set_reward(request: Request) -> dict:
    body = mapping(await json_body(request), 'body', {'reward', 'interaction_id'})
    value, name = required(body, 'reward', 'reward'), body.get('interaction_id')
    if name is None:
      user = service.auth.identify(request, 'feedback').user
      name = service.store.chats.last_answer(user.id)
    if name is None:
      raise ApiError(400, 'there is no answer yet that this could reward', 'interaction_id')
    receipt = await give(service, request, reward(name, value))
    return {'message': 'success', 'interaction_id': receipt.message_id, 'id': receipt.id}

  return router


async def give(service: Service, request: Request, said: Feedback) -> Receipt:
  caller = service.auth.identify(request, 'feedback')
  return await keep(service, request, caller, said, 'shim', now_us())


def reward(name: object, value: Any) -> Feedback:
  """Of one answer, named by its id or that of its completion. Raises Invalid."""
  target = {'message_id': re.sub('^(chat)?cmpl-', '', name) if isinstance(name, str) else name}
  return validate({'id': uuid7(), 'target': target, 'kind': 'reward', 'value': {'reward': value}})


async def learned(service: Service, scope: str) -> int:
  """Waits until nothing of a scope waits or is being learned; what still does after a minute."""
  end = time.monotonic() + COMMIT_SECONDS
  going = lambda: time.monotonic() < end and not service.stopping.is_set()
  while (left := service.store.ledger.unlearned(scope)) and going():
    await asyncio.sleep(LOOK_SECONDS)
  return left
