"""A feedback payload: its exact validation, and the canonical form that makes a retry recognisable.

A payload that passes is data that every later stage may trust; one that does not is an `Invalid`
that names the field.
"""

import hashlib
import json
import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rft_jax.feedback.ids import is_id

MAX_TEXT = 32_000  # characters of one text
MAX_TAGS = 8
FIELDS = {
  'id',
  'target',
  'kind',
  'value',
  'comment',
  'tags',
  'shown_ms',
  'supersedes',
  'feedback_token',
}
UNSEEN = {'Zs', 'Zl', 'Zp', 'Cc', 'Cf'}  # categories of letters: spaces and controls
FILLERS = '\u115f\u1160\u2800\u3164\uffa0'  # letters that show nothing
OUTCOMES = ('a', 'b', 'tie', 'both_bad')


class Invalid(ValueError):
  """A payload that breaks a rule. `param` is the field, `code` a word for programs."""

  def __init__(self, message: str, param: str | None = None, code: str = 'invalid_value'):
    super().__init__(message)
    self.message, self.param, self.code = message, param, code


@dataclass(frozen=True)
class Feedback:
  """A valid payload. `value` has exactly the keys of its kind."""

  id: str
  message_id: str
  kind: str
  value: dict[str, Any]
  comment: str = ''
  tags: tuple[str, ...] = ()
  shown_ms: int | None = None
  supersedes: str | None = None
  token: str | None = None

  @property
  def texts(self) -> tuple[str, ...]:
    """What the user wrote."""
    written = (self.value.get('content'), self.value.get('text'), self.comment, *self.tags)
    return tuple(text for text in written if text)

  @property
  def other_message_id(self) -> str | None:
    """The answer that a preference compares with."""
    return self.value['b'] if self.kind == 'preference' else None

  def sha256(self) -> str:
    """The hash of everything but the token, which a retry may renew."""
    parts = {name: value for name, value in vars(self).items() if name != 'token'}
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def canonical(value: object) -> str:
  """JSON in the one form that equal values share: sorted keys, no spaces. ValueError for NaN."""
  return json.dumps(
    value, sort_keys=True, separators=(',', ':'), ensure_ascii=False, allow_nan=False
  )


def text(value: object, param: str, least: int = 0, most: int = MAX_TEXT) -> str:
  """A str of `least` to `most` characters that a database and a tokenizer can hold."""
  if not isinstance(value, str):
    raise Invalid(f'{param} must be a string', param, 'invalid_type')
  if not least <= len(value) <= most:
    raise Invalid(f'{param} must have {least} to {most} characters, not {len(value)}', param)
  if '\0' in value or any('\ud800' <= letter <= '\udfff' for letter in value):
    raise Invalid(f'{param} must not contain NUL or lone surrogates', param)
  return value


def identifier(value: object, param: str) -> str:
  if not is_id(value):
    raise Invalid(f'{param} must be a UUID in lower case', param, 'invalid_id')
  return str(value)


def integer(value: object, param: str, least: int, most: int) -> int:
  if not isinstance(value, int) or isinstance(value, bool):
    raise Invalid(f'{param} must be an integer', param, 'invalid_type')
  if not least <= value <= most:
    raise Invalid(f'{param} must be from {least} to {most}', param)
  return value


def number(value: object, param: str, least: float, most: float) -> float:
  """A finite number; -0 becomes 0."""
  if not isinstance(value, int | float) or isinstance(value, bool):
    raise Invalid(f'{param} must be a number', param, 'invalid_type')
  if not math.isfinite(value) or not least <= value <= most:
    raise Invalid(f'{param} must be from {least:g} to {most:g}', param)
  return float(value) + 0.0


def boolean(value: object, param: str) -> bool:
  if not isinstance(value, bool):
    raise Invalid(f'{param} must be true or false', param, 'invalid_type')
  return value


def choice(value: object, param: str, options: tuple[str, ...]) -> str:
  if value not in options:
    raise Invalid(f'{param} must be one of {", ".join(options)}', param)
  return str(value)


def mapping(value: object, param: str, known: set[str]) -> Mapping[str, Any]:
  """A JSON object without fields beyond `known`."""
  if not isinstance(value, dict):
    raise Invalid(f'{param} must be an object', param, 'invalid_type')
  for name in value:
    if name not in known:
      raise Invalid(f'unknown field {name[:40]!a} in {param}', param, 'unknown_field')
  return value


def required(value: Mapping[str, Any], name: str, param: str) -> Any:
  if name not in value:
    raise Invalid(f'{param} is required', param, 'missing_field')
  return value[name]


Check = Callable[[object, str], Any]
KINDS: dict[str, dict[str, Check]] = {
  'binary': {'label': boolean},
  'rating': {'score': lambda value, param: integer(value, param, 1, 5)},
  'preference': {
    'outcome': lambda value, param: choice(value, param, OUTCOMES),
    'a': identifier,
    'b': identifier,
  },
  'edit': {'content': lambda value, param: text(value, param, 1)},
  'critique': {'text': text},
  'reward': {'reward': lambda value, param: number(value, param, -1, 1)},
}


def validate(payload: object) -> Feedback:
  """The payload as a record. Raises Invalid at the first rule that it breaks."""
  body = mapping(payload, 'body', FIELDS)
  target = mapping(required(body, 'target', 'target'), 'target', {'message_id'})
  kind = choice(required(body, 'kind', 'kind'), 'kind', tuple(KINDS))
  given = mapping(required(body, 'value', 'value'), 'value', set(KINDS[kind]))
  value = {
    name: check(required(given, name, f'value.{name}'), f'value.{name}')
    for name, check in KINDS[kind].items()
  }
  optional = lambda name, check: None if body.get(name) is None else check(body[name], name)
  feedback = Feedback(
    identifier(required(body, 'id', 'id'), 'id'),
    identifier(required(target, 'message_id', 'target.message_id'), 'target.message_id'),
    kind,
    value,
    optional('comment', lambda v, p: text(v, p)) or '',
    optional('tags', tag_list) or (),
    optional('shown_ms', lambda v, p: integer(v, p, 0, 10**10)),
    optional('supersedes', identifier),
    optional('feedback_token', lambda v, p: text(v, p, 1, 512)),
  )
  check_whole(feedback)
  return feedback


def tag_list(value: object, param: str) -> tuple[str, ...]:
  if not isinstance(value, list) or len(value) > MAX_TAGS:
    raise Invalid(f'{param} must be a list of at most {MAX_TAGS} strings', param)
  return tuple(text(tag, param, 1, 64) for tag in value)


def check_whole(feedback: Feedback):
  """The rules that connect fields."""
  value = feedback.value
  if feedback.kind == 'preference':
    if value['a'] == value['b']:
      raise Invalid('value.a and value.b must be two answers', 'value.b')
    if feedback.message_id != value['a']:
      raise Invalid('target.message_id must equal value.a', 'target.message_id')
  if feedback.kind == 'edit' and blank(value['content']):
    raise Invalid('an edit needs a text: nothing of this one can be seen', 'value.content')
  if feedback.kind == 'critique' and not (value['text'].strip() or feedback.tags):
    raise Invalid('a critique needs a text or a tag', 'value.text')
  if feedback.supersedes == feedback.id:
    raise Invalid('an event cannot supersede itself', 'supersedes')


def blank(content: str) -> bool:
  """Whether nothing of a text can be seen."""
  return all(letter in FILLERS or unicodedata.category(letter) in UNSEEN for letter in content)
