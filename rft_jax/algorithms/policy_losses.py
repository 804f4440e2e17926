"""Policy losses that weigh a token by how much likelier the policy has made it, within bounds.

A member maps (now, t) to (loss f32[N,T], metrics: dict of f32[N,T]). `now` are the policy's present
scores, which are differentiated; `t` is fixed: advantages, mask, and what `needs` names. Entries
outside the mask carry no weight but stay finite. rho = pi / pi_old of a token, A its advantage.
"""

import jax.numpy as jnp

from rft_jax.algorithms.ratios import (
  LIMIT,
  clip,
  fixed,
  log_ratio,
  masked_mean,
  mean_log_ratio,
  ratio,
  total_log_ratio,
)
from rft_jax.registry import Registry
from rft_jax.types import Array, Scores, Targets

CLIPPED = Registry('policy_loss')
Loss = tuple[Array, dict[str, Array]]


@CLIPPED.register(needs=['old_logp'])
def ppo_clip(
  now: Scores,
  t: Targets,
  *,
  eps: float = 0.2,
  eps_high: float | None = None,
  dual_clip: float | None = 3.0,
  delta: float | None = None,
  stale: float | None = None,
) -> Loss:
  """max(-A rho, -A clip(rho, 1 - eps, 1 + eps_high)), at most -A dual_clip where A < 0.

  eps_high (default eps): arXiv:2503.14476, eq. 10. dual_clip (None = off): arXiv:1912.09729, eq. 5.
  delta: rho counts as at most delta on either side (arXiv:2505.07291). stale: answers with
  A < 0 whose tokens have become less likely by more than `stale` nats on average give no gradient
  (arXiv:2512.02556). Source: arXiv:1707.06347, eq. 7.
  """
  r = ratio(now, t)
  bounded = r if delta is None else jnp.minimum(r, delta)
  loss, outside = _clipped(bounded, t.advantages, eps, eps_high)
  if dual_clip is not None:
    loss = jnp.where(t.advantages < 0, jnp.minimum(loss, -t.advantages * dual_clip), loss)
  if stale is not None:
    gone = fixed(-mean_log_ratio(now, t)) > stale
    loss = jnp.where(gone & (t.advantages < 0), 0, loss)
  return loss, {'policy/ratio': r, 'policy/clip_fraction': outside}


@CLIPPED.register(needs=['old_logp'])
def gspo(now: Scores, t: Targets, *, eps: float = 3e-4, eps_high: float | None = 4e-4) -> Loss:
  """max(-A s, -A clip(s)) with s = exp(mean log rho) of the whole answer. Source: arXiv:2507.18071.
  Aggregate by sequence."""
  s = jnp.exp(mean_log_ratio(now, t))
  loss, outside = _clipped(s, t.advantages, eps, eps_high)
  return loss, _shown(s, outside, t)


@CLIPPED.register(needs=['old_logp'])
def gspo_token(
  now: Scores, t: Targets, *, eps: float = 3e-4, eps_high: float | None = 4e-4
) -> Loss:
  """The value of gspo, with each token's gradient weighed by its own advantage: s = sg(exp mean log
  rho) exp(lp - sg lp). Source: arXiv:2507.18071."""
  d = jnp.where(t.mask, now.logp, 0)
  s = jnp.exp(fixed(mean_log_ratio(now, t)) + d - fixed(d))
  loss, outside = _clipped(s, t.advantages, eps, eps_high)
  return loss, _shown(s, outside, t)


@CLIPPED.register(needs=['old_logp'])
def rloo_sequence(now: Scores, t: Targets, *, eps: float = 0.2) -> Loss:
  """-min(r A, clip(r) A) with r the ratio of the whole answer, rho multiplied. Source: TRL's
  RLOOTrainer. Aggregate by seq_mean_token_mean."""
  r = jnp.exp(total_log_ratio(now, t))
  loss, outside = _clipped(r, t.advantages, eps, None)
  return loss, _shown(r, outside, t)


@CLIPPED.register(needs=['old_logp'])
def gmpo(now: Scores, t: Targets, *, eps: float = 0.4, eps_high: float | None = None) -> Loss:
  """-mean A x the geometric mean of the clipped ratios: log rho is clipped to -eps..eps_high on the
  side where A would push it further. Source: arXiv:2507.20673. Aggregate by
  seq_mean_token_mean."""
  d, sign = log_ratio(now, t), jnp.sign(t.advantages)
  near = jnp.clip(d, -eps, eps if eps_high is None else eps_high)
  kept = sign * jnp.minimum(sign * d, sign * near)
  r = jnp.exp(masked_mean(kept, t.mask))
  loss = -masked_mean(t.advantages, t.mask) * r
  return _whole(loss, t), _shown(r, kept != d, t)


@CLIPPED.register(needs=['old_logp'])
def cispo(
  now: Scores,
  t: Targets,
  *,
  eps: float = 1.0,
  eps_high: float | None = 0.28,
  mask_low: float | None = None,
  mask_high: float | None = None,
) -> Loss:
  """-A sg(clip(rho, 1 - eps, 1 + eps_high)) log pi: clipped tokens keep a gradient. Source:
  arXiv:2506.13585. mask_low, mask_high: tokens further out than these, where A pushes them
  further, give none (None = never)."""
  r = ratio(now, t)
  loss = -t.advantages * fixed(clip(r, eps, eps_high)) * _logp(now, t)
  up = jnp.inf if mask_high is None else 1 + mask_high
  down = -jnp.inf if mask_low is None else 1 - mask_low
  gone = ((r > up) & (t.advantages > 0)) | ((r < down) & (t.advantages < 0))
  outside = clip(r, eps, eps_high) != r
  return jnp.where(gone, 0, loss), _shown(r, outside | gone, t)


@CLIPPED.register(needs=['old_logp'])
def cispo_cap(now: Scores, t: Targets, *, cap: float = 5.0) -> Loss:
  """-A sg(min(rho, cap)) log pi. Source: arXiv:2510.13786 (ScaleRL); TRL's cispo, whose
  epsilon_high is this cap."""
  r = ratio(now, t)
  return -t.advantages * fixed(jnp.minimum(r, cap)) * _logp(now, t), _shown(r, r > cap, t)


@CLIPPED.register(needs=['old_logp'])
def cispo_cap_sequence(now: Scores, t: Targets, *, cap: float = 5.0) -> Loss:
  """cispo_cap with the geometric mean of an answer's ratios. Source: TRL, sequence level."""
  r = jnp.exp(mean_log_ratio(now, t))
  return -t.advantages * fixed(jnp.minimum(r, cap)) * _logp(now, t), _shown(r, r > cap, t)


@CLIPPED.register(needs=['old_logp'])
def sapo(
  now: Scores, t: Targets, *, tau: float = 1.0, tau_negative: float = 1.05, sequence: bool = False
) -> Loss:
  """-(4 / tau) sigmoid(tau (rho - 1)) A: a soft gate, whose gradient fades on both sides of rho =
  1; tau_negative where A <= 0. sequence: rho is the answer's geometric mean. Source:
  arXiv:2511.20347."""
  r = jnp.exp(mean_log_ratio(now, t)) if sequence else ratio(now, t)
  sharp = jnp.where(t.advantages > 0, tau, tau_negative)
  gate = 1 / (1 + jnp.exp(-sharp * (r - 1)))
  return -4 / sharp * gate * t.advantages, _shown(r, jnp.zeros_like(r, bool), t)


@CLIPPED.register(needs=['old_logp', 'own_correction'])
def vespo(
  now: Scores,
  t: Targets,
  *,
  k: float = 2.0,
  lam: float = 3.0,
  k_negative: float = 3.0,
  lam_negative: float = 2.0,
) -> Loss:
  """-sg(phi(w)) A log pi, w the ratio of the whole answer (times its correction), log phi = lam + k
  log w - lam w: the variational weight of arXiv:2602.10693; k_negative, lam_negative where
  A < 0. `correction` is part of w and not applied again."""
  log_w = log_ratio(now, t).sum(1, keepdims=True)
  if t.correction is not None:
    log_w += jnp.log(jnp.where(t.mask, jnp.maximum(t.correction, 1e-8), 1)).sum(1, keepdims=True)
  log_w = jnp.clip(log_w, jnp.log(1e-8), LIMIT)
  k_, lam_ = (jnp.where(t.advantages < 0, a, b) for a, b in ((k_negative, k), (lam_negative, lam)))
  phi = jnp.exp(lam_ + k_ * log_w - lam_ * jnp.exp(log_w))
  phi = jnp.nan_to_num(phi, nan=0.0, posinf=0.0, neginf=0.0)
  w = jnp.exp(log_w)
  return -fixed(phi) * t.advantages * _logp(now, t), _shown(w, jnp.zeros_like(w, bool), t)


@CLIPPED.register(needs=['old_logp'])
def sppo(now: Scores, t: Targets, *, eps: float = 0.3) -> Loss:
  """-A log rho where 1 / (1 + eps) <= rho <= 1 + eps, else 0. Source: Trinity-RFT's simple PPO,
  arXiv:2108.05828."""
  d, r = log_ratio(now, t), ratio(now, t)
  inside = (r >= 1 / (1 + eps)) & (r <= 1 + eps)
  return jnp.where(inside, -t.advantages * d, 0), _shown(r, ~inside, t)


def _clipped(r, advantages, eps, eps_high):
  near = clip(r, eps, eps_high)
  outside = (-advantages * near > -advantages * r).astype(jnp.float32)
  return jnp.maximum(-advantages * r, -advantages * near), outside


def _logp(now: Scores, t: Targets) -> Array:
  return jnp.where(t.mask, now.logp, 0)


def _whole(per_row: Array, t: Targets) -> Array:
  return jnp.broadcast_to(per_row, t.mask.shape)


def _shown(r: Array, outside: Array, t: Targets) -> dict[str, Array]:
  return {
    'policy/ratio': _whole(r, t),
    'policy/clip_fraction': _whole(outside.astype(jnp.float32), t),
  }
