"""Rules about metrics, as text: `'eval/accuracy >= 0.8'`, `'rollout/length <= 3 * before'`."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from rft_jax.registry import ConfigError, UserError, nearest

FORM = re.compile(r'\s*(\S+)\s*(>=|<=)\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(\*\s*before)?\s*')


class Collapsed(UserError):
  """A guard of the stage no longer holds."""


class Rule(NamedTuple):
  """relative: the bound is a multiple of the metric's first value in the stage."""

  text: str
  metric: str
  above: bool
  bound: float
  relative: bool

  def limit(self, before: dict[str, float]) -> float:
    return self.bound * (before[self.metric] if self.relative else 1)

  def holds(self, metrics: dict[str, float], before: dict[str, float]) -> bool:
    value, limit = metrics[self.metric], self.limit(before)
    return value >= limit if self.above else value <= limit


def parse_rule(text: str, setting: str) -> Rule:
  """Raises ConfigError for another form; `setting` is what the rule was given as."""
  match = FORM.fullmatch(text)
  if not match:
    raise ConfigError(
      f"{setting}={text!r} must be like 'eval/accuracy >= 0.8' or 'eval/nll <= 2 * before'"
    )
  return Rule(text, match[1], match[2] == '>=', float(match[3]), bool(match[4]))


def satisfied(text: str, metrics: dict[str, float]) -> bool:
  """Whether a stage's `stop` holds; an empty one never does. Raises ConfigError for another form or
  an unknown metric."""
  if not text:
    return False
  rule = parse_rule(text, 'stop')
  if rule.metric not in metrics:
    raise ConfigError(f'stop={text!r}: unknown metric {nearest(rule.metric, metrics)}')
  return rule.holds(metrics, metrics)


class Guard:
  """What must hold in a stage. `before`: the first value of each metric that a rule is about."""

  def __init__(self, texts: Iterable[str], before: dict[str, float]):
    self.rules, self.before = [parse_rule(text, 'guard') for text in texts], before

  def check(self, metrics: dict[str, float], step: int, kind: str) -> None:
    """Raises Collapsed where a rule about one of the metrics fails, and ConfigError where a rule is
    about a metric of this kind ('eval/' or another) that is not reported."""
    for rule in self.rules:
      if rule.metric.startswith('eval/') != (kind == 'eval'):
        continue
      if rule.metric not in metrics:
        raise ConfigError(f'guard {rule.text!r}: unknown metric {nearest(rule.metric, metrics)}')
      self.before.setdefault(rule.metric, metrics[rule.metric])
      if not rule.holds(metrics, self.before):
        raise Collapsed(
          f'collapsed at step {step}: {rule.metric} is {metrics[rule.metric]:.4g}, which breaks '
          f'guard {rule.text!r} (limit {rule.limit(self.before):.4g}): strengthen kl, lower the '
          "learning rate, or go on from the last checkpoint by collapse='restore'"
        )
