"""Where activations lie on a mesh: rows over its 'data' and 'fsdp' axes, widths over 'tensor'.

Without being told, the compiler may cut a product along the axis in which a weight is stored, and
then sum activations over all devices instead of gathering the weight.
"""

import jax
from jax.sharding import PartitionSpec

from rft_jax.types import Array

ROWS = 'data', 'fsdp'


def spread(x: Array, wide: int = 0) -> Array:
  """x [M,...] with its rows over the mesh that is set, and axis `wide`, if not 0, over 'tensor'; as
  it is without such a mesh, and where an axis does not divide."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or not {*ROWS, 'tensor'} <= set(mesh.axis_names):
    return x
  if x.shape[0] % (mesh.shape['data'] * mesh.shape['fsdp']):
    return x
  names: list = [ROWS] + [None] * (x.ndim - 1)
  if wide and x.shape[wide] % mesh.shape['tensor'] == 0:
    names[wide] = 'tensor'
  return jax.lax.with_sharding_constraint(x, PartitionSpec(*names))
