"""Policy losses that look at all tokens of an optimiser step at once, to choose some of them.

The interface of `policy_losses`, registered with needs=['coupled']: the loss is evaluated on the
whole step, all devices and micro-batches together, and only its gradient is handed down to them; so
that how a batch is cut cannot change the choice.
"""

import jax
import jax.numpy as jnp

from rft_jax.algorithms.policy_losses import ppo_clip
from rft_jax.algorithms.ratios import fixed, log_ratio
from rft_jax.registry import Registry
from rft_jax.types import Array, Scores, Targets

COUPLED = Registry('policy_loss')
Loss = tuple[Array, dict[str, Array]]


@COUPLED.register(needs=['old_logp', 'coupled'])
def kl_cov(now: Scores, t: Targets, *, coef: float = 1.0, share: float = 2e-4) -> Loss:
  """-A rho, plus coef |log rho| on the `share` of tokens (at least one) with the largest covariance
  of advantage and log-probability. Source: arXiv:2505.22617."""
  cov = jnp.where(t.mask, _covariance(now, t), -jnp.inf)
  count = jnp.maximum((share * t.mask.sum()).astype(jnp.int32), 1)
  chosen = _largest(cov, count) & t.mask
  d = log_ratio(now, t)
  loss = -t.advantages * jnp.exp(d) + jnp.where(chosen, coef * jnp.abs(d), 0)
  return loss, {'policy/ratio': jnp.exp(d)}


@COUPLED.register(needs=['old_logp', 'coupled'])
def clip_cov(
  now: Scores,
  t: Targets,
  *,
  eps: float = 0.2,
  eps_high: float | None = None,
  share: float = 2e-4,
  low: float = 1.0,
  high: float = 5.0,
) -> Loss:
  """ppo_clip, without the gradient of a random `share` of tokens (at least one), drawn from those
  whose covariance of advantage and log-probability is in low..high. Source: arXiv:2505.22617. The
  draw is a hash of the token's own log-probability: no place in a batch changes it."""
  loss, metrics = ppo_clip(now, t, eps=eps, eps_high=eps_high, dual_clip=None)
  cov = fixed(_covariance(now, t))
  free = t.mask & (metrics['policy/clip_fraction'] == 0) & (cov > low) & (cov < high)
  count = jnp.maximum((share * t.mask.sum()).astype(jnp.int32), 1)
  noise = _hash(t.old_logp)
  gone = _largest(jnp.where(free, noise, -jnp.inf), count) & free
  return jnp.where(gone, 0, loss), metrics


@COUPLED.register(needs=['old_logp', 'coupled'])
def m2po(
  now: Scores, t: Targets, *, bound: float = 0.04, eps: float = 0.2, eps_high: float | None = None
) -> Loss:
  """ppo_clip on the tokens that stay when those with the largest squared log-ratio are dropped
  until the mean square of the rest is below `bound`. Source: arXiv:2510.01161.
  """
  loss, metrics = ppo_clip(now, t, eps=eps, eps_high=eps_high, dual_clip=None)
  square = fixed(jnp.where(t.mask, log_ratio(now, t) ** 2, jnp.inf))
  ordered = jnp.sort(square.reshape(-1))
  finite = jnp.where(jnp.isfinite(ordered), ordered, 0)
  mean = jnp.cumsum(finite) / jnp.arange(1, ordered.size + 1)
  fits = jnp.isfinite(ordered) & (mean < bound)
  edge = jnp.where(fits, ordered, -1.0).max()
  return jnp.where(square <= edge, loss, 0), metrics


def _covariance(now: Scores, t: Targets) -> Array:
  count = jnp.maximum(t.mask.sum(), 1)
  mean = lambda x: jnp.where(t.mask, x, 0).sum() / count
  logp = fixed(now.logp)
  return (t.advantages - mean(t.advantages)) * (logp - mean(logp))


def _largest(x: Array, count: Array) -> Array:
  """Where the `count` largest entries stand; ties with the last of them stand with it."""
  ordered = jnp.sort(x.reshape(-1))[::-1]
  return x >= ordered[jnp.minimum(count, x.size) - 1]


def _hash(x: Array) -> Array:
  """f32 in [0, 1), a scrambled image of the bits of x."""
  bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
  for multiplier in (0x7FEB352D, 0x846CA68B):
    bits = (bits ^ (bits >> 16)) * jnp.uint32(multiplier)
  return (bits ^ (bits >> 16)).astype(jnp.float32) / 2.0**32
