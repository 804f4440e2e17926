"""Answers on their way: from the engine to the client, in the store before the last chunk."""

import asyncio
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator, Sequence

import numpy as np

from rft_jax.engine.protocol import Answer, EngineError, Piece, Request, Token
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import Generation, Message
from rft_jax.serve.auth import Caller
from rft_jax.serve.openai import Call
from rft_jax.serve.service import Service
from rft_jax.serve.trimming import shorter
from rft_jax.serve.turns import Turn


class Answering:
  """One answer. It is stored exactly once, however it ends."""

  def __init__(self, service: Service, turn: Turn, call: Call, request: Request, answer: Answer):
    self.service, self.turn, self.call, self.request = service, turn, call, request
    self.answer, self.dropped = answer, len(call.messages) - len(request.messages)
    self.message_id = uuid7()
    self.start = self.last = time.perf_counter()
    self.first_us = 0
    self.texts: list[str] = []
    self.tokens: list[Token] = []
    self.stored, self.finish = False, ''
    self.broken: Exception = EngineError('the answer broke off')
    service.running.add(self)

  async def pieces(self) -> AsyncIterator[Piece]:
    """As they come; the last one once the answer is durable."""
    async for piece in self.answer:
      self.measure(len(piece.tokens))
      self.texts.append(piece.text)
      self.tokens += piece.tokens
      if piece.finish_reason:
        await self.store(piece.finish_reason)
      yield piece
    if not self.stored:
      raise self.broken

  def break_off(self, error: Exception):
    """Whoever reads it gets this error next."""
    self.broken = error
    self.answer.cancel()

  async def end(self, finish_reason: str):
    """Frees the slot; what is not stored yet is, as broken off."""
    self.service.running.discard(self)
    self.answer.cancel()
    await self.store(finish_reason)

  async def store(self, finish_reason: str):
    if self.stored:
      return
    self.stored, self.finish = True, finish_reason
    turn, content = self.turn, ''.join(self.texts)
    message = Message(self.message_id, turn.conversation_id, turn.question_id, 'assistant', content)
    done = self.service.store.chats.add([message], [self.generation(finish_reason)])
    await asyncio.shield(asyncio.wrap_future(done))

  def generation(self, finish_reason: str) -> Generation:
    request, side = self.request, self.call.metadata.get('compare')
    return Generation(
      self.message_id,
      request.id,
      self.answer.global_version,
      self.answer.personal_version,
      prompt_ids=np.array(self.answer.prompt_ids, np.int32),
      completion_ids=np.array([token.id for token in self.tokens], np.int32),
      logp=np.array([token.logp for token in self.tokens], np.float32),
      finish_reason=finish_reason,
      adapter_user=request.user_id,
      temperature=request.temperature,
      top_p=request.top_p,
      top_k=request.top_k,
      seed=request.seed,
      frequency_penalty=request.frequency_penalty,
      presence_penalty=request.presence_penalty,
      logit_bias=request.logit_bias,
      pair_group=self.turn.question_id if side else None,
      pair_side=side,
      ttft_us=self.first_us,
      total_us=int((time.perf_counter() - self.start) * 1e6),
      dropped=self.dropped,
    )

  def measure(self, tokens: int):
    """Time to the first piece and between tokens."""
    now = time.perf_counter()
    if not self.first_us:
      self.first_us = int((now - self.start) * 1e6)
      self.service.metrics.ttft.observe(now - self.start)
    elif tokens:
      training = str(self.service.live.stored()['training']).lower()
      self.service.metrics.itl.labels(training).observe((now - self.last) / tokens)
    self.last = now


async def admit(service: Service, caller: Caller, turn: Turn, call: Call) -> list[Answering]:
  """`call.n` answers with a slot each, their question stored. Raises EngineError.

  Where the store has the conversation, its oldest turns are dropped until the rest fits.
  """
  seed = secrets.randbits(31) if call.seed is None else call.seed
  request = Request(
    uuid7(),
    call.messages,
    call.prompt,
    caller.user.id if call.personal else None,
    call.version,
    call.max_tokens,
    call.temperature,
    call.top_p,
    call.top_k,
    seed,
    call.stop,
    call.frequency_penalty,
    call.presence_penalty,
    call.logit_bias,
    call.top,
    uuid7(),
    spare=service.options.max_tokens if turn.conversation is None else 1,
  )
  while True:
    requests = [dataclasses.replace(request, seed=seeded(seed, i)) for i in range(call.n)]
    try:
      return await submit(service, turn, call, requests)
    except EngineError as error:
      fitting = shorter(request, error) if turn.conversation is None else None
      if not fitting:
        raise
      request = fitting


def seeded(seed: int, index: int) -> int:
  """Of each of several answers. The largest is followed by the least, as 64 bits have it."""
  return (seed + index + 2**63) % 2**64 - 2**63


async def submit(
  service: Service, turn: Turn, call: Call, requests: list[Request]
) -> list[Answering]:
  tasks = [asyncio.ensure_future(service.engine.submit(one)) for one in requests]
  try:
    answers = await asyncio.gather(*tasks)
    if turn.new:
      done = service.store.chats.add(turn.new, (), turn.conversation)
      await asyncio.wrap_future(done)
  except BaseException:
    await withdraw(tasks)
    raise
  return [
    Answering(service, turn, call, one, answer)
    for one, answer in zip(requests, answers, strict=True)
  ]


async def admit_all(
  service: Service, caller: Caller, turns: Sequence[tuple[Turn, Call]]
) -> list[Answering]:
  """The answers to several prompts, one prompt after the other."""
  answers: list[Answering] = []
  try:
    for turn, call in turns:
      answers += await admit(service, caller, turn, call)
  except BaseException:
    await asyncio.gather(*(answering.end('abort') for answering in answers))
    raise
  return answers


async def withdraw(tasks: list[asyncio.Task[Answer]]):
  """Gives all places up, in the queue or in a slot."""
  for task in tasks:
    task.cancel()
  for outcome in await asyncio.gather(*tasks, return_exceptions=True):
    if not isinstance(outcome, BaseException):
      outcome.cancel()
