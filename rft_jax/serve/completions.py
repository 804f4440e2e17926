"""/v1/chat/completions, /v1/completions and /v1/models."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from rft_jax.engine.protocol import EngineError
from rft_jax.serve.answering import Answering, admit_all
from rft_jax.serve.auth import USERS, Caller
from rft_jax.serve.bodies import json_body
from rft_jax.serve.errors import ApiError, as_api_error, envelope
from rft_jax.serve.names import Names
from rft_jax.serve.openai import Call, chat_call, text_call
from rft_jax.serve.service import Service
from rft_jax.serve.shapes import Shape, model_card, model_list, usage
from rft_jax.serve.sse import DONE, ClientGone, EventStream, attended, event, pinged
from rft_jax.serve.turns import plan


def routes(service: Service) -> APIRouter:
  router = APIRouter()

  @router.post('/v1/chat/completions')
  async def chat(request: Request) -> Response:
    return await complete(service, request, chat_call)

  @router.post('/v1/completions')
  async def text(request: Request) -> Response:
    return await complete(service, request, text_call)

  @router.get('/v1/models')
  async def models(request: Request) -> dict:
    service.auth.identify(request, 'chat')
    return model_list(service.names.listed(service.engine.global_versions()))

  @router.get('/v1/models/{name:path}')
  async def model(request: Request, name: str) -> dict:
    service.auth.identify(request, 'chat')
    version, _ = service.names.named(name)
    if version and version not in service.engine.global_versions():
      raise ApiError(404, f'there is no model {name!a}', 'model', 'model_not_found')
    return model_card(name)

  for path, way_out in ABSENT.items():
    router.add_api_route(path, absent(path, way_out), methods=['POST'])
  return router


ABSENT = {
  '/chat/completions': 'it is /v1/chat/completions, so give clients the address with /v1',
  '/v1/v1/chat/completions': 'give clients the address with /v1 once',
  '/v1/responses': 'use /v1/chat/completions',
  '/v1/embeddings': 'use another server for them',
  '/v1/moderations': 'use another server for them',
  '/v1/images/generations': 'this model writes text only',
  '/v1/audio/speech': 'this model writes text only',
  '/v1/audio/transcriptions': 'this model reads text only',
}
"""What clients of OpenAI may try, and what they are told."""


def absent(path: str, way_out: str) -> Callable[[], Awaitable[None]]:
  async def refuse():
    raise ApiError(404, f'there is no {path} here: {way_out}', None, 'unknown_url')

  return refuse


Read = Callable[[object, int, int, Names], Call]


async def complete(service: Service, request: Request, read: Read) -> Response:
  caller, call = await asking(service, request, read)
  planned = [(plan(service.store, caller.user.id, c), c) for c in call.each(service.engine.spell)]
  turns = [(turn, turn.asked(one)) for turn, one in planned]
  service.limits.enter(caller.name)
  try:
    answers = await attended(request, admit_all(service, caller, turns))
  except BaseException:
    service.limits.leave(caller.name)
    raise
  response = Responding(service, caller, call, answers)
  return response.stream() if call.stream else await response.whole(request)


async def asking(service: Service, request: Request, read: Read) -> tuple[Caller, Call]:
  """Who asks what, counted. Before its body is read, unless that may say who it is."""
  auth, options = service.auth, service.options
  await auth.introduce(request)
  caller = auth.identify(request, 'chat')
  if USERS not in caller.scopes:
    service.limits.take('chat', caller.name)
  body = await json_body(request)
  call = read(body, options.max_tokens, options.most_tokens, service.names)
  if USERS in caller.scopes:
    await auth.introduce(request, call.user)
    caller = auth.identify(request, 'chat', call.user)
    service.limits.take('chat', caller.name)
  return caller, call


class Responding:
  """The answers of one request on their way to its client."""

  def __init__(self, service: Service, caller: Caller, call: Call, answers: list[Answering]):
    self.service, self.caller, self.call, self.answers = service, caller, call, answers
    first = answers[0]
    versions = (first.answer.global_version, first.answer.personal_version)
    fingerprint = 'rft-g{}-u{}'.format(*versions)
    prefix = 'chatcmpl' if call.chat else 'cmpl'
    self.shape = Shape(call, f'{prefix}-{first.message_id}', fingerprint, self.about(versions))
    self.headers = {'X-RFT-Message-Id': first.message_id, 'X-RFT-Version': fingerprint}

  def about(self, versions: tuple[int, int]) -> dict[str, Any]:
    """What OpenAI has no place for; `choices` only where there are several, and `dropped`, how many
    of the oldest messages the model was not given, only where not all fitted."""
    user_id, auth = self.caller.user.id, self.service.auth
    names = [
      {'message_id': a.message_id, 'feedback_token': auth.token(a.message_id, user_id)}
      for a in self.answers
    ]
    return {
      **names[0],
      'user_message_id': self.answers[0].turn.question_id,
      'conversation_id': self.answers[0].turn.conversation_id,
      'version': dict(zip(('global', 'personal'), versions, strict=True)),
      **({'choices': names} if len(names) > 1 else {}),
      **({'dropped': dropped} if (dropped := self.answers[0].dropped) else {}),
    }

  async def whole(self, request: Request) -> Response:
    try:
      choices = await attended(request, self.collect())
    except BaseException as error:
      self.count(error)
      await asyncio.shield(asyncio.ensure_future(self.close(ending(error))))
      raise
    body = self.shape.whole(choices, self.usage())
    await self.close()
    return JSONResponse(body, headers=self.headers)

  async def collect(self) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(self.choice(i, a) for i, a in enumerate(self.answers))))

  async def choice(self, index: int, answering: Answering) -> dict[str, Any]:
    finish = 'error'
    async for piece in answering.pieces():
      finish = piece.finish_reason or finish
    text = self.before(answering) + ''.join(answering.texts)
    return self.shape.choice(index, text, answering.tokens, finish, self.before(answering))

  def before(self, answering: Answering) -> str:
    """What stands before an answer where it is to be echoed."""
    return (answering.call.prompt or '') if self.call.echo else ''

  def stream(self) -> Response:
    events = pinged(self.events(), self.service.options.ping_seconds)
    return EventStream(events, self.close, self.headers)

  async def events(self) -> AsyncIterator[str]:
    """One answer after the other. A failure is an event, and the stream ends without [DONE]."""
    try:
      for index, answering in enumerate(self.answers):
        yield event(self.shape.chunk(index, self.before(answering) or None, first=True))
        async for piece in answering.pieces():
          if piece.text or piece.tokens:
            yield event(self.shape.chunk(index, piece.text, piece.tokens))
          if piece.finish_reason:
            yield event(self.shape.chunk(index, finish=piece.finish_reason))
    except Exception as error:
      self.count(error)
      await self.close('error')
      yield event(envelope(as_api_error(error)))
      return
    if self.call.include_usage:
      yield event(self.shape.usage_chunk(self.usage()))
    yield DONE

  async def close(self, finish_reason: str = 'abort'):
    """Whatever is still running ends, and counts as over. Idempotent."""
    if not self.answers:
      return
    answers, self.answers = self.answers, []
    try:
      await asyncio.gather(*(answering.end(finish_reason) for answering in answers))
    finally:
      self.service.limits.leave(self.caller.name)

  def usage(self) -> dict[str, int]:
    """Also how many tokens of an answer fitted, where that were fewer than was asked for."""
    asked = {a.turn.question_id: len(a.answer.prompt_ids) for a in self.answers}
    cut = [len(a.tokens) for a in self.answers if a.finish == 'length']
    found = usage(sum(asked.values()), sum(len(answering.tokens) for answering in self.answers))
    return {**found, **({'max_tokens': max(cut)} if cut and max(cut) < self.call.asked else {})}

  def count(self, error: BaseException):
    if isinstance(error, Exception) and not isinstance(error, ClientGone):
      self.service.metrics.errors.inc()


def ending(error: BaseException) -> str:
  return 'error' if isinstance(error, EngineError) else 'abort'
