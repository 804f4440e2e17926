"""Objectives: what a batch is made of, and the scalar that is minimised. One per kind of learning,
none per algorithm."""

import jax
import jax.numpy as jnp

from rft_jax.algorithms.presets import FAMILIES, Algorithm
from rft_jax.models.policy import Policy
from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Batch, Objective, Targets

OBJECTIVES = Registry('objective')


def make_objective(policy: Policy, algorithm: Algorithm, temperature: float = 1.0) -> Objective:
  """The objective that `algorithm.objective` names; log-probs are those at `temperature`, the one
  sampled at."""
  return OBJECTIVES.lookup(algorithm.objective)(policy, algorithm, temperature)


@OBJECTIVES.register()
def supervised(policy: Policy, algorithm: Algorithm, temperature: float) -> Objective:
  """-log p of the target tokens, averaged by the aggregator. `temperature` is that of a sampler and
  plays no part."""

  def loss(params, batch, rng):
    scores = policy.score(params, batch.experience, 1.0, algorithm.needs)
    value = -(batch.weights * _keep(batch, scores.logp)).sum()
    return value, {'loss/nll': value}

  return Objective(lambda state, experience, total: Batch(experience), _weigh(algorithm), loss)


@OBJECTIVES.register()
def reinforcement(policy: Policy, algorithm: Algorithm, temperature: float) -> Objective:
  """advantage x policy loss x aggregator (x KL x value loss x entropy bonus), each a function from
  its family."""
  needs = algorithm.needs
  piece = {
    name: family.lookup(getattr(algorithm, name)) if getattr(algorithm, name) else None
    for name, family in FAMILIES.items()
  }
  advantage, policy_loss, value_loss = piece['advantage'], piece['policy_loss'], piece['value_loss']
  if advantage is None or policy_loss is None:
    raise ConfigError('reinforcement needs an advantage and a policy_loss')
  penalty = piece['kl']() if piece['kl'] else None

  def prepare(state, experience, total):
    old = experience.behaviour_logp
    values = (
      policy.score(state.params, experience, temperature, needs).values if value_loss else None
    )
    ref = policy.score(state.frozen['ref'], experience, temperature).logp if penalty else None
    if penalty and penalty.where == 'reward':
      cost = jnp.where(experience.target, penalty.coef * penalty.estimate(old, ref), 0)
      experience = experience.replace(rewards=experience.rewards - cost)
    advantages, returns = advantage(experience, values, total)
    targets = Targets(
      old if 'old_logp' in needs else None,
      ref if _kl_in_loss(penalty) else None,
      values,
      advantages,
      returns if value_loss else None,
    )
    return jax.lax.stop_gradient(Batch(experience, targets))

  def loss(params, batch, rng):
    t, scores = batch.targets, policy.score(params, batch.experience, temperature, needs)

    def mean(x):
      return (batch.weights * _keep(batch, x)).sum()

    logp = _keep(batch, scores.logp)
    per_token, extra = policy_loss(logp, t.old_logp, t.advantages)
    value, metrics = mean(per_token), {name: mean(x) for name, x in extra.items()}
    metrics['loss/policy'] = value
    if penalty and penalty.where == 'loss':
      metrics['policy/kl'] = mean(penalty.estimate(logp, t.ref_logp))
      value += penalty.coef * metrics['policy/kl']
    if value_loss:
      metrics['loss/value'] = mean(value_loss(scores.values, t.values, t.returns))
      value += metrics['loss/value']
    if algorithm.entropy:
      metrics['policy/entropy'] = mean(scores.entropy)
      value -= algorithm.entropy * metrics['policy/entropy']
    return value, metrics

  return Objective(prepare, _weigh(algorithm), loss)


def _kl_in_loss(penalty):
  return penalty is not None and penalty.where == 'loss'


def _weigh(algorithm):
  aggregate = FAMILIES['aggregator'].lookup(algorithm.aggregator)
  return lambda batch, total: batch.replace(weights=aggregate(batch.experience.target, total))


def _keep(batch, x):
  """Zero outside the target, before any product: what is not finite in padding must not leak."""
  return jnp.where(batch.experience.target, x, 0)
