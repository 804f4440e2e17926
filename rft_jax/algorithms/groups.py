"""Statistics of the samples of one prompt, which are the consecutive rows of a group.

Rows that produced nothing and rows whose reward is NaN (no verdict) are not there: they count in no
statistic, and their advantage is 0.
"""

from typing import NamedTuple

import jax.numpy as jnp

from rft_jax.registry import ConfigError
from rft_jax.types import Array, Experience


class Groups(NamedTuple):
  """score f32[B,G]: rewards, 0 where not `there` bool[B,G]; count f32[B,1] of those there."""

  score: Array
  there: Array
  count: Array

  def mean(self) -> Array:
    return self.score.sum(1, keepdims=True) / jnp.maximum(self.count, 1)

  def centred(self) -> Array:
    return jnp.where(self.there, self.score - self.mean(), 0)

  def std(self, ddof: int) -> Array:
    squares = (self.centred() ** 2).sum(1, keepdims=True)
    return jnp.sqrt(squares / jnp.maximum(self.count - ddof, 1))


def sequence_rewards(experience: Experience) -> Array:
  """f32[N]: the sum over a row's own tokens."""
  return jnp.where(experience.target, experience.rewards, 0).sum(1)


def on_last(experience: Experience, rewards: Array) -> Array:
  """f32[N] -> f32[N,T]: each on the last token that its row produced, 0 elsewhere."""
  later = jnp.cumsum(experience.target[:, ::-1], 1)[:, ::-1]
  return jnp.where(experience.target & (later == 1), rewards[:, None], 0)


def make_groups(there: Array, score: Array, size: int) -> Groups:
  """From rows [N]; what is not there, or NaN, becomes 0."""
  there = there & ~jnp.isnan(score)
  there, score = (x.reshape(-1, size) for x in (there, jnp.where(there, score, 0)))
  return Groups(score, there, there.sum(1, keepdims=True).astype(jnp.float32))


def groups_of(experience: Experience) -> Groups:
  return make_groups(experience.target.any(1), sequence_rewards(experience), experience.group)


def alone(groups: Groups, advantages: Array, singleton: str) -> Array:
  """Advantages f32[B,G] where each group has at least two; a group of one has nothing to compare
  with: 'zero' gives it 0, 'keep' its reward."""
  if singleton not in ('zero', 'keep'):
    raise ConfigError(f"singleton={singleton!r} must be 'zero' or 'keep'")
  own = groups.score if singleton == 'keep' else jnp.zeros_like(groups.score)
  return jnp.where(groups.count > 1, advantages, own)


def spread(experience: Experience, advantages: Array) -> tuple[Array, Array]:
  """One number per sequence, [B,G] or [N], on each of its tokens -> (advantages, returns)
  f32[N,T]."""
  tokens = jnp.where(experience.target, advantages.reshape(-1, 1), 0)
  return tokens, tokens
