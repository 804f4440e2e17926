"""Laws 3, 4, 5 and 8: the sampler agrees with the trainer and with itself, and never recompiles."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from rft_jax.infra.parallel import Mesh, Pmap
from rft_jax.models import transformer
from rft_jax.sampling import make_rollout
from rft_jax.steps import make_learn

DEEP = dataclasses.replace(tiny.CONFIG, num_hidden_layers=3, num_attention_heads=4)


def weights(config=tiny.CONFIG):
  decoder = tiny.setup('sft', config=config).state.params['decoder']
  return jax.tree.map(jnp.asarray, {'decoder': decoder})


def rollout(
  prompts=None,
  config=tiny.CONFIG,
  rng=tiny.RNG,
  stop=(tiny.STOP, 3),
  max_new=tiny.NEW,
  chunk=256,
  **changes,
):
  sample = tiny.sampler(config, max_new=max_new, chunk=chunk)
  prompts = prompts or tiny.prompts()
  return sample(weights(config), prompts, tiny.options(stop, **changes), rng, jnp.int32(0))


def assert_trainer_agrees(e, config, temperature):
  policy = tiny.setup('sft', config=config).policy
  params = weights(config)
  for shared in (e, e.replace(group=1, prefix=0)):
    logp = jax.jit(policy.score, static_argnums=2)(params, shared, temperature).logp
    tiny.assert_close(jnp.where(e.target, logp, 0), e.behaviour_logp)
  assert (e.behaviour_logp[e.target] < -1e-3).mean() > 0.9


@pytest.mark.parametrize('temperature', [1.0, 0.7])
def test_sampler_and_trainer_give_the_same_log_probs(temperature):
  assert_trainer_agrees(rollout(temperature=temperature), tiny.CONFIG, temperature)


def test_a_growing_cache_does_not_matter():
  small, whole = (rollout(stop=[tiny.NEVER], max_new=21, chunk=chunk) for chunk in (4, 256))
  np.testing.assert_array_equal(small.tokens, whole.tokens)
  assert small.target.sum(1).min() == 21
  assert_trainer_agrees(small, tiny.CONFIG, 1.0)


def test_scanned_layers_decode_like_unrolled_ones(monkeypatch):
  looped = rollout(config=DEEP)
  monkeypatch.setattr(transformer, 'UNROLL', 2)
  decoder = tiny.setup('sft', config=DEEP).policy.decoder
  assert len(decoder.apply(weights(DEEP)['decoder'], 1, 1, 1, method='empty_cache')) == 1
  sample = jax.jit(make_rollout(decoder, tiny.GROUP, tiny.NEW))
  scanned = sample(weights(DEEP), tiny.prompts(), tiny.options(), tiny.RNG, jnp.int32(0))
  tiny.assert_close(looped, scanned)
  assert_trainer_agrees(scanned, DEEP, 1.0)


def test_greedy_decoding_is_the_argmax_of_the_full_forward():
  e, decoder = rollout(temperature=0.0), tiny.setup('sft').policy.decoder
  states = decoder.apply(weights()['decoder'], e.tokens, e.valid)
  best = decoder.apply(weights()['decoder'], states, method='logits').argmax(-1)
  np.testing.assert_array_equal(jnp.where(e.target, best, 0), jnp.where(e.target, e.tokens, 0))
  assert e.target.sum() > len(e.tokens)


def relabelled(prompts):
  return prompts.replace(tokens=np.where(prompts.valid, prompts.tokens, 9).astype(np.int32))


def test_ids_under_padding_do_not_matter():
  plain, changed = (rollout(p) for p in (tiny.prompts(), relabelled(tiny.prompts())))
  for name in ('valid', 'target', 'behaviour_logp'):
    tiny.assert_close(getattr(plain, name), getattr(changed, name))
  np.testing.assert_array_equal(plain.tokens[:, plain.prefix :], changed.tokens[:, plain.prefix :])
  it = tiny.standard('ppo')
  learn = jax.jit(make_learn(it.objective, it.tx))
  e = tiny.experience(it, tiny.prompts())
  other = e.replace(tokens=np.where(e.valid, e.tokens, 9).astype(np.int32))
  tiny.assert_close(*(learn(it.state, x, tiny.RNG) for x in (e, other)))
  assert (e.tokens != other.tokens)[:, e.prefix :].any()


def ended(e):
  """bool[N,T]: the last token of each row that stopped by itself."""
  last = e.target & (np.cumsum(e.target[:, ::-1], 1)[:, ::-1] == 1)
  return last & np.isin(e.tokens, [tiny.STOP, 3])


def test_the_stop_token_is_a_target_with_a_log_prob_even_if_it_is_the_padding_id():
  e = jax.device_get(rollout())
  end = ended(e)
  assert (end & (e.tokens == tiny.STOP)).any() and (e.behaviour_logp[end] < 0).all()
  inner = e.target & ~end
  full = e.target.sum(1) == tiny.NEW
  assert not np.isin(e.tokens[inner], [tiny.STOP, 3]).any() and (end.any(1) | full).all()
  np.testing.assert_array_equal(e.valid[:, : e.prefix], np.repeat(tiny.prompts().valid, e.group, 0))


def test_the_stop_decision_gets_gradient():
  it, e = tiny.setup('sft', tx=optax.sgd(0.02)), jax.device_get(rollout())
  only = e.replace(target=ended(e) & (e.tokens == tiny.STOP), group=1, prefix=0)
  score, learn = jax.jit(it.policy.score), jax.jit(make_learn(it.objective, it.tx))
  before, after = (
    score(p, only).logp[only.target].mean()
    for p in (it.state.params, learn(it.state, only, tiny.RNG)[0].params)
  )
  assert after > before + 1e-3


def test_who_shares_the_batch_does_not_change_a_sample():
  prompts, order = tiny.prompts(), np.random.default_rng(0).permutation(16)
  full = jax.device_get(rollout(prompts)).tokens.reshape(16, tiny.GROUP, -1)
  permuted = rollout(jax.tree.map(lambda x: x[order], prompts)).tokens
  np.testing.assert_array_equal(full[order], permuted.reshape(full.shape))
  single = rollout(jax.tree.map(lambda x: x[5:6], prompts)).tokens
  np.testing.assert_array_equal(full[5], single)
  assert (full[:, 0] != full[:, 1]).any()
  assert (rollout(prompts, rng=jax.random.key(8)).tokens.reshape(full.shape) != full).any()


@pytest.mark.parametrize('place', [Pmap, lambda d: Mesh(d, fsdp=2, tensor=2)])
def test_devices_do_not_change_a_sample(place):
  place, decoder = place(jax.devices()), tiny.setup('sft').policy.decoder
  sample = place.compile(make_rollout(decoder, tiny.GROUP, tiny.NEW), 'sbrrr')
  state, prompts = place.put_state(weights()), place.put_batch(tiny.prompts())
  out = sample(state, prompts, tiny.options(), tiny.RNG, jnp.int32(0))
  np.testing.assert_array_equal(rollout().tokens, place.rows(out).tokens)


@contextlib.contextmanager
def compilations():
  """Counts what XLA is asked to compile."""
  seen = []

  def listen(event, duration, **kwargs):
    if event == '/jax/core/compile/backend_compile_duration':
      seen.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  yield seen
  jax.monitoring.unregister_event_duration_listener(listen)


REQUESTS = [
  dict(temperature=0.5),
  dict(temperature=0.0),
  dict(top_k=3, top_p=0.5),
  dict(min_new=2),
  dict(max_new=3),
  dict(stop=(1, 2)),
]


def test_nothing_compiles_once_sampling_is_warm():
  sample = jax.jit(make_rollout(tiny.setup('sft').policy.decoder, 1, 3, truncate=True))
  calls = [
    (jax.device_get(tiny.options(**r)), tiny.prompts(seed=i), jax.random.key(i))
    for i, r in enumerate([{}, *REQUESTS])
  ]
  params = weights()
  with compilations() as seen:
    first = sample(params, calls[0][1], calls[0][0], calls[0][2], np.int32(0))
    assert len(seen) == 1
    rest = [sample(params, p, o, k, np.int32(1)) for o, p, k in calls[1:]]
    assert len(seen) == 1
  assert all((first.tokens != e.tokens).any() for e in rest)


def test_nothing_compiles_once_the_rl_step_is_warm():
  it, place = tiny.standard('grpo'), tiny.alone()
  learn = make_learn(it.objective, it.tx)
  step = place.compile(tiny.rl_step(it.policy, learn), 'sbrr', donate=True)
  calls = [
    (tiny.options(**r), tiny.prompts(seed=i), jax.random.key(i))
    for i, r in enumerate([{}, *REQUESTS])
  ]
  state = place.put_state(it.state)
  with compilations() as seen:
    for options, prompts, rng in calls:
      state, _ = step(state, place.put_batch(prompts), options, rng)
      assert len(seen) == 1
