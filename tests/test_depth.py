"""The program of a step does not grow with the depth of the model."""

import dataclasses

import jax
import jax.numpy as jnp
import tiny

from rft_jax.models.policy import make_policy
from rft_jax.sampling import make_rollout, sampling
from rft_jax.types import Prompts


def size(depth: int) -> int:
  """Lines of the program that samples and differentiates, for `depth` layers."""
  policy = make_policy(dataclasses.replace(tiny.CONFIG, num_hidden_layers=depth))
  rollout = make_rollout(policy.decoder, 2, 4)
  params = jax.eval_shape(policy.init, jax.random.key(0))
  prompts = Prompts(jnp.zeros((2, 3), jnp.int32), jnp.ones((2, 3), bool), jnp.arange(2))

  def step(params):
    out = rollout(params, prompts, sampling([1]), jax.random.key(0), jnp.int32(0))
    return jax.grad(lambda p: policy.score(p, out).logp.sum())(params)

  return len(jax.jit(step).lower(params).as_text().splitlines())


def test_the_program_does_not_grow_with_depth():
  assert size(24) <= 1.3 * size(4)
  assert size(48) == size(24)
