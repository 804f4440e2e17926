"""Advantages token by token: from what followed each token, a critic, or a teacher.

The same interface as `advantages`: (experience, targets, total) -> (advantages, returns) f32[N,T].
Tokens that the policy did not produce are skipped: what follows a token is its row's next own one.
"""

import jax
import jax.numpy as jnp

from rft_jax.algorithms.groups import alone, groups_of, spread
from rft_jax.registry import Registry
from rft_jax.types import Array, Experience, Targets, Total

TOKENWISE = Registry('advantage')
Pair = tuple[Array, Array]


@TOKENWISE.register()
def reinforce(
  experience: Experience, targets: Targets, total: Total, *, gamma: float = 1.0
) -> Pair:
  """A_t = sum_{k>=t} gamma^(k-t) r_k, no baseline. Source: Williams 1992."""
  returns = discounted(experience, gamma)
  return returns, returns


@TOKENWISE.register()
def reinforce_plus_plus(
  experience: Experience, targets: Targets, total: Total, *, gamma: float = 1.0
) -> Pair:
  """Discounted returns, whitened over all tokens of the batch. Source: arXiv:2501.03262."""
  returns = discounted(experience, gamma)
  return whiten(returns, experience.target, total), returns


@TOKENWISE.register(needs=['several'])
def reinforce_plus_plus_baseline(experience: Experience, targets: Targets, total: Total) -> Pair:
  """R - mean of the group, whitened over all tokens of the batch. Source: arXiv:2501.03262;
  verl."""
  groups = groups_of(experience)
  advantages, _ = spread(experience, alone(groups, groups.centred(), 'zero'))
  there = experience.target & groups.there.reshape(-1, 1)
  return whiten(advantages, there, total), advantages


@TOKENWISE.register(needs=['baseline'])
def remax(experience: Experience, targets: Targets, total: Total, *, gamma: float = 1.0) -> Pair:
  """Discounted returns less the reward of the greedy answer, facts['baseline']. Source:
  arXiv:2310.10505."""
  returns = discounted(experience, gamma)
  baseline = experience.facts['baseline'][:, None]
  return jnp.where(experience.target, returns - baseline, 0), returns


@TOKENWISE.register(needs=['old_logp', 'old_collision'])
def optimal_token_baseline(experience: Experience, targets: Targets, total: Total) -> Pair:
  """A = G_t - B_t, B_t the group's mean of G_t weighted by W_t = sum_{k<=t} 1 - 2 p_k + sum_v p^2,
  the expected squared length of the score so far. Source: verl, optimal_token_baseline.

  Columns are compared as they stand, which for samples of one prompt is token by token. A group of
  one keeps its return.
  """
  mask, returns = experience.target, discounted(experience, 1.0)
  p = jnp.exp(jnp.where(mask, targets.old_logp, 0))
  length = jnp.cumsum(jnp.where(mask, 1 - 2 * p + targets.old.collision, 0), 1)
  weight = jnp.where(mask, length, 0)
  cut = lambda x: x.reshape(-1, experience.group, x.shape[1])
  mean = cut(returns * weight).sum(1) / (cut(weight).sum(1) + 1e-8)
  baseline = jnp.repeat(mean, experience.group, 0) * (experience.group > 1)
  return jnp.where(mask, returns - baseline, 0), returns


@TOKENWISE.register(needs=['values'])
def gae(
  experience: Experience,
  targets: Targets,
  total: Total,
  *,
  gamma: float = 1.0,
  lam: float = 0.95,
  whiten_advantages: bool = True,
  skip: bool = True,
) -> Pair:
  """delta_t = r_t + gamma V_{t+1} - V_t; A_t = delta_t + gamma lam A_{t+1}; returns = A + V.
  Source: arXiv:1506.02438, eq. 16.

  whiten_advantages: zero mean and unit variance over all tokens, for the advantages only. skip:
  tokens of others are passed over, as in verl; False takes every column for a step, as Trinity
  does.
  """
  mask = experience.target if skip else jnp.ones_like(experience.target)
  raw = _gae(experience, targets.values, mask, gamma, lam)
  returns = jnp.where(experience.target, raw + targets.values, 0)
  advantages = whiten(raw, experience.target, total) if whiten_advantages else raw
  return jnp.where(experience.target, advantages, 0), returns


@TOKENWISE.register(needs=['values'])
def vapo(
  experience: Experience,
  targets: Targets,
  total: Total,
  *,
  gamma: float = 1.0,
  alpha: float = 0.05,
  low: float = 0.9,
  whiten_advantages: bool = True,
) -> Pair:
  """GAE with lam = 1 - 1 / (alpha n) for an answer of n tokens, returns with lam = 1. Source:
  arXiv:2504.05118. lam is at least `low`: the formula is for long answers, and of a short
  one (20 tokens) would leave nothing."""
  mask = experience.target
  lam = jnp.maximum(1 - 1 / (alpha * jnp.maximum(mask.sum(1), 1)), low)
  advantages = _gae(experience, targets.values, mask, gamma, lam)
  if whiten_advantages:
    advantages = whiten(advantages, mask, total)
  returns = jnp.where(mask, _gae(experience, targets.values, mask, gamma, 1.0) + targets.values, 0)
  return jnp.where(mask, advantages, 0), returns


@TOKENWISE.register(needs=['old_logp', 'teacher_logp'])
def on_policy_distill(
  experience: Experience, targets: Targets, total: Total, *, coef: float = 1.0
) -> Pair:
  """A_t = coef (log p_teacher - log p_old) of the sampled token: in expectation the gradient of the
  reverse KL to the teacher. Source: arXiv:2306.13649; Trinity-RFT."""
  gap = coef * (targets.teacher_logp - targets.old_logp)
  advantages = jnp.where(experience.target, gap, 0)
  return advantages, advantages


def discounted(experience: Experience, gamma: float) -> Array:
  """f32[N,T]: what follows each token; steps that the policy did not take do not discount."""

  def back(ahead, column):
    reward, mask = column
    value = reward + gamma * ahead
    return jnp.where(mask, value, ahead), jnp.where(mask, value, 0)

  columns = _known(experience.rewards).T, experience.target.T
  return jax.lax.scan(back, jnp.zeros_like(columns[0][0]), columns, reverse=True)[1].T


def whiten(x: Array, mask: Array, total: Total) -> Array:
  """Zero mean and unit (unbiased) variance over the mask, zero outside; a single token has no
  variance and gets 0."""
  count = jnp.maximum(total(mask), 1)
  mean = total(jnp.where(mask, x, 0)) / count
  variance = total(jnp.where(mask, x - mean, 0) ** 2) / jnp.maximum(count - 1, 1)
  return jnp.where(mask, (x - mean) * jax.lax.rsqrt(variance + 1e-8), 0)


def _known(rewards):
  """A reward of NaN is no verdict; here it is no reward."""
  return jnp.nan_to_num(rewards, nan=0.0)


def _gae(experience, values, mask, gamma, lam):
  """lam: a number, or f32[N]."""

  def back(carry, column):
    following, ahead = carry
    reward, value, own = column
    advantage = reward + gamma * following - value + gamma * lam * ahead
    return (jnp.where(own, value, following), jnp.where(own, advantage, ahead)), advantage

  zeros = jnp.zeros_like(values[:, 0])
  columns = _known(experience.rewards).T, values.T, mask.T
  return jax.lax.scan(back, (zeros, zeros), columns, reverse=True)[1].T
