"""Policy losses without a clipped ratio: plain, truncated and regularised policy gradients.

The interface of `policy_losses`: (now, t) -> (loss f32[N,T], metrics).
"""

import jax.numpy as jnp

from rft_jax.algorithms.ratios import fixed, log_ratio, mean_log_ratio, ratio, total_log_ratio
from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array, Scores, Targets

PLAIN = Registry('policy_loss')
Loss = tuple[Array, dict[str, Array]]


@PLAIN.register()
def policy_gradient(now: Scores, t: Targets) -> Loss:
  """-A log pi. Source: Williams 1992; arXiv:2504.02546 (GPG)."""
  return -t.advantages * _logp(now, t), {}


@PLAIN.register()
def on_policy(now: Scores, t: Targets) -> Loss:
  """-A pi / sg(pi): the gradient of policy_gradient, the value of an unclipped surrogate. Source:
  Trinity-RFT's fallback_to_policy_gradient."""
  logp = _logp(now, t)
  return -t.advantages * jnp.exp(logp - fixed(logp)), {}


@PLAIN.register(needs=['old_logp'])
def importance_sampling(now: Scores, t: Targets) -> Loss:
  """-A rho, no clipping. Source: arXiv:1502.05477."""
  r = ratio(now, t)
  return -t.advantages * r, {'policy/ratio': r}


@PLAIN.register(needs=['old_logp'])
def tis_pg(now: Scores, t: Targets, *, cap: float = 1.0) -> Loss:
  """-A sg(min(rho, cap)) log pi: truncated importance sampling. Source: ROLL; arXiv:1802.01561."""
  r = ratio(now, t)
  return -t.advantages * fixed(jnp.minimum(r, cap)) * _logp(now, t), {'policy/ratio': r}


@PLAIN.register(needs=['old_logp'])
def topr(now: Scores, t: Targets, *, threshold: float = 0.0, token_ratio: bool = False) -> Loss:
  """-A log pi for A > threshold, else -sg(min(w, 1)) A log pi: bad answers that have become
  unlikely are left alone. w is the ratio of the whole answer; token_ratio takes each token's, as
  Trinity-RFT does. Source: arXiv:2503.14286. Use with advantage 'reinforce'."""
  r = ratio(now, t) if token_ratio else jnp.exp(total_log_ratio(now, t))
  weight = jnp.where(t.advantages > threshold, 1, fixed(jnp.minimum(r, 1)))
  return -weight * t.advantages * _logp(now, t), {}


@PLAIN.register()
def opmd(now: Scores, t: Targets, *, tau: float = 1.0) -> Loss:
  """-A log pi / (1 + tau). Source: Trinity-RFT, arXiv:2505.17826."""
  return -t.advantages * _logp(now, t) / (1 + tau), {}


@PLAIN.register(needs=['old_logp'])
def kimi(now: Scores, t: Targets, *, tau: float = 0.1) -> Loss:
  """-A log pi + tau / 2 (log rho)^2. Source: arXiv:2501.12599."""
  d = log_ratio(now, t)
  return -t.advantages * _logp(now, t) + 0.5 * tau * d**2, {}


@PLAIN.register(needs=['old_logp'])
def dppo_tv(now: Scores, t: Targets, *, bound: float = 0.2, tau: float = 1e-3) -> Loss:
  """-A rho where p has not moved by more than `bound` the way A pushes it, plus tau (log rho)^2.
  Source: arXiv:2602.04879; prime-rl."""
  d = log_ratio(now, t)
  moved = jnp.exp(_logp(now, t)) - jnp.exp(jnp.where(t.mask, t.old_logp, 0))
  gone = fixed(jnp.where(t.advantages > 0, moved > bound, moved < -bound))
  return jnp.where(gone, 0, -t.advantages * jnp.exp(d)) + tau * d**2, {'policy/ratio': jnp.exp(d)}


@PLAIN.register(needs=['old_logp'])
def rec(
  now: Scores,
  t: Targets,
  *,
  clip: str = 'none',
  weight: str = 'none',
  regularizer: str = 'none',
  coef: float = 0.0,
  eps: float = 0.2,
  eps_high: float = 0.2,
  ring_low: float = 0.6,
  ring_high: float = 2.0,
  temperature: float = 1.0,
) -> Loss:
  """-A' log pi where the ratio is in range, plus coef x a regulariser. Source: arXiv:2509.24203.

  clip: 'none' | 'two-side' | 'one-side' | 'ring' | 'gspo-one-side' (aggregate that by sequence).
  weight of A: 'none' | 'importance_sampling' (rho) | 'gspo_importance_sampling' | 'advantage'
  (exp(A / temperature)). regularizer: 'none' | 'forward-kl' (-log pi) | 'k2' ((log rho)^2).
  """
  d, advantages = log_ratio(now, t), t.advantages
  whole = jnp.exp(mean_log_ratio(now, t))
  r = whole if clip == 'gspo-one-side' else jnp.exp(d)
  inside = (r >= 1 - eps) & (r <= 1 + eps_high)
  one_side = ((r <= 1 + eps_high) & (advantages >= 0)) | ((r >= 1 - eps) & (advantages <= 0))
  far = ((advantages >= 0) & (r <= 1 - ring_low)) | ((advantages <= 0) & (r >= 1 + ring_high))
  ranges: dict = {'none': True, 'two-side': inside, 'one-side': one_side, 'ring': inside | far}
  ranges['gspo-one-side'] = one_side
  weights: dict = dict(
    none=1.0,
    importance_sampling=jnp.exp(d),
    gspo_importance_sampling=whole,
    advantage=jnp.exp(advantages / temperature),
  )
  regularizers: dict = {'none': 0.0, 'forward-kl': -_logp(now, t), 'k2': d**2}
  for name, value, known in (
    ('clip', clip, ranges),
    ('weight', weight, weights),
    ('regularizer', regularizer, regularizers),
  ):
    if value not in known:
      raise ConfigError(f"policy_loss 'rec': {name}={value!r} must be one of {', '.join(known)}")
  pushed = advantages * fixed(weights[weight]) * _logp(now, t)
  return -jnp.where(ranges[clip], pushed, 0) + coef * regularizers[regularizer], {}


def _logp(now: Scores, t: Targets) -> Array:
  return jnp.where(t.mask, now.logp, 0)
