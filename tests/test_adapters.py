"""Many adapters at once: each row takes its own and trains its own; choosing compiles nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rft_jax.algorithms.algorithm import resolve
from rft_jax.models.config import Lora
from rft_jax.models.lora import merge
from rft_jax.models.policy import make_policy
from rft_jax.objectives import make_objective
from rft_jax.objectives.tokens import reference_of
from rft_jax.sampling import make_rollout, sampling
from rft_jax.steps import make_learn
from rft_jax.types import TrainState
from tests.tiny import CONFIG, NEVER, prompts

BANK = 4
CONFIGURED = dataclasses.replace(CONFIG, lora=Lora(rank=2, alpha=4.0, adapters=BANK))
USES = jnp.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0.5, 0], [0, 0, 0, 0]], jnp.float32)


def made(config=CONFIGURED):
  """A policy whose adapters all change something."""
  policy = make_policy(config)
  params = policy.init(jax.random.key(0))
  noise = lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape)
  return policy, params | {'adapters': jax.tree.map(noise, params['adapters'])}


def sampled(policy, params, uses=USES, group=3, temperature=1.0):
  rollout = jax.jit(make_rollout(policy.decoder, group, 5))
  asked = prompts(len(uses)).replace(adapters=uses)
  return rollout(params, asked, sampling([NEVER], temperature), jax.random.key(1), 0)


def test_each_row_computes_with_its_own_adapters_merged():
  """A global adapter and half of a personal one add up, in sampling and in training alike."""
  policy, params = made()
  e = sampled(policy, params)
  together = policy.score(params, e).logp
  plain = make_policy(CONFIG)
  for row, use in enumerate(USES):
    weights = merge(CONFIGURED, params['decoder']['params'], params['adapters'], use)
    alone = plain.score({'decoder': {'params': weights}}, e.replace(facts={})).logp
    rows = slice(row * 3, row * 3 + 3)
    np.testing.assert_allclose(together[rows], alone[rows], atol=2e-5)
    where = e.target[rows]
    np.testing.assert_allclose(e.behaviour_logp[rows][where], alone[rows][where], atol=2e-5)


def test_without_a_choice_a_row_takes_the_first_adapter():
  policy, params = made()
  e = sampled(policy, params)
  first = e.replace(facts=dict(adapters=jnp.tile(jnp.eye(BANK)[:1], (len(e.tokens), 1))))
  np.testing.assert_array_equal(
    policy.score(params, e.replace(facts={})).logp, policy.score(params, first).logp
  )


def test_other_rows_adapters_get_no_gradient():
  policy, params = made()
  e = sampled(policy, params, USES[:2])
  loss = lambda adapters: policy.score(params | {'adapters': adapters}, e).logp.sum()
  for grad in jax.tree.leaves(jax.grad(loss)(params['adapters'])):
    assert (np.asarray(grad)[:, 2:] == 0).all() and (np.asarray(grad)[:, :2] != 0).any()


def test_changing_who_takes_what_and_the_adapters_themselves_compiles_nothing():
  policy, params = made()
  rollout = jax.jit(make_rollout(policy.decoder, 2, 5))
  score = jax.jit(policy.score)
  for i in range(3):
    asked = prompts(4).replace(adapters=jnp.roll(USES, i, 0))
    e = rollout(params, asked, sampling([NEVER]), jax.random.key(0), i)
    score(params, e)
    params = params | {'adapters': jax.tree.map(lambda x: x * 1.1, params['adapters'])}
  assert rollout._cache_size() == 1 and score._cache_size() == 1


def learned(steps=3, dropout=0.0, rng=0):
  config = dataclasses.replace(CONFIGURED, lora=Lora(rank=2, adapters=BANK, dropout=dropout))
  policy, params = made(config)
  trained, base = policy.split(params)
  algorithm, tx = resolve('grpo', kl='k3(coef=0.1)'), optax.sgd(0.5)
  frozen = {'base': base, 'ref': jax.tree.map(jnp.copy, reference_of(trained))}
  state = TrainState(jnp.int32(0), trained, tx.init(trained), frozen)
  learn = jax.jit(make_learn(make_objective(policy, algorithm), tx))
  e = sampled(policy, params, USES[:2])
  e = e.replace(rewards=jnp.where(e.target, (e.tokens % 2).astype(jnp.float32), 0))
  for i in range(steps):
    state, metrics = learn(state, e, jax.random.key(rng + i))
  return policy, params, state, metrics


def test_training_moves_the_adapters_of_its_rows_and_nothing_else():
  _, params, state, _ = learned()
  assert set(state.params) == {'adapters'} and state.frozen['ref'].keys() == {'adapters'}
  jax.tree.map(np.testing.assert_array_equal, state.weights['decoder'], params['decoder'])
  before, after = (jax.tree.leaves(x) for x in (params['adapters'], state.params['adapters']))
  for old, new in zip(before, after, strict=True):
    assert (np.asarray(old)[:, :2] != np.asarray(new)[:, :2]).any()
    assert (np.asarray(old)[:, 2:] == np.asarray(new)[:, 2:]).all()


def test_the_reference_is_the_base_with_the_adapters_as_they_were():
  policy, params, state, metrics = learned()
  e = sampled(policy, params, USES[:2])
  np.testing.assert_array_equal(policy.score(state.reference, e).logp, policy.score(params, e).logp)
  assert metrics['policy/kl'] > 0


def test_dropout_is_noise_in_training_only():
  policy, params, one, _ = learned(1, dropout=0.5, rng=1)
  other = learned(1, dropout=0.5, rng=2)[2]
  difference = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), one.params, other.params)
  assert max(jax.tree.leaves(difference)) > 0
  e = sampled(policy, params)
  np.testing.assert_array_equal(policy.score(params, e).logp, policy.score(params, e).logp)
  noisy = [policy.score(params, e, rng=jax.random.key(i)).logp for i in range(2)]
  assert np.abs(noisy[0] - noisy[1]).max() > 0


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_frozen_half_precision_base_trains_float32_adapters(dtype):
  config = dataclasses.replace(CONFIGURED, dtype=dtype)
  policy, params = made(config)
  params['decoder'] = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params['decoder'])
  e = sampled(policy, params)
  loss = lambda adapters: policy.score(params | {'adapters': adapters}, e).logp.sum()
  grads = jax.grad(loss)(params['adapters'])
  assert {x.dtype for x in jax.tree.leaves(grads)} == {jnp.dtype('float32')}
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))
