"""Law 7: values and gradients of verl, and of TRL's GRPO."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from oracle import TOTAL, arrays, check_loss, close, experience, lookup, recorded, summed

from rft_jax.types import Scores, Targets

DATA = recorded('trl_verl')
X = arrays(DATA['inputs'])
MASK = X['mask'].astype(bool)

LOSSES = dict(
  vanilla='ppo_clip',
  gspo='gspo_token(eps=0.2, eps_high=0.2)',
  sapo='sapo',
  gpg='policy_gradient',
  geo_mean='gmpo(eps=0.2)',
  cispo='cispo(eps=0.2, eps_high=0.2)',
  kl_cov='kl_cov(coef=0.1)',
)
BY_SEQUENCE = 'gspo', 'sapo', 'geo_mean'


@pytest.mark.parametrize('case', DATA['verl_policy_losses'])
def test_policy_losses_of_verl(case):
  name, mode = case.split('|')
  mode = 'seq-mean-token-mean' if name in BY_SEQUENCE else mode
  options = dict(divide=False) if mode.endswith('norm') else {}
  found = oracle.value_and_gradient(
    LOSSES[name], mode, MASK, X['logp'], X['adv'], X['old_logp'], **options
  )
  check_loss(found, DATA['verl_policy_losses'][case])


ADVANTAGES = {
  'grpo': 'grpo',
  'grpo_nostd': "grpo(scale='none')",
  'rloo': 'rloo',
  'opo': 'opo',
  'gpg': 'gpg',
  'reinforce_plus_plus_baseline': 'reinforce_plus_plus_baseline',
  'reinforce_plus_plus': 'reinforce_plus_plus',
  'remax': 'remax',
  'grpo_passk': 'grpo_passk',
  'optimal_token_baseline': 'optimal_token_baseline',
  'gae_0.95_adv': 'gae(lam=0.95)',
  'gae_1.0_adv': 'gae(lam=1.0)',
}


@pytest.mark.parametrize('case', ADVANTAGES)
def test_advantages_of_verl(case):
  e = experience(MASK, X['token_rewards'], 4, baseline=jnp.full(8, 0.5))
  t = Targets(
    MASK,
    values=X['values'],
    old_logp=X['old_logp'],
    old=Scores(X['old_logp'], collision=X['sum_pi_squared']),
  )
  advantages, returns = lookup('advantage', ADVANTAGES[case])(e, t, TOTAL)
  recorded = DATA['verl_advantages']
  close(advantages, np.where(MASK, recorded[case], 0))
  if case.endswith('_adv'):
    close(returns, np.where(MASK, recorded[case.replace('adv', 'ret')], 0))


@pytest.mark.parametrize('name', DATA['verl_kl'])
def test_kl_estimators_of_verl(name):
  t = Targets(jnp.ones_like(MASK), ref_logp=X['ref_logp'])
  close(lookup('kl', name)().estimate(Scores(X['logp']), t), DATA['verl_kl'][name])


def test_the_value_loss_of_verl():
  loss = lookup('value_loss', 'clipped(clip=0.5, coef=1.0)')
  close(
    summed('token-mean', MASK, loss(X['vpred'], X['values'], X['returns'])), DATA['verl_value_loss']
  )


CORRECTIONS = {
  'verl_is': {'token': 'truncate', 'sequence': 'truncate(sequence=True)'},
  'verl_rs': {
    'token_k1': "reject(by='k1', low=0.9, high=1.1)",
    'seq_mean_k1': "reject(by='k1', over='mean', low=0.98, high=1.02)",
    'seq_sum_k2': "reject(by='k2', over='sum', high=0.05)",
    'seq_max_k3': "reject(by='k3', over='max', high=0.02)",
    'token_k3': "reject(by='k3', high=0.01)",
  },
}


@pytest.mark.parametrize(
  'kind,case', [(kind, case) for kind, cases in CORRECTIONS.items() for case in cases]
)
def test_corrections_of_verl(kind, case):
  weights = lookup('correction', CORRECTIONS[kind][case])(X['old_logp'], X['rollout_logp'], MASK)
  close(weights, DATA[kind][case])


TRL = dict(
  grpo='seq-mean-token-mean',
  sapo='seq-mean-token-mean',
  luspo='seq-mean-token-sum',
  dr_grpo='seq-mean-token-sum-norm',
)


def trl_spec(name, sequence):
  if name == 'cispo':
    return 'cispo_cap_sequence' if sequence else 'cispo_cap'
  if name == 'sapo':
    return f'sapo(sequence={sequence})'
  if name == 'vespo':
    return 'vespo'
  clip = 'eps=0.2, eps_high=0.28'
  return f'gspo({clip})' if sequence else f'ppo_clip({clip}, dual_clip=None)'


@pytest.mark.parametrize('case', DATA['trl_grpo'])
def test_grpo_of_trl(case):
  name, level, beta, unbiased = case.split('|')
  sequence, beta = level == 'sequence', float(beta.split('=')[1])
  t = Targets(MASK, advantages=X['adv'], old_logp=X['old_logp'], ref_logp=X['ref_logp'])
  loss = lookup('policy_loss', trl_spec(name, sequence))
  spec = f'unbiased_k3(sequence={sequence})' if unbiased.endswith('True') else 'k3(clamp=False)'
  penalty, mode = lookup('kl', spec)(), TRL.get(name, 'token-mean')

  def total(logp):
    now = Scores(logp)
    per_token = loss(now, t)[0] + beta * penalty.estimate(now, t)
    return summed(mode, MASK, per_token, **(dict(length=10) if name == 'dr_grpo' else {}))

  check_loss(jax.value_and_grad(total)(X['logp']), DATA['trl_grpo'][case])
