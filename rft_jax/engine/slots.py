"""What runs on the device: slots that answers are written in, each at a place of its own.

A slot's cache holds prompt and answer from column 0 on. Its noise depends on its seed and on the
place of each token only; so an answer does not depend on its slot, its neighbours, or on when it
began.
"""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from rft_jax.models.attention import KV
from rft_jax.models.lora import adapter_shapes
from rft_jax.models.policy import decode_copy
from rft_jax.models.transformer import Decoder, Memory, deep
from rft_jax.sampling import Sampling, pick, scaled
from rft_jax.types import Array, PyTree

Adapters = tuple[PyTree, PyTree]
"""The global and the personal one, as the bank gives them."""


class Wish(NamedTuple):
  """How a slot answers: length, of its prompt; end: the place that it stops at; frequency and
  presence: penalties for what it has written; top: how many of the likeliest tokens it tells. All
  i32 but seed u32, temperature, top_p and the penalties f32."""

  length: Array
  end: Array
  seed: Array
  temperature: Array
  top_p: Array
  top_k: Array
  frequency: Array
  presence: Array
  top: Array


NOTHING = Wish(
  np.int32(1),
  np.int32(1),
  np.uint32(0),
  np.float32(0),
  np.float32(1),
  np.int32(0),
  np.float32(0),
  np.float32(0),
  np.int32(0),
)
"""The shortest wish there is, to compile for."""
BIASES = 300  # of one slot
LIKELIEST = 20  # that a token may be told with


class Biases(NamedTuple):
  """Added to the logits of a slot: tokens i32[BIASES], beyond the vocabulary where there are no
  more, and values f32[BIASES]."""

  tokens: Array
  values: Array


def biases(given: Mapping[int, float]) -> Biases:
  tokens, values = np.full(BIASES, 2**31 - 1, np.int32), np.zeros(BIASES, np.float32)
  tokens[: len(given)], values[: len(given)] = list(given), list(given.values())
  return Biases(tokens, values)


class Slots(struct.PyTreeNode):
  """cache: see `Decoder.empty_cache`, without groups; adapters: for each entry of it, each slot's
  own, matrix -> module -> a [S,1,D,2r], b [S,1,2r,...]; state [S,D]: predicts the next token; index
  i32[S]: how many tokens are in the cache; wish: of every slot, [S]; bias f32[S,V]: of the logits;
  said f32[S,V]: how often each token has been written."""

  cache: tuple[KV, ...]
  adapters: tuple[PyTree, ...]
  state: Array
  index: Array
  wish: Wish
  bias: Array
  said: Array


class Written(NamedTuple):
  """tokens i32[S,K] and logps f32[S,K], of which count i32[S] are there; top i32[S,K,T] and
  top_logps f32[S,K,T]: the likeliest at each place, where a slot asks for them."""

  tokens: Array
  logps: Array
  count: Array
  top: Array
  top_logps: Array


class Device:
  """The programs over `slots` slots of `context` tokens each; `chunk` tokens are written at once.

  Weights are arguments, cut by layer once. `home`: where all else lies. For one thread only.
  """

  def __init__(
    self, decoder: Decoder, params: PyTree, stop: Sequence[int], size: tuple[int, int], chunk: int
  ):
    self.decoder, self.stop, self.chunk = decoder, np.array(stop, np.int32), chunk
    self.apply: Any = decoder.apply
    self.count, self.context = size
    self.likeliest = min(LIKELIEST, decoder.config.vocab_size)
    self.axis = int(deep(decoder.config))  # That counts the slots.
    self.weights = jax.tree.map(jnp.asarray, decode_copy(decoder.config, params['decoder']))
    self.memory = self.apply(self.weights, None, method='memory')
    weight: Any = jax.tree.leaves(self.weights)[0]
    self.home = _home(weight.sharding)
    self.buckets = buckets(self.context)
    compiled = functools.partial(jax.jit, out_shardings=self.home)
    self._empty = compiled(self._emptied)
    self._prefill = compiled(self._prefilled, donate_argnums=2)
    self._decode = compiled(self._decoded, donate_argnums=2)
    self.slots = self._empty()

  def clear(self) -> None:
    """Slots as at the beginning."""
    self.slots = self._empty()

  def lost(self) -> bool:
    """Whether a program that failed has taken the slots with it."""
    return any(x.is_deleted() for x in jax.tree.leaves(self.slots))

  def prefill(
    self,
    slot: int,
    ids: Sequence[int],
    wish: Wish,
    adapters: Adapters,
    bias: Mapping[int, float] = MappingProxyType({}),
  ) -> None:
    """Reads a prompt into a slot, which keeps a copy of the adapters. bias: of at most BIASES
    tokens."""
    width = next(size for size in self.buckets if size >= len(ids))
    tokens = np.zeros((1, width), np.int32)
    tokens[0, : len(ids)] = ids
    args = self.weights, self.memory, self.slots, tokens, np.int32(slot), wish, adapters
    self.slots = self._prefill(*args, biases(bias))

  def decode(self, active: np.ndarray) -> Written:
    """The next tokens of the slots that are active bool[S], on the host."""
    self.slots, written = self._decode(self.weights, self.memory, self.slots, active)
    return jax.device_get(written)

  def _emptied(self) -> Slots:
    config, n = self.decoder.config, self.count
    zeros = lambda shape: jnp.zeros((shape[0], *shape[2:]), config.dtype)
    shapes = adapter_shapes(config)
    one = {'layers': jax.tree.map(zeros, shapes, is_leaf=lambda x: isinstance(x, tuple))}
    repeat = lambda x: jnp.repeat(x, n, self.axis)
    return Slots(
      self.apply(self.weights, n, 1, self.context, method='empty_cache'),
      jax.tree.map(repeat, self._pair((one, one))),
      jnp.zeros((n, config.hidden_size), config.dtype),
      jnp.zeros(n, jnp.int32),
      jax.tree.map(lambda x: jnp.zeros(n, x.dtype), NOTHING),
      jnp.zeros((n, config.vocab_size)),
      jnp.zeros((n, config.vocab_size)),
    )

  def _prefilled(self, weights, memory, slots: Slots, tokens, slot, wish, adapters, bias) -> Slots:
    valid = jnp.arange(tokens.shape[1])[None] < wish.length
    own = self._pair(adapters)
    shared = jax.tree.map(lambda x: x.squeeze(self.axis), own)
    states, found = self.apply(
      weights, tokens, valid, _joined(memory, shared), jnp.ones((1, 1)), method='read'
    )
    write = functools.partial(_write, slot=slot, axis=self.axis)
    put = lambda all, new: all.at[slot].set(new)
    return Slots(
      jax.tree.map(write, slots.cache, _as_cache(found)),
      jax.tree.map(write, slots.adapters, own),
      put(slots.state, states[0, wish.length - 1]),
      put(slots.index, wish.length),
      jax.tree.map(put, slots.wish, wish),
      put(slots.bias, jnp.zeros_like(slots.bias[0]).at[bias.tokens].add(bias.values, mode='drop')),
      put(slots.said, 0),
    )

  def _decoded(self, weights, memory, slots: Slots, active) -> tuple[Slots, Written]:
    memory, whole = _joined(memory, slots.adapters), jnp.ones((self.count, 1))

    def body(carry):
      step, done, slots, written = carry
      logits = self.apply(weights, slots.state, method='logits')
      token, logp, top = self._drawn(logits, slots, ~done)
      written = Written(
        written.tokens.at[:, step].set(token),
        written.logps.at[:, step].set(logp),
        written.count + ~done,
        written.top.at[:, step].set(top[1]),
        written.top_logps.at[:, step].set(top[0]),
      )
      args = token[:, None], slots.index, memory, None, slots.cache, whole
      state, cache = self.apply(weights, *args, method='decode')
      index = slots.index + ~done
      said = slots.said.at[jnp.arange(self.count), token].add(~done)
      done |= (token[:, None] == self.stop).any(1) | (index >= slots.wish.end)
      slots = slots.replace(state=state, cache=cache, index=index, said=said)
      return step + 1, done, slots, written

    shape, likeliest = (self.count, self.chunk), self.likeliest
    nothing = Written(
      jnp.zeros(shape, jnp.int32),
      jnp.zeros(shape),
      jnp.zeros(self.count, jnp.int32),
      jnp.zeros((*shape, likeliest), jnp.int32),
      jnp.zeros((*shape, likeliest)),
    )
    going = lambda carry: (carry[0] < self.chunk) & ~carry[1].all()
    return jax.lax.while_loop(going, body, (jnp.int32(0), ~active, slots, nothing))[2:]

  def _pair(self, adapters: Adapters) -> tuple[PyTree, ...]:
    """Two adapters as one of twice the rank, of one slot, for each entry of the memory."""
    join = lambda path, *x: jnp.concatenate(x, -1 if path[-1].key == 'a' else 1)[:, None, None]
    layers = jax.tree.map_with_path(join, *(one['layers'] for one in adapters))
    if self.axis:
      return (layers,)
    count = self.decoder.config.num_hidden_layers
    return tuple(jax.tree.map(lambda x: x[i], layers) for i in range(count))

  def _drawn(self, logits, slots: Slots, active) -> tuple[Array, Array, tuple[Array, Array]]:
    """Token, its log-probability, and those of the likeliest tokens with these. Slots that are not
    active want no truncation and no others, which all would wait for."""
    wish, column = slots.wish, lambda x: x[:, None]
    keys = jax.vmap(lambda seed, i: jax.random.fold_in(jax.random.key(seed), i))(
      wish.seed, slots.index
    )
    options = Sampling(
      column(wish.temperature),
      column(jnp.where(active, wish.top_k, 0)),
      column(jnp.where(active, wish.top_p, 1)),
      jnp.int32(0),
      jnp.int32(0),
      self.stop,
    )
    penalty = column(wish.frequency) * slots.said + column(wish.presence) * (slots.said > 0)
    logits = scaled(logits + slots.bias - penalty, options, jnp.int32(0), truncate=True)
    likeliest = lambda: jax.lax.top_k(jax.nn.log_softmax(logits), self.likeliest)
    none = jnp.zeros((self.count, self.likeliest))
    wanted = ((wish.top > 0) & active).any()
    top = jax.lax.cond(wanted, likeliest, lambda: [none, none.astype(jnp.int32)])
    return *pick(logits, options, keys), tuple(top)


def buckets(context: int) -> list[int]:
  """The lengths that prompts are read at: powers of two from 32 on, and the whole context."""
  return [*(size for size in (2**i for i in range(5, 31)) if size < context), context]


def _joined(memory: tuple[Memory, ...], adapters: tuple[PyTree, ...]) -> tuple[Memory, ...]:
  return tuple(
    Memory({**layer.weights, 'adapters': own}, None)
    for layer, own in zip(memory, adapters, strict=True)
  )


def _as_cache(found: tuple[KV, ...]) -> tuple[KV, ...]:
  """[...,B,K,T,C] -> keys [...,B,K,1,C,T] and values [...,B,K,1,T,C]."""
  widen = lambda x: jnp.expand_dims(x, -3)
  return tuple(KV(widen(kv.k.swapaxes(-1, -2)), widen(kv.v)) for kv in found)


def _write(cache: Array, new: Array, slot: Array, axis: int) -> Array:
  """The first columns of one slot, which is counted by `axis`."""
  start = [jnp.int32(0)] * cache.ndim
  start[axis] = slot
  return jax.lax.dynamic_update_slice(cache, new, start)


def _home(sharding):
  """A copy on each device that the weights are spread over."""
  if isinstance(sharding, jax.sharding.NamedSharding):
    return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
  return sharding
