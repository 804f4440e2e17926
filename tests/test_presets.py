"""What holds for every preset, read from the table: how a batch is cut, what it keeps in memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from bigram import Learner, close, widened

from configs import probe
from rft_jax.algorithms.presets import PRESETS
from rft_jax.models.policy import make_policy
from rft_jax.modes.session import open_session
from rft_jax.modes.split import make_stage
from rft_jax.steps import make_learn

every = pytest.mark.parametrize('preset', PRESETS)


@functools.cache
def learner(preset):
  return Learner(preset)


def after(preset, experience, **settings):
  """Parameters, reference and metrics after one iteration; not the share of clipped tokens, which
  rounding decides where an advantage is nearly 0."""
  it = learner(preset)
  state, metrics = make_learn(it.objective, it.tx, **settings)(it.state, experience, tiny.RNG)
  metrics.pop('policy/clip_fraction', None)
  return state.params, state.frozen, state.tuned, metrics


@functools.cache
def plain(preset):
  it = learner(preset)
  out = after(preset, it.experience)
  assert tiny.moved(it.state.params, out[0]) > 1e-5, 'nothing was learned'
  return out


def each_part(change, experience):
  if isinstance(experience, tuple):
    return tuple(map(change, experience))
  return change(experience)


def shuffled(e):
  order = np.random.default_rng(0).permutation(len(e.tokens) // e.group)
  rows = (order[:, None] * e.group + np.arange(e.group)).reshape(-1)
  return jax.tree.map(lambda x: x[rows], e)


def by_place(preset):
  """Pairs each prompt with the answer to the next one."""
  return preset == 'kto'


def by_width(preset):
  """Its default unit is the width of the batch."""
  return preset in ('dr_grpo', 'dapo')


@every
def test_cuts_order_and_padding_change_nothing(preset):
  e = learner(preset).experience
  e = e if by_place(preset) else each_part(shuffled, e)
  e = e if by_width(preset) else each_part(lambda x: widened(x, 2, 3), e)
  close(after(preset, e, microbatches=3), plain(preset))


@pytest.mark.slow
@every
@pytest.mark.parametrize('count', (2, 3, 6))
def test_micro_batches_change_nothing(preset, count):
  close(after(preset, learner(preset).experience, microbatches=count), plain(preset))


@pytest.mark.slow
@pytest.mark.parametrize('preset', [p for p in PRESETS if not by_place(p)])
def test_the_order_of_groups_changes_nothing(preset):
  close(after(preset, each_part(shuffled, learner(preset).experience)), plain(preset))


@pytest.mark.slow
@pytest.mark.parametrize('preset', [p for p in PRESETS if not by_width(p)])
def test_padding_changes_nothing(preset):
  wide = each_part(lambda e: widened(e, 2, 3), learner(preset).experience)
  close(after(preset, wide), plain(preset))


@pytest.mark.slow
@every
def test_several_updates_of_an_iteration_stay_finite(preset):
  out = after(preset, learner(preset).experience, epochs=2, minibatches=3)
  assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(out))


COUPLED = ('kl_cov', 'clip_cov', 'm2po', 'aot', 'kto', 'bco', 'top_entropy', 'clipv', 'dpo', 'mix')


@pytest.mark.parametrize('preset', COUPLED)
def test_eight_devices_learn_what_one_does(preset):
  it = Learner(preset, prompts=24)
  alone = make_learn(it.objective, it.tx)(it.state, it.experience, tiny.RNG)
  spread = lambda e: jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), e)
  learn = jax.pmap(
    make_learn(it.objective, it.tx, axis='data'), axis_name='data', in_axes=(None, 0, None)
  )
  state, metrics = learn(it.state, spread(it.experience), tiny.RNG)
  close(jax.tree.map(lambda x: x[0], (state.params, metrics)), (alone[0].params, alone[1]))


@every
def test_memory_follows_from_need(preset):
  config = probe.get_config(preset)
  config.parallel.devices = 1
  session = open_session(config)
  index = len(config.stages) - 1
  stage = make_stage(config.probe, index, session, session.tasks['probe'], None)
  models = {name: session.shapes(name) for name in session.policies}
  state = jax.eval_shape(stage.state, models[config.probe.model], 0, models)
  needs = stage.algorithm.needs
  assert ('ref' in state.frozen) == ('ref_logp' in needs)
  assert ('teacher' in state.frozen) == bool({'teacher', 'teacher_logp'} & needs)
  assert ('value_head' in state.params) == ('values' in needs)
  assert set(state.tuned) == set(stage.objective.tuned)
  if 'ref' in state.frozen:
    assert set(state.frozen['ref']) == {'decoder'}, 'a reference has no use for a value head'


def test_a_separate_critic_has_a_trunk_of_its_own_and_leaves_the_policy_alone():
  config = tiny.CONFIG
  shared, apart = (make_policy(config, {'values'}, critic) for critic in ('shared', 'separate'))
  params = apart.init(jax.random.key(0))
  assert 'critic' in params and 'critic' not in shared.init(jax.random.key(0))
  e = tiny.experience(tiny.standard('ppo'), tiny.prompts())
  noisy = jax.tree.map(lambda x: x + 0.1, params['value_head'])

  def total(params):
    return apart.score(params | {'value_head': noisy}, e, 1.0, {'values'}).values.sum()

  gradient = jax.grad(total)(params)
  size = lambda tree: max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))
  assert size(gradient['critic']) > 0 and size(gradient['decoder']) == 0
