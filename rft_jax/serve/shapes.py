"""OpenAI's responses: whole ones, chunks of a stream, lists of models."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rft_jax.engine.protocol import Token
from rft_jax.serve.openai import Call


def model_list(versions: Sequence[int]) -> dict[str, Any]:
  """GET /v1/models."""
  ids = ['rft', 'rft:base', *(f'rft@v{version}' for version in versions)]
  return {'object': 'list', 'data': [model_card(one) for one in ids]}


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

  def whole(self, choices: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
    name = 'chat.completion' if self.call.chat else 'text_completion'
    return {**self.head(name), 'choices': choices, 'usage': usage, 'rft': self.rft}

  def choice(self, index: int, content: str, tokens: Sequence[Token], finish: str) -> dict:
    key = 'message' if self.call.chat else 'text'
    value = {'role': 'assistant', 'content': content} if self.call.chat else content
    return {'index': index, key: value, 'logprobs': self.logprobs(tokens), 'finish_reason': finish}

  def chunk(
    self,
    index: int,
    content: str | None = None,
    tokens: Sequence[Token] = (),
    finish: str | None = None,
    first: bool = False,
  ) -> dict[str, Any]:
    """A part of a stream. The first of a choice and its last tell whose answer it is."""
    if self.call.chat:
      role = {'role': 'assistant', 'content': ''} if first else {}
      part = {'delta': {**role, **({'content': content} if content is not None else {})}}
    else:
      part = {'text': content or ''}
    about = {'logprobs': self.logprobs(tokens), 'finish_reason': finish}
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

  def logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
    if not self.call.logprobs or not tokens:
      return None
    return {'content': [token_logprob(token) for token in tokens]}


def token_logprob(token: Token) -> dict[str, Any]:
  spelled = list(token.text.encode('utf-8', 'replace'))
  return {'token': token.text, 'logprob': token.logp, 'bytes': spelled, 'top_logprobs': []}


def usage(prompt: int, completion: int) -> dict[str, int]:
  total = prompt + completion
  return {'prompt_tokens': prompt, 'completion_tokens': completion, 'total_tokens': total}
