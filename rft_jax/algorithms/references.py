"""What becomes of the reference model after each iteration: (ref, params, step) -> ref, pytrees of
like structure; step i32[] counts from 1."""

import jax
import jax.numpy as jnp

from rft_jax.registry import ConfigError, Registry
from rft_jax.types import Array, PyTree

REFERENCES = Registry('reference')


@REFERENCES.register()
def constant(ref: PyTree, params: PyTree, step: Array) -> PyTree:
  """The policy that the stage began with."""
  return ref


@REFERENCES.register()
def refresh(
  ref: PyTree, params: PyTree, step: Array, *, every: int = 512, mix: float = 0.6
) -> PyTree:
  """Every so many iterations mix x policy + (1 - mix) x reference. Source: arXiv:2404.09656
  (TR-DPO). mix=1 takes the policy itself, such as SPIN's opponent."""
  if every < 1 or not 0 < mix <= 1:
    raise ConfigError(f'reference: every={every} must be 1 or more and mix={mix} in (0, 1]')
  share = jnp.where(step % every == 0, mix, 0.0)
  return jax.tree.map(lambda r, p: (r + share * (p - r)).astype(r.dtype), ref, params)


@REFERENCES.register()
def ema(ref: PyTree, params: PyTree, step: Array, *, decay: float = 0.99) -> PyTree:
  """decay x reference + (1 - decay) x policy, after each iteration. Source: arXiv:1703.01780."""
  return refresh(ref, params, step, every=1, mix=1 - decay)
