"""Advantages of answers in several turns: each row is one turn, a group all turns of all attempts
at one task.

facts['run'] i32[N] is the attempt, numbered within the group; facts['turn'] i32[N] the turn's
number in it; facts['anchor'] i32[N] the state that it started from. The reward of a row is that of
its turn. Rows without a token are turns that did not happen.
"""

import jax.numpy as jnp

from rft_jax.algorithms.groups import make_groups, sequence_rewards, spread
from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array, Experience, Targets, Total

EPISODIC = Registry('advantage')
Pair = tuple[Array, Array]
TURNS = 'run', 'turn'


@EPISODIC.register(needs=TURNS)
def step_wise_grpo(
  experience: Experience,
  targets: Targets,
  total: Total,
  *,
  eps: float = 1e-6,
  scale: str = 'group',
  step_norm: bool = False,
) -> Pair:
  """GRPO over the attempts by the reward of their last turn, given to each of their turns;
  step_norm divides by the number of turns. scale: 'group' or 'batch'. Source: Trinity-RFT,
  step_wise_grpo."""
  reward, there, same = _attempts(experience)
  turn = jnp.where(there, _rows(experience, 'turn'), -1)
  last = there & (turn == jnp.where(same, turn[:, None, :], -1).max(2))
  groups = make_groups(last.reshape(-1), reward.reshape(-1), experience.group)
  if scale == 'group':
    std = groups.std(1)
  elif scale == 'batch':
    count = total(groups.there)
    centred = jnp.where(groups.there, groups.score - total(groups.score) / count, 0)
    std = jnp.sqrt(total(centred**2) / jnp.maximum(count - 1, 1))
  else:
    raise ConfigError(f"advantage 'step_wise_grpo': scale={scale!r} must be 'group' or 'batch'")
  several = groups.count > 1
  own = jnp.where(several, groups.centred() / (std + eps), 0)
  advantages = jnp.where(same, jnp.where(last, own, 0)[:, None, :], 0).sum(2)
  if step_norm:
    advantages /= jnp.maximum(same.sum(2), 1)
  return spread(experience, advantages)


@EPISODIC.register(needs=(*TURNS, 'anchor'))
def gigpo(
  experience: Experience,
  targets: Targets,
  total: Total,
  *,
  omega: float = 1.0,
  gamma: float = 1.0,
  scale: str = 'none',
  eps: float = 1e-6,
) -> Pair:
  """A = A_episode + omega A_step. Source: arXiv:2505.10978.

  A_episode compares the sum of rewards of the attempts at a task; A_step compares, among turns that
  start from the same state of the same task, what followed, discounted by gamma. scale='group'
  divides both by their standard deviation + eps. A state met once has A_step = 0.
  """
  if scale not in ('none', 'group'):
    raise ConfigError(f"advantage 'gigpo': scale={scale!r} must be 'group' or 'none'")
  reward, there, same = _attempts(experience)
  turn, anchor = _rows(experience, 'turn'), _rows(experience, 'anchor')
  later = turn[:, None, :] - turn[:, :, None]
  follows = same & (later >= 0)
  returns = (jnp.where(follows, gamma ** jnp.maximum(later, 0), 0.0) * reward[:, None, :]).sum(2)
  episode = jnp.where(same, reward[:, None, :], 0).sum(2)
  first = there & (turn == jnp.where(same, turn[:, None, :], turn.max() + 1).min(2))
  compared = jnp.broadcast_to((first & there)[:, None, :], same.shape)
  alike = there[:, None, :] & there[:, :, None] & (anchor[:, None, :] == anchor[:, :, None])
  advantages = _against(episode, compared, scale, eps) + omega * _against(
    returns, alike, scale, eps
  )
  return spread(experience, jnp.where(there, advantages, 0))


def _rows(experience: Experience, name: str) -> Array:
  return experience.facts[name].reshape(-1, experience.group)


def _attempts(experience: Experience) -> tuple[Array, Array, Array]:
  """Rewards f32[B,G], whether a turn happened bool[B,G], whether two are of one attempt
  bool[B,G,G]."""
  reward, there = sequence_rewards(experience), experience.target.any(1)
  there &= ~jnp.isnan(reward)
  reward, there = (x.reshape(-1, experience.group) for x in (jnp.where(there, reward, 0), there))
  run = _rows(experience, 'run')
  same = (run[:, None, :] == run[:, :, None]) & there[:, None, :] & there[:, :, None]
  return reward, there, same


def _against(x: Array, others: Array, scale: str, eps: float) -> Array:
  """x f32[B,G] less the mean of those it is compared with, bool[B,G,G]; 0 where that is one
  alone."""
  count = others.sum(2)
  pick = jnp.where(others, x[:, None, :], 0)
  mean = pick.sum(2) / jnp.maximum(count, 1)
  gap = x - mean
  if scale == 'group':
    squares = jnp.where(others, pick - mean[:, :, None], 0) ** 2
    gap /= jnp.sqrt(squares.sum(2) / jnp.maximum(count - 1, 1)) + eps
  return jnp.where(count > 1, gap, 0)
