"""Policy losses: what to minimise at each token that the policy produced.

A member maps (logp, old_logp, advantages), all f32[N,T], to (loss f32[N,T], metrics: dict of
f32[N,T]). Entries outside the target carry no weight but must stay finite. `needs` says whether
`old_logp` is read.
"""

import jax.numpy as jnp

from rft_jax.registry import Registry
from rft_jax.types import Array

POLICY_LOSSES = Registry('policy_loss')
LIMIT = 20.0
"""Log-ratios are clamped to +-LIMIT, so that their exponential stays finite."""


@POLICY_LOSSES.register()
def policy_gradient(logp: Array, old_logp: None, advantages: Array) -> tuple[Array, dict]:
  """-A log pi. Source: Williams 1992; arXiv:2504.02546 (GPG)."""
  return -advantages * logp, {}


@POLICY_LOSSES.register(needs=['old_logp'])
def ppo_clip(
  logp: Array,
  old_logp: Array,
  advantages: Array,
  *,
  eps: float = 0.2,
  eps_high: float | None = None,
  dual_clip: float | None = 3.0,
) -> tuple[Array, dict]:
  """max(-A rho, -A clip(rho, 1 - eps, 1 + eps_high)), at most -A dual_clip where A < 0; rho = pi /
  pi_old.

  Source: arXiv:1707.06347, eq. 7; eps_high (default eps) arXiv:2503.14476, eq. 10; dual_clip (None
  = off) arXiv:1912.09729, eq. 5.
  """
  ratio = jnp.exp(jnp.clip(logp - old_logp, -LIMIT, LIMIT))
  clipped = jnp.clip(ratio, 1 - eps, 1 + (eps if eps_high is None else eps_high))
  loss = jnp.maximum(-advantages * ratio, -advantages * clipped)
  outside = -advantages * clipped > -advantages * ratio
  if dual_clip is not None:
    loss = jnp.where(advantages < 0, jnp.minimum(loss, -advantages * dual_clip), loss)
  return loss, {'policy/ratio': ratio, 'policy/clip_fraction': outside.astype(jnp.float32)}
