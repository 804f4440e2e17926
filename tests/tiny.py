"""What the tests of the laws share: a decoder of a few thousand parameters and its batches.

The stop id is the padding id and may occur anywhere in a prompt. Initial weights are large, so
that no law holds only because the model ignores its input; the reference and the value head
differ from what training starts with.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rft_jax.algorithms.algorithm import Algorithm, resolve
from rft_jax.collecting import in_graph, make_collect, rewarded
from rft_jax.infra.parallel import Mesh
from rft_jax.models.config import ModelConfig
from rft_jax.models.policy import Policy, make_policy
from rft_jax.objectives import make_objective
from rft_jax.sampling import make_rollout, sampling
from rft_jax.steps import make_rl_step, make_total
from rft_jax.types import Objective, Prompts, TrainState

VOCAB, STOP, NEVER, GROUP, NEW = 16, 0, 99, 4, 5
CONFIG = ModelConfig(VOCAB, 16, 32, 2, 2, 1, 8, initializer_range=0.3)
RNG = jax.random.key(7)
OVERRIDES = dict(
  sft={},
  reinforce={},
  grpo=dict(kl='k3(coef=0.1)', entropy='bonus(coef=0.01)'),
  ppo=dict(kl='k1(coef=0.1)', value_loss='clipped(coef=0.5, clip=0.1)'),
)
UPDATES = dict(sft={}, reinforce={}, grpo={}, ppo=dict(epochs=2, minibatches=2))


class Setup(NamedTuple):
  algorithm: Algorithm
  policy: Policy
  objective: Objective
  state: TrainState
  tx: optax.GradientTransformation


def setup(
  preset: str, tx=None, config: ModelConfig = CONFIG, temperature: float = 1.0, **overrides
):
  """A preset ready to learn; its state lies on the host, so that no donation can destroy it."""
  algorithm, tx = resolve(preset, **overrides), tx or optax.sgd(0.1)
  policy = make_policy(config, algorithm.needs)
  params, other = (jitter(policy.init(jax.random.key(i)), i) for i in (0, 1))
  frozen = {'ref': {'decoder': other['decoder']}} if 'ref_logp' in algorithm.needs else {}
  objective = make_objective(policy, algorithm, temperature)
  tuned = {name: jnp.float32(x) for name, x in objective.tuned.items()}
  state = TrainState(jnp.int32(0), params, tx.init(params), frozen, tuned)
  return Setup(algorithm, policy, objective, jax.device_get(state), tx)


def jitter(params, seed: int):
  """Moves what starts at zero: the value head."""
  if 'value_head' not in params:
    return params
  noise = jax.random.normal(jax.random.key(seed), (CONFIG.hidden_size, 1)) * 0.3
  return params | {'value_head': {'params': {'kernel': noise, 'bias': jnp.full(1, 0.2)}}}


@functools.cache
def standard(preset: str) -> Setup:
  return setup(preset, **OVERRIDES[preset])


def prompts(count: int = 16, width: int = 6, seed: int = 0) -> Prompts:
  """Random tokens of random length, left-padded with ids that mean something elsewhere."""
  draw = np.random.default_rng(seed)
  length = draw.integers(1, width + 1, count)
  return Prompts(
    draw.integers(0, VOCAB, (count, width)).astype(np.int32),
    np.arange(width) >= width - length[:, None],
    np.arange(count, dtype=np.int32) + 100,
    draw.integers(0, VOCAB, count).astype(np.int32),
  )


def options(stop=(STOP, 3), **changes):
  return sampling(list(stop), **changes)


def reward(tokens, target, answer, np=jnp):
  """A number that depends on every token, on the length and on the prompt; also for numpy."""
  return np.where(target, (tokens + answer[:, None]) % 5, 0).sum(1) / 10


@functools.cache
def sampler(config: ModelConfig = CONFIG, group: int = GROUP, max_new: int = NEW, **static):
  """A compiled rollout(params, prompts, options, rng, version)."""
  return jax.jit(make_rollout(make_policy(config).decoder, group, max_new, **static))


def experience(run: Setup, batch: Prompts):
  """Samples of the batch with their rewards, on the host."""
  weights = {'decoder': run.state.params['decoder']}
  e = sampler()(weights, batch, options(), RNG, jnp.int32(0))
  answer = np.repeat(batch.answer, e.group)
  rewards = reward(e.tokens[:, e.prefix :], e.target[:, e.prefix :], answer)
  return jax.device_get(rewarded(e, rewards))


def rl_step(policy: Policy, learn, axis: str | None = None, judge=reward, group=GROUP, new=NEW):
  """rl_step(state, prompts, options, rng) with a verifier in JAX."""
  total = make_total(axis)
  rollout = make_rollout(policy.decoder, group, new)
  return make_rl_step(make_collect(rollout, in_graph(judge, total=total), total), learn)


def alone():
  """One device."""
  return Mesh(jax.devices()[:1])


def assert_close(a, b, atol: float = 1e-5):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=atol), a, b)


def moved(before, after) -> float:
  """The largest change of any parameter: a law about gradients is empty where there are none."""
  return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(np.abs(x - y).max()), before, after)))
