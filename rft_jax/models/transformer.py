"""One decoder-only transformer, sized by a config in Hugging Face's field names.

Layers are stacked, `[L, ...]`, and scanned, so compile time does not depend on depth. Tokens are
flattened to `[M, D]` for every matmul and regrouped for attention only. Rows may share a prompt
(`group` and `prefix` of `types.Experience`): it is computed once per group, in sampling and in
training alike.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from rft_jax.models.layers import (
  KV,
  Span,
  attend,
  causal,
  heads,
  positions_of,
  project_in,
  project_out,
  rms_norm,
  span,
)
from rft_jax.registry import ConfigError, nearest
from rft_jax.types import Array

FAMILIES = {'qwen3': dict(qk_norm=True), 'llama': dict(qk_norm=False)}
UNROLL = 8
"""Decoding runs a Python loop over at most so many layers: a scan copies each layer's weights for
each token."""


class Memory(NamedTuple):
  """A layer's parameters and its keys and values of the prompts; all layers' of a deep model."""

  weights: dict[str, Array]
  past: KV


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The architecture, in the field names of a Hugging Face `config.json`."""

  vocab_size: int
  hidden_size: int
  intermediate_size: int
  num_hidden_layers: int
  num_attention_heads: int
  num_key_value_heads: int
  head_dim: int
  rope_theta: float = 10_000.0
  rms_norm_eps: float = 1e-6
  tie_word_embeddings: bool = True
  initializer_range: float = 0.02
  model_type: str = 'qwen3'

  def __post_init__(self):
    if self.model_type not in FAMILIES:
      raise ConfigError(
        f'model.model_type={self.model_type!r} is not supported: '
        + nearest(self.model_type, FAMILIES)
      )
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if not isinstance(value, (str, bool)) and value <= 0:
        raise ConfigError(f'model.{field.name}={value} must be positive')
    if self.num_attention_heads % self.num_key_value_heads:
      raise ConfigError(
        f'model.num_attention_heads={self.num_attention_heads} must be a multiple of '
        f'model.num_key_value_heads={self.num_key_value_heads}'
      )
    if self.head_dim % 2:
      raise ConfigError(
        f'model.head_dim={self.head_dim} must be even: rotary embeddings turn pairs'
      )


class Decoder(nn.Module):
  """The parameters and what needs all of them; the arithmetic of a layer is in `models.layers`."""

  config: ModelConfig

  def setup(self):
    c = self.config
    wide, ones = nn.initializers.normal(c.initializer_range), nn.initializers.ones
    narrow = nn.initializers.normal(c.initializer_range / (2 * c.num_hidden_layers) ** 0.5)
    self.layers = {
      name: self.param(
        name, dict(wide=wide, narrow=narrow, ones=ones)[init], (c.num_hidden_layers, *shape)
      )
      for name, (init, shape) in layer_shapes(c).items()
    }
    self.embed = self.param('embed', wide, (c.vocab_size, c.hidden_size))
    self.final_norm = self.param('final_norm', ones, (c.hidden_size,))
    self.head = (
      self.embed
      if c.tie_word_embeddings
      else self.param('lm_head', wide, (c.vocab_size, c.hidden_size))
    )

  def __call__(self, tokens: Array, valid: Array, group: int = 1, prefix: int = 0) -> Array:
    """tokens i32[N,T] -> the states that predict columns prefix to T-1, [N,T-prefix,D].

    This is the one place that shifts: state j comes from the token before column j. Nothing
    precedes column 0, whose state is zero.
    """
    n, b = len(tokens), len(tokens) // group
    rest, rest_valid = (x[:, prefix:].reshape(b, group, -1) for x in (tokens, valid))
    if not prefix:
      x, _ = self._run(tokens.reshape(-1), [self._span(rest_valid)])
      return jnp.pad(x.reshape(n, -1, x.shape[-1])[:, :-1], ((0, 0), (1, 0), (0, 0)))
    shared, shared_valid = tokens[::group, :prefix], valid[::group, :prefix]
    x, _ = self._run(
      jnp.concatenate([shared.reshape(-1), rest.reshape(-1)]),
      [self._span(shared_valid[:, None]), self._span(rest_valid, shared_valid)],
    )
    first = x[: b * prefix].reshape(b, prefix, -1)[:, -1:]
    return jnp.concatenate(
      [jnp.repeat(first, group, 0), x[b * prefix :].reshape(n, -1, x.shape[-1])[:, :-1]], 1
    )

  def prefill(self, tokens: Array, valid: Array) -> tuple[Array, KV | None]:
    """Prompts i32[B,P] -> the state after the last token [B,D], keys and values [L,B,K,P,C]."""
    x, kv = self._run(tokens.reshape(-1), [self._span(valid[:, None])])
    return x.reshape(*tokens.shape, -1)[:, -1], kv

  def memory(self, past: KV) -> tuple[Memory, ...]:
    """What decoding reads at every token, cut by layer once and for all; past [L,B,K,P,C].

    Within the token loop each cut would be a copy. Models deeper than UNROLL stay in one piece,
    which is scanned, to keep compile time independent of depth.
    """
    if self.config.num_hidden_layers > UNROLL:
      return (Memory(self.layers, past),)
    return tuple(
      Memory(*jax.tree.map(lambda x: x[i], (self.layers, past)))
      for i in range(self.config.num_hidden_layers)
    )

  def empty_cache(self, b: int, group: int, size: int) -> tuple[KV, ...]:
    """Room for `size` tokens after each prompt: keys [B,K,G,C,S] and values [B,K,G,S,C] for each
    entry of `memory`."""
    c = self.config
    deep = c.num_hidden_layers > UNROLL
    rows = (*[c.num_hidden_layers] * deep, b, c.num_key_value_heads, group)
    make = lambda *shape: jnp.zeros((*rows, *shape), self.embed.dtype)
    return tuple(
      KV(make(c.head_dim, size), make(size, c.head_dim))
      for _ in range(1 if deep else c.num_hidden_layers)
    )

  def decode(
    self,
    tokens: Array,
    index: Array,
    memory: tuple[Memory, ...],
    past_valid: Array,
    cache: tuple[KV, ...],
  ) -> tuple[Array, tuple[KV, ...]]:
    """Each row's token number `index` after its prompt, i32[B,G] -> its state [B*G,D] and the
    cache; past_valid bool[B,P]."""
    c, size = self.config, cache[0].v.shape[-2]
    own = jnp.broadcast_to(jnp.arange(size) <= index, (*tokens.shape, 1, size))
    positions = jnp.broadcast_to((past_valid.sum(1) + index)[:, None, None], (*tokens.shape, 1))
    where = span(positions, own, past_valid, c.head_dim, c.rope_theta)
    x = self.embed[tokens.reshape(-1)]
    if c.num_hidden_layers > UNROLL:
      x, deep = _decode_deep(c, memory[0], x, where, cache[0], index)
      new = [deep]
    else:
      new = []
      for layer, before in zip(memory, cache, strict=True):
        x, after = _decode_layer(c, layer, x, where, before, index)
        new.append(after)
    return rms_norm(x, self.final_norm, c.rms_norm_eps), tuple(new)

  def logits(self, states: Array) -> Array:
    """[..., D] -> f32[..., V]."""
    return jnp.einsum('...d,vd->...v', states, self.head, preferred_element_type=jnp.float32)

  def _span(self, valid, past=None):
    """valid bool[B,G,T], of tokens that follow the prompt whose valid tokens are past bool[B,P]."""
    before = 0 if past is None else past.sum(1)[:, None, None]
    positions = before + positions_of(valid)
    return span(positions, causal(valid), past, self.config.head_dim, self.config.rope_theta)

  def _run(self, tokens, spans):
    """Flat tokens [M], laid out as the spans one after the other -> [M,D] and the last span's KV if
    it is alone."""

    def body(x, weights):
      return _layer(self.config, weights, x, spans)

    body = jax.checkpoint(
      body, prevent_cse=False, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    )
    x, kv = jax.lax.scan(body, self.embed[tokens], self.layers)
    return rms_norm(x, self.final_norm, self.config.rms_norm_eps), kv


def layer_shapes(c: ModelConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
  """Name -> (initialiser, shape) of a layer's parameters. Queries, keys and values are one matrix,
  gate and up another."""
  kv, repeat = c.num_key_value_heads, c.num_attention_heads // c.num_key_value_heads
  shapes: dict[str, tuple[str, tuple[int, ...]]] = dict(
    attention_norm=('ones', (c.hidden_size,)),
    mlp_norm=('ones', (c.hidden_size,)),
    qkv=('wide', (c.hidden_size, kv, repeat + 2, c.head_dim)),
    attention_out=('narrow', (kv, repeat, c.head_dim, c.hidden_size)),
    gate_up=('wide', (c.hidden_size, 2, c.intermediate_size)),
    down=('narrow', (c.intermediate_size, c.hidden_size)),
  )
  if FAMILIES[c.model_type]['qk_norm']:
    shapes |= dict(q_norm=('ones', (c.head_dim,)), k_norm=('ones', (c.head_dim,)))
  return shapes


def _layer(c: ModelConfig, weights, x, spans: list[Span]):
  qkv = project_in(weights, x, c.rms_norm_eps)
  start, attended, past = 0, [], None
  for where in spans:
    shape = where.cos.shape[:3]
    rows = qkv[start : start + shape[0] * shape[1] * shape[2]]
    q, own = heads(weights, rows.reshape(*shape, *rows.shape[1:]), where, c.rms_norm_eps)
    attended.append(attend(q, own, past, where))
    start, past = start + len(rows), KV(own.k[:, :, 0], own.v[:, :, 0])
  return project_out(weights, x, attended, c.rms_norm_eps), past if len(spans) == 1 else None


def _decode_deep(c: ModelConfig, memory: Memory, x, where, cache: KV, index):
  def body(carry, inputs):
    layer, i = inputs
    x, cache = carry
    x, new = _decode_layer(c, layer, x, where, jax.tree.map(lambda a: a[i], cache), index)
    return (x, jax.tree.map(lambda a, b: a.at[i].set(b), cache, new)), None

  return jax.lax.scan(body, (x, cache), (memory, jnp.arange(c.num_hidden_layers)))[0]


def _decode_layer(c: ModelConfig, layer: Memory, x, where, cache: KV, index):
  qkv = project_in(layer.weights, x, c.rms_norm_eps)
  q, new = heads(
    layer.weights, qkv.reshape(*where.cos.shape[:3], *qkv.shape[1:]), where, c.rms_norm_eps
  )
  cache = KV(
    jax.lax.dynamic_update_slice_in_dim(cache.k, new.k.swapaxes(3, 4), index, 4),
    jax.lax.dynamic_update_slice_in_dim(cache.v, new.v, index, 3),
  )
  return project_out(
    layer.weights, x, [attend(q, cache, layer.past, where, keys='cs')], c.rms_norm_eps
  ), cache
