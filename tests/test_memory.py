"""Logits of a large vocabulary never exist for all tokens at once, forward or backward."""

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.models import policy as module
from rft_jax.models.config import ModelConfig
from rft_jax.models.policy import make_policy
from rft_jax.types import Experience
from tests.tiny import CONFIG, RNG


def shapes_of(n: int, t: int) -> Experience:
  make = lambda dtype: jax.ShapeDtypeStruct((n, t), dtype)
  f, i, b = make(jnp.float32), make(jnp.int32), make(jnp.bool_)
  return Experience(i, b, b, f, f, i)


def temporaries(n: int, t: int, vocabulary: int) -> int:
  """Bytes that the gradient of all log-probabilities and entropies needs besides its arguments."""
  policy = make_policy(ModelConfig(vocabulary, 16, 16, 1, 1, 1, 16))
  params = jax.eval_shape(policy.init, RNG)

  def loss(params, e):
    scores = policy.score(params, e, needs={'entropy'})
    return scores.logp.sum() + scores.entropy.sum()

  compiled = jax.jit(jax.grad(loss)).lower(params, shapes_of(n, t)).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def test_chunks_of_logits_save_five_sixths_of_the_memory(monkeypatch):
  chunked = temporaries(32, 1024, 151_936)
  monkeypatch.setattr(module, 'LOGITS', 2**40)
  assert temporaries(32, 1024, 151_936) >= 6 * chunked


def test_chunks_change_neither_values_nor_gradients(monkeypatch):
  policy, draw = make_policy(CONFIG), np.random.default_rng(0)
  params = policy.init(RNG)
  target = draw.random((4, 9)) < 0.4
  target[:, 3:6] = False  # a chunk that is skipped
  tokens = draw.integers(0, CONFIG.vocab_size, (4, 9))
  zeros = np.zeros((4, 9), np.float32)
  e = Experience(tokens, np.ones((4, 9), bool), target, zeros, zeros, tokens)

  def loss(params):
    scores = policy.score(params, e, needs={'entropy'})
    return jnp.where(target, scores.logp + scores.entropy, 0).sum()

  whole = jax.value_and_grad(loss)(params)
  monkeypatch.setattr(module, 'LOGITS', 3 * 4 * CONFIG.vocab_size)
  cut = jax.value_and_grad(loss)(params)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, cut)
