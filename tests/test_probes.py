"""The probe ladder: problems so small that only a bug keeps an algorithm from solving them.

One compiled program per algorithm solves them all: what is rewarded comes with the prompts, and
how many tokens there are with the sampling options.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from rft_jax.algorithms.families import FAMILIES
from rft_jax.steps import make_learn, make_total
from rft_jax.types import Experience, Prompts, Targets

CONSTANT, TOKEN, LENGTH = 0, 1, 2
PRESETS = ('reinforce', 'grpo', 'ppo')
PIECES = dict(ppo=dict(advantage='gae(lam=1.0)', value_loss='clipped(coef=2.0)'))


def reward(tokens, target, answer):
  """0.7 | the first token is the wanted one | the length is the wanted one."""
  kind, wanted = answer
  cases = [jnp.full(len(tokens), 0.7), tokens[:, 0] == wanted, target.sum(1) == wanted]
  return jnp.stack([x.astype(jnp.float32) for x in cases])[kind[0]]


@functools.cache
def program(preset, rate):
  run = tiny.setup(preset, optax.adam(rate), **PIECES.get(preset, {}))
  step = tiny.rl_step(run.policy, make_learn(run.objective, run.tx), None, reward, 16, 4)
  return run, jax.jit(step, donate_argnums=0)


def train(preset, kind, wanted, steps, stop=tiny.NEVER, max_new=4, rate=0.01):
  """Means of the last ten iterations' metrics; prompt i is answered by wanted[i % 4]."""
  run, step = program(preset, rate)
  row = np.tile(np.arange(4, dtype=np.int32), 2)
  tokens = np.stack([row * 0 + 7, row, row + 4], 1)
  answer = np.full(8, kind, np.int32), np.resize(np.int32(wanted), 8)
  prompts = Prompts(tokens, np.ones(tokens.shape, bool), np.arange(8, dtype=np.int32), answer)
  options, rngs = tiny.options([stop], max_new=max_new), jax.random.split(tiny.RNG, steps)
  state, history = jax.tree.map(jnp.array, run.state), []
  for rng in rngs:
    state, metrics = step(state, prompts, options, rng)
    history.append(metrics)
  return {k: float(np.mean([m[k] for m in history[-10:]])) for k in metrics}


def test_the_value_of_a_constant_reward_is_that_reward():
  assert train('ppo', CONSTANT, 0, 150, max_new=2)['loss/value'] < 0.05**2


@pytest.mark.parametrize('preset', PRESETS)
def test_a_rewarded_token_becomes_likely(preset):
  assert train(preset, TOKEN, 3, 80, max_new=1)['reward/mean'] > 0.9


@pytest.mark.parametrize('preset', PRESETS)
def test_the_prompt_decides_which_token_becomes_likely(preset):
  assert train(preset, TOKEN, [5, 1, 9, 2], 120, max_new=1)['reward/mean'] > 0.9


@pytest.mark.parametrize('preset', PRESETS)
def test_a_reward_at_the_end_teaches_the_first_token(preset):
  metrics = train(preset, TOKEN, 5, 120, max_new=3)
  assert metrics['rollout/length'] == 3 and metrics['reward/mean'] > 0.9


def slow(*values):
  return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize('preset', PRESETS)
def test_the_moment_to_stop_is_learned(preset):
  check_stopping(train(preset, LENGTH, 1, 100, stop=tiny.STOP))


@pytest.mark.parametrize('preset', [slow('reinforce'), slow('grpo'), 'ppo'])
def test_a_later_moment_to_stop_is_learned(preset):
  """Slowly: at twice the rate PPO stays at another length with one seed in five."""
  check_stopping(train(preset, LENGTH, 3, 300, stop=tiny.STOP, rate=0.005))


def check_stopping(metrics):
  assert metrics['reward/mean'] > 0.9 and metrics['rollout/truncated'] < 0.1


def test_gae_with_lam_1_is_the_return_minus_the_value():
  draw = np.random.default_rng(0)
  target = jnp.array(draw.random((4, 9)) < 0.7)
  rewards, values = (jnp.array(draw.normal(size=(4, 9)), jnp.float32) for _ in range(2))
  nothing, ids = jnp.full(target.shape, jnp.nan), jnp.zeros(target.shape, jnp.int32)
  e = Experience(ids, target, target, nothing, rewards, ids)
  advantages, returns = FAMILIES['advantage'].lookup(
    'gae(lam=1.0, gamma=0.9, whiten_advantages=False)'
  )(e, Targets(target, values=values), make_total(None))
  monte_carlo, _ = FAMILIES['advantage'].lookup('reinforce(gamma=0.9)')(
    e, Targets(target), make_total(None)
  )
  np.testing.assert_allclose(returns, monte_carlo, atol=1e-5)
  np.testing.assert_allclose(advantages, jnp.where(target, monte_carlo - values, 0), atol=1e-5)
