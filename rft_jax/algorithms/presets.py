"""Named algorithms as data: which piece of each family. Any piece can be replaced in a config."""

from typing import Any, NamedTuple

from rft_jax.algorithms.advantages import ADVANTAGES
from rft_jax.algorithms.aggregators import AGGREGATORS
from rft_jax.algorithms.kls import KLS
from rft_jax.algorithms.policy_losses import POLICY_LOSSES
from rft_jax.algorithms.value_losses import VALUE_LOSSES
from rft_jax.registry import ConfigError, nearest

FAMILIES = dict(
  advantage=ADVANTAGES,
  policy_loss=POLICY_LOSSES,
  kl=KLS,
  aggregator=AGGREGATORS,
  value_loss=VALUE_LOSSES,
)
PRESETS = dict(
  sft=dict(objective='supervised', aggregator='token_mean'),
  reinforce=dict(
    advantage='reinforce', policy_loss='policy_gradient', aggregator='seq_mean_token_sum'
  ),
  grpo=dict(advantage='grpo', policy_loss='ppo_clip', kl='k3', aggregator='token_mean'),
  ppo=dict(advantage='gae', policy_loss='ppo_clip', value_loss='clipped', aggregator='token_mean'),
)


class Algorithm(NamedTuple):
  """One string per family ('' = none), and what the pieces need between them."""

  objective: str
  advantage: str
  policy_loss: str
  kl: str
  aggregator: str
  value_loss: str
  entropy: float
  needs: frozenset[str]


def resolve(preset: str, **overrides: str | float | None) -> Algorithm:
  """The preset with `overrides` (None = keep the preset's). Raises ConfigError for unknown names
  and impossible combinations."""
  if preset not in PRESETS:
    raise ConfigError(f'unknown preset {preset!r}: {nearest(preset, PRESETS)}')
  pieces: dict[str, Any] = (
    dict(objective='reinforcement', entropy=0.0) | dict.fromkeys(FAMILIES, '') | PRESETS[preset]
  )
  for name, value in overrides.items():
    if name not in pieces:
      raise ConfigError(f'an algorithm has no part {name!r}: {nearest(name, pieces)}')
    pieces |= {} if value is None else {name: value}
  used = {name: family for name, family in FAMILIES.items() if pieces[name]}
  for name, family in used.items():
    family.lookup(pieces[name])
  needs = frozenset().union(*(family.needed(pieces[name]) for name, family in used.items()))
  if pieces['objective'] == 'reinforcement':
    for part in ('advantage', 'policy_loss', 'aggregator'):
      if not pieces[part]:
        raise ConfigError(
          f'preset {preset!r}: {part}={pieces[part]!r} leaves nothing to learn from: '
          f'{nearest("", FAMILIES[part].members)}'
        )
    if 'values' in ADVANTAGES.needed(pieces['advantage']) and not pieces['value_loss']:
      raise ConfigError(
        f'advantage {pieces["advantage"]!r} reads values, but nothing trains them: '
        "set value_loss='clipped'"
      )
  return Algorithm(**pieces, needs=needs | ({'entropy'} if pieces['entropy'] else frozenset()))
