"""Filters: which tokens are not learned from, decided once when an iteration begins.

A member maps (experience, targets, total), with advantages in the targets, to bool[N,T]: what
stays. What is dropped counts in no denominator.
"""

import jax.numpy as jnp

from rft_jax.algorithms.groups import groups_of
from rft_jax.registry import Registry
from rft_jax.types import Array, Experience, Targets, Total

FILTERS = Registry('filter')


@FILTERS.register()
def mixed_groups(
  experience: Experience, targets: Targets, total: Total, *, threshold: float = 0.0
) -> Array:
  """Groups whose rewards have a standard deviation above threshold. Source: arXiv:2503.14476. To
  replace the others by new samples instead, set the stage's `refill`."""
  return _rows(experience, groups_of(experience).std(1) > threshold)


@FILTERS.register()
def difficulty(
  experience: Experience, targets: Targets, total: Total, *, low: float = 0.1, high: float = 0.95
) -> Array:
  """Groups with a mean reward within low..high. Source: ROLL."""
  mean = groups_of(experience).mean()
  return _rows(experience, (mean >= low) & (mean <= high))


@FILTERS.register(needs=['truncated'])
def finished(experience: Experience, targets: Targets, total: Total) -> Array:
  """Answers that ended by themselves. Source: arXiv:2503.14476 (overlong filtering)."""
  return experience.target & ~experience.facts['truncated'][:, None]


@FILTERS.register()
def imitated(experience: Experience, targets: Targets, total: Total) -> Array:
  """Tokens with an advantage above 0, such as those that 'raft' chose. Source: arXiv:2304.06767."""
  return experience.target & (targets.advantages > 0)


@FILTERS.register(needs=['old_entropy'])
def top_entropy(
  experience: Experience, targets: Targets, total: Total, *, share: float = 0.2
) -> Array:
  """The `share` of tokens with the highest entropy. Source: arXiv:2506.01939."""
  entropy = jnp.where(experience.target, targets.old.entropy, jnp.nan)
  edge = jnp.nanquantile(total.gather(entropy), 1 - share)
  return experience.target & (entropy >= edge)


@FILTERS.register(needs=['old_logp', 'old_entropy'])
def clipb(experience: Experience, targets: Targets, total: Total, *, mu: float = 2.5) -> Array:
  """Drops tokens with A < 0 whose push on the entropy, S = p (H + log p), is more than mu standard
  deviations below the mean. Source: arXiv:2602.03392; Trinity-RFT."""
  mask = experience.target
  push = _entropy_push(targets, mask)
  count = jnp.maximum(total(mask), 1)
  mean = total(push) / count
  std = jnp.sqrt(total(jnp.where(mask, push - mean, 0) ** 2) / count)
  return mask & ~((targets.advantages < 0) & (push - mean < -mu * std))


@FILTERS.register(needs=['old_logp', 'old_entropy', 'old_drift'])
def clipv(
  experience: Experience, targets: Targets, total: Total, *, mu: float = 8.5, share: float = 1e-4
) -> Array:
  """Drops tokens with A <= 0 whose push on the entropy is lower than its expected value by more
  than mu standard deviations, at most a `share` of all (at least one), the furthest first. Source:
  arXiv:2602.03392; Trinity-RFT."""
  mask = experience.target
  gap = jnp.where(mask, targets.old.drift - _entropy_push(targets, mask), 0)
  count = jnp.maximum(total(mask), 1)
  mean = total(gap) / count
  std = jnp.sqrt(total(jnp.where(mask, gap - mean, 0) ** 2) / count)
  far = mask & (targets.advantages <= 0) & (gap > mu * std)
  ordered = jnp.sort(total.gather(jnp.where(far, gap, -jnp.inf)).reshape(-1))[::-1]
  most = jnp.maximum((share * count).astype(jnp.int32), 1)
  return mask & ~(far & (gap >= ordered[most - 1]))


def _entropy_push(targets: Targets, mask: Array) -> Array:
  logp = jnp.where(mask, targets.old_logp, 0)
  return jnp.where(mask, jnp.exp(logp) * (targets.old.entropy + logp), 0)


def _rows(experience: Experience, groups: Array) -> Array:
  """bool[B,1] -> bool[N,T]."""
  return experience.target & jnp.repeat(groups, experience.group, 0)
