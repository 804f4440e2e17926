"""OpenAI's requests for completions, checked and read.

What is in `IGNORED` is accepted and has no effect; any other field that we do not know is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rft_jax.engine.protocol import ChatMessage
from rft_jax.feedback.schema import (
  Invalid,
  boolean,
  choice,
  identifier,
  integer,
  mapping,
  number,
  required,
  text,
)
from rft_jax.serve.errors import ApiError

IGNORED = {'store', 'service_tier', 'safety_identifier', 'prompt_cache_key'}
SAMPLING = {
  'model',
  'stream',
  'stream_options',
  'temperature',
  'top_p',
  'top_k',
  'seed',
  'stop',
  'max_tokens',
  'n',
  'logprobs',
  'metadata',
  'user',
}
CHAT = SAMPLING | IGNORED | {'messages', 'max_completion_tokens'}
TEXT = SAMPLING | IGNORED | {'prompt'}
ROLES = ('system', 'developer', 'user', 'assistant')
MAX_MESSAGES = 256


@dataclass(frozen=True)
class Call:
  """A valid request for completions. `version` as in `protocol.Request`; `base`: no adapters."""

  messages: tuple[ChatMessage, ...]
  prompt: str | None
  model: str
  version: int | None
  personal: bool
  stream: bool = False
  include_usage: bool = False
  temperature: float = 1.0
  top_p: float = 1.0
  top_k: int = 0
  seed: int | None = None
  stop: tuple[str, ...] = ()
  max_tokens: int = 256
  n: int = 1
  logprobs: bool = False
  user: str = ''  # the end user, where a key may name them
  metadata: Mapping[str, str] = field(default_factory=dict)

  @property
  def chat(self) -> bool:
    return self.prompt is None


def chat_call(payload: object, default: int, most: int) -> Call:
  """A body of /v1/chat/completions. `default`, `most`: of max_tokens. Raises Invalid, ApiError."""
  body = present(mapping(payload, 'body', CHAT))
  messages = read_messages(required(body, 'messages', 'messages'))
  if 'max_completion_tokens' in body:
    body = {**body, 'max_tokens': body['max_completion_tokens']}
  return Call(messages, None, **sampling(body, default, most))


def text_call(payload: object, default: int, most: int) -> Call:
  """A body of /v1/completions."""
  body = present(mapping(payload, 'body', TEXT))
  prompt = text(required(body, 'prompt', 'prompt'), 'prompt', 1)
  return Call((), prompt, **sampling(body, default, most))


def present(body: Mapping[str, Any]) -> dict[str, Any]:
  """Clients write null for what they leave to the server."""
  return {name: value for name, value in body.items() if value is not None}


def sampling(body: Mapping[str, Any], default: int, most: int) -> dict[str, Any]:
  model = text(required(body, 'model', 'model'), 'model', 1, 100)
  version, personal = named(model)
  stream = boolean(body.get('stream', False), 'stream')
  checks = {
    'temperature': lambda value, param: number(value, param, 0, 2),
    'top_p': above_zero,
    'top_k': lambda value, param: integer(value, param, 0, 10**6),
    'seed': lambda value, param: integer(value, param, -(2**63), 2**63 - 1),
    'stop': stops,
    'n': lambda value, param: integer(value, param, 1, 4),
    'logprobs': boolean,
    'metadata': read_metadata,
    'user': lambda value, param: text(value, param, 0, 10**4),
  }
  found = {name: check(body[name], name) for name, check in checks.items() if name in body}
  return {
    **found,
    'model': model,
    'version': version,
    'personal': personal,
    'stream': stream,
    'include_usage': usage_wanted(body.get('stream_options'), stream),
    'max_tokens': integer(body.get('max_tokens', default), 'max_tokens', 1, most),
  }


def above_zero(value: object, param: str) -> float:
  found = number(value, param, 0, 1)
  if not found:
    raise Invalid(f'{param} must be above 0', param)
  return found


def stops(value: object, param: str) -> tuple[str, ...]:
  found = [value] if isinstance(value, str) else value
  if not isinstance(found, list) or not 1 <= len(found) <= 4:
    raise Invalid(f'{param} must be a string or a list of 1 to 4', param, 'invalid_type')
  return tuple(text(one, param, 1, 64) for one in found)


def read_metadata(value: object, param: str) -> dict[str, str]:
  body = present(mapping(value, param, {'conversation_id', 'parent_message_id', 'compare'}))
  for name in body:
    if name == 'compare':
      choice(body[name], 'metadata.compare', ('a', 'b'))
    else:
      identifier(body[name], f'metadata.{name}')
  return body


def usage_wanted(value: object, stream: bool) -> bool:
  if value is None:
    return False
  if not stream:
    raise Invalid('stream_options need stream', 'stream_options')
  options = mapping(value, 'stream_options', {'include_usage', 'include_obfuscation'})
  return boolean(options.get('include_usage', False), 'stream_options.include_usage')


def named(model: str) -> tuple[int | None, bool]:
  """(version, personal) of `rft`, `rft:base` and `rft@v12`. Raises ApiError 404 for others."""
  if model == 'rft':
    return None, True
  if model == 'rft:base':
    return 0, False
  digits = model.removeprefix('rft@v')
  if model.startswith('rft@v') and digits.isdecimal() and digits.isascii() and len(digits) < 10:
    return int(digits), False
  raise ApiError(404, f'there is no model {model!a}', 'model', 'model_not_found')


def read_messages(value: object) -> tuple[ChatMessage, ...]:
  if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
    raise Invalid(f'messages must be a list of 1 to {MAX_MESSAGES}', 'messages')
  messages = tuple(read_message(one, f'messages[{i}]') for i, one in enumerate(value))
  if messages[-1].role != 'user':
    raise Invalid('the last message must be of the user', 'messages')
  return messages


def read_message(value: object, param: str) -> ChatMessage:
  body = mapping(value, param, {'role', 'content', 'name'})
  role = choice(required(body, 'role', f'{param}.role'), f'{param}.role', ROLES)
  content = required(body, 'content', f'{param}.content')
  if isinstance(content, list):
    parts = [read_part(one, f'{param}.content[{i}]') for i, one in enumerate(content)]
    content = ''.join(parts)
  words = text(content, f'{param}.content', 1 if role == 'user' else 0)
  return ChatMessage('system' if role == 'developer' else role, words)


def read_part(value: object, param: str) -> str:
  body = mapping(value, param, {'type', 'text'})
  choice(required(body, 'type', f'{param}.type'), f'{param}.type', ('text',))
  return text(required(body, 'text', f'{param}.text'), f'{param}.text')
