"""Rewards that no task gives: from the model's own certainty (unsupervised), and for the shape of
an answer.

A member of UNSUPERVISED maps (experience, old scores) to f32[N], which takes the place of the
task's reward; the task's is still reported. A member of SHAPING maps (experience) to f32[N], which
is added.
"""

import jax.numpy as jnp

from rft_jax.algorithms.ratios import masked_mean
from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array, Experience, Scores

UNSUPERVISED = Registry('reward')
SHAPING = Registry('shaping')


@UNSUPERVISED.register(needs=['answer'])
def majority(experience: Experience, old: Scores | None) -> Array:
  """1 for the answer that most samples of the group give, else 0; no answer (-1) has no vote, and
  of equally frequent ones the smallest number wins. Source: arXiv:2504.16084 (TTRL)."""
  votes = experience.facts['answer'].reshape(-1, experience.group)
  same = (votes[:, :, None] == votes[:, None, :]).sum(2) * (votes >= 0)
  most = same.max(1, keepdims=True)
  winner = jnp.where(same == most, votes, jnp.iinfo(jnp.int32).max).min(1, keepdims=True)
  return ((votes == winner) & (votes >= 0)).reshape(-1).astype(jnp.float32)


@UNSUPERVISED.register(needs=['old_certainty'])
def self_certainty(experience: Experience, old: Scores) -> Array:
  """Mean over tokens of logsumexp z - mean z = KL(uniform || p) + log V. Source: arXiv:2505.19590
  (INTUITOR)."""
  return masked_mean(old.certainty, experience.target)[:, 0]


@UNSUPERVISED.register(needs=['old_entropy'])
def certainty(experience: Experience, old: Scores, *, mean: bool = True) -> Array:
  """- entropy of the tokens, their mean (arXiv:2505.22660, RENT) or sum (arXiv:2505.15134,
  EM-RL)."""
  entropy = jnp.where(experience.target, old.entropy, 0)
  return -(masked_mean(entropy, experience.target)[:, 0] if mean else entropy.sum(1))


@UNSUPERVISED.register()
def likelihood(experience: Experience, old: Scores | None) -> Array:
  """Mean log-probability of the tokens: how sure the sampler was of what it said. Source:
  arXiv:2505.15134."""
  return masked_mean(experience.behaviour_logp, experience.target)[:, 0]


@SHAPING.register()
def overlong(
  experience: Experience, *, limit: int | None = None, buffer: int = 0, factor: float = 1.0
) -> Array:
  """0 up to limit - buffer tokens, falling to -factor at limit and staying there. limit: tokens,
  default all columns after the prompt. Source: arXiv:2503.14476."""
  width = limit or experience.tokens.shape[1] - experience.prefix
  if not 0 <= buffer <= width:
    raise ConfigError(f'shaping: buffer={buffer} must be from 0 to the limit of {width} tokens')
  over = experience.target.sum(1) - (width - buffer)
  return -factor * jnp.clip(over / max(buffer, 1), 0, 1)


@SHAPING.register()
def repetition(experience: Experience, *, size: int = 3, factor: float = 1.0) -> Array:
  """-factor times the share of runs of `size` tokens that the answer contains earlier already.
  Source: arXiv:2502.03373."""
  mask, tokens = experience.target, experience.tokens
  width = tokens.shape[1] - size + 1
  if width < 1:
    return jnp.zeros(len(tokens))
  runs = jnp.stack([tokens[:, i : i + width] for i in range(size)], -1)
  whole = jnp.stack([mask[:, i : i + width] for i in range(size)], -1).all(-1)
  same = (runs[:, :, None] == runs[:, None]).all(-1) & whole[:, :, None] & whole[:, None]
  earlier = jnp.tril(jnp.ones((width, width), bool), -1)
  return -factor * (same & earlier).any(2).sum(1) / jnp.maximum(whole.sum(1), 1)
