"""Law 10, and that algorithms which cannot work are refused."""

import jax
import numpy as np
import pieces
import pytest
import tiny

from rft_jax.algorithms.algorithm import resolve
from rft_jax.algorithms.families import FAMILIES
from rft_jax.algorithms.presets import COMPAT
from rft_jax.registry import ConfigError, Registry, parse
from rft_jax.steps import make_learn


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
    ('preference', 'sigmod', 'sigmoid'),
    ('distill', 'jensen_shanon', 'jensen_shannon'),
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
    ('grpo', dict(policy_loss=''), 'leaves nothing'),
    ('grpo', dict(advantage=''), 'reads an advantage'),
    ('grpo', dict(aggregator=''), 'aggregator is missing'),
    ('grpo', dict(source='pair'), 'source='),
    ('sft', dict(policy_loss='ppo_clip', advantage='grpo'), "source='samples'"),
    ('dpo', dict(policy_loss='nll'), 'cannot be combined'),
    ('dpo', dict(source='text'), "source='pairs'"),
    ('kto', dict(source='pairs'), "source='labels'"),
    ('reward_model', dict(source='samples'), "source='pairs'"),
    ('grpo', dict(advantage='gigpo'), "source='turns'"),
    ('mix', dict(expert=''), 'belong together'),
    ('ppo', dict(advantage='', policy_loss='nll'), "such as 'gae'"),
    ('kto', dict(refill=2), 'refill=0'),
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
  w = pieces.world()
  with pytest.raises(ConfigError, match="'group', 'batch' or 'none'"):
    pieces.apply('advantage', 'grpo', w, scale='grp')


def test_an_override_replaces_one_piece_and_keeps_the_others():
  plain, other = resolve('grpo'), resolve('grpo', kl='', aggregator=None)
  parts = plain.parts | {'kl': ''}
  assert other == plain._replace(parts=parts, needs=plain.needs - {'ref_logp'})
  assert 'entropy' in resolve('grpo', entropy='bonus(coef=0.1)').needs


def test_compat_changes_defaults_and_nothing_that_is_named():
  assert resolve('grpo', 'trl').parts['advantage'] == 'grpo(eps=0.0001)'
  assert resolve('grpo', 'trl', advantage='grpo(eps=1.0)').parts['advantage'] == 'grpo(eps=1.0)'
  assert 'dual_clip=None' in resolve('grpo', 'trl').parts['policy_loss']
  with pytest.raises(ConfigError, match="did you mean 'verl'"):
    resolve('grpo', 'verll')


@pytest.mark.parametrize('compat', COMPAT)
def test_compat_names_pieces_and_options_that_exist(compat):
  for family, defaults in COMPAT[compat].items():
    for name, options in defaults.items():
      written = ', '.join(f'{k}={v!r}' for k, v in options.items())
      FAMILIES[family].lookup(f'{name}({written})')


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
  assert pieces.finite(params) and tiny.moved(run.state.params, params) > 1e-3
  tiny.assert_close(params, expected)
