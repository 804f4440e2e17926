"""The arithmetic of one transformer layer, as plain functions of arrays.

`weights` are the parameters of one layer by name, and under 'adapters' those of its low-rank
adapters. Parameters keep their dtype; what is computed has that of the activations.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rft_jax.models.attention import KV, Span, View, attend, rotate
from rft_jax.models.config import ModelConfig
from rft_jax.models.shapes import parts
from rft_jax.models.spread import spread
from rft_jax.types import Array

INPUTS = {'attention_out': 3}
"""The matrices whose input has several axes; all others have one."""


class Use(NamedTuple):
  """How much of each adapter each token takes: amount f32[M,A]. rng: of the dropout, or None."""

  amount: Array
  rng: Array | None = None

  def at(self, index) -> 'Use':
    """With a source of noise of its own, for a layer or a module."""
    return self if self.rng is None else Use(self.amount, jax.random.fold_in(self.rng, index))


@jax.custom_vjp
def dense(x: Array, w: Array) -> Array:
  """[M,D] @ [D,F]. Its weight gradient transposes the narrower operand, which autodiff leaves to
  chance."""
  return x @ w


def _dense_backward(residuals, g):
  x, w = residuals
  return g @ w.T, x.T @ g if x.shape[1] <= g.shape[1] else (g.T @ x).T


dense.defvjp(lambda x, w: (x @ w, (x, w)), _dense_backward)


@jax.custom_vjp
def swiglu(h: Array) -> Array:
  """silu(gate) * up of h [M,2F] = gate | up. Its gradient is written once, not as two padded
  halves."""
  gate, up = jnp.split(h, 2, 1)
  return jax.nn.silu(gate) * up


def _swiglu_backward(h, g):
  gate, up = jnp.split(h, 2, 1)
  s = jax.nn.sigmoid(gate)
  return (jnp.concatenate([g * up * s * (1 + gate * (1 - s)), g * gate * s], 1),)


swiglu.defvjp(lambda h: (swiglu(h), h), _swiglu_backward)

ACTIVATE = dict(
  silu=jax.nn.silu,
  gelu_pytorch_tanh=lambda x: jax.nn.gelu(x, approximate=True),
  gelu_new=lambda x: jax.nn.gelu(x, approximate=True),
  gelu=lambda x: jax.nn.gelu(x, approximate=False),
  relu=jax.nn.relu,
  relu2=lambda x: jnp.square(jax.nn.relu(x)),
)


def linear(c: ModelConfig, weights: dict, name: str, x: Array, use: Use | None) -> Array:
  """x [M,D] through the matrix `name`, with its bias and its adapters -> [M, *output axes]."""
  w = weights[name]
  narrow = name in ('attention_out', 'down')
  x = spread(x, 1 if narrow else 0)
  y = spread(dense(x, w.astype(x.dtype).reshape(x.shape[1], -1)), 0 if narrow else 1)
  if f'{name}_bias' in weights:
    y = y + weights[f'{name}_bias'].astype(x.dtype).reshape(-1)
  outputs = w.shape[INPUTS.get(name, 1) :]
  if use is not None and name in weights.get('adapters', {}):
    y = y + adapted(c, name, weights['adapters'][name], x, outputs, use).reshape(y.shape)
  return y.reshape(-1, *outputs)


def adapted(c: ModelConfig, name: str, modules: dict, x: Array, outputs, use: Use) -> Array:
  """What adapters add to the matrix `name` for x [M,D] -> [M, *outputs]; modules: by name a
  f32[A,D,r] and b f32[A,r, *their part of the outputs]; [M,A,...] where each row of x has its own.
  """
  assert c.lora is not None
  amount = (use.amount * c.lora.scale).astype(x.dtype)[:, :, None]
  found = []
  for i, (module, size) in enumerate(parts(c, name)):
    if module not in modules:
      found.append(jnp.zeros((len(x), *outputs[:-2], size, outputs[-1]), x.dtype))
      continue
    a, b = (modules[module][k].astype(x.dtype) for k in 'ab')
    inputs = _dropped(c.lora.dropout, x, use.at(i).rng)
    through = _through_shared if a.ndim == 3 else _through_own
    y = through(inputs, a, b.reshape(*b.shape[: a.ndim - 1], -1), amount)
    found.append(y.reshape(len(x), *b.shape[a.ndim - 1 :]))
  return found[0] if len(found) == 1 else jnp.concatenate(found, -2)


def _through_shared(x, a, b, amount):
  """All adapters in two matmuls of width A x r, whose middle is masked by the amount: other rows'
  adapters add exact zeros, and get none of a token's gradient."""
  h = x @ jnp.moveaxis(a, 0, 1).reshape(x.shape[1], -1)
  h = (h.reshape(len(x), *a.shape[::2]) * amount).reshape(len(x), -1)
  return h @ b.reshape(h.shape[1], -1)


def _through_own(x, a, b, amount):
  """One small product per row: what others hold costs it nothing."""
  return jnp.einsum('mar,marf->mf', jnp.einsum('md,madr->mar', x, a) * amount, b)


def _dropped(rate, x, rng):
  if rng is None or not rate:
    return x
  return jnp.where(jax.random.bernoulli(rng, 1 - rate, x.shape), x / (1 - rate), 0)


def norm(
  c: ModelConfig, weights: dict, name: str, x: Array, axes: int | tuple[int, ...] = -1
) -> Array:
  """The norm `name` over the last axis, or several; its statistics in float32."""
  y, scale = x.astype(jnp.float32), weights[name].astype(jnp.float32)
  if c.family.norm == 'layer':
    y = y - y.mean(axes, keepdims=True)
  y = y * jax.lax.rsqrt((y * y).mean(axes, keepdims=True) + c.rms_norm_eps)
  if c.family.plus_one:
    scale = 1 + scale
  y = y * scale
  if f'{name}_bias' in weights:
    y = y + weights[f'{name}_bias'].astype(jnp.float32)
  return y.astype(x.dtype)


def heads(c: ModelConfig, weights: dict, qkv: Array, view: View) -> tuple[Array, KV]:
  """qkv [B,G,T,K,R+2,C] -> queries [B,K,G,R,T,C] and the tokens' own keys and values [B,K,G,T,C].

  Queries and keys are normalised and turned together, before heads become major: without the
  barrier the compiler would do it again for each use.
  """
  turned, v = _qk_normed(c, weights, qkv[..., :-1, :]), qkv[..., -1, :]
  turned = jax.lax.optimization_barrier(rotate(turned, view, c.family.interleaved))
  q = jnp.transpose(turned[..., :-1, :], (0, 3, 1, 4, 2, 5))
  return q, KV(*(jnp.transpose(x, (0, 3, 1, 2, 4)) for x in (turned[..., -1, :], v)))


def _qk_normed(c: ModelConfig, weights: dict, x: Array) -> Array:
  """Queries and keys [..., K,R+1,C], normed in each head or over all heads' width."""
  if c.family.qk_norm == 'head':
    scale = jnp.stack([*[weights['q_norm']] * c.repeat, weights['k_norm']])
    return norm(c, dict(qk_norm=scale), 'qk_norm', x)
  if c.family.qk_norm == 'width':
    both = ('q_norm', x[..., :-1, :]), ('k_norm', x[..., -1:, :])
    return jnp.concatenate([norm(c, weights, name, y, (-3, -2, -1)) for name, y in both], -2)
  return x


def read_layer(c: ModelConfig, weights: dict, x: Array, spans: list[Span], kind, use: Use | None):
  """Flat tokens [M,D], prompt by prompt, of each the spans one after the other, the later seeing
  the earlier as their prompt -> [M,D] and the last span's KV if it is alone."""
  qkv = linear(c, weights, 'qkv', _normed(c, weights, 'attention_norm', x), use)
  qkv = qkv.reshape(len(spans[0].positions), -1, *qkv.shape[1:])
  start, attended, past = 0, [], None
  for span in spans:
    shape, view = span.positions.shape, span.view(kind)
    rows = qkv[:, start : start + shape[1] * shape[2]]
    q, own = heads(c, weights, rows.reshape(*shape, *rows.shape[2:]), view)
    attended.append(attend(c, q, own, past, span, view))
    start, past = start + rows.shape[1], KV(own.k[:, :, 0], own.v[:, :, 0])
  return _rest(c, weights, x, attended, use), past if len(spans) == 1 else None


def decode_layer(c, weights: dict, x, past: KV | None, span: Span, kind, cache: KV, index, use):
  """One token of each row: [B*G,D] -> [B*G,D] and the cache with its key and value; index i32[], or
  i32[B] where each row is at a place of its own."""
  view = span.view(kind)
  qkv = linear(c, weights, 'qkv', _normed(c, weights, 'attention_norm', x), use)
  q, new = heads(c, weights, qkv.reshape(*span.positions.shape, *qkv.shape[1:]), view)
  cache = KV(_put(cache.k, new.k.swapaxes(3, 4), index, 4), _put(cache.v, new.v, index, 3))
  attended = attend(c, q, cache, past, span, view, keys='cs')
  return _rest(c, weights, x, [attended], use), cache


def _put(cache: Array, new: Array, index: Array, axis: int) -> Array:
  if not index.ndim:
    return jax.lax.dynamic_update_slice_in_dim(cache, new, index, axis)
  put = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=axis - 1)
  return jax.vmap(put)(cache, new, index)


def _rest(c: ModelConfig, weights: dict, x: Array, attended: list[Array], use) -> Array:
  """The rest of the layer: attended, a list of [B,K,G,R,T,C], joins x [M,D]; then the MLP."""
  flat = [
    jnp.transpose(a, (0, 2, 4, 1, 3, 5)).reshape(len(a), -1, a.shape[1] * a.shape[3] * a.shape[5])
    for a in attended
  ]
  joined = jnp.concatenate(flat, 1)
  y = linear(c, weights, 'attention_out', joined.reshape(-1, joined.shape[-1]), use)
  x = _joined(c, x, _normed(c, weights, 'attention_post_norm', y))
  h = _normed(c, weights, 'mlp_norm', x)
  y = experts(c, weights, h) if c.family.experts else _mlp(c, weights, h, use)
  return _joined(c, x, _normed(c, weights, 'mlp_post_norm', y))


def _normed(c: ModelConfig, weights: dict, name: str, x: Array) -> Array:
  """The norm `name`, where the family's layers have it."""
  return norm(c, weights, name, x) if name in c.family.norms else x


def _joined(c: ModelConfig, x: Array, y: Array) -> Array:
  return x + (y if c.residual_multiplier == 1 else y * c.residual_multiplier)


def _mlp(c, weights, h, use):
  h = linear(c, weights, 'gate_up', h, use)
  return linear(c, weights, 'down', _activated(c, h.reshape(len(h), -1)), use)


def _activated(c, h):
  if not c.family.gated:
    return ACTIVATE[c.hidden_act](h)
  if c.hidden_act == 'silu':
    return swiglu(h)
  gate, up = jnp.split(h, 2, 1)
  return ACTIVATE[c.hidden_act](gate) * up


def experts(c: ModelConfig, weights: dict, x: Array) -> Array:
  """Mixture of experts, x [M,D] -> [M,D]: each token's best `num_experts_per_tok`, none dropped.

  Tokens are sorted by expert for one grouped matmul; no capacity, no expert parallelism.
  """
  k = c.num_experts_per_tok
  p = jax.nn.softmax(x.astype(jnp.float32) @ weights['router'].astype(jnp.float32))
  share, chosen = jax.lax.top_k(p, k)
  if c.norm_topk_prob or c.family.norm_topk:
    share = share / share.sum(-1, keepdims=True)
  order = jnp.argsort(chosen.reshape(-1))
  sizes = jnp.bincount(chosen.reshape(-1), length=c.num_experts).astype(jnp.int32)
  grouped = lambda x, w: jax.lax.ragged_dot(x, w.astype(x.dtype), sizes)
  w = weights['experts_gate_up']
  h = grouped(x[order // k], w.reshape(*w.shape[:2], -1))
  y = grouped(_activated(c, h), weights['experts_down'])
  y = y * share.reshape(-1)[order, None].astype(x.dtype)
  return jnp.zeros_like(x).at[order // k].add(y)
