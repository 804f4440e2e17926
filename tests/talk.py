"""Conversations and feedback for tests of the store."""

import itertools

import numpy as np

from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import Conversation, Generation, Message
from rft_jax.feedback.schema import Feedback, validate
from rft_jax.feedback.store import Store

START_US = 1_700_000_000_000_000
LATER = 20  # seconds


class Clock:
  """Time that passes by one microsecond at each look, and otherwise on demand."""

  def __init__(self):
    self.us = START_US
    self.ticks = itertools.count()

  def __call__(self) -> int:
    return self.us + next(self.ticks)


def answered(message_id: str, finish_reason: str = 'stop', tokens: int = 3) -> Generation:
  return Generation(
    message_id,
    uuid7(),
    global_version=0,
    personal_version=0,
    prompt_ids=np.arange(5, dtype=np.int32),
    completion_ids=np.arange(tokens, dtype=np.int32) + 7,
    logp=np.full(tokens, -0.1, np.float32),
    finish_reason=finish_reason,
  )


def chat(
  store: Store,
  user_id: str,
  prompt: str = 'Hello?',
  answer: str = 'Hi there, how are you?',
  finish_reason: str = 'stop',
  message_id: str = '',
) -> str:
  """A conversation of one turn; the id of its answer."""
  conversation = Conversation(uuid7(), user_id, prompt)
  question = Message(uuid7(), conversation.id, None, 'user', prompt)
  reply = Message(message_id or uuid7(), conversation.id, question.id, 'assistant', answer)
  generation = answered(reply.id, finish_reason)
  store.chats.add([question, reply], [generation], conversation).result(LATER)
  return reply.id


def payload(message_id: str, kind: str = 'binary', value: dict | None = None, **more) -> dict:
  """A valid feedback as a client sends it, thumbs up by default."""
  value = {'label': True} if value is None else value
  return {'id': uuid7(), 'target': {'message_id': message_id}, 'kind': kind, 'value': value, **more}


def feedback(message_id: str, kind: str = 'binary', value: dict | None = None, **more) -> Feedback:
  return validate(payload(message_id, kind, value, **more))


def edit(message_id: str, content: str, **more) -> Feedback:
  return feedback(message_id, 'edit', {'content': content}, **more)
