"""Law 7, against numbers of other libraries (oracles/core.json) and against formulas."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rft_jax.algorithms.advantages import ADVANTAGES
from rft_jax.algorithms.aggregators import AGGREGATORS
from rft_jax.algorithms.kls import KLS
from rft_jax.algorithms.policy_losses import POLICY_LOSSES
from rft_jax.algorithms.value_losses import VALUE_LOSSES
from rft_jax.steps import make_total
from rft_jax.types import Experience

ORACLES = json.loads((Path(__file__).parent / 'oracles/core.json').read_text())
TRINITY, VERL = ORACLES['trinity'], ORACLES['verl']
MODES = ('token-mean', 'seq-mean-token-sum', 'seq-mean-token-mean', 'seq-mean-token-sum-norm')
TOTAL = make_total(None)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
close_gradient = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)


def arrays(inputs):
  return {k: jnp.array(v, jnp.float32) for k, v in inputs.items()}


def experience(mask, rewards, group):
  """Completions without prompts; what no advantage reads is NaN."""
  mask, nothing = jnp.array(mask, bool), jnp.full(np.shape(mask), jnp.nan)
  tokens = jnp.zeros(mask.shape, jnp.int32)
  return Experience(tokens, mask, mask, nothing, jnp.array(rewards, jnp.float32), tokens, group)


def weighted(mode, mask, per_token):
  """The loss in a mode as the libraries name it; their norm mode does not divide by N."""
  weights = AGGREGATORS.lookup(mode.replace('-', '_'))(mask.astype(bool), TOTAL)
  return (weights * per_token).sum() * (len(mask) if mode.endswith('norm') else 1)


def policy_loss(spec, mode, x, logp):
  return weighted(mode, x['mask'], POLICY_LOSSES.lookup(spec)(logp, x['old_logp'], x['adv'])[0])


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('spec,name', [('ppo_clip', 'vanilla'), ('policy_gradient', 'gpg')])
def test_policy_losses_and_gradients_equal_verl(spec, name, mode):
  x, expected = arrays(VERL['inputs']), VERL['losses'][f'{name}|{mode}']
  value, gradient = jax.value_and_grad(lambda logp: policy_loss(spec, mode, x, logp))(x['logp'])
  close(value, expected['loss'])
  close_gradient(gradient, expected['grad'])


@pytest.mark.parametrize('case', TRINITY['ppo'])
def test_ppo_clip_and_its_gradient_equal_trinity(case):
  """Set A has holes in its mask and ratios that the dual clip cuts."""
  expected, (name, args) = TRINITY['ppo'][case], case.split('|')
  x, options = arrays(TRINITY['inputs'][name]), json.loads(args)
  x['old_logp'], mode = x['old'], options.get('loss_agg_mode', 'token-mean')
  spec = 'ppo_clip(eps=0.2, eps_high=0.28)' if 'clip_range_high' in options else 'ppo_clip'
  gradient = jax.value_and_grad(lambda logp: policy_loss(spec, mode, x, logp))
  value, slope = gradient(x['logprob'])
  close(value, expected['loss'])
  close_gradient(slope[0], expected['grad_row0'])
  close(jnp.linalg.norm(slope), expected['grad_norm'])


@pytest.mark.parametrize('spec,name', [('grpo', 'grpo'), ("grpo(scale='none')", 'grpo_nostd')])
def test_group_advantages_equal_verl(spec, name):
  x = arrays(VERL['inputs'])
  e = experience(x['mask'], x['token_rewards'], 4)
  advantages, returns = ADVANTAGES.lookup(spec)(e, None, TOTAL)
  close(advantages, VERL['advantages'][name])
  close(returns, advantages)


@pytest.mark.parametrize('scale', ['group', 'batch'])
def test_group_advantages_equal_trinity(scale):
  """Trinity's group of one adds to the batch's statistics, here as another device's rewards."""
  *rewards, (single,) = TRINITY['rewards']
  rewards = np.array(rewards).reshape(-1, 1)
  mean = (rewards.sum() + single) / (len(rewards) + 1)
  elsewhere = iter([1, single, (single - mean) ** 2])
  expected = TRINITY['grpo' if scale == 'group' else 'grpo std batch'][:-1]
  advantages, _ = ADVANTAGES.lookup(f'grpo(scale={scale!r})')(
    experience(np.ones_like(rewards), rewards, 4), None, lambda x: x.sum() + next(elsewhere)
  )
  close(advantages[:, 0], expected)


@pytest.mark.parametrize('lam', ['0.95', '1.0'])
def test_gae_equals_verl(lam):
  x = arrays(VERL['inputs'])
  e = experience(x['mask'], x['token_rewards'], 1)
  out = ADVANTAGES.lookup(f'gae(lam={lam})')(e, x['values'], TOTAL)
  for ours, name in zip(out, ('adv', 'ret'), strict=True):
    close(ours, np.where(e.target, VERL['advantages'][f'gae_{lam}_{name}'], 0))


def test_reinforce_is_the_discounted_sum_of_what_follows():
  e = experience([[1, 1, 0, 1, 0]], [[1.0, 2.0, 50.0, 4.0, 50.0]], 1)
  advantages, _ = ADVANTAGES.lookup('reinforce(gamma=0.5)')(e, None, TOTAL)
  close(advantages, [[3.0, 4.0, 0.0, 4.0, 0.0]])


@pytest.mark.parametrize('name', ['k1', 'k2', 'k3'])
def test_kl_estimators_equal_verl_and_trinity(name):
  x, y = arrays(VERL['inputs']), arrays(TRINITY['inputs']['B'])
  penalty = KLS.lookup(f'{name}(coef={TRINITY["kl_coef"]})')()
  close(penalty.estimate(x['logp'], x['ref_logp']), VERL['kl'][name])
  mean = weighted('token-mean', y['mask'], penalty.estimate(y['logprob'], y['ref']))
  close(penalty.coef * mean, TRINITY['kl'][name], atol=1e-9)


def test_gradients_of_the_kl_estimators_are_their_formulas():
  logp, ref = (arrays(VERL['inputs'])[k] for k in ('logp', 'ref_logp'))
  slopes = dict(k1=jnp.ones_like(logp), k2=logp - ref, k3=1 - jnp.exp(ref - logp))
  for name, expected in slopes.items():
    close(jax.grad(lambda x, n=name: KLS.lookup(n)().estimate(x, ref).sum())(logp), expected)


def test_clipped_value_loss_equals_verl():
  x = arrays(VERL['inputs'])
  clipped = VALUE_LOSSES.lookup('clipped(clip=0.5, coef=1.0)')
  per_token = clipped(x['vpred'], x['values'], x['returns'])
  close(weighted('token-mean', x['mask'], per_token), VERL['value_loss'])
  wide = VALUE_LOSSES.lookup('clipped(clip=1e3, coef=1.0)')(x['vpred'], x['values'], x['returns'])
  close(wide, VALUE_LOSSES.lookup('squared(coef=1.0)')(x['vpred'], x['values'], x['returns']))


@pytest.mark.parametrize(
  'name,expected',
  [
    ('token_mean', [[1 / 4] * 3, [1 / 4, 0, 0], [0] * 3]),
    ('seq_mean_token_mean', [[1 / 6] * 3, [1 / 2, 0, 0], [0] * 3]),
    ('seq_mean_token_sum', [[1 / 2] * 3, [1 / 2, 0, 0], [0] * 3]),
    ('seq_mean_token_sum_norm', [[1 / 6] * 3, [1 / 6, 0, 0], [0] * 3]),
    ('seq_mean_token_sum_norm(length=10)', [[1 / 20] * 3, [1 / 20, 0, 0], [0] * 3]),
  ],
)
def test_rows_without_a_token_have_no_share_in_the_mean(name, expected):
  mask = jnp.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], bool)
  close(AGGREGATORS.lookup(name)(mask, TOTAL), expected)
