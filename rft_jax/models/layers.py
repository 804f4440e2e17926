"""The arithmetic of one transformer layer, as plain functions of arrays.

Attention keeps heads major and groups together, `[B,K,G,R,T,C]` (R = H / K query heads per kv
head): its two matmuls, with a row's own keys and with the keys of the prompt that its group shares,
then need no transposition.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rft_jax.types import Array

MASKED = -1e30
"""A finite minus infinity: rows that may attend to nothing get garbage, not NaN."""


class KV(NamedTuple):
  """Keys and values of a layer: [B,K,P,C] of a shared prompt, [B,K,G,S,C] of what follows it."""

  k: Array
  v: Array


class Span(struct.PyTreeNode):
  """Tokens that attend alike: [B,G,T] of them, which see `own` bool[B,G,T,S] of their row and
  `past` bool[B,P] of the prompt.

  cos, sin f32[B,G,T,C/2]: rotary angles of their positions.
  """

  cos: Array
  sin: Array
  own: Array
  past: Array | None = None


def span(positions: Array, own: Array, past: Array | None, head_dim: int, theta: float) -> Span:
  """The span of tokens at positions i32[B,G,T]; angles in float32 whatever the model's dtype."""
  angles = positions[..., None] * theta ** (-jnp.arange(0, head_dim, 2, jnp.float32) / head_dim)
  return Span(jnp.cos(angles), jnp.sin(angles), own, past)


def causal(valid: Array) -> Array:
  """valid bool[...,T] -> which of its row's tokens each token sees, bool[...,T,T]: the earlier
  ones; of packed texts, numbered i32[...,T], those of its own."""
  earlier = jnp.tril(jnp.ones((valid.shape[-1],) * 2, bool))
  if valid.dtype == bool:
    return earlier & valid[..., None, :]
  return earlier & (valid[..., None, :] == valid[..., :, None])


def positions_of(valid: Array) -> Array:
  """valid bool[...,T] -> each token's place i32[...,T] in its row, or in its text where texts are
  packed, i32[...,T]."""
  if valid.dtype == bool:
    return jnp.maximum(jnp.cumsum(valid, -1) - 1, 0)
  index = jnp.arange(valid.shape[-1])
  starts = jnp.concatenate(
    [jnp.ones_like(valid[..., :1], bool), valid[..., 1:] != valid[..., :-1]], -1
  )
  return index - jax.lax.cummax(jnp.where(starts, index, 0), axis=valid.ndim - 1)


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


def rms_norm(x: Array, scale: Array, eps: float) -> Array:
  y = x.astype(jnp.float32)
  return (y * jax.lax.rsqrt((y * y).mean(-1, keepdims=True) + eps)).astype(x.dtype) * scale


def heads(weights: dict, qkv: Array, where: Span, eps: float) -> tuple[Array, KV]:
  """qkv [B,G,T,K,R+2,C] -> queries [B,K,G,R,T,C] and the tokens' own keys and values [B,K,G,T,C].

  Queries and keys are normalised and turned together, before heads become major: without the
  barrier the compiler would do it again for each use.
  """
  turned, v = qkv[..., :-1, :], qkv[..., -1, :]
  if 'q_norm' in weights:
    repeat = turned.shape[-2] - 1
    scale = jnp.stack([*[weights['q_norm']] * repeat, weights['k_norm']])
    turned = rms_norm(turned, scale, eps)
  turned = jax.lax.optimization_barrier(_rotate(turned, where))
  q = jnp.transpose(turned[..., :-1, :], (0, 3, 1, 4, 2, 5))
  return q, KV(*(jnp.transpose(x, (0, 3, 1, 2, 4)) for x in (turned[..., -1, :], v)))


def _rotate(x, where):
  """x [B,G,T,K,R,C]: feature i turns with feature i + C/2."""
  cos, sin = (t[:, :, :, None, None] for t in (where.cos, where.sin))
  cos, sin = jnp.concatenate([cos, cos], -1), jnp.concatenate([-sin, sin], -1)
  return (x * cos + jnp.roll(x, x.shape[-1] // 2, -1) * sin).astype(x.dtype)


def attend(q: Array, own: KV, past: KV | None, where: Span, keys: str = 'sc') -> Array:
  """Softmax attention of q [B,K,G,R,T,C] over own and past keys together -> [B,K,G,R,T,C].

  keys: the order of the own keys' last axes; a decode cache keeps them 'cs', as its matmul reads
  them.
  """
  q = q / math.sqrt(q.shape[-1])
  scores = [_scores(f'bkgrtc,bkg{keys}->bkgrts', q, own.k, where.own[:, None, :, None])]
  if past is not None and where.past is not None:
    scores.append(_scores('bkgrtc,bkpc->bkgrtp', q, past.k, where.past[:, None, None, None, None]))
  top = scores[0].max(-1, keepdims=True)
  for s in scores[1:]:
    top = jnp.maximum(top, s.max(-1, keepdims=True))
  weights = [jnp.exp(s - jax.lax.stop_gradient(top)) for s in scores]
  out = jnp.einsum('bkgrts,bkgsc->bkgrtc', weights[0].astype(q.dtype), own.v)
  if past is not None:
    out += jnp.einsum('bkgrtp,bkpc->bkgrtc', weights[1].astype(q.dtype), past.v)
  return out / jnp.asarray(sum(w.sum(-1, keepdims=True) for w in weights), q.dtype)


def _scores(pattern, q, k, mask):
  return jnp.where(mask, jnp.einsum(pattern, q, k, preferred_element_type=jnp.float32), MASKED)


def project_in(weights: dict, x: Array, eps: float) -> Array:
  """x [M,D] -> queries, keys and values [M,K,R+2,C]."""
  w = weights['qkv']
  y = dense(rms_norm(x, weights['attention_norm'], eps), w.reshape(w.shape[0], -1))
  return y.reshape(-1, *w.shape[1:])


def project_out(weights: dict, x: Array, attended: list[Array], eps: float) -> Array:
  """The rest of the layer: attended, a list of [B,K,G,R,T,C], joins x [M,D]; then the MLP."""
  flat = [
    jnp.transpose(a, (0, 2, 4, 1, 3, 5)).reshape(-1, a.shape[1] * a.shape[3] * a.shape[5])
    for a in attended
  ]
  x = x + dense(jnp.concatenate(flat), weights['attention_out'].reshape(-1, x.shape[1]))
  w = weights['gate_up']
  h = dense(rms_norm(x, weights['mlp_norm'], eps), w.reshape(w.shape[0], -1))
  return x + dense(swiglu(h), weights['down'])
