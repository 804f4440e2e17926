"""A policy as pure functions: parameters in, log-probabilities, values and scores out."""

from collections.abc import Callable, Set
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rft_jax.models.config import ModelConfig
from rft_jax.models.lora import init_adapters
from rft_jax.models.transformer import Decoder
from rft_jax.registry import ConfigError
from rft_jax.types import Array, Experience, PyTree, Scores

LOGITS = 2**27
"""So many logits exist at the same time: half a GiB in float32."""
MEASURES = 'entropy', 'certainty', 'collision', 'drift'


class Policy(NamedTuple):
  """init(rng) -> params; score(params, experience, temperature, needs, rng) -> Scores;
  judge(params, experience) -> f32[N], the value after each row's last token: a reward model;
  compare(params, other, other_params, experience, temperature, divergence) -> f32[N,T],
  divergence(own, other's log-probabilities f32[M,V]) -> f32[M] at each token; decoder: for
  `sampling`. rng: of the dropout.

  params: {'decoder': ...}; with low-rank adapters 'adapters'; and, if values are needed,
  {'value_head': ...} on the same trunk or on {'critic': ...}, a decoder of its own.
  split(params) -> (what is trained, what is not).
  """

  init: Callable[[Array], PyTree]
  score: Callable[..., Scores]
  judge: Callable[[PyTree, Experience], Array]
  compare: Callable[..., Array]
  states: Callable[..., Array]
  logits: Callable[[PyTree, Array], Array]
  decoder: Decoder
  split: Callable[[PyTree], tuple[PyTree, PyTree]] = lambda params: (params, {})


def make_policy(
  config: ModelConfig, needs: Set[str] = frozenset(), critic: str = 'shared', shards: int = 1
) -> Policy:
  """`needs` decides what is kept in memory: 'values' adds the value head, critic='separate' gives
  it a trunk of its own, which begins as a copy of the policy's. shards: devices that the rows of
  one program are spread over, each with LOGITS of its own."""
  decoder, value_head = Decoder(config), nn.Dense(1, kernel_init=nn.initializers.zeros)
  if config.lora and critic == 'separate' and 'values' in needs:
    raise ConfigError("critic='separate' trains a whole decoder: with model.lora use 'shared'")

  def init(rng):
    rng, head_rng = jax.random.split(rng)
    params = {'decoder': decoder.init(rng, jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool))}
    if config.lora:
      params['adapters'] = init_adapters(config, jax.random.fold_in(rng, 1))
    if 'values' in needs:
      params['value_head'] = value_head.init(head_rng, jnp.zeros((1, config.hidden_size)))
      if critic == 'separate':
        params['critic'] = jax.tree.map(jnp.copy, params['decoder'])
    return params

  def split(params):
    base = {'decoder': params['decoder']} if config.lora else {}
    return {k: v for k, v in params.items() if k not in base}, base

  def run(weights, e: Experience, rng=None) -> Array:
    rngs = {} if rng is None else {'dropout': rng}
    use = e.facts.get('adapters')
    use = use if use is None else use[:: e.group]
    return decoder.apply(weights, e.tokens, e.valid, e.group, e.prefix, use, rngs=rngs)

  def states(params, experience, rng=None):
    return run(variables(params), experience, rng)

  def logits(params, states):
    return decoder.apply(variables(params), states, method='logits')

  def valued(params, states, e: Experience) -> Array:
    if 'critic' in params:
      states = run(params['critic'], e)
    out: Array = value_head.apply(params['value_head'], states.astype(jnp.float32))
    return jnp.pad(out[..., 0], ((0, 0), (e.prefix, 0)))

  def by_columns(function, e: Experience, *inputs):
    wanted = e.target[:, e.prefix :]
    found = in_chunks(function, wanted, shards * LOGITS // config.vocab_size, *inputs)
    return {name: jnp.pad(x, ((0, 0), (e.prefix, 0))) for name, x in found.items()}

  def score(params, experience, temperature=1.0, needs=frozenset(), rng=None):
    e, hidden = experience, states(params, experience, rng)
    measures = tuple(name for name in MEASURES if name in needs)

    def head(hidden, tokens):
      z: Array = logits(params, hidden)
      return token_scores(z / temperature, tokens, measures)

    found = by_columns(head, e, hidden, e.tokens[:, e.prefix :])
    return Scores(**found, values=valued(params, hidden, e) if 'values' in needs else None)

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

    return by_columns(head, e, states(params, e), other.states(other_params, e))['gap']

  return Policy(init, score, judge, compare, states, logits, decoder, split)


def variables(params: PyTree) -> PyTree:
  """What the decoder of a policy is applied to."""
  adapters = {'adapters': params['adapters']} if 'adapters' in params else {}
  return params['decoder'] | adapters


def decode_copy(config: ModelConfig, weights: PyTree) -> PyTree:
  """The decoder's variables in the dtype that they are used in, once for all tokens of a rollout;
  what only scales or shifts stays as it is."""
  if config.dtype == 'float32':
    return weights
  narrow = lambda path, x: x if _is_vector(path) else x.astype(config.dtype)
  return jax.lax.optimization_barrier(jax.tree.map_with_path(narrow, weights))


def _is_vector(path) -> bool:
  return any(end in str(path[-1]) for end in ('norm', 'bias', 'router'))


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


def in_chunks(function, wanted: Array, limit: int, *inputs):
  """function of rows [M,...] -> dict of [M], for inputs [N,T,...] -> dict of [N,T]; about `limit`
  rows at a time, forward and backward. Where there are several chunks, those without an entry of
  wanted bool[N,T] are skipped and zero.

  Chunks are of columns: rows may be spread over devices.
  """
  n, t = wanted.shape
  width = max(limit // n, 1)
  flat = lambda *x: function(*(y.reshape(-1, *y.shape[2:]) for y in x))
  if width >= t:
    return jax.tree.map(lambda x: x.reshape(n, t), flat(*inputs))

  def cut(x):
    x = jnp.pad(x, ((0, 0), (0, -t % width), *[(0, 0)] * (x.ndim - 2)))
    return jnp.moveaxis(x.reshape(n, -1, width, *x.shape[2:]), 1, 0)

  @jax.checkpoint  # around the cond, not within: its branches would keep a copy of the head each
  def one(inputs):
    wanted, *inputs = inputs
    shapes = jax.eval_shape(flat, *inputs)
    nothing = lambda *_: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.cond(wanted.any(), flat, nothing, *inputs)

  out = jax.lax.map(one, [cut(x) for x in (wanted, *inputs)])
  return jax.tree.map(
    lambda x: jnp.moveaxis(x.reshape(-1, n, width), 0, 1).reshape(n, -1)[:, :t], out
  )
