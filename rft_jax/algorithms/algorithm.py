"""An algorithm: one piece per family, checked to fit together before anything is compiled."""

from typing import Any, NamedTuple

from rft_jax.algorithms.families import FAMILIES
from rft_jax.algorithms.imitation import IMITATION
from rft_jax.algorithms.presets import COMPAT, PRESETS
from rft_jax.registry import ConfigError, nearest, parse

SOURCES = 'samples', 'demonstrations', 'text', 'pairs', 'labels', 'turns', 'self_play'
TWO = 'samples', 'pairs', 'self_play'
"""Sources whose groups hold the two answers of a pair."""
GOALS = 'policy_loss', 'distill', 'preference', 'ranking'
"""Families of which one says what is learned."""


class Algorithm(NamedTuple):
  """parts: one string per family ('' = none); nll: weight of imitating what a pair prefers; refill:
  rounds of sampling to replace groups of equal rewards, 0 = none are replaced; guard: rules that
  must hold, else the run has collapsed; needs: what the pieces need between them."""

  source: str
  parts: dict[str, str]
  nll: float
  refill: int
  guard: tuple[str, ...]
  needs: frozenset[str]

  def piece(self, family: str) -> Any:
    """The function of that family with its options bound, None where there is none."""
    spec = self.parts[family]
    return FAMILIES[family].lookup(spec) if spec else None

  @property
  def samples(self) -> bool:
    """Whether an iteration begins with sampling."""
    return self.source in ('samples', 'turns', 'self_play')


def resolve(preset: str, compat: str = '', **overrides: Any) -> Algorithm:
  """The preset with `overrides` (None = keep the preset's; '' = remove the piece). compat: 'trl',
  'verl' or 'trinity', for that framework's default options. Raises ConfigError for unknown names
  and impossible combinations."""
  if preset not in PRESETS:
    raise ConfigError(f'unknown preset {preset!r}: {nearest(preset, PRESETS)}')
  if compat and compat not in COMPAT:
    raise ConfigError(f'unknown compat {compat!r}: {nearest(compat, COMPAT)}')
  parts: dict[str, Any] = dict(source='samples', nll=0.0, refill=0, guard=())
  parts |= dict.fromkeys(FAMILIES, '')
  parts |= PRESETS[preset]
  for name, value in overrides.items():
    if name not in parts:
      raise ConfigError(f'an algorithm has no part {name!r}: {nearest(name, parts)}')
    parts |= {} if value is None else {name: value}
  source, nll, refill, guard = (parts.pop(name) for name in ('source', 'nll', 'refill', 'guard'))
  if source not in SOURCES:
    raise ConfigError(f'source={source!r} must be one of {", ".join(SOURCES)}')
  for family, spec in parts.items():
    if spec:
      parts[family] = _with_defaults(spec, COMPAT.get(compat, {}).get(family, {}))
      FAMILIES[family].lookup(parts[family])
  algorithm = Algorithm(source, parts, nll, refill, tuple(guard), _needs(parts))
  _check(preset, algorithm)
  return algorithm


def _with_defaults(spec: str, defaults: dict[str, dict]) -> str:
  name, options = parse(spec)
  if name not in defaults:
    return spec
  merged = ', '.join(f'{k}={v!r}' for k, v in (defaults[name] | options).items())
  return f'{name}({merged})'


def _needs(parts: dict[str, str]) -> frozenset[str]:
  needs = set()
  for family, spec in parts.items():
    if spec:
      own = FAMILIES[family].needed(spec)
      keeps = parse(spec)[1].get('singleton') == 'keep'
      needs |= own - {'several'} if keeps else own
      if family == 'distill' and parse(spec)[1].get('teacher') == 'ref':
        needs = (needs - {'teacher'}) | {'ref_logp'}
  return frozenset(needs)


def _check(preset: str, algorithm: Algorithm) -> None:
  parts, source = algorithm.parts, algorithm.source
  of = lambda family: parse(parts[family])[0] if parts[family] else ''
  goals = [family for family in GOALS if parts[family]]

  def refuse(why: str):
    raise ConfigError(f'preset {preset!r}: {why}')

  if not goals:
    names = nearest('', FAMILIES['policy_loss'].members)
    refuse(
      f'leaves nothing to learn from: set policy_loss, distill, preference or ranking. {names}'
    )
  if (parts['preference'] or parts['ranking']) and len(goals) > 1:
    refuse(f'{" and ".join(goals)} cannot be combined: pairs are compared by one loss; remove one')
  if parts['policy_loss'] and of('policy_loss') not in IMITATION.members:
    if not parts['advantage']:
      known = nearest('', FAMILIES['advantage'].members)
      refuse(f'policy_loss {parts["policy_loss"]!r} reads an advantage: set one. {known}')
    if not algorithm.samples:
      refuse(
        f'policy_loss {parts["policy_loss"]!r} learns from rewards of samples: source={source!r} '
        "has none; use source='samples', or an imitation loss such as 'nll'"
      )
  if not parts['aggregator'] and not (parts['preference'] or parts['ranking']):
    refuse(f'aggregator is missing. {nearest("", FAMILIES["aggregator"].members)}')
  if 'values' in _needed(algorithm, 'advantage') and not parts['value_loss']:
    refuse(
      f'advantage {parts["advantage"]!r} reads values, but nothing trains them: '
      "set value_loss='clipped'"
    )
  if parts['value_loss'] and not parts['advantage']:
    refuse("value_loss has no returns to learn: set an advantage, such as 'gae'")
  if bool(parts['expert']) != bool(parts['mix']):
    refuse("expert and mix belong together: set both, such as expert='nll', mix='constant(mu=0.1)'")
  unpaired = 'labels' in _needed(algorithm, 'preference')
  if unpaired and source in ('pairs', 'self_play'):
    refuse(f"preference {parts['preference']!r} judges single answers: set source='labels'")
  if parts['preference'] and not unpaired and source not in TWO:
    refuse(f"preference {parts['preference']!r} compares two answers: set source='pairs'")
  if parts['ranking'] and source != 'pairs':
    refuse("a reward model learns from pairs: set source='pairs'")
  if algorithm.refill and source != 'samples':
    refuse(
      f'refill={algorithm.refill} samples anew, which source={source!r} does not: set refill=0'
    )
  if 'turn' in algorithm.needs and source != 'turns':
    refuse(f"advantage {parts['advantage']!r} is for answers in turns: set source='turns'")


def _needed(algorithm: Algorithm, family: str) -> frozenset[str]:
  spec = algorithm.parts[family]
  return FAMILIES[family].needed(spec) if spec else frozenset()
