"""A policy as pure functions: parameters in, log-probabilities, values and scores out."""

from collections.abc import Callable, Set
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rft_jax.models.transformer import Decoder, ModelConfig
from rft_jax.types import Array, Experience, PyTree, Scores

CHUNK = 4096
"""Tokens whose logits exist at the same time."""
MEASURES = 'entropy', 'certainty', 'collision', 'drift'


class Policy(NamedTuple):
  """init(rng) -> params; score(params, experience, temperature, needs) -> Scores; judge(params,
  experience) -> f32[N], the value after each row's last token: a reward model; compare(params,
  other, other_params, experience, temperature, divergence) -> f32[N,T], divergence(own, other's
  log-probabilities f32[M,V]) -> f32[M] at each token; decoder: for `sampling`.

  params: {'decoder': ...} and, if values are needed, {'value_head': ...} on the same trunk or on
  {'critic': ...}, a decoder of its own.
  """

  init: Callable[[Array], PyTree]
  score: Callable[..., Scores]
  judge: Callable[[PyTree, Experience], Array]
  compare: Callable[..., Array]
  states: Callable[[PyTree, Experience], Array]
  logits: Callable[[PyTree, Array], Array]
  decoder: Decoder


def make_policy(
  config: ModelConfig, needs: Set[str] = frozenset(), critic: str = 'shared'
) -> Policy:
  """`needs` decides what is kept in memory: 'values' adds the value head, critic='separate' gives
  it a trunk of its own, which begins as a copy of the policy's."""
  decoder, value_head = Decoder(config), nn.Dense(1, kernel_init=nn.initializers.zeros)

  def init(rng):
    rng, head_rng = jax.random.split(rng)
    params = {'decoder': decoder.init(rng, jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool))}
    if 'values' in needs:
      params['value_head'] = value_head.init(head_rng, jnp.zeros((1, config.hidden_size)))
      if critic == 'separate':
        params['critic'] = jax.tree.map(jnp.copy, params['decoder'])
    return params

  def run(weights, e: Experience) -> Array:
    return decoder.apply(weights, e.tokens, e.valid, e.group, e.prefix)

  def states(params, experience):
    return run(params['decoder'], experience)

  def logits(params, states):
    return decoder.apply(params['decoder'], states, method='logits')

  def valued(params, states, e: Experience) -> Array:
    if 'critic' in params:
      states = run(params['critic'], e)
    out: Array = value_head.apply(params['value_head'], states)
    return jnp.pad(out[..., 0].astype(jnp.float32), ((0, 0), (e.prefix, 0)))

  def score(params, experience, temperature=1.0, needs=frozenset()):
    e, hidden = experience, states(params, experience)
    measures = tuple(name for name in MEASURES if name in needs)

    def head(hidden, tokens):
      z: Array = logits(params, hidden)
      return token_scores(z / temperature, tokens, measures)

    found = _in_chunks(head, hidden, e.tokens[:, e.prefix :])
    return Scores(
      **{name: jnp.pad(x, ((0, 0), (e.prefix, 0))) for name, x in found.items()},
      values=valued(params, hidden, e) if 'values' in needs else None,
    )

  def judge(params, experience):
    widen = lambda x: jnp.pad(x, ((0, 0), (0, 1)))
    e = experience.replace(tokens=widen(experience.tokens), valid=widen(experience.valid))
    values = valued(params, states(params, e), e)
    after = e.valid.shape[1] - jnp.argmax(e.valid[:, ::-1] > 0, 1)
    return jnp.take_along_axis(values, after[:, None], 1)[:, 0]

  def compare(params, other, other_params, experience, temperature, divergence):
    e = experience

    def head(own, others):
      pair = (logits(params, own), other.logits(other_params, others))
      return {'gap': divergence(*(jax.nn.log_softmax(x / temperature) for x in pair))}

    found = _in_chunks(head, states(params, e), other.states(other_params, e))
    return jnp.pad(found['gap'], ((0, 0), (e.prefix, 0)))

  return Policy(init, score, judge, compare, states, logits, decoder)


def token_scores(logits: Array, tokens: Array, measures: tuple[str, ...] = ()) -> dict[str, Array]:
  """logits f32[...,V], tokens i32[...] -> 'logp' f32[...] of each token, and those of MEASURES that
  are asked for (see types.Scores)."""
  log_probs = jax.nn.log_softmax(logits)
  out = {'logp': jnp.take_along_axis(log_probs, tokens[..., None], -1)[..., 0]}
  if measures:
    p = jnp.exp(log_probs)
    entropy = -jnp.where(p > 0, p * log_probs, 0).sum(-1)
    every = dict(
      entropy=lambda: entropy,
      certainty=lambda: -log_probs.mean(-1),
      collision=lambda: (p * p).sum(-1),
      drift=lambda: jnp.where(p > 0, p * p * (entropy[..., None] + log_probs), 0).sum(-1),
    )
    out |= {name: every[name]() for name in measures}
  return out


def _in_chunks(function, *inputs):
  """function of rows [M,...] -> dict of [M], for inputs [N,T,...] -> dict of [N,T]; at most CHUNK
  rows at a time, forward and backward."""
  shape = inputs[0].shape[:2]
  flat = [x.reshape(-1, *x.shape[2:]) for x in inputs]
  rows = len(flat[0])
  if rows <= CHUNK:
    out = function(*flat)
  else:
    padding = -rows % CHUNK
    cut = [jnp.pad(x, ((0, padding), *[(0, 0)] * (x.ndim - 1))) for x in flat]
    cut = [x.reshape(-1, CHUNK, *x.shape[1:]) for x in cut]
    out = jax.lax.map(lambda x: jax.checkpoint(function)(*x), cut)
  return jax.tree.map(lambda x: x.reshape(-1)[:rows].reshape(shape), out)
