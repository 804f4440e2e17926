"""Tasks: one file each, `make(tokenizer, **options) -> Task`; the file's name is the config name."""
import importlib
import pkgutil

from rft_jax.registry import ConfigError, bind, nearest, parse
from rft_jax.types import Task


def make_task(spec: str, tokenizer) -> Task:
  """`'cups(swaps=6)'` -> its Task. Raises ConfigError for an unknown task or option."""
  name, options = parse(spec)
  known = [m.name for m in pkgutil.iter_modules(__path__)]
  if name not in known:
    raise ConfigError(f'unknown task {name!r}: {nearest(name, known)}')
  make = importlib.import_module(f'{__name__}.{name}').make
  return bind(make, options, f'task {name!r}')(tokenizer)
