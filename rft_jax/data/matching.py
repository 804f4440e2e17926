"""Verifiers in Python for data sets with a known answer: 1 where a completion gives it, else 0.

Each reads the same kind of value from the completion and from the answer's column, and compares the
two. Free of JAX, so that worker processes start fast.
"""

import importlib
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from rft_jax.registry import ConfigError, nearest

NUMBER = re.compile(r'((?<![\w)])-)?\$?((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)')
BOXED = re.compile(r'\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}')
LETTER = r'[(\[*]*\b([A-Za-z])\b[)\]*.:]*'
SAID = re.compile(r'(?i:answer)\W*(?:(?i:is|are)\b)?[\s:]*' + LETTER.replace('A-Za-z', 'A-Z'))


def number(text: str) -> Decimal | None:
  """The first number of the line after the last '####', else the last in the last \\boxed{}, else
  the last of all. Thousands may have commas, amounts a dollar sign."""
  text = text.replace('−', '-').replace('{,}', ',').replace('\\$', '$')
  _, mark, line = text.rpartition('####')
  boxed = BOXED.findall(text)
  place = line.strip().partition('\n')[0] if mark else boxed[-1] if boxed else text
  found = NUMBER.findall(place)
  return Decimal(''.join(found[0 if mark else -1]).replace(',', '')) if found else None


def normalised(text: str) -> str | None:
  """A text without regard to case, spacing and a final full stop; None for an empty one."""
  plain = unicodedata.normalize('NFKC', text).casefold()
  return ' '.join(plain.split()).rstrip('. ') or None


def letter(text: str) -> str | None:
  """The letter of a choice: in the last \\boxed{}, else after the last 'answer', else what the text
  is or starts with: 'B', '(b)', 'B. Paris'."""
  boxed = BOXED.findall(text)
  if boxed:
    text = boxed[-1]
  elif said := SAID.findall(text):
    return said[-1]
  text = text.strip()
  whole = re.fullmatch(LETTER, text) or re.match(r'[(\[*]*([A-Z])[)\]*.:]+(?:\s|$)', text)
  return whole[1].upper() if whole else None


READERS: dict[str, Callable[[str], Any]] = dict(gsm8k=number, exact=normalised, choice=letter)


def agrees(completion: str, example: Any, *, read: Callable[[str], Any]) -> float:
  """1.0 where the completion has the value of `example.answer`, else 0.0."""
  said = read(completion)
  return float(said is not None and said == read(example.answer))


def shown(completion: str, *, read: Callable[[str], Any]) -> str:
  """What a completion answers, as text; '' for nothing."""
  said = read(completion)
  return '' if said is None else f'{said.normalize():f}' if isinstance(said, Decimal) else said


def imported(path: str) -> Callable[[str, Any], float]:
  """The function 'package.module.function' of the user's own. Raises ConfigError where there is
  none."""
  module, _, name = path.rpartition('.')
  if not module:
    raise ConfigError(
      f'unknown reward {path!r}: {nearest(path, READERS)}; a function of your own is named by its '
      'module, with a dot: mine.rewards.score'
    )
  try:
    return getattr(importlib.import_module(module), name)
  except (ImportError, AttributeError) as error:
    raise ConfigError(
      f'reward {path!r} cannot be loaded ({error}): it must be a function of a module that Python '
      'finds from here, called with (completion, example)'
    ) from error
