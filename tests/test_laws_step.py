"""Laws 1 and 2: where and how a batch is cut does not change what is learned from it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from rft_jax.collecting import describe, rewarded
from rft_jax.infra.parallel import Mesh, Pmap
from rft_jax.sampling import make_rollout
from rft_jax.steps import learning_rng, make_learn, make_total

PLACES = dict(
  one=tiny.alone,
  pmap=lambda: Pmap(jax.devices()),
  mesh=lambda: Mesh(jax.devices(), fsdp=2, tensor=2),
)
ALL = ('sft', 'reinforce', 'grpo', 'ppo')


def slow(*values):
  return pytest.param(*values, marks=pytest.mark.slow)


RL = (slow('reinforce'), slow('grpo'), 'ppo')


def run(place, preset, step):
  """Two iterations: the parameters and every metric of both."""
  state, metrics = place.put_state(tiny.standard(preset).state), []
  for i in range(2):
    state, scalars = step(state, tiny.prompts(seed=i))
    metrics.append(scalars)
  return jax.device_get(place.get_state(state).params), metrics


def learner(place, preset):
  it = tiny.standard(preset)
  return make_learn(it.objective, it.tx, **tiny.UPDATES[preset], axis=place.axis)


@functools.cache
def fused(where, preset):
  place = PLACES[where]()
  step = tiny.rl_step(tiny.standard(preset).policy, learner(place, preset), place.axis)
  rl_step = place.compile(step, 'sbrr', donate=True)

  def step(state, prompts):
    state, metrics = rl_step(state, place.put_batch(prompts), tiny.options(), tiny.RNG)
    return state, place.scalars(metrics)

  return run(place, preset, step)


def split(where, preset):
  """The same with a verifier on the host."""
  place = PLACES[where]()
  rollout = make_rollout(tiny.standard(preset).policy.decoder, tiny.GROUP, tiny.NEW)
  inner, total = learner(place, preset), make_total(place.axis)

  def learn(state, experience, rewards, rng):
    experience = rewarded(experience, rewards)
    facts = describe(experience, total)
    state, learned = inner(state, experience, learning_rng(rng, state.step))
    return state, facts | learned

  sample = place.compile(lambda s, p, o, r: rollout(s.params, p, o, r, s.step), 'sbrr')
  learn = place.compile(learn, 'sbbr', donate=True)

  def step(state, prompts):
    experience = sample(state, place.put_batch(prompts), tiny.options(), tiny.RNG)
    e, answer = place.rows(experience), np.repeat(prompts.answer, tiny.GROUP)
    rewards = tiny.reward(e.tokens[:, e.prefix :], e.target[:, e.prefix :], answer, np)
    state, metrics = learn(state, experience, place.put_batch(rewards.astype(np.float32)), tiny.RNG)
    return state, place.scalars(metrics)

  return run(place, preset, step)


@functools.cache
def imitation(where):
  place, it = PLACES[where](), tiny.standard('sft')
  learn = place.compile(learner(place, 'sft'), 'sbr', donate=True)

  def step(state, prompts):
    batch = tiny.experience(it, prompts).replace(group=1, prefix=0)
    state, metrics = learn(state, place.put_batch(batch), tiny.RNG)
    return state, place.scalars(metrics)

  return run(place, 'sft', step)


@pytest.mark.parametrize('preset', RL)
def test_fused_equals_split(preset):
  assert tiny.moved(tiny.standard(preset).state.params, fused('one', preset)[0]) > 1e-3
  tiny.assert_close(fused('one', preset), split('one', preset))


@pytest.mark.parametrize('where', ['pmap', 'mesh'])
@pytest.mark.parametrize('preset', RL)
def test_one_device_equals_eight(preset, where):
  assert PLACES[where]().shards == dict(pmap=8, mesh=4)[where] and len(jax.devices()) == 8
  tiny.assert_close(fused('one', preset), fused(where, preset))


@pytest.mark.parametrize('where', ['pmap', 'mesh'])
def test_imitation_on_one_device_equals_eight(where):
  assert tiny.moved(tiny.standard('sft').state.params, imitation('one')[0]) > 1e-3
  tiny.assert_close(imitation('one'), imitation(where))


@pytest.mark.slow
def test_split_on_eight_devices_equals_fused_on_one():
  tiny.assert_close(fused('one', 'grpo'), split('pmap', 'grpo'))


@functools.cache
def batch(preset):
  return tiny.experience(tiny.standard(preset), tiny.prompts())


def after(preset, experience, microbatches=1):
  """Parameters after one update with everything in it."""
  it = tiny.standard(preset)
  learn = jax.jit(make_learn(it.objective, it.tx, microbatches=microbatches))
  state, metrics = learn(it.state, experience, tiny.RNG)
  assert tiny.moved(it.state.params, state.params) > 1e-3
  return jax.device_get((state.params, metrics))


@functools.cache
def plain(preset):
  return after(preset, batch(preset))


def widened(e, left, right):
  """More columns of padding, filled with arbitrary ids."""

  def pad(x, fill=0):
    if x.ndim == 1:
      return x
    return np.pad(x, ((0, 0), (left, right)), constant_values=fill)

  wide = jax.tree.map(pad, e)
  return wide.replace(tokens=pad(e.tokens, 5), prefix=e.prefix + left)


@pytest.mark.parametrize(
  'preset,count', [('sft', 4), slow('reinforce', 4), ('grpo', 4), ('ppo', 4), slow('ppo', 2)]
)
def test_microbatches_do_not_matter(preset, count):
  tiny.assert_close(plain(preset), after(preset, batch(preset), count))


@pytest.mark.parametrize('preset', ['sft', slow('reinforce'), 'grpo', 'ppo'])
def test_padding_does_not_matter(preset):
  tiny.assert_close(plain(preset), after(preset, widened(batch(preset), left=3, right=2)))


@pytest.mark.parametrize('preset', ALL)
def test_order_of_groups_does_not_matter(preset):
  e, order = batch(preset), np.random.default_rng(0).permutation(16)
  rows = (order[:, None] * e.group + np.arange(e.group)).reshape(-1)
  tiny.assert_close(plain(preset), after(preset, jax.tree.map(lambda x: x[rows], e)))


@pytest.mark.parametrize('preset', [slow('grpo'), 'ppo'])
def test_sharing_the_prompt_does_not_matter(preset):
  it, e, total = tiny.standard(preset), batch(preset), make_total(None)
  prepared = it.objective.prepare(it.state, e, total)
  shared = it.objective.weigh(it.state, prepared, total)
  single = shared.replace(experience=shared.experience.replace(group=1, prefix=0))
  gradient = jax.jit(jax.value_and_grad(it.objective.loss, has_aux=True))
  tiny.assert_close(*(gradient(it.state.params, it.state, b, tiny.RNG) for b in (shared, single)))
  assert shared.experience.prefix > 0 and shared.experience.group > 1


def test_other_rows_do_not_matter():
  it, e = tiny.standard('ppo'), batch('ppo')
  score = jax.jit(lambda params, e: it.policy.score(params, e, 1.0, {'values', 'entropy'}))
  together = score(it.state.params, e)
  row = jax.tree.map(lambda x: x[5:6], e).replace(group=1, prefix=0)
  own = score(it.state.params, row)
  assert row.target.any()
  for one, among_others in zip(own, together, strict=True):
    if one is None:
      continue
    one, among_others = (jnp.where(row.target, x, 0) for x in (one, among_others[5:6]))
    tiny.assert_close(one, among_others)
