"""Placement: the same functions on one device, on all local devices (`pmap`), or on a mesh.

Arguments come in three kinds: 's' state, 'b' batch (its leading axis is cut into `shards`), 'r' the
same everywhere.
"""

import re
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from rft_jax.infra.memory import measured
from rft_jax.registry import ConfigError, nearest
from rft_jax.types import PyTree

Watch = Callable[[Any], None]

RULES = (
  (r'embed|lm_head', ('tensor', 'fsdp')),
  (r'qkv', (None, 'fsdp', 'tensor')),
  (r'experts_gate_up', (None, None, 'fsdp', None, 'tensor')),
  (r'experts_down', (None, None, 'tensor', 'fsdp')),
  (r'attention_out', (None, 'tensor', None, None, 'fsdp')),
  (r'gate_up', (None, 'fsdp', None, 'tensor')),
  (r'down', (None, 'tensor', 'fsdp')),
)
"""Parameter name -> mesh axis of each of its dimensions; optimiser moments follow the parameter
they belong to. A dimension that the axis does not divide stays whole.
"""


class Placement(Protocol):
  @property
  def axis(self) -> str | None: ...
  @property
  def shards(self) -> int: ...

  @property
  def devices(self) -> list: ...

  def compile(
    self, function: Callable, kinds: str, donate: bool = False, watch: Watch | None = None
  ) -> Callable:
    """donate: the state, its first argument, makes room for the new one. watch: see
    `infra.memory.measured`."""
    ...

  def home(self, name: str, shape: tuple[int, ...]) -> jax.sharding.Sharding: ...
  def put_state(self, state: PyTree) -> PyTree: ...
  def get_state(self, state: PyTree) -> PyTree: ...
  def put_batch(self, batch: PyTree) -> PyTree: ...
  def rows(self, batch: PyTree) -> PyTree: ...
  def scalars(self, metrics: PyTree) -> dict[str, float]: ...


class Pmap:
  """Every device holds the whole state and one part of the batch; gradients are summed over the
  axis 'data'."""

  axis = 'data'

  def __init__(self, devices: list):
    self.devices, self.shards = devices, len(devices)
    spread = jax.pmap(lambda _, x: x, in_axes=(0, None), devices=devices)
    self._replicate = lambda x: spread(jnp.arange(self.shards), x)

  def compile(self, function, kinds, donate=False, watch=None):
    mapped = jax.pmap(
      function,
      axis_name=self.axis,
      in_axes=tuple(None if k == 'r' else 0 for k in kinds),
      donate_argnums=(0,) if donate else (),
      devices=self.devices,
    )
    return measured(mapped, watch) if watch else mapped

  def home(self, name, shape):
    return SingleDeviceSharding(self.devices[0])

  def put_state(self, state):
    return self._replicate(state)

  def get_state(self, state):
    """The first device's copy, as ordinary arrays."""
    return jax.tree.map(lambda x: x[0], state)

  def put_batch(self, batch):
    return jax.tree.map(lambda x: np.asarray(x).reshape(self.shards, -1, *np.shape(x)[1:]), batch)

  def rows(self, batch):
    """A batch that a compiled function returned, on the host: [N, ...]."""
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), batch)

  def scalars(self, metrics):
    return {k: float(v[0]) for k, v in jax.device_get(metrics).items()}


class Mesh:
  """One program over a ('data', 'fsdp', 'tensor') mesh; the compiler inserts the communication."""

  axis = None

  def __init__(self, devices: list, fsdp: int = 1, tensor: int = 1):
    if len(devices) % (fsdp * tensor):
      raise ConfigError(
        f'parallel.fsdp={fsdp} x parallel.tensor={tensor} must divide the {len(devices)} devices'
      )
    shape = (len(devices) // (fsdp * tensor), fsdp, tensor)
    self.mesh = jax.sharding.Mesh(
      np.array(devices).reshape(shape), ('data', 'fsdp', 'tensor'), axis_types=(AxisType.Auto,) * 3
    )
    self.devices, self.shards = devices, shape[0] * fsdp

  def compile(self, function, kinds, donate=False, watch=None):
    compiled: dict[int, Callable] = {} if donate else {0: jax.jit(function)}

    def call(state, *rest):
      with jax.set_mesh(self.mesh):
        if not compiled:
          # The new state must lie where the old one did, or the next call compiles again.
          where = jax.tree.map(lambda x: x.sharding, state)
          jitted = jax.jit(function, donate_argnums=0, out_shardings=(where, None))
          compiled[0] = measured(jitted, watch) if watch else jitted
        return compiled[0](state, *rest)

    return call

  def put_state(self, state):
    return jax.tree.map_with_path(
      lambda path, x: jax.device_put(x, self.sharding(jax.tree_util.keystr(path), x.shape)), state
    )

  def home(self, name, shape):
    return self.sharding(f"['{name}']", shape)

  def sharding(self, path: str, shape: tuple[int, ...]) -> NamedSharding:
    """Where a leaf of the state lies, by its path's last matching name in RULES."""
    names = next((spec for pattern, spec in RULES if re.search(rf"'({pattern})'\]$", path)), ())
    names = [
      a if a and d % self.mesh.shape[a] == 0 else None for a, d in zip(names, shape, strict=False)
    ]
    return NamedSharding(self.mesh, PartitionSpec(*names))

  def get_state(self, state):
    return state

  def put_batch(self, batch):
    """Of several processes each gives its own rows."""
    where = NamedSharding(self.mesh, PartitionSpec(('data', 'fsdp')))
    if jax.process_count() == 1:
      return jax.device_put(batch, where)
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(where, np.asarray(x)), batch
    )

  def rows(self, batch):
    return jax.device_get(batch)

  def scalars(self, metrics):
    return {k: float(v) for k, v in jax.device_get(metrics).items()}


def make_placement(
  kind: str = 'auto', devices: int = 0, fsdp: int = 1, tensor: int = 1
) -> Placement:
  """From `config.parallel`. Raises ConfigError for an unknown kind or too many devices."""
  there = jax.devices()
  if devices > len(there):
    raise ConfigError(f'parallel.devices={devices}, but there are {len(there)}: {there}')
  used = there[: devices or len(there)]
  fsdp = fsdp or max(len(used) // tensor, 1)
  kinds = dict(pmap=lambda: Pmap(used), mesh=lambda: Mesh(used, fsdp, tensor))
  if kind == 'auto':
    kind = 'pmap' if len(used) > 1 and fsdp * tensor == 1 else 'mesh'
  if kind == 'pmap' and fsdp * tensor > 1:
    raise ConfigError(
      f"parallel.kind='pmap' copies the state to each device: parallel.fsdp={fsdp} and "
      f"parallel.tensor={tensor} must be 1, or use kind='mesh'"
    )
  if kind not in kinds:
    raise ConfigError(f'parallel.kind={kind!r}: {nearest(kind, [*kinds, "auto"])}')
  return kinds[kind]()
