"""Who sees whom, and attention itself.

Attention keeps heads major and groups together, `[B,K,G,R,T,C]` (R = H / K query heads per kv
head): its two matmuls, with a row's own keys and with the keys of the prompt that its group shares,
then need no transposition.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from rft_jax.models import kernels
from rft_jax.models.config import ModelConfig
from rft_jax.models.rope import frequencies
from rft_jax.types import Array

MASKED = -1e30
"""A finite minus infinity: rows that may attend to nothing get garbage, not NaN."""


class KV(NamedTuple):
  """Keys and values of a layer: [B,K,P,C] of a shared prompt, [B,K,G,S,C] of what follows it."""

  k: Array
  v: Array


class View(NamedTuple):
  """How one kind of attention sees: cos, sin f32[B,G,T,C'/2], rotary angles of the tokens'
  positions, of the C' features that are turned (None without); own bool[B,G,T,S] and past
  bool[B,G or 1,T or 1,P], the keys that a token sees."""

  cos: Any
  sin: Any
  own: Array
  past: Array | None


class Span(struct.PyTreeNode):
  """Tokens [B,G,T] that are laid out together, and one View for each of the model's kinds.

  positions i32[B,G,T]. texts i32[B,G,T] and past_texts i32[B,P]: the number of the text that a key
  belongs to, 0 for padding; None while decoding.
  """

  positions: Array
  views: tuple[View, ...]
  texts: Array | None = None
  past_texts: Array | None = None

  def view(self, kind) -> View:
    """kind: the index of a kind, perhaps traced."""
    if len(self.views) == 1 or isinstance(kind, int):
      return self.views[int(kind) if len(self.views) > 1 else 0]
    choose = lambda *x: jax.lax.select_n(kind, *jnp.broadcast_arrays(*x))
    return jax.tree.map(choose, *self.views)


def read_span(c: ModelConfig, valid: Array, past: Array | None = None) -> Span:
  """Tokens that are read at once: valid bool (or numbers of texts) [B,G,T] of tokens that follow a
  prompt whose valid tokens are past bool[B,P]."""
  before = 0 if past is None else past.sum(1)[:, None, None]
  positions = before + positions_of(valid)
  views = _views(c, positions, causal(valid), positions, past)
  texts = valid.astype(jnp.int32)
  return Span(positions, views, texts, None if past is None else past.astype(jnp.int32))


def decode_span(
  c: ModelConfig, shape: tuple[int, int], index: Array, size: int, past: Array | None
) -> Span:
  """The token number `index`, i32[] or i32[B], after each of the prompts past bool[B,P], in rows
  [B,G] with room for `size` tokens; None: the rows hold all there is."""
  before = 0 if past is None else past.sum(1)[:, None, None]
  index = jnp.reshape(index, (-1, 1, 1))
  positions = jnp.broadcast_to(before + index, (*shape, 1))
  keys = jnp.broadcast_to(before + jnp.arange(size), (*shape, size))
  own = jnp.broadcast_to(jnp.arange(size) <= index[..., None], (*shape, 1, size))
  return Span(positions, _views(c, positions, own, keys, past))


def _views(c: ModelConfig, positions, own, key_positions, past) -> tuple[View, ...]:
  return tuple(_view(c, kind, positions, own, key_positions, past) for kind in c.kinds)


def _view(c, kind, positions, own, key_positions, past):
  cos, sin = _angles(c, kind, positions)
  near = lambda keys: positions[..., None] - keys[..., None, :] < c.sliding_window
  if kind.sliding:
    own &= near(key_positions)
  if past is not None:
    before, past = positions_of(past)[:, None], past[:, None, None]
    past = past & near(before) if kind.sliding else past
  return View(cos, sin, own, past)


def _angles(c, kind, positions):
  """In float32 whatever the model's dtype."""
  if c.family.positions != 'rope':
    return None, None
  turns, scale = frequencies(c, kind)
  angles = positions[..., None].astype(jnp.float32) * turns
  return jnp.cos(angles) * scale, jnp.sin(angles) * scale


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


def rotate(x: Array, view: View, interleaved: bool = False) -> Array:
  """x [B,G,T,K,R,C]: of the first C' features, those that are turned, i turns with i + C'/2, or
  `interleaved` 2i with 2i + 1."""
  if view.cos is None or view.sin is None:
    return x
  cos, sin = (t[:, :, :, None, None] for t in (view.cos, view.sin))
  width = 2 * cos.shape[-1]
  if width < x.shape[-1]:
    turned, rest = jnp.split(x, [width], -1)
    return jnp.concatenate([rotate(turned, view, interleaved), rest], -1)
  if interleaved:
    pairs = lambda a, b: jnp.stack([a, b], -1).reshape(*a.shape[:-1], width)
    other = pairs(x[..., 1::2], x[..., ::2])
  else:
    pairs = lambda a, b: jnp.concatenate([a, b], -1)
    other = jnp.roll(x, width // 2, -1)
  return (x * pairs(cos, cos) + other * pairs(-sin, sin)).astype(x.dtype)


def attend(
  c: ModelConfig, q: Array, own: KV, past: KV | None, span: Span, view: View, keys: str = 'sc'
) -> Array:
  """Softmax attention of q [B,K,G,R,T,C] over own and past keys together -> [B,K,G,R,T,C].

  keys: the order of the own keys' last axes; a decode cache keeps them 'cs', as its matmul reads
  them.
  """
  if keys == 'sc' and (kernel := kernels.choose(c, q, own, past)):
    return kernel(c, q, own, past, span, view)
  q = q * jnp.asarray(c.scale, q.dtype)
  scores = [_scores(c, f'bkgrtc,bkg{keys}->bkgrts', q, own.k, view.own[:, None, :, None])]
  if past is not None and view.past is not None:
    scores.append(_scores(c, 'bkgrtc,bkpc->bkgrtp', q, past.k, view.past[:, None, :, None]))
  top = scores[0].max(-1, keepdims=True)
  for s in scores[1:]:
    top = jnp.maximum(top, s.max(-1, keepdims=True))
  weights = [jnp.exp(s - jax.lax.stop_gradient(top)) for s in scores]
  out = jnp.einsum('bkgrts,bkgsc->bkgrtc', weights[0].astype(q.dtype), own.v)
  if past is not None:
    out += jnp.einsum('bkgrtp,bkpc->bkgrtc', weights[1].astype(q.dtype), past.v)
  return out / jnp.asarray(sum(w.sum(-1, keepdims=True) for w in weights), q.dtype)


def _scores(c, pattern, q, k, mask):
  scores = jnp.einsum(pattern, q, k, preferred_element_type=jnp.float32)
  if c.attn_logit_softcapping:
    scores = c.attn_logit_softcapping * jnp.tanh(scores / c.attn_logit_softcapping)
  return jnp.where(mask, scores, MASKED)
