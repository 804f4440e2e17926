"""What objectives promise beyond numbers: directions of gradients, limits, equalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bigram import VOCAB, Learner
from oracle import lookup

from rft_jax.objectives.pairs import one_side
from rft_jax.steps import make_learn, make_total
from rft_jax.types import Scores, Targets

KEYS = jax.random.split(jax.random.key(1), 3)
LOGITS, OTHER = (0.5 * jax.random.normal(key, (VOCAB,)) for key in KEYS[:2])


def exact(divergence):
  """The gradient of a divergence of the whole distribution by its logits."""
  return jax.grad(lambda z: divergence(jax.nn.log_softmax(z), jax.nn.log_softmax(OTHER)))(LOGITS)


def expected(estimate):
  """E_x~pi of the gradient of an estimator at the sampled token x, summed exactly."""

  def at(z, token):
    logp, ref = (jax.nn.log_softmax(x)[token][None, None] for x in (z, OTHER))
    old = jax.lax.stop_gradient(logp)
    t = Targets(jnp.ones((1, 1), bool), ref_logp=ref, old_logp=old)
    return estimate(Scores(logp), t)[0, 0]

  p = jax.nn.softmax(LOGITS)
  return sum(p[i] * jax.grad(at)(LOGITS, i) for i in range(VOCAB))


REVERSE = lambda p, q: (jnp.exp(p) * (p - q)).sum()
FORWARD = lambda p, q: REVERSE(q, p)


@pytest.mark.parametrize(
  'name,divergence',
  [('k2', REVERSE), ('k3', FORWARD), ('k3_plus', REVERSE), ('unbiased_k3', REVERSE)],
)
def test_a_penalty_in_the_loss_pulls_the_way_it_says(name, divergence):
  np.testing.assert_allclose(expected(lookup('kl', name)().estimate), exact(divergence), atol=1e-5)


def test_k1_in_the_loss_pulls_nowhere():
  np.testing.assert_allclose(expected(lookup('kl', 'k1')().estimate), jnp.zeros(VOCAB), atol=1e-6)


@pytest.mark.parametrize('name', ['k1', 'k3', 'unbiased_k3'])
def test_estimates_of_the_divergence_have_its_mean(name):
  p = jax.nn.softmax(LOGITS)
  logp, ref = jax.nn.log_softmax(LOGITS)[None], jax.nn.log_softmax(OTHER)[None]
  t = Targets(jnp.ones(logp.shape, bool), ref_logp=ref, old_logp=logp)
  mean = (p * lookup('kl', name)().estimate(Scores(logp), t)[0]).sum()
  np.testing.assert_allclose(mean, REVERSE(logp[0], ref[0]), rtol=1e-5)


def test_distillation_by_samples_is_that_by_distributions_in_expectation():
  """The policy gradient of log teacher - log student is minus the gradient of the reverse KL."""
  loss, p = lookup('policy_loss', 'policy_gradient'), jax.nn.softmax(LOGITS)
  advantages = jax.nn.log_softmax(OTHER) - jax.nn.log_softmax(LOGITS)

  def at(z, token):
    t = Targets(jnp.ones((1, 1), bool), advantages=advantages[token][None, None])
    return loss(Scores(jax.nn.log_softmax(z)[token][None, None]), t)[0][0, 0]

  sampled = sum(p[i] * jax.grad(at)(LOGITS, i) for i in range(VOCAB))
  whole = exact(lookup('distill', 'reverse_kl')().divergence)
  np.testing.assert_allclose(sampled, whole, atol=1e-5)


def test_top_k_with_all_tokens_is_the_whole_divergence():
  student, teacher = jax.nn.log_softmax(LOGITS), jax.nn.log_softmax(OTHER)
  whole = lookup('distill', 'jensen_shannon(beta=0.3)')().divergence(student, teacher)
  part = lookup('distill', f'top_k(k={VOCAB}, beta=0.3)')().divergence(student, teacher)
  few = lookup('distill', 'top_k(k=2, beta=0.3)')().divergence(student, teacher)
  np.testing.assert_allclose(part, whole, rtol=1e-6)
  assert 0 < few < whole, 'a bucket can only hide what differs'


@pytest.mark.parametrize('name', ['forward_kl', 'reverse_kl', 'jensen_shannon', 'top_k(k=3)'])
def test_distillation_is_zero_where_there_is_nothing_to_learn(name):
  same = jax.nn.log_softmax(LOGITS)
  assert abs(float(lookup('distill', name)().divergence(same, same))) < 1e-6


def test_on_policy_the_ratio_is_one_and_the_loss_is_minus_the_advantage():
  it = Learner('grpo', kl='')
  e, total = it.experience, make_total(None)
  own = it.policy.score(it.state.params, e).logp
  batch = it.objective.prepare(it.state, e.replace(behaviour_logp=own), total)
  batch = it.objective.weigh(it.state, batch, total)
  value, metrics = it.objective.loss(it.state.params, it.state, batch, KEYS[0])
  mean = (batch.weights['token'] * batch.targets.advantages).sum()
  np.testing.assert_allclose(value, -mean, atol=1e-6)
  np.testing.assert_allclose(metrics['policy/ratio'], 1, atol=1e-6)


def test_rloo_is_dr_grpo_scaled():
  it = Learner('grpo')
  e, n = it.experience, it.experience.group
  nothing = Targets(e.target)
  rloo, plain = (
    lookup('advantage', spec)(e, nothing, make_total(None))[0]
    for spec in ('rloo', "grpo(scale='none')")
  )
  np.testing.assert_allclose(rloo, plain * n / (n - 1), atol=1e-6)


def test_kto_without_a_shift_is_apo_zero():
  it = Learner('kto')
  batch = it.objective.prepare(it.state, it.experience, make_total(None))
  now = it.policy.score(it.state.params, it.experience)
  side = one_side(now, batch.targets, batch.targets.mask.any(1))
  good, zero = batch.targets.score > 0.5, jnp.zeros(len(batch.targets.score))
  kto, apo = (lookup('preference', name)(side, good, zero) for name in ('kto', 'apo_zero_unpaired'))
  np.testing.assert_allclose(kto, apo, atol=1e-6)


def test_the_controller_of_kl_follows_its_target():
  update = lookup('kl', 'k2(coef=0.1, target=0.05, horizon=100)')().update
  assert update(jnp.float32(0.1), jnp.float32(0.5), jnp.float32(10)) == pytest.approx(0.102)
  assert update(jnp.float32(0.1), jnp.float32(0.0), jnp.float32(10)) == pytest.approx(0.098)
  assert update(jnp.float32(0.1), jnp.float32(0.05), jnp.float32(10)) == pytest.approx(0.1)


@pytest.mark.parametrize(
  'part,options', [('kl', 'k2(coef=0.1, target=1e-3)'), ('entropy', 'adaptive(target=9.0)')]
)
def test_what_adapts_is_part_of_the_state_and_moves(part, options):
  it = Learner('grpo', **{part: options})
  state, metrics = make_learn(it.objective, it.tx)(it.state, it.experience, KEYS[0])
  assert state.tuned[part] != it.state.tuned[part]
  assert metrics[f'tuned/{part}'] == state.tuned[part]


def test_the_reference_follows_as_it_is_told():
  it = Learner('dpo', reference='ema(decay=0.75)')
  state, _ = make_learn(it.objective, it.tx)(it.state, it.experience, KEYS[0])
  expected = 0.75 * it.state.frozen['ref']['decoder'] + 0.25 * state.params['decoder']
  np.testing.assert_allclose(state.frozen['ref']['decoder'], expected, rtol=1e-6)
  late = Learner('dpo', reference='refresh(every=2, mix=1.0)')
  first, _ = make_learn(late.objective, late.tx)(late.state, late.experience, KEYS[0])
  second, _ = make_learn(late.objective, late.tx)(first, late.experience, KEYS[0])
  assert (first.frozen['ref']['decoder'] == late.state.frozen['ref']['decoder']).all()
  np.testing.assert_allclose(second.frozen['ref']['decoder'], second.params['decoder'], rtol=1e-6)


def test_equal_rewards_of_a_pair_teach_nothing():
  it = Learner('dpo')
  level = it.experience.replace(rewards=jnp.zeros_like(it.experience.rewards))
  state, _ = make_learn(it.objective, it.tx)(it.state, level, KEYS[0])
  assert (state.params['decoder'] == it.state.params['decoder']).all()


def test_a_part_of_a_mixture_is_normalised_by_its_own_tokens():
  """Twice the demonstrations, the same ones, change nothing."""
  it = Learner('mix', mix='constant(mu=0.3)')
  own, expert = it.experience
  doubled = jax.tree.map(lambda x: jnp.concatenate([x, x]), expert)
  learn = make_learn(it.objective, it.tx)
  once, twice = (learn(it.state, (own, e), KEYS[0])[0].params for e in (expert, doubled))
  np.testing.assert_allclose(once['decoder'], twice['decoder'], rtol=1e-5)


def value(it, experience=None):
  """The loss of one iteration before it learns, and its metrics."""
  total = make_total(None)
  batch = it.objective.prepare(it.state, experience or it.experience, total)
  batch = it.objective.weigh(it.state, batch, total)
  return it.objective.loss(it.state.params, it.state, batch, KEYS[0])


@pytest.mark.parametrize(
  'preset,start',
  [('dpo', np.log(2)), ('hinge', 1.0), ('aot', np.log(2)), ('kto', 0.5), ('apo_zero', 1.0)],
)
def test_a_policy_that_is_its_reference_begins_at_the_loss_of_chance(preset, start):
  it = Learner(preset)
  it.state = it.state.replace(frozen={'ref': it.state.params})
  found, metrics = value(it)
  np.testing.assert_allclose(found, start, rtol=1e-5)
  np.testing.assert_allclose(metrics['preference/log_ratio'], 0, atol=1e-5)


def test_a_reward_model_without_an_opinion_begins_at_the_loss_of_chance():
  it = Learner('reward_model')
  params = it.state.params | {'value_head': jnp.zeros(VOCAB)}
  it.state = it.state.replace(params=params)
  np.testing.assert_allclose(value(it)[0], np.log(2), rtol=1e-6)


def test_what_is_preferred_is_imitated_with_its_weight():
  plain, heavy = (Learner('cpo', nll=weight) for weight in (0.0, 3.0))
  base, (found, metrics) = value(plain)[0], value(heavy)
  np.testing.assert_allclose(found - base, 3 * metrics['loss/nll'], rtol=1e-5)
  e = heavy.experience
  good = e.target & (jnp.where(e.target, e.rewards, 0).sum(1) > 0)[:, None]
  logp = heavy.policy.score(heavy.state.params, e).logp
  np.testing.assert_allclose(
    metrics['loss/nll'], -jnp.where(good, logp, 0).sum() / good.sum(), rtol=1e-5
  )


def prepared(preset, **parts):
  it = Learner(preset, **parts)
  return it, it.objective.prepare(it.state, it.experience, make_total(None))


def learned(batch):
  return np.asarray(jnp.where(batch.experience.target, batch.experience.rewards, 0).sum(1))


def test_a_label_free_reward_takes_the_place_of_the_task_and_shaping_is_added():
  it, votes = prepared('ttrl')
  expected = lookup('reward', 'majority')(it.experience, None)
  np.testing.assert_allclose(learned(votes), expected)
  _, shaped = prepared('ttrl', shaping='overlong(limit=4, buffer=2)')
  over = lookup('shaping', 'overlong(limit=4, buffer=2)')(it.experience)
  np.testing.assert_allclose(learned(shaped), expected + over, rtol=1e-6)
  assert over.min() == -1 and over.max() == 0


def test_a_penalty_in_the_reward_is_taken_off_token_by_token():
  it, with_kl = prepared('ppo', kl='k1(coef=0.5)')
  _, without = prepared('ppo')
  e = it.experience
  ref = it.policy.score(it.state.frozen['ref'], e).logp
  cost = jnp.where(e.target, 0.5 * (e.behaviour_logp - ref), 0)
  np.testing.assert_allclose(
    with_kl.experience.rewards, without.experience.rewards - cost, atol=1e-6
  )


def test_a_correction_weighs_the_policy_loss():
  """Samples of a policy that thought them far less likely: every weight is at its cap."""
  gradients = []
  for cap in (0.5, 1.0):
    it = Learner('reinforce', correction=f'truncate(cap={cap})')
    e = it.experience.replace(behaviour_logp=it.experience.behaviour_logp - 30)
    state, _ = make_learn(it.objective, it.tx)(it.state, e, KEYS[0])
    gradients.append(state.params['decoder'] - it.state.params['decoder'])
  np.testing.assert_allclose(gradients[0], gradients[1] / 2, atol=1e-6)
  assert jnp.abs(gradients[0]).max() > 1e-3


def test_what_a_filter_drops_is_not_learned_from_and_not_counted():
  it, kept = prepared('raft')
  assert kept.targets.mask.any() and (kept.targets.mask != it.experience.target).any()
  dropped = it.experience.target & ~kept.targets.mask
  other = it.experience.replace(tokens=jnp.where(dropped, 1, it.experience.tokens))
  rows = ~dropped.any(1)
  assert rows.any()
  same = [
    make_learn(it.objective, it.tx)(it.state, e, KEYS[0])[0].params['decoder']
    for e in (it.experience, other)
  ]
  np.testing.assert_allclose(*same, atol=1e-6)


def test_rows_without_a_verdict_are_not_learned_from():
  it = Learner('grpo', kl='')
  e = it.experience
  unknown = e.replace(rewards=e.rewards.at[:2].set(jnp.where(e.rewards[:2] >= 0, jnp.nan, 0)))
  gone = e.replace(target=e.target.at[:2].set(False))
  learn = make_learn(it.objective, it.tx)
  a, b = (learn(it.state, x, KEYS[0])[0].params['decoder'] for x in (unknown, gone))
  assert jnp.isfinite(a).all()
  np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize('preset', ['dpo', 'simpo', 'aot', 'reward_model'])
def test_which_answer_of_a_pair_comes_first_does_not_matter(preset):
  it = Learner(preset)
  order = np.arange(len(it.experience.tokens)).reshape(-1, 2)[:, ::-1].reshape(-1)
  turned = jax.tree.map(lambda x: x[order], it.experience)
  np.testing.assert_allclose(value(it)[0], value(it, turned)[0], rtol=1e-5)
  last = it.experience.target & (jnp.cumsum(it.experience.target[:, ::-1], 1)[:, ::-1] == 1)
  other = 1 - it.experience.rewards.sum(1, keepdims=True)
  wrong = it.experience.replace(rewards=jnp.where(last, other, 0))
  assert abs(value(it, wrong)[0] - value(it)[0]) > 1e-3, 'the rewards decide which is better'


def test_a_mixture_is_the_weighted_sum_of_its_parts():
  it = Learner('mix', mix='constant(mu=0.3)', kl='')
  own, expert = it.experience
  usual, imitation = Learner('grpo', kl=''), Learner('sft')
  usual.state = imitation.state = it.state
  parts = [value(x, e)[0] for x, e in ((usual, own), (imitation, expert))]
  np.testing.assert_allclose(value(it)[0], 0.7 * parts[0] + 0.3 * parts[1], rtol=1e-5)
