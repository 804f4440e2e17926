"""The files of a checkpoint: JSON objects, and tensors by name. Whatever is wrong with one is a
HubError that names it."""

import json
import os
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from rft_jax.registry import UserError

INDEX, SINGLE = 'model.safetensors.index.json', 'model.safetensors'
FLOATS = 'F64', 'F32', 'BF16', 'F16'


class HubError(UserError):
  """A checkpoint that cannot be read: one line with the place, the reason and the way out."""


def json_object(file: str) -> dict[str, Any]:
  """Raises HubError for what is no JSON object."""
  try:
    with open(file, encoding='utf-8-sig') as text:
      found = json.load(text)
  except (ValueError, OSError, RecursionError) as error:
    raise HubError(f'{file} cannot be read ({error}): mend it, or fetch it again') from error
  if not isinstance(found, dict):
    raise HubError(f'{file} holds {str(found)[:40]!r}, not an object: mend it, or fetch it again')
  return found


def safetensors_of(directory: str, file: str) -> dict[str, np.ndarray]:
  """All tensors of one small file."""
  path = os.path.join(directory, file)
  if not os.path.isfile(path):
    raise HubError(f'{directory} has no {file}: fetch it again')
  try:
    with safe_open(path, framework='numpy') as opened:
      return {name: opened.get_tensor(name) for name in opened.keys()}
  except (SafetensorError, OSError) as error:
    raise HubError(f'{path} is damaged ({error}): fetch it again') from error


class Tensors:
  """The tensors of a directory of safetensors, by name; read when asked for."""

  def __init__(self, directory: str):
    self.directory, self.opened = directory, {}
    self.files: dict[str, str] = {}
    if os.path.isfile(os.path.join(directory, SINGLE)):  # it decides in transformers, too
      self.files = dict.fromkeys(self._open(SINGLE).keys(), SINGLE)
    elif os.path.isfile(os.path.join(directory, INDEX)):
      self.files = _shards(os.path.join(directory, INDEX))
    else:
      raise HubError(
        f'{directory} has no {SINGLE}, nor {INDEX}: other formats are not read; load them in '
        'transformers, and save_pretrained writes these'
      )
    for file in sorted(set(self.files.values())):
      there = set(self._open(file).keys())
      if lost := next((n for n, f in self.files.items() if f == file and n not in there), None):
        raise HubError(f'{directory}/{file} lacks {lost}, which {INDEX} puts there: fetch it again')

  def shape(self, name: str) -> tuple[int, ...]:
    return tuple(self._slice(name).get_shape())

  def dtype(self, name: str) -> str:
    """As the file spells it, such as 'BF16'."""
    return self._slice(name).get_dtype()

  def __getitem__(self, name: str) -> np.ndarray:
    return self._open(self.files[name]).get_tensor(name)

  def _slice(self, name: str) -> Any:
    return self._open(self.files[name]).get_slice(name)

  def _open(self, file: str) -> Any:
    path = os.path.join(self.directory, file)
    if file not in self.opened:
      if not os.path.isfile(path):
        raise HubError(f'{self.directory} lacks {file}, one of its shards: fetch it again')
      try:
        self.opened[file] = safe_open(path, framework='numpy').__enter__()
      except (SafetensorError, OSError) as error:
        raise HubError(f'{path} is damaged ({error}): fetch it again') from error
    return self.opened[file]


def _shards(index: str) -> dict[str, str]:
  """Tensor -> its file."""
  found = json_object(index).get('weight_map')
  if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
    raise HubError(f'{index}: weight_map must name the file of each tensor: fetch it again')
  return found
