"""Law 10, and that each piece reads what it declares and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from rft_jax.algorithms.presets import FAMILIES, PRESETS, resolve
from rft_jax.objectives import make_objective
from rft_jax.registry import ConfigError, Registry, parse
from rft_jax.steps import make_learn, make_total
from rft_jax.types import Experience

LOGP = jnp.log(jnp.array([[0.5, 0.2, 0.9], [0.3, 0.6, 0.4]]))
NAN, TOTAL = jnp.full(LOGP.shape, jnp.nan), make_total(None)


@pytest.mark.parametrize(
  'family,wrong,meant',
  [
    ('advantage', 'grpoo', 'grpo'),
    ('policy_loss', 'ppo-clip', 'not of the form'),
    ('policy_loss', 'ppoclip', 'ppo_clip'),
    ('kl', 'k4', 'k3'),
    ('value_loss', 'cliped', 'clipped'),
    ('aggregator', 'token_men', 'token_mean'),
    ('policy_loss', 'ppo_clip(epss=0.1)', 'eps'),
    ('kl', 'k3(where_=1)', 'where'),
    ('aggregator', 'token_mean(eps=1)', 'it has none'),
    ('policy_loss', 'ppo_clip(0.2)', 'not of the form'),
    ('policy_loss', 'ppo_clip(eps=x)', 'literal'),
  ],
)
def test_an_unknown_name_or_option_is_an_error_with_the_way_out(family, wrong, meant):
  with pytest.raises(ConfigError, match=meant) as caught:
    FAMILIES[family].lookup(wrong)
  assert '\n' not in str(caught.value)


def test_options_that_are_not_given_keep_their_defaults():
  family = Registry('thing')

  @family.register()
  def piece(x, *, a=1, b=2):
    return x, a, b

  assert family.lookup('piece(b=5)')(0) == (0, 1, 5) and family.lookup('piece')(0) == (0, 1, 2)
  assert parse(' piece( a=-1.5, b=None )') == ('piece', dict(a=-1.5, b=None))


@pytest.mark.parametrize(
  'preset,overrides,meant',
  [
    ('gpo', {}, 'grpo'),
    ('grpo', dict(advantag='gae'), 'advantage'),
    ('grpo', dict(kl='k33'), 'k3'),
    ('grpo', dict(policy_loss='ppo_clip(clip=1)'), 'dual_clip'),
    ('grpo', dict(advantage=''), 'leaves nothing'),
    ('grpo', dict(advantage='gae'), "value_loss='clipped'"),
    ('ppo', dict(value_loss=''), 'nothing trains'),
  ],
)
def test_an_algorithm_that_cannot_work_is_an_error_with_the_way_out(preset, overrides, meant):
  with pytest.raises(ConfigError, match=meant):
    resolve(preset, **overrides)


def test_a_wrong_value_of_an_option_is_an_error():
  with pytest.raises(ConfigError, match="'loss' or 'reward'"):
    FAMILIES['kl'].lookup("k3(where='los')")()
  with pytest.raises(ConfigError, match="'group', 'batch' or 'none'"):
    FAMILIES['advantage'].lookup("grpo(scale='grp')")(experience(), None, TOTAL)


def test_an_override_replaces_one_piece_and_keeps_the_others():
  plain, other = resolve('grpo'), resolve('grpo', kl='', aggregator=None)
  assert other == plain._replace(kl='', needs=plain.needs - {'ref_logp'})
  assert 'entropy' in resolve('grpo', entropy=0.1).needs


@pytest.mark.parametrize('preset', PRESETS)
def test_a_preset_makes_an_objective(preset):
  run = tiny.setup(preset)
  objective = make_objective(run.policy, run.algorithm)
  assert callable(objective.loss)
  assert (run.algorithm.value_loss != '') == ('value_head' in run.state.params)


def experience():
  """Two sequences, the second of which ended early: what only padding holds is NaN."""
  target = jnp.array([[1, 1, 1], [1, 1, 0]], bool)
  ids = jnp.zeros(target.shape, jnp.int32)
  rewards = jnp.where(target, jnp.array([[0.0, 0.0, 1.0], [0.0, 2.0, 0.0]]), jnp.nan)
  return Experience(ids, target, target, NAN, rewards, ids, 2)


def finite(tree):
  return all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(tree))


def members(family):
  return [(name, FAMILIES[family].needs[name]) for name in FAMILIES[family].members]


@pytest.mark.parametrize('name,needs', members('policy_loss'))
def test_a_policy_loss_reads_what_it_declares(name, needs):
  loss = FAMILIES['policy_loss'].lookup(name)
  assert finite(loss(LOGP, LOGP - 0.1 if 'old_logp' in needs else NAN, LOGP + 1))
  assert finite(loss(LOGP, NAN, LOGP + 1)[0]) == ('old_logp' not in needs)


@pytest.mark.parametrize('name,needs', members('advantage'))
def test_an_advantage_reads_what_it_declares_and_nothing_in_padding(name, needs):
  advantage = FAMILIES['advantage'].lookup(name)
  e, values = experience(), jnp.where(experience().target, LOGP, jnp.nan)
  assert finite(advantage(e, values, TOTAL))
  assert finite(advantage(e, NAN, TOTAL)) == ('values' not in needs)


@pytest.mark.parametrize('name,needs', members('kl'))
def test_a_penalty_reads_what_it_declares(name, needs):
  penalty = FAMILIES['kl'].lookup(name)()
  assert finite(penalty.estimate(LOGP, LOGP - 0.1))
  assert finite(penalty.estimate(LOGP, NAN)) == ('ref_logp' not in needs)


@pytest.mark.parametrize('name,needs', members('value_loss'))
def test_a_value_loss_reads_what_it_declares(name, needs):
  loss = FAMILIES['value_loss'].lookup(name)
  assert finite(loss(LOGP, LOGP, LOGP)) and finite(loss(NAN, LOGP, LOGP)) == ('values' not in needs)


@pytest.mark.parametrize('preset', ['sft', 'reinforce', 'grpo', 'ppo'])
def test_what_is_not_a_target_never_reaches_the_parameters(preset):
  run = tiny.standard(preset)
  e = tiny.experience(run, tiny.prompts())
  spoiled = e.replace(
    behaviour_logp=np.where(e.target, e.behaviour_logp, np.nan),
    rewards=np.where(e.target, e.rewards, np.nan),
  )
  learn = jax.jit(make_learn(run.objective, run.tx))
  params, expected = (learn(run.state, x, tiny.RNG)[0].params for x in (spoiled, e))
  assert finite(params) and tiny.moved(run.state.params, params) > 1e-3
  tiny.assert_close(params, expected)
