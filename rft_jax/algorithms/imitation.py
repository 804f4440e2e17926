"""Losses that read no advantage: imitation of what is given, or of oneself.

The interface of `policy_losses`: (now, t) -> (loss f32[N,T], metrics).
"""

import jax.numpy as jnp

from rft_jax.algorithms.ratios import fixed
from rft_jax.registry import Registry
from rft_jax.types import Array, Scores, Targets

IMITATION = Registry('policy_loss')
Loss = tuple[Array, dict[str, Array]]


@IMITATION.register()
def nll(now: Scores, t: Targets) -> Loss:
  """-log pi: imitation, no advantage. Source: maximum likelihood."""
  loss = -_logp(now, t)
  return loss, {'loss/nll': loss}


@IMITATION.register()
def dft(now: Scores, t: Targets) -> Loss:
  """-sg(pi) log pi: imitation without a preference for what is unlikely. Source: arXiv:2508.05629;
  Trinity's sft_is."""
  logp = _logp(now, t)
  return -fixed(jnp.exp(logp)) * logp, {}


@IMITATION.register()
def phi(now: Scores, t: Targets, *, cutoff: float = 1.0) -> Loss:
  """-sg(pi (1 - pi)) log pi: imitation of what is neither certain nor far off; log pi counts as at
  most log cutoff. Source: arXiv:2508.11408 (CHORD)."""
  logp = _logp(now, t)
  p = fixed(jnp.exp(logp))
  bounded = jnp.minimum(logp, jnp.log(cutoff)) if cutoff < 1 else logp
  return -p * (1 - p) * bounded, {}


@IMITATION.register(needs=['entropy'])
def entropy_minimisation(now: Scores, t: Targets) -> Loss:
  """The entropy of each token's distribution, no advantage. Source: arXiv:2505.15134 (EM-FT)."""
  entropy = jnp.where(t.mask, now.entropy, 0)
  return entropy, {}


def _logp(now: Scores, t: Targets) -> Array:
  return jnp.where(t.mask, now.logp, 0)
