"""What the sampler draws, and when it stops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy.stats import chisquare

from rft_jax.sampling import CANDIDATES, draw, make_rollout, sampling

DRAWS = 20_000
LOGITS = np.log(np.array([0.3, 0.05, 0.25, 0.1, 0.02, 0.2, 0.03, 0.05]))
KEPT = [
  ({}, range(8)),
  (dict(top_k=3), [0, 2, 5]),
  (dict(top_p=0.7), [0, 2, 5]),
  (dict(top_p=0.5), [0, 2]),
  (dict(top_k=2, top_p=0.9), [0, 2]),
  (dict(top_k=3, top_p=0.7), [0, 2]),
  (dict(top_k=1), [0]),
  (dict(temperature=0.5), range(8)),
  (dict(temperature=0.5, top_k=3), [0, 2, 5]),
  (dict(temperature=0.5, top_p=0.7), [0, 2]),
]
"""Options and the tokens that they leave: top_p counts what top_k left, at the temperature."""


def drawn(index=0, stop=(7,), **changes):
  """Many tokens from LOGITS with their log-probabilities."""
  keys = jax.random.split(jax.random.key(0), DRAWS)
  logits, options = jnp.tile(jnp.float32(LOGITS), (DRAWS, 1)), sampling(stop, **changes)
  many = jax.jit(draw, static_argnums=4)
  return jax.device_get(many(logits, options, keys, jnp.int32(index), True))


def assert_follows(expected, token, logp):
  count = np.bincount(token, minlength=8)
  assert count[expected == 0].sum() == 0
  if (expected > 0).sum() > 1:
    assert chisquare(count[expected > 0], expected[expected > 0] * DRAWS).pvalue > 1e-3
  np.testing.assert_allclose(logp, np.log(expected[token]), atol=1e-5)


@pytest.mark.parametrize('changes,kept', KEPT, ids=lambda x: str(x))
def test_samples_and_log_probs_follow_the_truncated_distribution(changes, kept):
  expected, kept = np.zeros(8), list(kept)
  expected[kept] = np.exp(LOGITS[kept] / changes.get('temperature', 1.0))
  assert_follows(expected / expected.sum(), *drawn(**changes))


def test_stop_tokens_have_no_probability_before_min_new():
  expected = np.where(np.isin(np.arange(8), [0, 7]), 0, np.exp(LOGITS))
  assert_follows(expected / expected.sum(), *drawn(index=1, stop=(0, 7), min_new=2))
  assert_follows(np.exp(LOGITS), *drawn(index=2, stop=(0, 7), min_new=2))


def test_temperature_zero_is_the_argmax():
  token, logp = drawn(temperature=0.0)
  assert (token == 0).all() and np.allclose(logp, LOGITS[0], atol=1e-5)


def test_a_row_that_wants_no_truncation_keeps_every_token_among_rows_that_do():
  rows, words = 2000, CANDIDATES + 44
  logits = jnp.tile(jnp.linspace(0, 1, words), (rows, 1))
  each = lambda *pair: jnp.tile(jnp.array(pair), rows // 2)[:, None]
  options = sampling((0,)).replace(
    temperature=each(1.0, 1.0), top_k=each(0, 0), top_p=each(0.5, 1.0)
  )
  keys = jax.random.split(jax.random.key(0), rows)
  token, logp = jax.jit(draw, static_argnums=4)(logits, options, keys, jnp.int32(0), True)
  assert token[1::2].min() < 44 and token[::2].min() > words // 4
  expected = jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], 1)[:, 0]
  np.testing.assert_array_equal(logp[1::2], expected[1::2])
  assert (logp[::2] > expected[::2] + 0.5).all()


def sampled(stop, room=6, decoder=None, **changes):
  it = tiny.standard('sft')
  sample = jax.jit(make_rollout(decoder or it.policy.decoder, tiny.GROUP, room))
  e = sample(it.state.params, tiny.prompts(), tiny.options(stop, **changes), tiny.RNG, jnp.int32(0))
  e = jax.device_get(e)
  return e, e.target.sum(1)


def test_min_new_tokens_come_before_the_stop_token():
  e, length = sampled(range(8), min_new=3)
  assert length.min() == 3 + 1 and (e.tokens[:, e.prefix : e.prefix + 3] >= 8).all()
  assert sampled(range(8))[1].min() == 1


@pytest.mark.parametrize('limit', [1, 4, 100])
def test_max_new_is_respected(limit):
  e, length = sampled([tiny.NEVER], max_new=limit)
  assert (length == min(limit, 6)).all() and not e.tokens[:, e.prefix :][:, limit:].any()


class Counted:
  """A decoder that notes each decoding step."""

  def __init__(self, decoder):
    self.decoder, self.config, self.steps = decoder, decoder.config, []

  def apply(self, *args, method):
    if method == 'decode':
      jax.debug.callback(lambda: self.steps.append(1))
    return self.decoder.apply(*args, method=method)


def test_decoding_ends_with_the_last_row():
  decoder = Counted(tiny.standard('sft').policy.decoder)
  e, length = sampled(range(12), room=300, decoder=decoder)
  jax.effects_barrier()
  assert len(decoder.steps) == length.max() < 100
  short, short_length = sampled(range(12), room=int(length.max()))
  np.testing.assert_array_equal(length, short_length)
  np.testing.assert_array_equal(e.tokens[:, : short.tokens.shape[1]], short.tokens)


@pytest.mark.parametrize(
  'wrong',
  [
    dict(temperature=-1.0),
    dict(top_k=-1),
    dict(top_p=0.0),
    dict(top_p=1.1),
    dict(min_new=-1),
    dict(max_new=0),
    dict(min_new=3, max_new=2),
  ],
)
def test_impossible_sampling_options_name_the_range(wrong):
  with pytest.raises(ValueError, match='must be'):
    sampling([0], **wrong)
