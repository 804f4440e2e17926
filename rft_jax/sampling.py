"""Sampling: prefill each prompt once for its group, then decode until every row has stopped.

All sampling parameters are traced arrays: changing them never recompiles.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from rft_jax.models.policy import decode_copy, token_scores, variables
from rft_jax.models.transformer import Decoder
from rft_jax.registry import ConfigError
from rft_jax.types import Array, Experience, Prompts, PyTree

CANDIDATES = 256
"""With top_k or top_p, tokens beyond the most likely CANDIDATES are never sampled; their sort would
cost more than the model."""


class Sampling(struct.PyTreeNode):
  """temperature f32[] (0 = greedy); top_k i32[] (0 = all); top_p f32[]; min_new, max_new i32[]:
  bounds on the length; stop i32[S]: a row ends with the first of these, which belongs to it; text
  i8[Q+1,V]: or with the token that completes a text, see `data.stops.stop_table`; None for none.

  `draw` also takes the first three as [N,1], of each row its own.
  """

  temperature: Array
  top_k: Array
  top_p: Array
  min_new: Array
  max_new: Array
  stop: Array
  text: Array | None = None


def sampling(
  stop,
  temperature: float = 1.0,
  top_k: int = 0,
  top_p: float = 1.0,
  min_new: int = 0,
  max_new: int = 2**30,
  text=None,
) -> Sampling:
  """Checks and converts; raises ConfigError with the allowed range."""
  rules = [
    ('temperature', temperature, temperature >= 0, '>= 0'),
    ('top_k', top_k, top_k >= 0, '>= 0'),
    ('top_p', top_p, 0 < top_p <= 1, 'in (0, 1]'),
    ('min_new', min_new, min_new >= 0, '>= 0'),
    ('max_new', max_new, max_new >= max(min_new, 1), 'at least 1 and min_new'),
  ]
  for name, value, fine, rule in rules:
    if not fine:
      raise ConfigError(f'{name}={value} must be {rule}')
  return Sampling(
    jnp.float32(temperature),
    jnp.int32(top_k),
    jnp.float32(top_p),
    jnp.int32(min_new),
    jnp.int32(max_new),
    jnp.asarray(stop, jnp.int32),
    None if text is None else jnp.asarray(text),
  )


def make_rollout(
  decoder: Decoder, group: int, max_new: int, truncate: bool = False, chunk: int = 256
) -> Callable[..., Experience]:
  """rollout(params, prompts, sampling, rng, version) -> Experience of `group` rows per prompt, P +
  max_new columns.

  truncate: whether top_k and top_p are in force. chunk: the cache doubles from this many tokens on,
  so that early tokens do not attend to the room kept for late ones.
  """

  def rollout(
    params: PyTree, prompts: Prompts, options: Sampling, rng: Array, version: Array
  ) -> Experience:
    b, rows = len(prompts.tokens), len(prompts.tokens) * group
    weights, use = decode_copy(decoder.config, variables(params)), prompts.adapters
    state, past = decoder.apply(weights, prompts.tokens, prompts.valid, use, method='prefill')
    keys = jax.vmap(lambda i, g: jax.random.fold_in(jax.random.fold_in(rng, i), g))(
      jnp.repeat(prompts.ids, group), jnp.tile(jnp.arange(group), b)
    )
    limit = jnp.minimum(options.max_new, max_new)
    memory = decoder.apply(weights, past, method='memory')

    def body(carry):
      index, state, length, stopped, read, tokens, logps, cache = carry
      logits: Array = decoder.apply(weights, state, method='logits')
      logits = _kept_open(logits, options, read, index)
      token, logp = draw(
        logits, options, jax.vmap(jax.random.fold_in, (0, None))(keys, index), index, truncate
      )
      token, logp = jnp.where(stopped, 0, token), jnp.where(stopped, 0, logp)
      length = length + ~stopped
      read, ended = _read_on(options, read, token)
      stopped |= ended
      tokens, logps = tokens.at[:, index].set(token), logps.at[:, index].set(logp)
      args = token.reshape(b, group), index, memory, prompts.valid, cache, use
      state, cache = decoder.apply(weights, *args, method='decode')
      return index + 1, state, length, stopped, read, tokens, logps, cache

    size = min(chunk, max_new)
    carry = (
      jnp.int32(0),
      jnp.repeat(state, group, 0),
      jnp.zeros(rows, jnp.int32),
      jnp.zeros(rows, bool),
      None if options.text is None else jnp.zeros(rows, jnp.int32),
      jnp.zeros((rows, max_new), jnp.int32),
      jnp.zeros((rows, max_new)),
      decoder.apply(weights, b, group, size, method='empty_cache'),
    )
    while True:
      end = jnp.minimum(size, limit)
      carry = jax.lax.while_loop(lambda c, end=end: (c[0] < end) & ~c[3].all(), body, carry)
      if size == max_new:
        break
      grown = min(2 * size, max_new)
      room = decoder.apply(weights, b, group, grown, method='empty_cache')
      cache = jax.tree.map(
        lambda new, old: jax.lax.dynamic_update_slice(new, old, [0] * old.ndim), room, carry[-1]
      )
      size, carry = grown, (*carry[:-1], cache)
    _, _, length, stopped, _, tokens, logps, _ = carry
    return _experience(prompts, group, length, stopped, tokens, logps, version)

  return rollout


def _read_on(options: Sampling, read: Array | None, token: Array) -> tuple[Array | None, Array]:
  """How far each row is in the text that would end it, and whether it ends with this token."""
  ended = (token[:, None] == options.stop).any(1)
  if options.text is None or read is None:
    return None, ended
  read = options.text[read, token].astype(jnp.int32)
  return read, ended | (read == len(options.text) - 1)


def _kept_open(logits: Array, options: Sampling, read: Array | None, index: Array) -> Array:
  """Before min_new, no token may complete a text that ends the row."""
  text = options.text
  if text is None:
    return logits
  closed = lambda: jnp.where(text[read] == len(text) - 1, -jnp.inf, logits)
  return jax.lax.cond(index < options.min_new, closed, lambda: logits)


def draw(
  logits: Array, options: Sampling, keys: Array, index: Array, truncate: bool
) -> tuple[Array, Array]:
  """logits f32[N,V] -> token i32[N] and its log-probability under the distribution that it was
  drawn from.

  keys [N]: one source of noise per row, already particular to the position `index`.
  """
  return pick(scaled(logits, options, index, truncate), options, keys)


def scaled(logits: Array, options: Sampling, index: Array, truncate: bool) -> Array:
  """The logits of the distribution that `draw` draws from."""
  vocabulary = jnp.arange(logits.shape[-1])
  early = (index < options.min_new) & (vocabulary[:, None] == options.stop).any(1)
  warm = jnp.where(options.temperature > 0, options.temperature, 1)
  found = jnp.where(early, -jnp.inf, logits) / warm
  return _truncated(found, options) if truncate else found


def pick(logits: Array, options: Sampling, keys: Array) -> tuple[Array, Array]:
  """A token of the distribution of these logits, and its log-probability."""
  noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[-1:]))(keys)
  token = (logits + jnp.where(options.temperature > 0, noise, 0)).argmax(-1)
  return token, token_scores(logits, token)['logp']


def _truncated(logits, options):
  """Keeps the top_k most likely tokens and of these the fewest whose probability reaches top_p; the
  rest become -inf. Rows that want neither stay as they are, and cost nothing among themselves."""

  def cut():
    top, where = jax.lax.top_k(logits, min(CANDIDATES, logits.shape[-1]))
    rank = jnp.arange(top.shape[-1])
    top = jnp.where((options.top_k == 0) | (rank < options.top_k), top, -jnp.inf)
    below = jnp.cumsum(jax.nn.softmax(top), -1) - jax.nn.softmax(top)
    top = jnp.where((below < options.top_p) | (rank == 0), top, -jnp.inf)
    rows = jnp.arange(len(logits))[:, None]
    kept = jnp.full_like(logits, -jnp.inf).at[rows, where].set(top)
    return jnp.where(wanted, kept, logits)

  wanted = (options.top_k > 0) | (options.top_p < 1)
  return jax.lax.cond(wanted.any(), cut, lambda: logits)


def _experience(prompts, group, length, stopped, tokens, logps, version):
  produced = jnp.arange(tokens.shape[1]) < length[:, None]

  def join(head, tail):
    return jnp.concatenate([jnp.repeat(head, group, 0), tail], 1)

  nothing = jnp.zeros(prompts.tokens.shape, jnp.float32)
  used = {} if prompts.adapters is None else dict(adapters=jnp.repeat(prompts.adapters, group, 0))
  target = join(jnp.zeros_like(prompts.valid), produced)
  return Experience(
    tokens=join(prompts.tokens, tokens),
    valid=join(prompts.valid, produced),
    target=target,
    behaviour_logp=join(nothing, logps),
    rewards=jnp.zeros(target.shape),
    version=jnp.broadcast_to(version, target.shape).astype(jnp.int32),
    facts=dict(truncated=~stopped) | used,
    group=group,
    prefix=prompts.tokens.shape[1],
  )
