"""Train and test never overlap: the problem's text alone decides which of them it belongs to."""

import hashlib
from collections.abc import Callable

from rft_jax.registry import ConfigError

SPLITS = ('train', 'test')
TRIES = 400


def split_of(prompt: str) -> str:
  """The split of a problem: 'test' for one prompt in eight, the same for ever and everywhere."""
  digest = hashlib.blake2b(prompt.encode(), digest_size=1).digest()
  return 'test' if digest[0] % 8 == 0 else 'train'


def redraw(split: str, draw: Callable[[int], str | None], what: str) -> int:
  """The first attempt whose prompt `draw(attempt)` is in `split`; None is in neither.

  Raises ConfigError for an unknown split, and where `TRIES` draws hold no problem of it.
  """
  if split not in SPLITS:
    raise ConfigError(f'split {split!r} is unknown: use one of {", ".join(SPLITS)}')
  for attempt in range(TRIES):
    prompt = draw(attempt)
    if prompt is not None and split_of(prompt) == split:
      return attempt
  raise ConfigError(
    f'{what} has too few problems: none of {TRIES} draws is in split {split!r}; '
    'make it harder, so that there are more'
  )
