"""OpenAI's responses: whole ones, chunks of a stream, lists of models."""

import codecs
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rft_jax.engine.protocol import Token
from rft_jax.serve.openai import Call


def model_list(names: Sequence[str]) -> dict[str, Any]:
  """GET /v1/models."""
  return {'object': 'list', 'data': [model_card(one) for one in names]}


def model_card(name: str) -> dict[str, Any]:
  return {'id': name, 'object': 'model', 'created': 0, 'owned_by': 'rft'}


@dataclass(frozen=True)
class Shape:
  """What all parts of one response have in common."""

  call: Call
  id: str
  fingerprint: str
  rft: Mapping[str, Any]
  created: int = field(default_factory=lambda: int(time.time()))
  places: dict[int, 'Place'] = field(default_factory=dict)  # of each choice, for logprobs of texts

  def whole(self, choices: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
    name = 'chat.completion' if self.call.chat else 'text_completion'
    return {**self.head(name), 'choices': choices, 'usage': usage, 'rft': self.rft}

  def choice(
    self, index: int, content: str, tokens: Sequence[Token], finish: str, before: str = ''
  ) -> dict[str, Any]:
    """before: what of the content was there before the answer."""
    key = 'message' if self.call.chat else 'text'
    value = {'role': 'assistant', 'content': content} if self.call.chat else content
    self.places[index] = Place(len(before))
    logprobs = self.logprobs(index, tokens)
    return {'index': index, key: value, 'logprobs': logprobs, 'finish_reason': finish}

  def chunk(
    self,
    index: int,
    content: str | None = None,
    tokens: Sequence[Token] = (),
    finish: str | None = None,
    first: bool = False,
  ) -> dict[str, Any]:
    """A part of a stream. The first of a choice and its last tell whose answer it is."""
    if first:
      self.places[index] = Place(len(content or ''))
    if self.call.chat:
      role = {'role': 'assistant', 'content': ''} if first else {}
      part = {'delta': {**role, **({'content': content} if content is not None else {})}}
    else:
      part = {'text': content or ''}
    about = {'logprobs': self.logprobs(index, tokens), 'finish_reason': finish}
    named = {'rft': self.rft} if first or finish else {}
    return {**self.head(self.chunk_name), 'choices': [{'index': index, **part, **about}], **named}

  def usage_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
    return {**self.head(self.chunk_name), 'choices': [], 'usage': usage, 'rft': self.rft}

  @property
  def chunk_name(self) -> str:
    return 'chat.completion.chunk' if self.call.chat else 'text_completion'

  def head(self, name: str) -> dict[str, Any]:
    return {
      'id': self.id,
      'object': name,
      'created': self.created,
      'model': self.call.model,
      'system_fingerprint': self.fingerprint,
    }

  def logprobs(self, index: int, tokens: Sequence[Token]) -> dict[str, Any] | None:
    if not self.call.logprobs or not tokens:
      return None
    if self.call.chat:
      return {
        'content': [{**spelled(t), 'top_logprobs': list(map(spelled, t.top))} for t in tokens]
      }
    place = self.places[index]
    return {
      'tokens': [token.text for token in tokens],
      'token_logprobs': [token.logp for token in tokens],
      'top_logprobs': [likeliest(token) for token in tokens] if self.call.top else None,
      'text_offset': [place.passed(token) for token in tokens],
    }


class Place:
  """How many characters of a choice are written, where tokens may end within one."""

  def __init__(self, start: int):
    self.at, self.decoder = start, codecs.getincrementaldecoder('utf-8')('ignore')

  def passed(self, token: Token) -> int:
    """Where this token begins; the next one begins behind it."""
    start = self.at
    self.at += len(self.decoder.decode(token.bytes))
    return start


def spelled(token: Token) -> dict[str, Any]:
  return {'token': token.text, 'logprob': token.logp, 'bytes': list(token.bytes)}


def likeliest(token: Token) -> dict[str, float]:
  """With the token itself, as OpenAI does."""
  return {one.text: one.logp for one in (token, *token.top[::-1])}


def usage(prompt: int, completion: int) -> dict[str, int]:
  total = prompt + completion
  return {'prompt_tokens': prompt, 'completion_tokens': completion, 'total_tokens': total}
