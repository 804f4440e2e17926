"""Verifiers in Python for data sets with a known answer: 1 where a completion gives it, else 0.

Each reads the same kind of value from the completion and from the answer's column, and compares the
two. Free of JAX, so that worker processes start fast.
"""

import functools
import importlib
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rft_jax.data import choices, plain
from rft_jax.data.choices import letter
from rft_jax.data.numerals import number, same_number, written
from rft_jax.registry import ConfigError, nearest

Read = Callable[..., Any]  # (a text, the prompt) -> a value to compare, None for none
READERS: dict[str, Read] = dict(gsm8k=number, exact=plain.answer, choice=letter)
KNOWN: dict[str, Read] = READERS | dict(choice=choices.known)  # the same of a column of answers
NAMES = (*READERS, 'math')


def judge(name: str) -> dict[str, Callable]:
  """Of a reward of NAMES: `reward` and `answer` of a task, and `known`, what finds a value in the
  column of answers. Raises ConfigError where what it needs is not installed."""
  if name == 'math':
    try:
      from rft_jax.data import mathematics  # which needs math-verify, and that takes a second
    except ModuleNotFoundError as error:
      raise ConfigError(
        f"reward='math' needs math-verify ({error}): pip install 'rft_jax[math]'"
      ) from error
    return dict(reward=mathematics.agrees, answer=mathematics.answered, known=mathematics.known)
  read, known = READERS[name], KNOWN[name]
  by_value = functools.partial(agrees, read=read, known=known)
  return dict(
    reward=same_number if name == 'gsm8k' else by_value,
    answer=functools.partial(shown, read=read),
    known=known,
  )


def agrees(completion: str, example: Any, *, read: Read, known: Read | None = None) -> float:
  """1.0 where the completion has the value of `example.answer`, else 0.0."""
  said = read(completion, example.prompt)
  return float(said is not None and said == (known or read)(example.answer, example.prompt))


def shown(completion: str, *, read: Read) -> str:
  """What a completion answers, as text; '' for nothing."""
  said = read(completion)
  return '' if said is None else written(said) if isinstance(said, Decimal | Fraction) else said


def imported(path: str) -> Callable[[str, Any], float]:
  """The function 'package.module.function' of the user's own. Raises ConfigError where there is
  none."""
  module, _, name = path.rpartition('.')
  if not module:
    raise ConfigError(
      f'unknown reward {path!r}: {nearest(path, NAMES)}; a function of your own is named by its '
      'module, with a dot: mine.rewards.score'
    )
  try:
    return getattr(importlib.import_module(module), name)
  except (ImportError, AttributeError) as error:
    raise ConfigError(
      f'reward {path!r} cannot be loaded ({error}): it must be a function of a module that Python '
      'finds from here, called with (completion, example)'
    ) from error
