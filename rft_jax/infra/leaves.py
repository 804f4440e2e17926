"""What a checkpoint asks of the leaves of a pytree, and of JSON."""

import contextlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.types import PyTree


def storable(leaf: Any) -> Any:
  """A jax array as it is, everything else as NumPy."""
  return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def abstract(leaf: Any) -> Any:
  """Shape, dtype and home of a leaf, by default the first device; NumPy stays NumPy."""
  if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
    return np.asarray(leaf)
  home = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=home)


def shapes(tree: PyTree) -> dict[str, str]:
  """'path/of/leaf' -> 'float32[2,3]'."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  name = lambda path: jax.tree_util.keystr(path, simple=True, separator='/')
  return {name(path): shape(leaf) for path, leaf in leaves}


def shape(leaf: Any) -> str:
  """'float32[2,3]'; a typed key is the words that it consists of, which is how it is stored."""
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    leaf = jax.eval_shape(jax.random.key_data, leaf)
  return f'{np.dtype(leaf.dtype).name}[{",".join(map(str, leaf.shape))}]'


def plain(data: dict) -> dict:
  """A copy of `data` as JSON returns it. ValueError names an entry that would change."""
  for name, value in data.items():
    with contextlib.suppress(TypeError, ValueError):
      if isinstance(name, str) and json.loads(json.dumps(value)) == value:
        continue
    raise ValueError(
      f'data[{name!r}] = {str(value)[:80]} does not survive JSON: '
      'use numbers, text, lists, and dicts with text keys'
    )
  return json.loads(json.dumps(data))
