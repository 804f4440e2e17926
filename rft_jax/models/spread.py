"""Where activations lie on a mesh: rows over its 'data' and 'fsdp' axes, widths over 'tensor'.

Without being told, the compiler may cut a product along the axis in which a weight is stored, and
then sum activations over all devices instead of gathering the weight.
"""

import jax
from jax.sharding import PartitionSpec

from rft_jax.types import Array

ROWS = 'data', 'fsdp'


def mesh_of_rows():
  """The mesh that is set and has the axes of `infra.parallel.Mesh`, else None."""
  mesh = jax.sharding.get_abstract_mesh()
  return mesh if {*ROWS, 'tensor'} <= set(mesh.axis_names) else None


def spread(x: Array, wide: int = 0) -> Array:
  """x [M,...] with its rows over the mesh that is set, and axis `wide`, if not 0, over 'tensor'; as
  it is without such a mesh, and where an axis does not divide."""
  mesh = mesh_of_rows()
  if mesh is None or x.shape[0] % rows_of(mesh):
    return x
  names: list = [ROWS] + [None] * (x.ndim - 1)
  if wide and x.shape[wide] % mesh.shape['tensor'] == 0:
    names[wide] = 'tensor'
  return jax.lax.with_sharding_constraint(x, PartitionSpec(*names))


def rows_of(mesh) -> int:
  """Into how many parts it cuts an axis of rows."""
  return mesh.shape['data'] * mesh.shape['fsdp']
