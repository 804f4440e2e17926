"""Tasks: one file each, `make(tokenizer, *, **options) -> Task`; its name is the config name.

A name with a dot is a module of the user's own, found as Python finds modules: `'mine.task(k=v)'`.
"""

import importlib
import pkgutil
from collections.abc import Callable

from rft_jax.registry import ConfigError, bind, nearest, parse
from rft_jax.types import Task


def make_task(spec: str, tokenizer) -> Task:
  """`'cups(swaps=6)'` -> its Task. Raises ConfigError for an unknown task or option."""
  name, options = parse(spec)
  return bind(task_maker(name), options, f'task {name!r}')(tokenizer)


def task_maker(name: str) -> Callable[..., Task]:
  """The function `make` of task `name`."""
  known = [m.name for m in pkgutil.iter_modules(__path__)]
  if name in known:
    return importlib.import_module(f'{__name__}.{name}').make
  if '.' not in name:
    raise ConfigError(
      f'unknown task {name!r}: {nearest(name, known)}; a task of your own is '
      'named by its module, with a dot: mine.task'
    )
  try:
    return importlib.import_module(name).make
  except (ImportError, AttributeError) as error:
    raise ConfigError(
      f'task {name!r} cannot be loaded ({error}): it must be a module that Python '
      'finds from here, with a function make(tokenizer, *, **options)'
    ) from error
