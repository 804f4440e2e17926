"""Distillation over the whole vocabulary: how far the policy's distribution is from a teacher's.

A member makes a `Distillation`: `divergence(student, teacher)`, both log-probabilities f32[...,V]
at the same place, -> f32[...], in nats; times `coef`; `temperature` divides the logits of both. The
teacher is the frozen model of name `teacher`: 'teacher', or 'ref' for an exact KL penalty.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array

DISTILLATIONS = Registry('distill')


class Distillation(NamedTuple):
  divergence: Callable[[Array, Array], Array]
  coef: float
  temperature: float
  teacher: str


def kl(p: Array, q: Array) -> Array:
  """sum_v p (log p - log q), from log-probabilities."""
  return jnp.where(p > -jnp.inf, jnp.exp(p) * (p - q), 0).sum(-1)


def _distillation(divergence, coef, temperature, teacher):
  if teacher not in ('teacher', 'ref'):
    raise ConfigError(f"distill: teacher={teacher!r} must be 'teacher' or 'ref'")
  if temperature <= 0:
    raise ConfigError(f'distill: temperature={temperature} must be above 0')
  return Distillation(divergence, coef, temperature, teacher)


@DISTILLATIONS.register(needs=['teacher'])
def forward_kl(
  *, coef: float = 1.0, temperature: float = 1.0, teacher: str = 'teacher'
) -> Distillation:
  """KL(teacher || student): covers all that the teacher does. Source: arXiv:1503.02531."""
  return _distillation(lambda s, t: kl(t, s), coef, temperature, teacher)


@DISTILLATIONS.register(needs=['teacher'])
def reverse_kl(
  *, coef: float = 1.0, temperature: float = 1.0, teacher: str = 'teacher'
) -> Distillation:
  """KL(student || teacher): does only what the teacher does. Source: arXiv:2306.08543."""
  return _distillation(lambda s, t: kl(s, t), coef, temperature, teacher)


@DISTILLATIONS.register(needs=['teacher'])
def jensen_shannon(
  *, beta: float = 0.5, coef: float = 1.0, temperature: float = 1.0, teacher: str = 'teacher'
) -> Distillation:
  """beta KL(teacher || M) + (1 - beta) KL(student || M), M = (1 - beta) student + beta teacher; at
  beta 0 KL(teacher || student), at 1 KL(student || teacher), as in TRL. Source: arXiv:2306.13649
  (GKD)."""
  if not 0 <= beta <= 1:
    raise ConfigError(f"distill 'jensen_shannon': beta={beta} must be from 0 to 1")
  if beta in (0, 1):
    divergence = (lambda s, t: kl(s, t)) if beta else (lambda s, t: kl(t, s))
  else:

    def divergence(s, t):
      mixed = jnp.logaddexp(s + jnp.log1p(-beta), t + jnp.log(beta))
      return beta * kl(t, mixed) + (1 - beta) * kl(s, mixed)

  return _distillation(divergence, coef, temperature, teacher)


@DISTILLATIONS.register(needs=['teacher'])
def top_k(
  *,
  k: int = 20,
  beta: float = 1.0,
  coef: float = 1.0,
  temperature: float = 1.0,
  teacher: str = 'teacher',
) -> Distillation:
  """jensen_shannon on the teacher's k likeliest tokens and one bucket for all others. Source:
  arXiv:2601.19897 (SDFT)."""
  if k < 1:
    raise ConfigError(f"distill 'top_k': k={k} must be at least 1")
  inner = jensen_shannon(beta=beta).divergence

  def divergence(s, t):
    if k >= t.shape[-1]:
      return inner(s, t)
    _, best = jax.lax.top_k(t, k)
    return inner(*(_bucketed(x, best) for x in (s, t)))

  return _distillation(divergence, coef, temperature, teacher)


def _bucketed(logp: Array, chosen: Array) -> Array:
  """[...,V] -> [...,k+1]: the chosen ones and the logarithm of what is left."""
  kept = jnp.take_along_axis(logp, chosen, -1)
  left = 1 - jnp.exp(kept).sum(-1, keepdims=True)
  return jnp.concatenate([kept, jnp.log(jnp.maximum(left, 1e-7))], -1)
