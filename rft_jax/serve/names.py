"""The names of models that clients may use."""

import fnmatch
import re
from collections.abc import Sequence

from rft_jax.registry import ConfigError
from rft_jax.serve.errors import ApiError

PINNED = re.compile(r'rft@v([0-9]{1,9})')


class Names:
  """`rft`, `rft:base` and `rft@v12`; and `others`, each a name or a pattern such as `gpt-*`, alone
  for `rft` or as `name=rft:base`. Ours come first, then the first that fits. Raises ConfigError for
  an alias that stands for none of ours."""

  def __init__(self, others: Sequence[str] = ()):
    pairs = [(name, target or 'rft') for name, _, target in (o.partition('=') for o in others)]
    self.others = tuple((name.strip(), target.strip()) for name, target in pairs)
    for name, target in self.others:
      if not name or own(name) or not own(target):
        raise ConfigError(
          f'serve.models={name}={target}: write a name or a pattern such as gpt-*, alone or with '
          '=rft, =rft:base or =rft@v12'
        )

  def named(self, model: str) -> tuple[int | None, bool]:
    """(version, personal). Raises ApiError 404 for a name that nothing stands behind."""
    targets = (t for name, t in self.others if fnmatch.fnmatchcase(model, name))
    found = own(model) or own(next(targets, ''))
    if not found:
      raise ApiError(
        404,
        f'there is no model {model!a}: /v1/models lists what there is, serve.models maps others',
        'model',
        'model_not_found',
      )
    return found

  def listed(self, versions: Sequence[int]) -> list[str]:
    """What can be listed: patterns cannot, and pinned versions only where they are offered."""
    ids = ['rft', 'rft:base', *(f'rft@v{version}' for version in versions)]
    plain = [name for name, _ in self.others if not set(name) & set('*?[')]
    return [*ids, *(name for name in plain if (self.named(name)[0] or 0) in (0, *versions))]


def own(model: str) -> tuple[int | None, bool] | None:
  if model == 'rft':
    return None, True
  if model == 'rft:base':
    return 0, False
  pinned = PINNED.fullmatch(model)
  return (int(pinned[1]), False) if pinned else None


OWN = Names()
