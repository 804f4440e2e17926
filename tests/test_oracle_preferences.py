"""Law 7: values and gradients of TRL's preference losses, reward model and distillation.

TRL's losses sum log-probabilities that are zero outside the answers; gradients are compared inside.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import arrays, close, lookup, recorded, summed

from rft_jax.algorithms.preferences import Side
from rft_jax.types import Scores, Targets

DATA = recorded('preference')
X = arrays(DATA['dpo_inputs'])
MASK = X['completion_mask'].astype(bool)[:, 1:]
SPECS = {
  'exo_pair|ls=0.1': 'exo_pair(label_smoothing=0.1)',
  'robust|ls=0.1': 'robust(label_smoothing=0.1)',
  'aot|ls=0.1': 'aot(label_smoothing=0.1)',
  'sigmoid|f=forward_kl': "sigmoid(divergence='forward_kl')",
  'sigmoid|f=js_divergence': "sigmoid(divergence='js')",
  'sigmoid|f=alpha_divergence': "sigmoid(divergence='alpha')",
  'sigmoid|ld_alpha=0.5': 'sigmoid(beyond=0.5)',
}
LARGE = 'sigmoid|f=forward_kl', 'ipo', 'sppo_hard', 'sft'
close_dpo = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7)


def sides(logp):
  ref = jnp.concatenate([X['ref_chosen_logps'], X['ref_rejected_logps']])
  tokens = jnp.where(MASK, logp, 0)
  whole = Side(tokens.sum(1), ref, MASK.sum(1), tokens, MASK, MASK.any(1))
  return jax.tree.map(lambda x: x[:4], whole), jax.tree.map(lambda x: x[4:], whole)


@pytest.mark.parametrize('case', [c for c in DATA['dpo'] if c != 'sft'])
def test_losses_of_pairs(case):
  loss = lookup('preference', SPECS.get(case, case))
  value, gradient = jax.value_and_grad(lambda logp: loss(*sides(logp)).mean())(X['per_token_logps'])
  close(value, DATA['dpo'][case]['loss'])
  atol = 0 if case in LARGE else 1e-7
  expected = np.where(MASK, DATA['dpo'][case]['grad'], 0)
  np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=atol)


def test_imitation_of_what_is_chosen():
  t = Targets(MASK.at[4:].set(False))
  loss = lambda logp: summed('token-mean', t.mask, lookup('policy_loss', 'nll')(Scores(logp), t)[0])
  value, gradient = jax.value_and_grad(loss)(X['per_token_logps'])
  close(value, DATA['dpo']['sft']['loss'])
  close_dpo(gradient, np.where(t.mask, DATA['dpo']['sft']['grad'], 0))


@pytest.mark.parametrize('case', DATA['kto'])
def test_losses_of_single_answers(case):
  x = arrays(DATA['kto_inputs'])
  mask = x['completion_mask'].astype(bool)[:, 1:]
  name, desirable, undesirable = case.split('|')
  loss = lookup('preference', f'{name}(desirable={desirable}, undesirable={undesirable})')
  z = jnp.maximum(
    (jnp.where(mask, x['kl_per_token_logps'], 0).sum(1) - x['ref_KL_logps']).mean(), 0
  )

  def total(logp):
    tokens = jnp.where(mask, logp, 0)
    side = Side(tokens.sum(1), x['ref_logps'], mask.sum(1), tokens, mask, mask.any(1))
    return loss(side, x['label'] > 0, jnp.full(6, z)).mean()

  value, gradient = jax.value_and_grad(total)(x['per_token_logps'])
  close(value, DATA['kto'][case]['loss'])
  close_dpo(gradient, np.where(mask, DATA['kto'][case]['grad'], 0))


def test_the_sequence_loss_of_rloo():
  x = arrays({k: v for k, v in DATA['rloo'].items() if k not in ('loss', 'grad')})
  mask = x['mask'].astype(bool)
  length = mask.sum(1, keepdims=True)
  old = jnp.where(mask, x['old_logps'][:, None] / length, 0)
  t = Targets(mask, advantages=x['adv'][:, None] * mask, old_logp=old)
  loss = lookup('policy_loss', 'rloo_sequence')
  spread = lambda logp: jnp.where(mask, loss(Scores(logp), t)[0], 0)
  total = lambda logp: summed('seq-mean-token-mean', mask, spread(logp))
  value, gradient = jax.value_and_grad(total)(x['logp'])
  close(value, DATA['rloo']['loss'])
  close(gradient, DATA['rloo']['grad'])


@pytest.mark.parametrize('case', DATA['reward'])
def test_reward_models(case):
  entry = DATA['reward'][case]
  margin, center = (part.split('=')[1] for part in case.split('|'))
  options = f'use_margin={margin}, center={0.0 if center == "None" else center}'
  loss = lookup('ranking', f'bradley_terry({options})')
  margins = jnp.array(entry['margin'] if margin == 'True' else [0.0] * 3)
  total = lambda scores: loss(scores[:3], scores[3:], margins).mean()
  value, gradient = jax.value_and_grad(total)(jnp.array(entry['scores']))
  close(value, entry['loss'])
  close(gradient, entry['grad'])


REFERENCE_FREE = {
  'sigmoid': 'cpo',
  'sigmoid|ls=0.1': 'cpo(label_smoothing=0.1)',
  'hinge': "cpo(form='hinge')",
  'ipo': "cpo(form='ipo')",
  'simpo|beta=2|gamma=0.5': 'simpo',
  'alphapo|beta=2|alpha=0.25': 'alphapo',
}


def alone(name):
  """Answers of one token, whose sum and mean are the same."""
  logp = arrays(DATA['cpo_inputs'])[name]
  one = jnp.ones((len(logp), 1), bool)
  return Side(logp, jnp.zeros(0), jnp.ones_like(logp), logp[:, None], one, one[:, 0])


@pytest.mark.parametrize('case', DATA['cpo'])
def test_losses_without_a_reference(case):
  loss = lookup('preference', REFERENCE_FREE[case])
  close(loss(alone('chosen'), alone('rejected')), DATA['cpo'][case])


def test_orpo():
  loss = lookup('preference', 'orpo')
  close(loss(alone('chosen'), alone('rejected')), -np.array(DATA['orpo']['losses']))


@pytest.mark.parametrize('case', DATA['gkd'])
def test_distillation(case):
  beta, temperature = (float(part.split('=')[1]) for part in case.split('|'))
  x = arrays(DATA['gkd_inputs'])
  distill = lookup('distill', f'jensen_shannon(beta={beta}, temperature={temperature})')()
  student, teacher = (
    jax.nn.log_softmax(x[name] / distill.temperature) for name in ('student', 'teacher')
  )
  mask = x['labels'] != -100
  close(summed('token-mean', mask, distill.divergence(student, teacher)), DATA['gkd'][case])
