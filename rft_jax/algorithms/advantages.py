"""Advantages: how much better than expected each sampled token was.

A member maps (experience, values f32[N,T] or None, total) to (advantages, returns), both f32[N,T]
and zero outside `experience.target`; `total` sums over the whole batch, all devices included. Rows
of a group are consecutive.
"""

import jax
import jax.numpy as jnp

from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array, Experience, Total

ADVANTAGES = Registry('advantage')
Pair = tuple[Array, Array]


@ADVANTAGES.register()
def reinforce(experience: Experience, values: None, total: Total, *, gamma: float = 1.0) -> Pair:
  """A_t = sum_{k>=t} gamma^(k-t) r_k, no baseline. Source: Williams 1992."""
  returns = _backwards(experience.rewards, experience.target, gamma)
  return returns, returns


@ADVANTAGES.register()
def grpo(
  experience: Experience,
  values: None,
  total: Total,
  *,
  eps: float = 1e-6,
  ddof: int = 1,
  scale: str = 'group',
) -> Pair:
  """A = (R - mean_group) / (std + eps), one number per sequence. Source: arXiv:2402.03300, section
  4.1.2.

  scale: 'group' divides by the group's standard deviation, 'batch' by that of all rewards
  (arXiv:2508.08221), 'none' by nothing (Dr. GRPO, arXiv:2503.20783). A group of one has nothing to
  compare with: A = 0.
  """
  score = jnp.where(experience.target, experience.rewards, 0).sum(1)
  grouped = score.reshape(-1, experience.group)
  centred = grouped - grouped.mean(1, keepdims=True)
  if scale == 'group':
    centred /= _std(centred, ddof) + eps
  elif scale == 'batch':
    count = total(jnp.ones_like(score))
    deviation = score - total(score) / count
    centred /= jnp.sqrt(total(deviation**2) / jnp.maximum(count - ddof, 1)) + eps
  elif scale != 'none':
    raise ConfigError(f"advantage 'grpo': scale={scale!r} must be 'group', 'batch' or 'none'")
  advantages = jnp.where(experience.target, centred.reshape(-1, 1), 0)
  return advantages, advantages


@ADVANTAGES.register(needs=['values'])
def gae(
  experience: Experience,
  values: Array,
  total: Total,
  *,
  gamma: float = 1.0,
  lam: float = 0.95,
  whiten: bool = True,
) -> Pair:
  """delta_t = r_t + gamma V_{t+1} - V_t; A_t = delta_t + gamma lam A_{t+1}; returns = A + V.
  Source: arXiv:1506.02438, eq. 16.

  Tokens that the policy did not produce are skipped: V_{t+1} and A_{t+1} are those of its next own
  token (as in verl). `whiten` gives the advantages (not the returns) zero mean and unit variance
  over all target tokens.
  """

  def back(carry, column):
    following, ahead = carry
    reward, value, mask = column
    advantage = reward + gamma * following - value + gamma * lam * ahead
    return (jnp.where(mask, value, following), jnp.where(mask, advantage, ahead)), advantage

  zeros = jnp.zeros_like(values[:, 0])
  columns = (experience.rewards.T, values.T, experience.target.T)
  raw = jax.lax.scan(back, (zeros, zeros), columns, reverse=True)[1].T
  returns = jnp.where(experience.target, raw + values, 0)
  if whiten:
    raw = _whiten(raw, experience.target, total)
  return jnp.where(experience.target, raw, 0), returns


def _backwards(rewards, target, gamma):
  """Discounted sums of what follows; steps that the policy did not take do not discount."""

  def back(ahead, column):
    reward, mask = column
    value = reward + gamma * ahead
    return jnp.where(mask, value, ahead), jnp.where(mask, value, 0)

  return jax.lax.scan(back, jnp.zeros_like(rewards[:, 0]), (rewards.T, target.T), reverse=True)[1].T


def _std(centred, ddof):
  return jnp.sqrt((centred**2).sum(1, keepdims=True) / max(centred.shape[1] - ddof, 1))


def _whiten(x, mask, total):
  count = jnp.maximum(total(mask), 1)
  mean = total(jnp.where(mask, x, 0)) / count
  variance = total(jnp.where(mask, x - mean, 0) ** 2) / jnp.maximum(count - 1, 1)
  return (x - mean) * jax.lax.rsqrt(variance + 1e-8)
