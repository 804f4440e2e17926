"""Logits of a large vocabulary never exist for all tokens at once, forward or backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rft_jax.infra.memory import OutOfMemory, footprint, measured
from rft_jax.models import policy as module
from rft_jax.models.config import ModelConfig
from rft_jax.models.policy import make_policy
from rft_jax.modes import stage
from rft_jax.types import Experience
from tests import training
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


def test_a_program_is_seen_once_for_each_shape_before_it_runs():
  seen = []
  double = measured(jax.jit(lambda x: 2 * x), seen.append)
  assert double(np.ones(3, np.float32)).sum() == 6
  double(np.zeros(3, np.float32))
  assert len(seen) == 1
  double(np.ones(4, np.float32))
  assert len(seen) == 2


def test_what_takes_the_place_of_an_argument_counts_once():
  x = jax.ShapeDtypeStruct((2**18,), jnp.float32)
  add = lambda x: x + 1
  kept, given = (jax.jit(add, donate_argnums=n).lower(x).compile() for n in ((), (0,)))
  assert footprint(kept).total - footprint(given).total == x.size * 4


@pytest.mark.parametrize('preset', ['sft', 'grpo'])
def test_a_step_that_does_not_fit_is_refused_before_it_runs(preset, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(stage, 'room', lambda devices: 1000)
  config = training.tiny(only=dict(preset=preset))
  with pytest.raises(OutOfMemory, match=r'which has 0.0 MiB: try only.microbatches=2, or'):
    training.run(config, tmp_path)
  assert not list(tmp_path.glob('checkpoints/*'))


def test_the_memory_of_a_step_is_said_before_it(tmp_path, capsys):
  training.run(training.tiny(only=dict(preset='grpo', steps=1)), tmp_path)
  told = capsys.readouterr().err.splitlines()
  assert told[0].startswith('only: a step takes ') and 'MiB' in told[0]


def test_memory_that_runs_out_on_the_way_names_the_way_out(tmp_path, monkeypatch):
  def full(*_):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes')

  monkeypatch.setattr(stage.Fused, 'advance', full)
  with pytest.raises(OutOfMemory, match=r'allocating 9 bytes.*model.lora.rank=16'):
    training.run(training.tiny(only=dict(preset='grpo')), tmp_path)
