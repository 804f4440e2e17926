"""One decoder-only transformer for every family of `models.families`.

Layers are stacked, `[L, ...]`, and scanned, so compile time does not depend on depth. Tokens are
flattened to `[M, D]` for every matmul and regrouped for attention only. Rows may share a prompt
(`group` and `prefix` of `types.Experience`): it is computed once per group, in sampling and in
training alike.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rft_jax.models.attention import KV, decode_span, read_span
from rft_jax.models.config import ModelConfig
from rft_jax.models.layers import Use, decode_layer, norm, read_layer
from rft_jax.models.shapes import layer_shapes
from rft_jax.models.spread import spread
from rft_jax.types import Array

UNROLL, ON_GPUS = 8, 64
"""Decoding runs a Python loop over at most so many layers: a scan copies each layer's weights for
each token, which halves the speed of GPUs; they compile fast."""


def deep(config: ModelConfig) -> bool:
  """Whether decoding scans the layers, which keeps compile time independent of their number."""
  most = ON_GPUS if jax.default_backend() == 'gpu' else UNROLL
  return config.num_hidden_layers > most


class Memory(NamedTuple):
  """A layer's parameters and its keys and values of shared prompts; all layers' of a deep model."""

  weights: dict
  past: KV | None


class Decoder(nn.Module):
  """The parameters and what needs all of them; the arithmetic of a layer is in `models.layers`.

  Variables: 'params', and perhaps 'adapters' (see `models.lora`), of which `use` f32[B,A] says how
  much each prompt takes; None is all of the first.
  """

  config: ModelConfig

  def setup(self):
    c = self.config
    layers, normal = c.num_hidden_layers, nn.initializers.normal
    starts = dict(
      ones=nn.initializers.ones,
      zeros=nn.initializers.zeros,
      wide=normal(c.initializer_range),
      narrow=normal(c.initializer_range / (2 * layers) ** 0.5),
    )
    unit = 'zeros' if c.family.plus_one else 'ones'
    weights = {
      name: self.param(name, starts[init], (layers, *shape))
      for name, (init, shape) in layer_shapes(c).items()
    }
    adapters = self.get_variable('adapters', 'layers')
    self.layers = weights | ({} if adapters is None else {'adapters': adapters})
    self.embed = self.param('embed', starts['wide'], (c.vocab_size, c.hidden_size))
    ends = dict(final_norm=unit)
    if c.family.norm == 'layer':
      ends['final_norm_bias'] = 'zeros'
    self.final = {
      name: self.param(name, starts[init], (c.hidden_size,)) for name, init in ends.items()
    }
    if c.family.positions == 'learned':
      shape = c.max_position_embeddings, c.hidden_size
      self.positions = self.param('positions', starts['wide'], shape)
    self.head = (
      self.embed
      if c.tie_word_embeddings
      else self.param('lm_head', starts['wide'], (c.vocab_size, c.hidden_size))
    )

  def __call__(
    self, tokens: Array, valid: Array, group: int = 1, prefix: int = 0, use: Array | None = None
  ) -> Array:
    """tokens i32[N,T] -> the states that predict columns prefix to T-1, [N,T-prefix,D].

    This is the one place that shifts: state j comes from the token before column j. Nothing
    precedes column 0, whose state is zero.
    """
    self.config.check_length(tokens.shape[1] - 1)
    n, b = len(tokens), len(tokens) // group
    rest, rest_valid = (x[:, prefix:].reshape(b, group, -1) for x in (tokens, valid))
    if not prefix:
      x, _ = self._run(tokens.reshape(-1), [read_span(self.config, rest_valid)], use)
      return jnp.pad(x.reshape(n, -1, x.shape[-1])[:, :-1], ((0, 0), (1, 0), (0, 0)))
    shared, shared_valid = tokens[::group, :prefix], valid[::group, :prefix]
    x, _ = self._run(
      jnp.concatenate([shared, rest.reshape(b, -1)], 1).reshape(-1),
      [
        read_span(self.config, shared_valid[:, None]),
        read_span(self.config, rest_valid, shared_valid),
      ],
      use,
    )
    x = x.reshape(b, -1, x.shape[-1])
    first = jnp.repeat(x[:, prefix - 1 : prefix], group, 0)
    return jnp.concatenate([first, x[:, prefix:].reshape(n, -1, x.shape[-1])[:, :-1]], 1)

  def prefill(
    self, tokens: Array, valid: Array, use: Array | None = None
  ) -> tuple[Array, KV | None]:
    """Prompts i32[B,P] -> the state after the last token [B,D], keys and values [L,B,K,P,C]."""
    self.config.check_length(tokens.shape[1])
    x, kv = self._run(tokens.reshape(-1), [read_span(self.config, valid[:, None])], use)
    return x.reshape(*tokens.shape, -1)[:, -1], kv

  def memory(self, past: KV | None) -> tuple[Memory, ...]:
    """What decoding reads at every token, cut by layer once and for all; past [L,B,K,P,C], None
    where no prompt is shared.

    Within the token loop each cut would be a copy. Models that are `deep` stay in one piece,
    which is scanned, to keep compile time independent of depth.
    """
    if deep(self.config):
      return (Memory(self.layers, past),)
    return tuple(
      Memory(*jax.tree.map(lambda x: x[i], (self.layers, past)))
      for i in range(self.config.num_hidden_layers)
    )

  def empty_cache(self, b: int, group: int, size: int) -> tuple[KV, ...]:
    """Room for `size` tokens after each prompt: keys [B,K,G,C,S] and values [B,K,G,S,C] for each
    entry of `memory`."""
    c = self.config
    whole = deep(c)
    rows = (*[c.num_hidden_layers] * whole, b, c.num_key_value_heads, group)
    make = lambda *shape: jnp.zeros((*rows, *shape), c.dtype)
    return tuple(
      KV(make(c.head_dim, size), make(size, c.head_dim))
      for _ in range(1 if whole else c.num_hidden_layers)
    )

  def read(
    self, tokens: Array, valid: Array, memory: tuple[Memory, ...], use: Array | None = None
  ) -> tuple[Array, tuple[KV, ...]]:
    """Texts i32[B,T] -> the state after each token [B,T,D], and keys and values [B,K,T,C] for each
    entry of a `memory` without prompts."""
    self.config.check_length(tokens.shape[1])
    c, spans = self.config, [read_span(self.config, valid[:, None])]
    x = self._embedded(tokens.reshape(-1), spans[0].positions.reshape(-1))
    taken, found = self._use(use, spans, memory[0].weights), []
    if deep(c):
      body = lambda x, inputs: read_layer(c, inputs[0], x, spans, inputs[1], taken)
      x, kv = jax.lax.scan(body, x, (memory[0].weights, jnp.array(c.kind_of_layer)))
      found.append(kv)
    else:
      for layer, kind in zip(memory, c.kind_of_layer, strict=True):
        x, kv = read_layer(c, layer.weights, x, spans, kind, taken)
        found.append(kv)
    return norm(c, self.final, 'final_norm', x).reshape(*tokens.shape, -1), tuple(found)

  def decode(
    self,
    tokens: Array,
    index: Array,
    memory: tuple[Memory, ...],
    past_valid: Array | None,
    cache: tuple[KV, ...],
    use: Array | None = None,
  ) -> tuple[Array, tuple[KV, ...]]:
    """Each row's token number `index`, i32[] or i32[B], after its prompt, i32[B,G] -> its state
    [B*G,D] and the cache; past_valid bool[B,P], None where the cache holds the prompt too."""
    c, size = self.config, cache[0].v.shape[-2]
    c.check_length(size + (0 if past_valid is None else past_valid.shape[1]))
    span = decode_span(c, tokens.shape, index, size, past_valid)
    x = self._embedded(tokens.reshape(-1), span.positions.reshape(-1))
    taken = self._use(use, [span], memory[0].weights)
    if deep(c):
      x, whole = _decode_deep(c, memory[0], x, span, cache[0], index, taken)
      new = [whole]
    else:
      new = []
      for layer, kind, before in zip(memory, c.kind_of_layer, cache, strict=True):
        x, after = decode_layer(c, layer.weights, x, layer.past, span, kind, before, index, taken)
        new.append(after)
    return norm(c, self.final, 'final_norm', x), tuple(new)

  def logits(self, states: Array) -> Array:
    """[..., D] -> f32[..., V]."""
    head, cap = self.head.astype(states.dtype), self.config.final_logit_softcapping
    z = jnp.einsum('...d,vd->...v', spread(states), head, preferred_element_type=jnp.float32)
    z = spread(z, z.ndim - 1)
    if self.config.logits_scaling != 1:
      z = z / self.config.logits_scaling
    return cap * jnp.tanh(z / cap) if cap else z

  def _embedded(self, tokens, positions):
    c = self.config
    x = spread(self.embed[tokens].astype(c.dtype))
    if c.family.scaled_embedding:
      x = x * jnp.asarray(c.hidden_size**0.5, c.dtype)
    if c.embedding_multiplier != 1:
      x = x * c.embedding_multiplier
    if c.family.positions == 'learned':
      x = x + self.positions[positions].astype(c.dtype)
    return x

  def _use(self, use, spans, weights):
    """Of each prompt -> of each of its tokens."""
    if 'adapters' not in weights:
      return None
    lora = self.config.lora
    assert lora is not None
    if use is None:
      use = jnp.broadcast_to(jnp.arange(lora.adapters) == 0, (1, lora.adapters)).astype(jnp.float32)
    of_prompt = sum(span.positions[0].size for span in spans)
    use = jnp.broadcast_to(use[:, None], (len(spans[0].positions), of_prompt, use.shape[1]))
    rng = self.make_rng('dropout') if self.has_rng('dropout') else None
    return Use(use.reshape(-1, use.shape[2]), rng)

  def _run(self, tokens, spans, use):
    """Flat tokens [M], prompt by prompt, of each the spans one after the other -> [M,D] and the
    last span's KV if it is alone. So an axis of prompts can be spread over devices."""
    c, taken = self.config, self._use(use, spans, self.layers)
    rows = [span.positions.reshape(len(span.positions), -1) for span in spans]
    positions = jnp.concatenate(rows, 1).reshape(-1)

    def body(x, inputs):
      weights, kind, number = inputs
      return read_layer(c, weights, x, spans, kind, taken and taken.at(number))

    if c.remat != 'none':
      saved = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
      policy = saved if c.remat == 'dots' else None
      body = jax.checkpoint(body, prevent_cse=False, policy=policy)
    kinds, numbers = jnp.array(c.kind_of_layer), jnp.arange(c.num_hidden_layers)
    x, kv = jax.lax.scan(body, self._embedded(tokens, positions), (self.layers, kinds, numbers))
    return norm(c, self.final, 'final_norm', x), kv


def _decode_deep(c: ModelConfig, memory: Memory, x, span, cache: KV, index, use):
  def body(carry, inputs):
    layer, kind, i = inputs
    x, cache = carry
    before = jax.tree.map(lambda a: a[i], cache)
    x, new = decode_layer(c, layer.weights, x, layer.past, span, kind, before, index, use)
    return (x, jax.tree.map(lambda a, b: a.at[i].set(b), cache, new)), None

  layers = memory, jnp.array(c.kind_of_layer), jnp.arange(c.num_hidden_layers)
  return jax.lax.scan(body, (x, cache), layers)[0]
