"""Penalties for leaving the reference model: estimators of KL(policy || reference) from the sampled
token.

A member makes a `Penalty`: `estimate(now, t)` -> f32[N,T], times a coefficient, either added to the
loss or subtracted from the reward (`where='loss' | 'reward'`; there `now` is the policy that the
iteration began with). With a `target`, the coefficient adapts: coef (1 + clip(kl / target - 1,
-0.2, 0.2) N / horizon) after each iteration of N sequences. Source of the estimators: Schulman
2020, "Approximating KL divergence"; of the controller: arXiv:1909.08593.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from rft_jax.algorithms.ratios import LIMIT, fixed, mean_log_ratio, ratio
from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array, Scores, Targets

KLS = Registry('kl')


class Penalty(NamedTuple):
  """coef: to begin with. update(coef f32[], measured f32[], sequences f32[]) -> f32[]; None: coef
  stays."""

  estimate: Callable[[Scores, Targets], Array]
  coef: float
  where: str
  update: Callable[[Array, Array, Array], Array] | None


def _penalty(estimate, coef, where, target, horizon):
  if where not in ('loss', 'reward'):
    raise ConfigError(f"kl: where={where!r} must be 'loss' or 'reward'")
  if target is None:
    return Penalty(estimate, coef, where, None)
  if target <= 0 or horizon <= 0:
    raise ConfigError(f'kl: target={target} and horizon={horizon} must be above 0')

  def update(coef, measured, sequences):
    return coef * (1 + jnp.clip(measured / target - 1, -0.2, 0.2) * sequences / horizon)

  return Penalty(estimate, coef, where, update)


def _gap(now: Scores, t: Targets) -> Array:
  """log pi_ref - log pi, zero outside the mask."""
  return jnp.where(t.mask, t.ref_logp - now.logp, 0)


def _k3(x: Array, clamp: bool) -> Array:
  if not clamp:
    return jnp.exp(x) - 1 - x
  x = jnp.clip(x, -LIMIT, LIMIT)
  return jnp.clip(jnp.exp(x) - 1 - x, -10, 10)


@KLS.register(needs=['ref_logp'])
def k1(
  *, coef: float = 1e-3, where: str = 'reward', target: float | None = None, horizon: float = 10_000
) -> Penalty:
  """log pi - log ref. Unbiased; for the reward: as a loss its expected gradient on-policy is zero,
  so that it would do nothing but add noise."""
  return _penalty(lambda now, t: -_gap(now, t), coef, where, target, horizon)


@KLS.register(needs=['ref_logp'])
def k2(
  *, coef: float = 1e-3, where: str = 'loss', target: float | None = None, horizon: float = 10_000
) -> Penalty:
  """(log pi - log ref)^2 / 2. Its on-policy gradient is that of KL(policy || reference)."""
  return _penalty(lambda now, t: 0.5 * _gap(now, t) ** 2, coef, where, target, horizon)


@KLS.register(needs=['ref_logp'])
def k3(
  *,
  coef: float = 1e-3,
  where: str = 'loss',
  target: float | None = None,
  horizon: float = 10_000,
  clamp: bool = True,
) -> Penalty:
  """e^x - 1 - x with x = log ref - log pi. Unbiased, low variance, positive; as a loss its
  on-policy gradient is that of KL(reference || policy). clamp: x within +-20, the value at most 10
  (verl's low_var_kl)."""
  return _penalty(lambda now, t: _k3(_gap(now, t), clamp), coef, where, target, horizon)


@KLS.register(needs=['ref_logp'])
def k3_plus(*, coef: float = 1e-3, where: str = 'loss', clamp: bool = True) -> Penalty:
  """The value of k3 with the gradient of k2: a positive, low-variance number to watch, the right
  direction to follow. Source: verl's 'k3+'."""

  def estimate(now, t):
    square = 0.5 * _gap(now, t) ** 2
    return fixed(_k3(_gap(now, t), clamp) - square) + square

  return _penalty(estimate, coef, where, None, 0)


@KLS.register(needs=['ref_logp', 'old_logp'])
def unbiased_k3(
  *,
  coef: float = 1e-3,
  where: str = 'loss',
  clamp: bool = False,
  sequence: bool = False,
  high: float | None = None,
) -> Penalty:
  """rho k3, differentiated through rho as well: on-policy the gradient of KL(policy || reference),
  and unbiased off-policy. sequence: rho is the answer's geometric mean, as in TRL with sequence
  ratios. high: rho counts as at most this (2: Trinity's corrected_k3). Source: arXiv:2512.02556."""

  def estimate(now, t):
    r = jnp.exp(mean_log_ratio(now, t)) if sequence else ratio(now, t)
    return (r if high is None else jnp.clip(r, 0, high)) * _k3(_gap(now, t), clamp)

  return _penalty(estimate, coef, where, None, 0)


@KLS.register(needs=['ref_logp'], name='abs')
def absolute(
  *, coef: float = 1e-3, where: str = 'loss', target: float | None = None, horizon: float = 10_000
) -> Penalty:
  """|log pi - log ref|: no estimate of a KL, but bounded slope. Source: verl."""
  return _penalty(lambda now, t: jnp.abs(_gap(now, t)), coef, where, target, horizon)
