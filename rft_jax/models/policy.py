"""A policy as pure functions: parameters in, log-probabilities and values out."""

from collections.abc import Callable, Set
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rft_jax.models.transformer import Decoder, ModelConfig
from rft_jax.types import Array, PyTree

CHUNK = 4096
"""Tokens whose logits exist at the same time."""


class Scores(NamedTuple):
  """f32[N,T] each, zero on the shared prefix; None where not asked for."""

  logp: Array
  values: Array | None
  entropy: Array | None


class Policy(NamedTuple):
  """init(rng) -> params; score(params, experience, temperature, needs) -> Scores; decoder: for
  `sampling`.

  params: {'decoder': ...} and, if values are needed, {'value_head': ...} on the same trunk.
  """

  init: Callable[[Array], PyTree]
  score: Callable[..., Scores]
  decoder: Decoder


def make_policy(config: ModelConfig, needs: Set[str] = frozenset()) -> Policy:
  """`needs` decides what is kept in memory: 'values' adds the value head."""
  decoder, value_head = Decoder(config), nn.Dense(1, kernel_init=nn.initializers.zeros)

  def init(rng):
    rng, head_rng = jax.random.split(rng)
    params = {'decoder': decoder.init(rng, jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool))}
    if 'values' in needs:
      params['value_head'] = value_head.init(head_rng, jnp.zeros((1, config.hidden_size)))
    return params

  def score(params, experience, temperature=1.0, needs=frozenset()):
    e = experience
    states: Array = decoder.apply(params['decoder'], e.tokens, e.valid, e.group, e.prefix)

    def pad(x):
      return jnp.pad(x, ((0, 0), (e.prefix, 0)))

    def head(states, tokens):
      logits: Array = decoder.apply(params['decoder'], states, method='logits')
      return token_logp(logits / temperature, tokens, 'entropy' in needs)

    logp, entropy = _in_chunks(
      head, states.reshape(-1, states.shape[-1]), e.tokens[:, e.prefix :].reshape(-1)
    )
    shape = states.shape[:2]
    values = None
    if 'values' in needs:
      out: Array = value_head.apply(params['value_head'], states)
      values = pad(out[..., 0].astype(jnp.float32))
    return Scores(
      pad(logp.reshape(shape)), values, None if entropy is None else pad(entropy.reshape(shape))
    )

  return Policy(init, score, decoder)


def token_logp(logits: Array, tokens: Array, entropy: bool = False) -> tuple[Array, Array | None]:
  """logits f32[...,V], tokens i32[...] -> log-probability of each token and, if asked, the entropy
  in nats."""
  log_probs = jax.nn.log_softmax(logits)
  logp = jnp.take_along_axis(log_probs, tokens[..., None], -1)[..., 0]
  return logp, -(jnp.exp(log_probs) * log_probs).sum(-1) if entropy else None


def _in_chunks(function, states, tokens):
  """function on [M,D], [M], at most CHUNK rows at a time, forward and backward."""
  rows = len(tokens)
  if rows <= CHUNK:
    return function(states, tokens)
  padded = -(-rows // CHUNK) * CHUNK
  states = jnp.pad(states, ((0, padded - rows), (0, 0))).reshape(-1, CHUNK, states.shape[-1])
  tokens = jnp.pad(tokens, (0, padded - rows)).reshape(-1, CHUNK)
  out = jax.lax.map(lambda x: jax.checkpoint(function)(*x), (states, tokens))
  return jax.tree.map(lambda x: x.reshape(-1)[:rows], out)
