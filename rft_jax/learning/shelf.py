"""Versions on disk: a directory each, there as a whole or not at all, and proved before it is used.

global/v3/          u-<user id>/v12/
  adapter.safetensors  opt.safetensors  manifest.json
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from rft_jax.feedback.ids import is_id
from rft_jax.feedback.records import GLOBAL, Batch, Version, of_user
from rft_jax.infra.durable import making, remove, sync_names, write_file
from rft_jax.types import PyTree

PARTS = ('adapter', 'opt')
MANIFEST = 'manifest.json'


class Damaged(LookupError):
  """The files of a version are missing, incomplete, or not those that were written."""


class Shelf:
  """The directories of all versions under `folder`; `like` is a State of the right shape."""

  def __init__(self, folder: str | os.PathLike, like: PyTree):
    self.folder, self.like = Path(folder), like

  def home(self, scope: str) -> Path:
    """The directory of a scope. ValueError for what is no scope, so that no name is a path."""
    if scope == GLOBAL:
      return self.folder / GLOBAL
    user_id = scope.removeprefix('u:')
    if scope != of_user(user_id) or not is_id(user_id):
      raise ValueError(f'{scope!r} is neither global nor u:<user id>')
    return self.folder / f'u-{user_id}'

  def path(self, scope: str, version: int) -> Path:
    return self.home(scope) / f'v{version}'

  def name(self, scope: str, version: int) -> str:
    """The path as the ledger keeps it: the folder may move."""
    return str(self.path(scope, version).relative_to(self.folder))

  def write(self, batch: Batch, state: PyTree, metrics: dict[str, Any]) -> str:
    """Makes the result of a batch durable; the sha256 of its manifest. OSError from the disk."""
    contents = {f'{part}.safetensors': packed(state[part]) for part in PARTS}
    manifest = {
      'batch_id': batch.id,
      'scope': batch.scope,
      'version': batch.version,
      'parent': batch.parent_version,
      'base_version': batch.base_version,
      'rng_seed': batch.rng_seed,
      'seqs': [item.event.seq for item in batch.items if item.role == 'new'],
      'sha256': {name: digest(data) for name, data in contents.items()},
      'metrics': metrics,
    }
    contents[MANIFEST] = json.dumps(manifest, indent=1).encode()
    self.place(self.path(batch.scope, batch.version), contents)
    return digest(contents[MANIFEST])

  def place(self, final: Path, contents: dict[str, bytes]):
    """A directory with these files, in one step: what a crash leaves has another name."""
    final.parent.mkdir(parents=True, exist_ok=True)
    sync_names(self.folder)
    remove(final)
    with making(final) as scratch:
      scratch.mkdir()
      for name, data in contents.items():
        write_file(scratch / name, data)

  def candidate(self, batch: Batch) -> tuple[str, dict[str, Any]] | None:
    """(sha256, metrics) where a claimed batch has its files already, whole and its own."""
    try:
      manifest = self.manifest(batch.scope, batch.version)
      said = parsed(manifest)
      if said['batch_id'] != batch.id:
        return None
      self.read(batch.scope, batch.version, digest(manifest))
    except Damaged:
      return None
    return digest(manifest), said['metrics']

  def read(self, scope: str, version: int, sha256: str) -> PyTree:
    """The State of a version, bit for bit. Damaged where it is not what `sha256` stands for."""
    manifest = self.manifest(scope, version, sha256)
    return {part: self.part(scope, version, part, manifest) for part in PARTS}

  def adapter(self, scope: str, version: int, sha256: str) -> PyTree:
    """The adapter of a version alone. Raises Damaged."""
    return self.part(scope, version, 'adapter', self.manifest(scope, version, sha256))

  def part(self, scope: str, version: int, part: str, manifest: bytes) -> PyTree:
    name = f'{part}.safetensors'
    data = read_file(self.path(scope, version) / name)
    if digest(data) != parsed(manifest)['sha256'][name]:
      raise Damaged(f'{name} of version {version} of {scope} is not what was written')
    return unpacked(data, self.like[part])

  def manifest(self, scope: str, version: int, sha256: str | None = None) -> bytes:
    data = read_file(self.path(scope, version) / MANIFEST)
    if sha256 is not None and digest(data) != sha256:
      raise Damaged(f'the manifest of version {version} of {scope} is not what was written')
    return data

  def whole(self, version: Version) -> bool:
    """Whether all files of a version are there, without reading them."""
    folder = self.path(version.scope, version.version)
    try:
      self.manifest(version.scope, version.version, version.sha256)
    except Damaged:
      return False
    return all((folder / f'{part}.safetensors').is_file() for part in PARTS)

  def numbers(self, scope: str) -> list[int]:
    """The versions of a scope that have a directory, in order."""
    found = self.home(scope).glob('v*') if self.home(scope).is_dir() else ()
    return sorted(int(path.name[1:]) for path in found if path.name[1:].isdigit())

  def prune(self, scope: str, keep: Collection[int], last: int):
    """Removes all but the newest `last` versions and those in `keep`; the log can rebuild them."""
    numbers = self.numbers(scope)
    for number in set(numbers[:-last]) - set(keep):
      self.discard(scope, number)

  def discard(self, scope: str, version: int):
    """Removes a version, first its name, so that no half of it is ever found."""
    path = self.path(scope, version)
    doomed = path.with_name(path.name + '.tmp')
    remove(doomed)
    if path.exists():
      path.rename(doomed)
      remove(doomed)

  def tidy(self):
    """Removes what a crash left half written or half removed. Nothing may be written meanwhile."""
    for stale in self.folder.glob('*/*.tmp'):
      remove(stale)

  def forget(self, scope: str):
    """Removes everything of a scope, durably."""
    if self.home(scope).exists():
      remove(self.home(scope))
      sync_names(self.folder)


def packed(tree: PyTree) -> bytes:
  """A pytree of arrays as safetensors, the same bytes for the same bits."""
  return save({name: np.asarray(leaf, order='C') for name, leaf in named(tree)})


def unpacked(data: bytes, like: PyTree) -> PyTree:
  """The pytree back, as NumPy arrays; shapes and dtypes must be those of `like`."""
  try:
    found = load(data)
  except SafetensorError as error:
    raise Damaged(f'not safetensors: {error}') from error
  form = lambda leaf: (np.shape(leaf), np.asarray(leaf).dtype)
  for name, leaf in named(like):
    if name not in found or form(found[name]) != form(leaf):
      raise Damaged(f'{name} is missing or has another shape: the adapters are of another config')
  return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name, _ in named(like)])


def named(tree: PyTree) -> Iterable[tuple[str, Any]]:
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return [(jax.tree_util.keystr(p, simple=True, separator='/'), leaf) for p, leaf in leaves]


def digest(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()


def parsed(manifest: bytes) -> dict[str, Any]:
  """Raises Damaged for what is no manifest."""
  try:
    found = json.loads(manifest)
    if {'batch_id', 'metrics'} <= found.keys() and {f'{p}.safetensors' for p in PARTS} <= found[
      'sha256'
    ].keys():
      return found
  except (ValueError, LookupError, AttributeError):
    pass
  raise Damaged('its manifest is damaged')


def read_file(path: Path) -> bytes:
  try:
    return path.read_bytes()
  except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
    raise Damaged(f'{path.parent.name}/{path.name} is missing') from None
