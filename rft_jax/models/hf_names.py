"""Where each of our parameters lies in a Hugging Face checkpoint, and in which form.

A parameter of a layer is fused from a few tensors, whose matrices are stored [out, in] (those of
families that are `transposed`, [in, out]).
"""

import math
from typing import Any

import numpy as np

from rft_jax.models.config import ModelConfig
from rft_jax.models.shapes import layer_shapes, matrix_shapes, parts


def top_names(c: ModelConfig) -> dict[str, str]:
  """Our parameter outside the layers -> its tensor."""
  found = dict(embed='weight', final_norm='weight')
  if c.family.norm == 'layer':
    found['final_norm_bias'] = 'bias'
  if c.family.positions == 'learned':
    found['positions'] = 'weight'
  if not c.tie_word_embeddings:
    found['lm_head'] = 'weight'
  return {k: f'{c.family.names[k.removesuffix("_bias")]}.{end}' for k, end in found.items()}


def layer_names(c: ModelConfig, name: str, layer: int) -> list[str]:
  """The tensors that parameter `name` of a layer is fused from."""
  end = 'bias' if name.endswith('_bias') else 'weight'
  modules = c.family.names[name.removesuffix('_bias')]
  modules = [modules] if isinstance(modules, str) else list(modules)
  if name.startswith('experts'):
    modules = [m.format(e) for e in range(c.num_experts) for m in modules]
  return [f'{c.family.names["layers"]}.{layer}.{module}.{end}' for module in modules]


def fuse(c: ModelConfig, name: str, tensors: list[Any]) -> Any:
  """The tensors of a layer -> its parameter."""
  shape = layer_shapes(c)[name][1]
  matrix = name.removesuffix('_bias')
  if matrix not in matrix_shapes(c):
    return tensors[0].reshape(shape)
  if name.startswith('experts'):
    each = len(tensors) // c.num_experts
    rows = [tensors[i : i + each] for i in range(0, len(tensors), each)]
    halves = [np.stack([t.swapaxes(-1, -2) for t in row], -2) for row in rows]
    return np.stack(halves).reshape(shape)
  if not name.endswith('_bias') and not c.family.transposed:
    tensors = [t.swapaxes(-1, -2) for t in tensors]
  return fuse_outputs(c, matrix, tensors).reshape(shape)


def unfuse(c: ModelConfig, name: str, value: Any) -> list[Any]:
  """The parameter of a layer -> its tensors, as they are stored."""
  matrix = name.removesuffix('_bias')
  if matrix not in matrix_shapes(c):
    return [value.reshape(-1)]
  if name.startswith('experts'):
    each = value if value.ndim == 4 else value[:, :, None]
    return [half.swapaxes(-1, -2) for one in each for half in np.moveaxis(one, -2, 0)]
  _, inputs, outputs = matrix_shapes(c)[matrix]
  lead = () if name.endswith('_bias') else (math.prod(inputs),)
  found = unfuse_outputs(c, matrix, value.reshape(*lead, *outputs))
  if lead and not c.family.transposed:
    found = [t.swapaxes(-1, -2) for t in found]
  return found


def fuse_outputs(c: ModelConfig, matrix: str, tensors: list[Any]) -> Any:
  """Modules' outputs [..., out] each -> [..., *output axes]."""
  outputs = matrix_shapes(c)[matrix][2]
  if len(outputs) == 1:
    return tensors[0]
  sizes = _sizes(c, matrix)
  if len(tensors) < len(sizes):  # stored as one matrix, side by side
    width = outputs[0] * outputs[-1] if matrix == 'qkv' else outputs[-1]
    ends = np.cumsum([width * size for size in sizes])[:-1]
    tensors = np.split(tensors[0], ends, -1)
  shape = lambda t, size: t.reshape(*t.shape[:-1], *outputs[:-2], size, outputs[-1])
  return np.concatenate([shape(t, n) for t, n in zip(tensors, sizes, strict=True)], -2)


def unfuse_outputs(c: ModelConfig, matrix: str, value: Any) -> list[Any]:
  """[..., *output axes] -> the modules' outputs [..., out]."""
  outputs = matrix_shapes(c)[matrix][2]
  if len(outputs) == 1:
    return [value]
  lead = value.shape[: value.ndim - len(outputs)]
  pieces = np.split(value, np.cumsum(_sizes(c, matrix))[:-1], -2)
  found = [piece.reshape(*lead, -1) for piece in pieces]
  return found if len(parts(c, matrix)) == len(found) else [np.concatenate(found, -1)]


def _sizes(c: ModelConfig, matrix: str) -> tuple[int, ...]:
  return (c.repeat, 1, 1) if matrix == 'qkv' else (1,) * matrix_shapes(c)[matrix][2][0]
