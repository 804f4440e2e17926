"""Adapters on the device, ready for the next answers: the most recently asked for are kept."""

from collections.abc import Callable

import jax
import numpy as np

from rft_jax.models.config import ModelConfig
from rft_jax.models.lora import no_adapter
from rft_jax.types import PyTree

Load = Callable[[str, int], PyTree]
"""load(scope, version) -> its adapter: {'layers': matrix -> module -> a f32[L,D,r], b
f32[L,r,...]}. Raises LookupError or OSError where there is none."""


class Bank:
  """Keeps `config.lora.adapters` of them. An answer takes a copy when it begins, so any may go at
  any time. home: where they lie. For one thread only."""

  def __init__(self, config: ModelConfig, load: Load, home):
    assert config.lora is not None
    nothing = no_adapter(config)
    self.shapes = jax.tree.map(np.shape, nothing)
    self.load, self.home, self.room = load, home, config.lora.adapters
    self.dtype = jax.numpy.dtype(config.dtype)
    self.kept: dict[tuple[str, int], PyTree] = {}  # Least recently asked for first.
    self.nothing = jax.device_put(jax.tree.map(lambda x: x.astype(self.dtype), nothing), home)

  def get(self, scope: str, version: int) -> PyTree:
    """On the device, loaded if need be; version 0 changes nothing. Raises what `load` raises, and
    ValueError as `put` does."""
    if not version:
      return self.nothing
    key = scope, version
    if key not in self.kept:
      self.put(scope, version, self.load(scope, version))
    self.kept[key] = found = self.kept.pop(key)
    return found

  def put(self, scope: str, version: int, adapter: PyTree) -> None:
    """From now on, this is the version's adapter. Raises ValueError for one that does not fit or is
    not finite."""
    adapter = jax.tree.map(lambda x: np.asarray(x, np.float32), adapter)
    if jax.tree.map(np.shape, adapter) != self.shapes:
      raise ValueError(f'version {version} of {scope} has other modules or another rank')
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(adapter)):
      raise ValueError(f'version {version} of {scope} has numbers that are not finite')
    narrow = jax.tree.map(lambda x: x.astype(self.dtype), adapter)
    self.kept.pop((scope, version), None)
    self.kept[scope, version] = jax.device_put(narrow, self.home)
    if len(self.kept) > self.room:
      del self.kept[next(iter(self.kept))]

  def drop(self, scope: str) -> None:
    """Forgets all versions of a scope."""
    for key in [key for key in self.kept if key[0] == scope]:
      del self.kept[key]
