"""A tokenizer's chat template: rendering as it stands, the date it prints, and which tokens are
more than text."""

import datetime
import functools
import json
import re
from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError
from tokenizers import Tokenizer

from rft_jax.registry import ConfigError

Turns = Sequence[dict[str, Any]]
"""[{'role': 'system' | 'user' | 'assistant' | ..., 'content': text}, ...]"""
TODAY, SINCE = 'today', 'since '
BROKEN = TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError
"""What the code of a template may raise."""
OWN_DATE = re.compile(r'date_string\s+is\s+(not\s+)?defined|not\s+date_string\s+is\s+defined')
CLOCK = (
  '{%- macro strftime_now(form) -%}{%- set said = namespace(text=form) -%}'
  '{%- for sign, value in date_signs.items() -%}'
  '{%- set said.text = said.text.replace(sign, value) -%}{%- endfor -%}'
  '{{- said.text -}}{%- endmacro +%}'
)
"""Stands before a template in place of the clock, since transformers passes no functions on."""
SIGNS = [f'%{letter}' for letter in 'aAbBcCdDeFgGhHIjmMnpRStTuUVwWxXyY']
BRACKETED = re.compile(r'[<\[{(|].*[>\])}|]', re.DOTALL)


def check_template(tokenizer) -> None:
  """Raises ConfigError where the tokenizer has no chat template."""
  if not getattr(tokenizer, 'chat_template', None):
    raise ConfigError(
      'messages need a chat template, which this tokenizer lacks: use the tokenizer of a chat '
      'model, put a chat_template.jinja beside its tokenizer.json, or map plain columns '
      '(prompt=, response=)'
    )


def source(tokenizer) -> str:
  """The template in use; of several by name, that for conversations without tools."""
  check_template(tokenizer)
  try:
    return tokenizer.get_chat_template()
  except ValueError as error:
    raise ConfigError(f'the tokenizer has no template for plain conversations: {error}') from error


def named(tokenizer) -> str:
  """The subject of a sentence about the template: its first characters, and where it is from."""
  first = ' '.join(source(tokenizer).split())[:40]
  place = getattr(tokenizer, 'name_or_path', '')
  return f'the chat template {first!r}' + (f' of {place}' if place else '')


def raw(tokenizer, turns: Turns, ask: bool = False, template: str | None = None) -> str:
  """The text of turns as they are; ask: up to where the assistant's next answer begins; template:
  in place of the tokenizer's. Raises ConfigError where it refuses the conversation."""
  template = source(tokenizer) if template is None else template
  values = dated_values(tokenizer, template)
  if 'strftime_now' in template:
    template = CLOCK + template
  try:
    return tokenizer.apply_chat_template(
      list(turns), tokenize=False, add_generation_prompt=ask, chat_template=template, **values
    )
  except BROKEN as error:
    roles = ', '.join(str(turn.get('role')) for turn in turns)
    reason = ' '.join(str(error).split())
    raise ConfigError(
      f'{named(tokenizer)} refuses a conversation of {roles} ({reason}): change the turns, leave '
      'the system prompt out, or use another chat template'
    ) from error


def set_date(tokenizer, day: str, chosen: bool) -> None:
  """From now on its template prints this day, YYYY-MM-DD, or each day its own for '' and 'today';
  chosen: by a person, also where the template has a date of its own to fall back on. Raises
  ConfigError for what is no day."""
  parse_date(day)
  tokenizer.template_date = day, chosen


def dated_values(tokenizer, template: str) -> dict[str, Any]:
  """What a template reads a date from. The day is that of `set_date`, else today's; the time is
  midnight, so that a day has one prompt."""
  if 'strftime_now' not in template and 'date_string' not in template:
    return {}
  day, chosen = getattr(tokenizer, 'template_date', (TODAY, False))
  then = parse_date(day)
  signs = {sign: then.strftime(sign) for sign in SIGNS}
  short = {f'%-{sign[1]}': value.lstrip('0') or '0' for sign, value in signs.items()}
  values: dict[str, Any] = dict(
    date_signs={sign: said for sign, said in (short | signs).items() if sign in template}
  )
  if chosen or not OWN_DATE.search(template):
    values['date_string'] = then.strftime('%d %b %Y')
  return values


def parse_date(day: str) -> datetime.datetime:
  """Raises ConfigError for what is no day."""
  try:
    date = datetime.date.today() if day in ('', TODAY) else datetime.date.fromisoformat(day)
  except ValueError as error:
    raise ConfigError(f'date={day!r} must be YYYY-MM-DD, such as 2026-01-31, or today') from error
  return datetime.datetime(date.year, date.month, date.day)


def added_tokens(tokenizer) -> dict[str, int]:
  """Texts that are one token wherever they stand, whatever is around them, special or not; no
  ordinary text."""
  found = {str(t): i for i, t in getattr(tokenizer, 'added_tokens_decoder', {}).items()}
  special = {t: tokenizer.convert_tokens_to_ids(t) for t in tokenizer.all_special_tokens}
  if getattr(tokenizer, 'split_special_tokens', False):
    return {}
  known, plain = found | special, ordinary(tokenizer)
  return {t: i for t, i in known.items() if t.strip() and t not in plain and i is not None}


def ordinary(tokenizer) -> frozenset[str]:
  """Special tokens that are ordinary text too, such as a '!' that was made the padding: a text
  keeps them."""
  return _ordinary(tokenizer, tuple(tokenizer.all_special_tokens))


@functools.lru_cache(maxsize=16)
def _ordinary(tokenizer, special: tuple[str, ...]) -> frozenset[str]:
  ends = {tokenizer.eos_token, tokenizer.bos_token}
  doubtful = [t for t in special if not BRACKETED.search(t) and t not in ends]
  short = frozenset(t for t in doubtful if len(t.strip()) < 2)
  backend = getattr(tokenizer, 'backend_tokenizer', None)
  if not doubtful or backend is None:
    return short
  plain = Tokenizer.from_str(json.dumps(json.loads(backend.to_str()) | dict(added_tokens=[])))
  ids = {t: tokenizer.convert_tokens_to_ids(t) for t in doubtful}
  said = lambda id: plain.encode(plain.decode([id]), add_special_tokens=False).ids
  return short | {t for t, id in ids.items() if id is not None and said(id) == [id]}
