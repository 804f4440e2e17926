"""OpenAI's requests for completions, checked and read.

Fields that do not change the answer are accepted and have no effect, and so is every field whose
value asks for nothing (`serve/neutral.py`); any other that we do not know is an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
from rft_jax.serve.messages import read_messages
from rft_jax.serve.names import OWN, Names
from rft_jax.serve.neutral import of_chats, of_texts

SAMPLING = {
  'model',
  'stream',
  'stream_options',
  'temperature',
  'top_p',
  'top_k',
  'frequency_penalty',
  'presence_penalty',
  'logit_bias',
  'seed',
  'stop',
  'max_tokens',
  'n',
  'logprobs',
  'metadata',
  'user',
}
CHAT = SAMPLING | {'messages', 'max_completion_tokens', 'top_logprobs'}
TEXT = SAMPLING | {'prompt', 'echo', 'best_of'}
MOST_ANSWERS = 16  # of one request
MOST_BIASES = 300
MOST_LABELS = 16
Prompt = str | tuple[int, ...]


@dataclass(frozen=True)
class Call:
  """A valid request for completions. `version` as in `protocol.Request`; `base`: no adapters.

  `prompts`: of a request for texts, as they came; `prompt` is the text of the one that is answered.
  `asked`: the max_tokens that was asked for, `max_tokens` what may be; `top`: how many of the
  likeliest tokens are told besides.
  """

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
  frequency_penalty: float = 0.0
  presence_penalty: float = 0.0
  logit_bias: Mapping[int, float] = field(default_factory=dict)
  seed: int | None = None
  stop: tuple[str, ...] = ()
  max_tokens: int = 256
  asked: int = 256
  n: int = 1
  logprobs: bool = False
  top: int = 0
  user: str = ''  # the end user, where a key may name them
  metadata: Mapping[str, str] = field(default_factory=dict)
  prompts: tuple[Prompt, ...] = ()
  echo: bool = False

  @property
  def chat(self) -> bool:
    return self.prompt is None

  def each(self, spell: Callable[[tuple[int, ...]], str]) -> list['Call']:
    """A call for every prompt. spell: the text of token ids."""
    texts = [one if isinstance(one, str) else spell(one) for one in self.prompts]
    return [replace(self, prompt=one) for one in texts] or [self]


def chat_call(payload: object, default: int, most: int, names: Names = OWN) -> Call:
  """A body of /v1/chat/completions. `default`, `most`: of max_tokens. Raises Invalid, ApiError."""
  body = mapping(of_chats(payload, CHAT), 'body', CHAT)
  messages = read_messages(required(body, 'messages', 'messages'))
  if 'max_completion_tokens' in body:
    body = {**body, 'max_tokens': body['max_completion_tokens']}
  logprobs = boolean(body.get('logprobs', False), 'logprobs')
  top = integer(body.get('top_logprobs', 0), 'top_logprobs', 0, 20)
  if top and not logprobs:
    raise Invalid('top_logprobs need logprobs: true', 'top_logprobs')
  common = sampling(body, default, most, names)
  return Call(messages, None, **common, logprobs=logprobs, top=top)


def text_call(payload: object, default: int, most: int, names: Names = OWN) -> Call:
  """A body of /v1/completions."""
  body = mapping(of_texts(payload, TEXT), 'body', TEXT)
  prompts = read_prompts(required(body, 'prompt', 'prompt'))
  common = sampling(body, default, most, names)
  n = common.get('n', 1)
  if integer(body.get('best_of', n), 'best_of', 1, MOST_ANSWERS) != n:
    raise Invalid(f'best_of must equal n={n}: ask for more by n, and choose among them', 'best_of')
  if n * len(prompts) > MOST_ANSWERS:
    raise Invalid(
      f'{len(prompts)} prompts with n={n} are more than {MOST_ANSWERS} answers: send fewer',
      'prompt',
    )
  wanted, echo = body.get('logprobs', False), boolean(body.get('echo', False), 'echo')
  top = 0 if isinstance(wanted, bool) else integer(wanted, 'logprobs', 0, 5)
  logprobs = wanted is not False
  if echo and logprobs:
    raise Invalid('echo has no logprobs of the prompt: leave one of the two out', 'echo')
  first = prompts[0] if isinstance(prompts[0], str) else ''
  return Call((), first, **common, logprobs=logprobs, top=top, prompts=prompts, echo=echo)


def read_prompts(value: object) -> tuple[Prompt, ...]:
  """A text, token ids, or a list of either."""
  if not isinstance(value, list):
    return (text(value, 'prompt', 1),)
  if all(type(one) is int for one in value):
    value = [value]
  if len(value) > MOST_ANSWERS:
    raise Invalid(f'prompt must have at most {MOST_ANSWERS} texts, not {len(value)}', 'prompt')
  return tuple(read_prompt(one, f'prompt[{i}]') for i, one in enumerate(value))


def read_prompt(value: object, param: str) -> Prompt:
  if not isinstance(value, list):
    return text(value, param, 1)
  if not value:
    raise Invalid('prompt must not be empty', 'prompt')
  return tuple(integer(id, param, 0, 2**31 - 1) for id in value)


def sampling(body: Mapping[str, Any], default: int, most: int, names: Names) -> dict[str, Any]:
  model = text(required(body, 'model', 'model'), 'model', 1, 100)
  version, personal = names.named(model)
  stream = boolean(body.get('stream', False), 'stream')
  checks = {
    'temperature': lambda value, param: number(value, param, 0, 2),
    'top_p': above_zero,
    'top_k': lambda value, param: integer(value, param, 0, 10**6),
    'frequency_penalty': lambda value, param: number(value, param, -2, 2),
    'presence_penalty': lambda value, param: number(value, param, -2, 2),
    'logit_bias': read_biases,
    'seed': lambda value, param: integer(value, param, -(2**63), 2**63 - 1),
    'stop': stops,
    'n': lambda value, param: integer(value, param, 1, MOST_ANSWERS),
    'metadata': read_metadata,
    'user': lambda value, param: text(value, param, 0, 10**4),
  }
  found = {name: check(body[name], name) for name, check in checks.items() if name in body}
  asked = integer(body.get('max_tokens', default), 'max_tokens', 1, 2**63)
  return {
    **found,
    'model': model,
    'version': version,
    'personal': personal,
    'stream': stream,
    'include_usage': usage_wanted(body.get('stream_options'), stream),
    'max_tokens': min(most, asked),
    'asked': asked,
  }


def above_zero(value: object, param: str) -> float:
  found = number(value, param, 0, 1)
  if not found:
    raise Invalid(f'{param} must be above 0', param)
  return found


def read_biases(value: object, param: str) -> dict[int, float]:
  if not isinstance(value, dict):
    raise Invalid(f'{param} must be an object of token ids', param, 'invalid_type')
  if len(value) > MOST_BIASES:
    raise Invalid(f'{param} must have at most {MOST_BIASES} tokens, not {len(value)}', param)
  for id in value:
    if not (id.isascii() and id.isdecimal() and len(id) < 10 and id == str(int(id))):
      raise Invalid(f'{param} has {id[:40]!a}, which is no token id', param)
  return {int(id): number(bias, f'{param}.{id}', -100, 100) for id, bias in value.items()}


def stops(value: object, param: str) -> tuple[str, ...]:
  found = [value] if isinstance(value, str) else value
  if not isinstance(found, list) or len(found) > 4:
    raise Invalid(f'{param} must be a string or a list of at most 4', param, 'invalid_type')
  return tuple(text(one, param, 1, 64) for one in found)


def read_metadata(value: object, param: str) -> dict[str, str]:
  """Ours; labels of the client's own are checked as OpenAI does, and left out."""
  body = value if isinstance(value, dict) else mapping(value, param, set())
  if len(body) > MOST_LABELS:
    raise Invalid(f'{param} must have at most {MOST_LABELS} keys, not {len(body)}', param)
  found = {}
  for name, one in body.items():
    if one is None:
      continue
    if name == 'compare':
      found[name] = choice(one, 'metadata.compare', ('a', 'b'))
    elif name in ('conversation_id', 'parent_message_id'):
      found[name] = identifier(one, f'metadata.{name}')
    elif not isinstance(one, bool | int | float):
      text(one, f'metadata.{text(name, param, 1, 64)}', 0, 512)
  return found


def usage_wanted(value: object, stream: bool) -> bool:
  if isinstance(value, dict):
    value = {name: one for name, one in value.items() if one is not None and one is not False}
  if not value:
    return False
  if not stream:
    raise Invalid('stream_options need stream', 'stream_options')
  options = mapping(value, 'stream_options', {'include_usage', 'include_obfuscation'})
  return boolean(options.get('include_usage', False), 'stream_options.include_usage')
