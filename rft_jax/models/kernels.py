"""Attention kernels of the vendors, for the passes that read whole rows; the plain form in
`models.attention` serves everything else, and computes the same.

'auto' takes cuDNN on NVIDIA GPUs and splash attention on TPUs, where the shapes suit them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from rft_jax.models.config import ModelConfig
from rft_jax.models.spread import ROWS, mesh_of_rows, rows_of

BLOCK = 128
"""Splash attention works on blocks of so many tokens and features."""


def choose(c: ModelConfig, q, own, past):
  """The kernel for q [B,K,G,R,T,C], None for the plain form."""
  kind = c.attention
  if kind == 'auto':
    kind = dict(gpu='cudnn', cuda='cudnn', tpu='splash').get(jax.default_backend(), 'xla')
  fits = dict(cudnn=_cudnn_fits, splash=_splash_fits).get(kind)
  return dict(cudnn=fused, splash=splash)[kind] if fits and fits(c, q, own, past) else None


def _cudnn_fits(c, q, own, past):
  """Half precision, even lengths, head widths in eights up to 128, and no cap on the scores."""
  width, length = q.shape[-1], 0 if past is None else past.k.shape[2]
  even = q.shape[4] % 2 == 0 and length % 2 == 0
  capped = bool(c.attn_logit_softcapping)
  return q.dtype == jnp.bfloat16 and even and width % 8 == 0 and width <= 128 and not capped


def _splash_fits(c, q, own, past):
  """Whole blocks, and one mask for all layers."""
  length = 0 if past is None else past.k.shape[2]
  sizes = q.shape[4], q.shape[5], length
  return len({kind.sliding for kind in c.kinds}) == 1 and not any(size % BLOCK for size in sizes)


def fused(c: ModelConfig, q, own, past, span, view, implementation: Any = 'cudnn'):
  """`jax.nn.dot_product_attention` over the prompt's keys and a row's own, side by side."""
  b, _, g, _, t, _ = q.shape
  k, v = (_joined(x, y, g) for x, y in _pairs(own, past))
  mask = view.own
  if past is not None:
    seen = jnp.broadcast_to(view.past, (b, g, t, view.past.shape[-1]))
    mask = jnp.concatenate([seen, mask], -1)
  rows = lambda x: x.transpose(0, 2, 3, 1, 4).reshape(b * g, x.shape[3], x.shape[1], x.shape[4])
  queries = q.transpose(0, 2, 4, 1, 3, 5).reshape(b * g, t, -1, q.shape[-1])
  out: Any = jax.nn.dot_product_attention(
    queries,
    rows(k),
    rows(v),
    mask=mask.reshape(b * g, 1, t, -1),
    scale=c.scale,
    implementation=implementation,
  )
  out = out.reshape(b, g, t, q.shape[1], q.shape[3], q.shape[5])
  return out.transpose(0, 3, 1, 4, 2, 5)


def splash(c: ModelConfig, q, own, past, span, view, interpret=False):
  """Splash attention: causality (or a window) is compiled in, padding and packing are segments.

  The compiler cannot cut a kernel: on a mesh each device runs it on its own prompts and heads.
  """
  run = functools.partial(_splash, c, interpret)
  args = q, own, past, span.texts, span.past_texts
  mesh = mesh_of_rows()
  if mesh is None:
    return run(*args)
  rows = ROWS if q.shape[0] % rows_of(mesh) == 0 else None
  heads = 'tensor' if q.shape[1] % mesh.shape['tensor'] == 0 else None
  whole, of_rows = PartitionSpec(rows, heads), PartitionSpec(rows)
  cut = jax.shard_map(
    run, in_specs=(whole, whole, whole, of_rows, of_rows), out_specs=whole, check_vma=False
  )
  return cut(*args)


def _splash(c, interpret, q, own, past, texts, past_texts):
  from jax.experimental.pallas.ops.tpu.splash_attention import SegmentIds

  b, kv, g, repeat, t, width = q.shape
  k, v = (_joined(x, y, g) for x, y in _pairs(own, past))
  seen = texts
  if past is not None:
    before = jnp.broadcast_to(past_texts[:, None], (b, g, past_texts.shape[-1]))
    seen = jnp.concatenate([before, texts], -1)
  kernel = _splash_kernel(
    kv * repeat,
    t,
    k.shape[3],
    c.sliding_window if c.kinds[0].sliding else 0,
    c.attn_logit_softcapping or None,
    interpret,
  )
  heads = lambda x: jnp.repeat(x.transpose(0, 2, 1, 3, 4), repeat, 2).reshape(
    b * g, kv * repeat, x.shape[3], x.shape[4]
  )
  queries = q.transpose(0, 2, 1, 3, 4, 5).reshape(b * g, kv * repeat, t, width)
  out: Any = jax.vmap(kernel)(
    queries * jnp.asarray(c.scale, q.dtype),
    heads(k),
    heads(v),
    SegmentIds(texts.reshape(b * g, -1), seen.reshape(b * g, -1)),
  )
  out = out.reshape(b, g, kv, repeat, t, width)
  return out.transpose(0, 2, 1, 3, 4, 5).astype(q.dtype)


def _splash_kernel(heads, queries, keys, window, cap, interpret):
  from jax.experimental.pallas.ops.tpu import splash_attention as library

  shape, offset = (queries, keys), keys - queries
  seen = (
    library.LocalMask(shape, (window - 1, 0), offset)
    if window
    else library.CausalMask(shape, offset)
  )
  return library.make_splash_mha(
    library.MultiHeadMask([seen] * heads),
    head_shards=1,
    q_seq_shards=1,
    attn_logits_soft_cap=cap,
    interpret=interpret,
  )


def _pairs(own, past):
  return ((own.k, past and past.k), (own.v, past and past.v))


def _joined(own, past, groups):
  """A row's keys [B,K,G,S,C] behind those of its prompt [B,K,P,C]."""
  if past is None:
    return own
  shared = jnp.broadcast_to(past[:, :, None], (*past.shape[:2], groups, *past.shape[2:]))
  return jnp.concatenate([shared, own], 3)
