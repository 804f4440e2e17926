"""One decoder-only transformer, sized by a config in Hugging Face's field names.

Layers are stacked, `[L, ...]`, and scanned, so compile time does not depend on depth. Tokens are flattened to `[M, D]` for
every matmul and regrouped for attention only. Rows may share a prompt (`group`, `prefix` of `types.Experience`): it is then
computed once per group, in sampling and in training alike.
"""
import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from rft_jax.types import Array

MASKED = -1e30
FAMILIES = {'qwen3': dict(qk_norm=True), 'llama': dict(qk_norm=False)}


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
      raise ValueError(f'model_type={self.model_type!r} is not supported; use one of {sorted(FAMILIES)}')
    if self.num_attention_heads % self.num_key_value_heads:
      raise ValueError(f'num_attention_heads={self.num_attention_heads} must be a multiple of '
                       f'num_key_value_heads={self.num_key_value_heads}')
    if self.head_dim % 2:
      raise ValueError(f'head_dim={self.head_dim} must be even: rotary embeddings turn pairs of features')


class KV(NamedTuple):
  """Keys and values of one layer, head-major: [B,K,P,C] of a shared prompt, [B,K,G,S,C] of continuations."""
  k: Array
  v: Array


@struct.dataclass
class Span:
  """Tokens of a step that attend alike: positions i32[B,G,T], own bool[B,G,T,S] over own keys, past bool[B,P] over the prompt's."""
  positions: Array
  own: Array
  past: Array | None = None


class Decoder(nn.Module):
  """Parameters, and the functions that need all of them; a layer's arithmetic is in plain functions below."""
  config: ModelConfig

  def setup(self):
    c = self.config
    kv, rep = c.num_key_value_heads, c.num_attention_heads // c.num_key_value_heads
    wide, ones = nn.initializers.normal(c.initializer_range), nn.initializers.ones
    narrow = nn.initializers.normal(c.initializer_range / (2 * c.num_hidden_layers) ** .5)
    shapes = dict(
        attention_norm=(ones, (c.hidden_size,)), qkv=(wide, (c.hidden_size, kv, rep + 2, c.head_dim)),
        attention_out=(narrow, (kv, rep, c.head_dim, c.hidden_size)), mlp_norm=(ones, (c.hidden_size,)),
        gate_up=(wide, (c.hidden_size, 2, c.intermediate_size)), down=(narrow, (c.intermediate_size, c.hidden_size)))
    if FAMILIES[c.model_type]['qk_norm']:
      shapes |= dict(q_norm=(ones, (c.head_dim,)), k_norm=(ones, (c.head_dim,)))
    self.layers = {name: self.param(name, init, (c.num_hidden_layers, *shape)) for name, (init, shape) in shapes.items()}
    self.embed = self.param('embed', wide, (c.vocab_size, c.hidden_size))
    self.final_norm = self.param('final_norm', ones, (c.hidden_size,))
    self.lm_head = None if c.tie_word_embeddings else self.param('lm_head', wide, (c.vocab_size, c.hidden_size))

  def __call__(self, tokens: Array, valid: Array, group: int = 1, prefix: int = 0) -> Array:
    """States that predict columns `prefix` to T-1 of tokens i32[N,T]: f32[N,T-prefix,D]; nothing predicts column 0 (zeros)."""
    n, width = tokens.shape
    rows = n // group
    body, body_valid = tokens[:, prefix:].reshape(rows, group, -1), valid[:, prefix:].reshape(rows, group, -1)
    spans, parts = [], []
    if prefix:
      head, head_valid = tokens[::group, :prefix], valid[::group, :prefix]
      spans.append(prompt_span(head_valid))
      parts.append(head.reshape(-1))
      spans.append(continuation_span(body_valid, head_valid))
    else:
      spans.append(prompt_span(body_valid[:, 0]))
    parts.append(body.reshape(-1))
    x, _ = self.run(jnp.concatenate(parts), spans)
    body_states = x[rows * prefix:].reshape(n, width - prefix, -1)[:, :-1]
    if not prefix:
      return jnp.pad(body_states, ((0, 0), (1, 0), (0, 0)))
    first = x[:rows * prefix].reshape(rows, prefix, -1)[:, -1:]
    return jnp.concatenate([jnp.repeat(first, group, 0), body_states], 1)

  def run(self, tokens, spans):
    tables = [rotary(span.positions, self.config) for span in spans]

    def body(x, layer):
      return block(self.config, layer, x, spans, tables)
    import os
    r = os.environ.get('REMAT')
    if r: body = jax.checkpoint(body, prevent_cse=False, policy={'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable}[r])
    x, kv = jax.lax.scan(body, self.embed[tokens], self.layers)
    return rms_norm(x, self.final_norm, self.config.rms_norm_eps), kv

  def prefill(self, tokens: Array, valid: Array) -> tuple[Array, KV]:
    """Prompts i32[B,P] -> the state after the last token f32[B,D], and keys and values [L,B,K,P,C]."""
    x, kv = self.run(tokens.reshape(-1), [prompt_span(valid)])
    return x.reshape(*tokens.shape, -1)[:, -1], kv

  def decode(self, tokens, positions, index, past, past_valid, cache):
    """One token for each row, tokens i32[B,G] -> states [B*G,D] and the cache."""
    size = cache[0].k.shape[3]
    own = jnp.broadcast_to(jnp.arange(size) <= index, (*tokens.shape, 1, size))
    span = Span(positions[..., None], own, past_valid)
    table = rotary(span.positions, self.config)
    x = self.embed[tokens.reshape(-1)]
    new = []
    for i in range(self.config.num_hidden_layers):
      layer = {k: v[i] for k, v in self.layers.items()}
      x, c = block_decode(self.config, layer, x, span, table, KV(past.k[i], past.v[i]), cache[i], index)
      new.append(c)
    return rms_norm(x, self.final_norm, self.config.rms_norm_eps), tuple(new)

  def logits(self, x: Array) -> Array:
    return x @ (self.embed if self.lm_head is None else self.lm_head).T


@jax.custom_vjp
def dense(x, w):
  return x @ w

def _dense_fwd(x, w):
  return x @ w, (x, w)

def _dense_bwd(res, g):
  x, w = res
  dw = x.T @ g if x.shape[1] <= g.shape[1] else (g.T @ x).T
  return g @ w.T, dw

dense.defvjp(_dense_fwd, _dense_bwd)


@jax.custom_vjp
def swiglu(h):
  f = h.shape[1] // 2
  return nn.silu(h[:, :f]) * h[:, f:]

def _swiglu_bwd(h, g):
  f = h.shape[1] // 2
  gate, up = h[:, :f], h[:, f:]
  s = jax.nn.sigmoid(gate)
  return jnp.concatenate([g * up * s * (1 + gate * (1 - s)), g * gate * s], 1),

swiglu.defvjp(lambda h: (swiglu(h), h), _swiglu_bwd)


def prompt_span(valid):
  n, t = valid.shape
  causal = jnp.tril(jnp.ones((t, t), bool))
  positions = jnp.maximum(jnp.cumsum(valid, 1) - 1, 0)
  return Span(positions[:, None], (causal & valid[:, None, :])[:, None])


def continuation_span(valid, past_valid):
  t = valid.shape[-1]
  causal = jnp.tril(jnp.ones((t, t), bool))
  positions = past_valid.sum(1)[:, None, None] + jnp.maximum(jnp.cumsum(valid, -1) - 1, 0)
  return Span(positions, causal & valid[:, :, None, :], past_valid)


def rms_norm(x, scale, eps):
  y = x.astype(jnp.float32)
  return (y * jax.lax.rsqrt((y * y).mean(-1, keepdims=True) + eps)).astype(x.dtype) * scale


def rotary(positions, config):
  c = config.head_dim
  angles = positions[..., None].astype(jnp.float32) * config.rope_theta ** (-jnp.arange(0, c, 2) / c)
  return jnp.cos(angles), jnp.sin(angles)


def rotate(x, table):
  """x [B,K,G,R,T,C]."""
  cos, sin = (t[:, None, :, None] for t in table)
  a, b = jnp.split(x, 2, -1)
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def heads(config, layer, qkv, table):
  """qkv [B,G,T,K,R+2,C] -> q [B,K,G,R,T,C], kv [B,K,G,T,C]."""
  qkv = jnp.transpose(qkv, (0, 3, 1, 4, 2, 5))
  q, k, v = qkv[:, :, :, :-2], qkv[:, :, :, -2:-1], qkv[:, :, :, -1]
  if 'q_norm' in layer:
    q, k = rms_norm(q, layer['q_norm'], config.rms_norm_eps), rms_norm(k, layer['k_norm'], config.rms_norm_eps)
  return rotate(q, table), KV(rotate(k, table)[:, :, :, 0], v)


def attend(q, own, own_mask, past=None, past_mask=None):
  q = q * q.shape[-1] ** -.5
  s = jnp.einsum('bkgrtc,bkgsc->bkgrts', q, own.k)
  s = jnp.where(own_mask[:, None, :, None], s, MASKED)
  m = s.max(-1, keepdims=True)
  if past is not None:
    sp = jnp.einsum('bkgrtc,bkpc->bkgrtp', q, past.k)
    sp = jnp.where(past_mask[:, None, None, None, None], sp, MASKED)
    m = jnp.maximum(m, sp.max(-1, keepdims=True))
  m = jax.lax.stop_gradient(m)
  e = jnp.exp(s - m)
  z, out = e.sum(-1, keepdims=True), jnp.einsum('bkgrts,bkgsc->bkgrtc', e, own.v)
  if past is not None:
    e = jnp.exp(sp - m)
    z += e.sum(-1, keepdims=True)
    out += jnp.einsum('bkgrtp,bkpc->bkgrtc', e, past.v)
  return out / z


def mlp(config, layer, x):
  y = rms_norm(x, layer['mlp_norm'], config.rms_norm_eps)
  h = dense(y, layer['gate_up'].reshape(y.shape[1], -1))
  return x + dense(swiglu(h), layer['down'])


def merge(config, layer, x, out):
  """out list of [B,K,G,R,T,C]."""
  flat = [jnp.transpose(o, (0, 2, 4, 1, 3, 5)).reshape(-1, *layer['attention_out'].shape[:3]) for o in out]
  flat = jnp.concatenate(flat) if len(flat) > 1 else flat[0]
  return x + dense(flat.reshape(flat.shape[0], -1), layer['attention_out'].reshape(-1, x.shape[1]))


def block(config, layer, x, spans, tables):
  y = rms_norm(x, layer['attention_norm'], config.rms_norm_eps)
  qkv = dense(y, layer['qkv'].reshape(y.shape[1], -1)).reshape(-1, *layer['qkv'].shape[1:])
  start, out, past = 0, [], None
  for span, table in zip(spans, tables):
    b, g, t = span.positions.shape
    q, kv = heads(config, layer, qkv[start:start + b * g * t].reshape(b, g, t, *qkv.shape[1:]), table)
    out.append(attend(q, kv, span.own, past, span.past))
    past, start = KV(kv.k[:, :, 0], kv.v[:, :, 0]), start + b * g * t
  return mlp(config, layer, merge(config, layer, x, out)), past


def block_decode(config, layer, x, span, table, past, cache, index):
  y = rms_norm(x, layer['attention_norm'], config.rms_norm_eps)
  qkv = dense(y, layer['qkv'].reshape(y.shape[1], -1)).reshape(-1, *layer['qkv'].shape[1:])
  q, kv = heads(config, layer, qkv.reshape(*span.positions.shape, *qkv.shape[1:]), table)
  cache = KV(*(jax.lax.dynamic_update_slice_in_dim(c, new, index, 3) for c, new in zip(cache, kv)))
  out = attend(q, cache, span.own, past, span.past)
  return mlp(config, layer, merge(config, layer, x, [out])), cache
