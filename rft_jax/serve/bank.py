"""Adapters on the device: a fixed number of rows that versions come and go in."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.models.config import ModelConfig
from rft_jax.models.lora import adapter_shapes
from rft_jax.models.transformer import UNROLL
from rft_jax.registry import ConfigError
from rft_jax.types import Array, PyTree

Load = Callable[[str, int], PyTree]
"""load(scope, version) -> its adapter: {'layers': matrix -> module -> a f32[L,D,r], b
f32[L,r,...]}. Raises LookupError or OSError where there is none."""


class NoRoom(Exception):
  """Every row is held: wait until an answer ends."""


class Bank:
  """Row 0 is always zero: no adapter. A row that is held is never written; of the others, the one
  that was not asked for the longest gives way. For one thread only.

  `arrays`: for each entry of `Decoder.memory` its adapters, matrix -> module -> a, b.
  """

  def __init__(self, config: ModelConfig, load: Load, home):
    lora = config.lora
    if lora is None or lora.adapters < 3:
      raise ConfigError('a bank needs model.lora.adapters >= 3: none, a global and a personal one')
    self.load, self.shapes, self.dtype = load, adapter_shapes(config), config.dtype
    self.deep = config.num_hidden_layers > UNROLL
    self.entries = 1 if self.deep else config.num_hidden_layers
    self.held = [0] * lora.adapters
    self.row_of: dict[tuple[str, int], int] = {}  # Least recently asked for first.
    self.free = list(range(1, lora.adapters))
    self._write = jax.jit(self._written, donate_argnums=0, out_shardings=home)
    self.arrays = jax.jit(self._empty, out_shardings=home)()

  def hold(self, scope: str, version: int) -> int:
    """The row of a version, which keeps it until `release`; it is loaded if need be. Raises NoRoom,
    and what `load` raises."""
    row = self.ensure(scope, version) if version else 0
    self.held[row] += 1
    return row

  def release(self, row: int) -> None:
    self.held[row] -= 1
    if row and not self.held[row] and row not in self.row_of.values():
      self.free.append(row)

  def ensure(self, scope: str, version: int) -> int:
    """The row of a version, which may give way later. Raises as `hold` does."""
    key = scope, version
    if key not in self.row_of:
      return self.put(scope, version, self.load(scope, version))
    self.row_of[key] = row = self.row_of.pop(key)
    return row

  def put(self, scope: str, version: int, adapter: PyTree) -> int:
    """The row that holds this adapter from now on. Raises NoRoom, and ValueError for one that does
    not fit or is not finite: it would spoil the answers of all."""
    adapter = self._checked(scope, version, adapter)
    self._forget((scope, version))
    row = self._room()
    self.arrays = self._write(self.arrays, np.int32(row), adapter)
    self.row_of[scope, version] = row
    return row

  def drop(self, scope: str) -> None:
    """Forgets all versions of a scope; answers that hold one keep it to their end."""
    for key in [key for key in self.row_of if key[0] == scope]:
      self._forget(key)

  def warm_up(self) -> None:
    """Compiles what writes a row."""
    nothing = jax.tree.map(lambda x: np.zeros(x, np.float32), self._own(), is_leaf=_is_shape)
    self.arrays = self._write(self.arrays, np.int32(0), {'layers': nothing})

  def counts(self) -> dict[str, int]:
    """How many rows are held by answers, are kept for later, or are free."""
    held = sum(n > 0 for n in self.held[1:])
    return dict(held=held, kept=len(self.held) - 1 - held - len(self.free), free=len(self.free))

  def _forget(self, key):
    row = self.row_of.pop(key, 0)
    if row and not self.held[row]:
      self.free.append(row)

  def _room(self) -> int:
    if not self.free:
      oldest = next((key for key, row in self.row_of.items() if not self.held[row]), None)
      if oldest is None:
        raise NoRoom
      self._forget(oldest)
    return self.free.pop()

  def _own(self):
    """The shapes of one adapter."""
    cut = lambda shape: (shape[0], *shape[2:])
    return jax.tree.map(cut, self.shapes, is_leaf=_is_shape)

  def _checked(self, scope, version, adapter):
    adapter = jax.tree.map(lambda x: np.asarray(x, np.float32), adapter)
    if jax.tree.map(np.shape, adapter) != {'layers': self._own()}:
      raise ValueError(
        f'version {version} of {scope} does not fit the model: other modules or rank'
      )
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(adapter)):
      raise ValueError(f'version {version} of {scope} has numbers that are not finite')
    return adapter

  def _empty(self) -> tuple[PyTree, ...]:
    zeros = lambda shape: jnp.zeros(shape if self.deep else shape[1:], self.dtype)
    one = lambda: jax.tree.map(zeros, self.shapes, is_leaf=_is_shape)
    return tuple(one() for _ in range(self.entries))

  def _written(self, arrays: tuple[PyTree, ...], row: Array, adapter: PyTree) -> tuple[PyTree, ...]:
    def put(number, bank, new):
      where = (slice(None), row) if self.deep else (row,)
      return bank.at[where].set((new if self.deep else new[number]).astype(bank.dtype))

    return tuple(
      jax.tree.map(functools.partial(put, number), bank, adapter['layers'])
      for number, bank in enumerate(arrays)
    )


def rows_of(arrays: tuple[PyTree, ...], rows: Array, deep: bool) -> tuple[PyTree, ...]:
  """The bank with only some of its rows."""
  return jax.tree.map(lambda x: jnp.take(x, rows, int(deep)), arrays)


def _is_shape(x) -> bool:
  return isinstance(x, tuple)
