"""Advantages of whole answers: how much better than expected each was, the same for all its tokens.

A member maps (experience, targets, total) to (advantages, returns), both f32[N,T] and zero outside
`experience.target`. `targets` holds what `needs` names, scored when the iteration began; `total`
sees the whole batch, all devices included. Rows of a group are consecutive.
"""

import jax
import jax.numpy as jnp

from rft_jax.algorithms.groups import Groups, alone, groups_of, make_groups, spread
from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array, Experience, Targets, Total

OUTCOME = Registry('advantage')
Pair = tuple[Array, Array]


@OUTCOME.register(needs=['several'])
def grpo(
  experience: Experience,
  targets: Targets,
  total: Total,
  *,
  eps: float = 1e-6,
  ddof: int = 1,
  scale: str = 'group',
  rank_penalty: float = 0.0,
  singleton: str = 'zero',
) -> Pair:
  """A = (R - mean_group) / (std + eps). Source: arXiv:2402.03300, section 4.1.2.

  scale: 'group' divides by the group's standard deviation, 'batch' by that of all rewards
  (arXiv:2508.08221), 'none' by nothing (Dr. GRPO, arXiv:2503.20783). rank_penalty p: R becomes
  R (1 - p rank / n), rank 0 for the answer that the sampler found least likely (arXiv:2506.02355).
  singleton: what becomes of a group of one, 'zero' or 'keep' (its reward, / (1 + eps) if scaled).
  """
  groups = groups_of(experience)
  if rank_penalty:
    groups = _penalise_rank(groups, experience, rank_penalty)
  single = groups.score
  if scale == 'group':
    advantages, single = groups.centred() / (groups.std(ddof) + eps), single / (1 + eps)
  elif scale == 'batch':
    deviation = _batch_std(groups, total, ddof) + eps
    advantages, single = groups.centred() / deviation, single / deviation
  elif scale == 'none':
    advantages = groups.centred()
  else:
    raise ConfigError(f"advantage 'grpo': scale={scale!r} must be 'group', 'batch' or 'none'")
  return spread(experience, alone(groups._replace(score=single), advantages, singleton))


@OUTCOME.register(needs=['several'])
def rloo(
  experience: Experience, targets: Targets, total: Total, *, scale: str = 'none', eps: float = 1e-6
) -> Pair:
  """A = R - mean of the others = n / (n - 1) (R - mean). Source: arXiv:2402.14740.

  scale='group' divides by the group's standard deviation where that is not 0.
  """
  groups = groups_of(experience)
  advantages = groups.centred() * groups.count / jnp.maximum(groups.count - 1, 1)
  if scale == 'group':
    std = groups.std(1)
    advantages = jnp.where(std > 0, advantages / (std + eps), 0)
  elif scale != 'none':
    raise ConfigError(f"advantage 'rloo': scale={scale!r} must be 'group' or 'none'")
  return spread(experience, alone(groups, advantages, 'zero'))


@OUTCOME.register(needs=['several'])
def opo(experience: Experience, targets: Targets, total: Total) -> Pair:
  """A = R - sum n_i R_i / sum n_i, n_i the length in tokens: the baseline of least variance.
  Source: arXiv:2505.23585."""
  groups = groups_of(experience)
  length = jnp.where(groups.there, experience.target.sum(1).reshape(groups.score.shape), 0)
  baseline = (length * groups.score).sum(1, keepdims=True)
  baseline /= jnp.maximum(length.sum(1, keepdims=True), 1)
  return spread(experience, jnp.where(groups.there, groups.score - baseline, 0))


@OUTCOME.register(needs=['several'])
def gpg(experience: Experience, targets: Targets, total: Total, *, f_norm: float = 1.0) -> Pair:
  """A = alpha (R - mean) / f_norm, alpha = N / number of rewards that are not 0.
  Source: arXiv:2504.02546; verl."""
  groups = groups_of(experience)
  alpha = total(groups.there) / jnp.maximum(total(groups.score != 0), 1)
  return spread(experience, alone(groups, alpha * groups.centred() / f_norm, 'zero'))


@OUTCOME.register(needs=['several'])
def grpo_passk(
  experience: Experience, targets: Targets, total: Total, *, scale: str = 'group', eps: float = 1e-6
) -> Pair:
  """The best sample of a group alone gets (R_max - R_second) [/ (std + eps)], the others 0; equals
  share nothing. Source: arXiv:2503.19595; verl. scale: 'group' or 'none'."""
  groups = groups_of(experience)
  ranked = jnp.where(groups.there, groups.score, -jnp.inf)
  best = jax.nn.one_hot(ranked.argmax(1), ranked.shape[1])
  others = jnp.where(best > 0, -jnp.inf, ranked).max(1, keepdims=True)
  gap = jnp.where(groups.count > 1, ranked.max(1, keepdims=True) - others, 0)
  if scale == 'group':
    gap = gap / (groups.std(1) + eps)
  elif scale != 'none':
    raise ConfigError(f"advantage 'grpo_passk': scale={scale!r} must be 'group' or 'none'")
  return spread(experience, best * gap)


@OUTCOME.register(needs=['several'])
def max_rl(experience: Experience, targets: Targets, total: Total, *, eps: float = 1e-6) -> Pair:
  """A = (R - mean) / (mean + eps), for rewards >= 0: weighs hard problems as likelihood would.
  Source: arXiv:2602.02710."""
  groups = groups_of(experience)
  advantages = jnp.where(groups.mean() > 0, groups.centred() / (groups.mean() + eps), 0)
  return spread(experience, alone(groups, advantages, 'zero'))


@OUTCOME.register(needs=['several'])
def opmd(
  experience: Experience,
  targets: Targets,
  total: Total,
  *,
  baseline: str = 'mean',
  tau: float = 1.0,
  singleton: str = 'zero',
) -> Pair:
  """A = R - mean, or with baseline='logavgexp' R - tau log mean exp(R / tau). Source: Trinity-RFT,
  arXiv:2505.17826."""
  groups = groups_of(experience)
  if baseline == 'mean':
    advantages = groups.centred()
  elif baseline == 'logavgexp':
    scaled = jnp.where(groups.there, groups.score / tau, -jnp.inf)
    top = jax.nn.logsumexp(scaled, 1, keepdims=True) - jnp.log(jnp.maximum(groups.count, 1))
    advantages = jnp.where(groups.there, groups.score - tau * top, 0)
  else:
    raise ConfigError(f"advantage 'opmd': baseline={baseline!r} must be 'mean' or 'logavgexp'")
  return spread(experience, alone(groups, advantages, singleton))


@OUTCOME.register(needs=['several'])
def asymre(
  experience: Experience,
  targets: Targets,
  total: Total,
  *,
  shift: float = -0.1,
  singleton: str = 'zero',
) -> Pair:
  """A = R - (mean + shift): a baseline below the mean pushes bad answers down less.
  Source: arXiv:2506.20520."""
  groups = groups_of(experience)
  advantages = jnp.where(groups.there, groups.centred() - shift, 0)
  return spread(experience, alone(groups, advantages, singleton))


@OUTCOME.register(needs=['several'])
def rec(
  experience: Experience,
  targets: Targets,
  total: Total,
  *,
  scale: str = 'none',
  eps: float = 1e-6,
  drop: str = 'none',
) -> Pair:
  """A = R - mean, or / (std with ddof 0 + eps) with scale='group'. Source: arXiv:2509.24203.

  drop='balance': where answers below the mean outnumber the others, only as many of them stay, in
  statistics too; those that the sampler found likeliest. (The paper drops at random: this needs no
  noise and no order.) A group of one gets 0.
  """
  groups = groups_of(experience)
  if drop == 'balance':
    groups = _balance(groups, experience)
  elif drop != 'none':
    raise ConfigError(f"advantage 'rec': drop={drop!r} must be 'none' or 'balance'")
  advantages = groups.centred()
  if scale == 'group':
    advantages /= groups.std(0) + eps
  elif scale != 'none':
    raise ConfigError(f"advantage 'rec': scale={scale!r} must be 'group' or 'none'")
  return spread(experience, alone(groups, advantages, 'zero'))


@OUTCOME.register()
def gdpo(experience: Experience, targets: Targets, total: Total, *, eps: float = 1e-4) -> Pair:
  """Each reward of facts['parts'] f32[N,K] is normalised in its group, then their sum over the
  batch, so that no reward drowns another. Source: arXiv:2601.05242. Without parts there is
  one reward."""
  parts = experience.facts.get('parts')
  parts = groups_of(experience).score.reshape(-1, 1) if parts is None else parts
  there = experience.target.any(1) & ~jnp.isnan(parts).any(1)
  summed = jnp.zeros_like(there, jnp.float32)
  for column in parts.T:
    groups = make_groups(there, column, experience.group)
    scaled = alone(groups, groups.centred() / (groups.std(1) + eps), 'zero')
    summed += scaled.reshape(-1)
  everything = make_groups(there, summed, 1)
  count = total(there)
  centred = jnp.where(everything.there, everything.score - total(everything.score) / count, 0)
  std = jnp.sqrt(total(centred**2) / jnp.maximum(count - 1, 1))
  return spread(experience, centred / (std + eps))


@OUTCOME.register()
def raft(
  experience: Experience, targets: Targets, total: Total, *, threshold: float | None = None
) -> Pair:
  """1 for the answers to imitate, 0 for the others: the best of each group, unless all are equal;
  or, with a threshold, all whose reward is above it. Source: arXiv:2304.06767."""
  groups = groups_of(experience)
  if threshold is None:
    best = groups.score == jnp.where(groups.there, groups.score, -jnp.inf).max(1, keepdims=True)
    chosen = best & ((groups.centred() > 0) | (groups.count == 1))
  else:
    chosen = groups.score > threshold
  return spread(experience, (chosen & groups.there).astype(jnp.float32))


def _penalise_rank(groups: Groups, experience: Experience, penalty: float) -> Groups:
  """rank 0 .. n-1 by mean log-probability, ascending."""
  likely = _mean_logp(experience, groups)
  rank = (likely[:, None, :] < likely[:, :, None]).sum(2)
  return groups._replace(score=groups.score * (1 - penalty * rank / jnp.maximum(groups.count, 1)))


def _balance(groups: Groups, experience: Experience) -> Groups:
  bad = groups.there & (groups.score < groups.mean())
  likely = jnp.where(bad, _mean_logp(experience, groups), -jnp.inf)
  place = (likely[:, None, :] > likely[:, :, None]).sum(2)
  good = groups.there & ~bad
  kept = good | (bad & (place < good.sum(1, keepdims=True)))
  score = jnp.where(kept, groups.score, 0)
  return Groups(score, kept, kept.sum(1, keepdims=True).astype(jnp.float32))


def _mean_logp(experience: Experience, groups: Groups) -> Array:
  """f32[B,G], infinite where nothing is there, which so comes last."""
  mask = experience.target
  mean = jnp.where(mask, experience.behaviour_logp, 0).sum(1) / jnp.maximum(mask.sum(1), 1)
  return jnp.where(groups.there, mean.reshape(groups.there.shape), jnp.inf)


def _batch_std(groups: Groups, total: Total, ddof: int) -> Array:
  count = total(groups.there)
  deviation = jnp.where(groups.there, groups.score - total(groups.score) / count, 0)
  return jnp.sqrt(total(deviation**2) / jnp.maximum(count - ddof, 1))
