"""Low-rank adapters: which modules have them, how they begin, and how they join the weights.

They lie beside the decoder's parameters: matrix -> module -> a f32[L,A,D,r], b f32[L,A,r,...], for
A adapters. An adapter begins with b = 0, which changes nothing.
"""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.models.config import ModelConfig
from rft_jax.models.shapes import MATRICES, matrix_shapes, parts
from rft_jax.registry import ConfigError
from rft_jax.types import Array, PyTree


def adapter_shapes(c: ModelConfig) -> dict[str, dict[str, dict[str, tuple[int, ...]]]]:
  """Matrix -> module -> the shapes of a and b. Raises ConfigError where no module matches."""
  lora, found = c.lora, {}
  assert lora is not None
  shapes, modules = matrix_shapes(c), []
  for name in MATRICES:
    for module, size in parts(c, name) if name in shapes else ():
      modules.append(module)
      if not re.search(lora.targets, module):
        continue
      _, inputs, outputs = shapes[name]
      own = (*outputs[:-2], size, outputs[-1]) if size else outputs
      lead = c.num_hidden_layers, lora.adapters
      a = *lead, math.prod(inputs), lora.rank
      found.setdefault(name, {})[module] = dict(a=a, b=(*lead, lora.rank, *own))
  if not found:
    raise ConfigError(
      f'model.lora.targets={lora.targets!r} matches none of the modules {", ".join(modules)}'
    )
  return found


def no_adapter(c: ModelConfig) -> PyTree:
  """One adapter that changes nothing, without the axis A: a f32[L,D,r], b f32[L,r,...], zeros on
  the host."""
  cut = lambda shape: np.zeros((shape[0], *shape[2:]), np.float32)
  return {'layers': jax.tree.map(cut, adapter_shapes(c), is_leaf=lambda x: isinstance(x, tuple))}


def init_adapters(c: ModelConfig, rng: Array) -> PyTree:
  """{'layers': matrix -> module -> a, b}: a uniform as PEFT draws it (Kaiming, a = sqrt 5), b 0."""
  shapes, is_shape = adapter_shapes(c), lambda x: isinstance(x, tuple)
  leaves, tree = jax.tree.flatten_with_path(shapes, is_leaf=is_shape)

  def leaf(path, shape, key):
    if path[-1].key == 'b':
      return jnp.zeros(shape)
    return jax.random.uniform(key, shape, minval=-1, maxval=1) * shape[-2] ** -0.5

  keys = jax.random.split(rng, len(leaves))
  found = [leaf(path, shape, key) for (path, shape), key in zip(leaves, keys, strict=True)]
  return {'layers': jax.tree.unflatten(tree, found)}


def merge(c: ModelConfig, params: PyTree, adapters: PyTree, amount: Array, sign: int = 1) -> PyTree:
  """The decoder's parameters with so much f32[A] of each adapter added; sign=-1 takes them off."""
  layers = {
    name: (params[name] + sign * _delta(c, name, modules, amount)).astype(params[name].dtype)
    for name, modules in adapters['layers'].items()
  }
  return params | layers


def _delta(c: ModelConfig, name: str, modules: dict, amount: Array) -> Array:
  """The matrix that all adapters add, in the shape of the parameter."""
  assert c.lora is not None
  _, inputs, outputs = matrix_shapes(c)[name]
  layers, found = c.num_hidden_layers, []
  for module, size in parts(c, name):
    if module not in modules:
      found.append(jnp.zeros((layers, math.prod(inputs), *outputs[:-2], size, outputs[-1])))
      continue
    a, b = (modules[module][k].astype(jnp.float32) for k in 'ab')
    share = a * amount[:, None, None] * c.lora.scale
    found.append(jnp.einsum('ladr,lar...->ld...', share, b))
  whole = found[0] if len(found) == 1 else jnp.concatenate(found, -2)
  return whole.reshape(layers, *inputs, *outputs)
