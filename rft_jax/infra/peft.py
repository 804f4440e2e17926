"""Adapter directories as PEFT writes them: `adapter_config.json`, `adapter_model.safetensors`."""

import json
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save as save_bytes
from safetensors.numpy import save_file

from rft_jax.infra import durable
from rft_jax.infra.hub import HubError, safetensors_of
from rft_jax.models.config import ModelConfig
from rft_jax.models.hf_names import fuse_outputs, unfuse_outputs
from rft_jax.models.lora import adapter_shapes
from rft_jax.types import PyTree

METADATA = {'format': 'pt'}
CONFIG, WEIGHTS = 'adapter_config.json', 'adapter_model.safetensors'
PLAIN = dict(
  alpha_pattern={},
  bias='none',
  layers_pattern=None,
  layers_to_transform=None,
  modules_to_save=None,
  peft_type='LORA',
  rank_pattern={},
  use_dora=False,
)
"""Entries of an adapter_config.json with the only value that is supported."""


def names(c: ModelConfig, module: str, layer: int) -> tuple[str, str]:
  """The tensors a [r,in] and b [out,r] of a module."""
  stem = f'base_model.model.{c.family.names["layers"]}.{layer}.{module}'
  return f'{stem}.lora_A.weight', f'{stem}.lora_B.weight'


def save(directory: str, c: ModelConfig, adapters: PyTree, number: int = 0, base: str = '') -> None:
  """Writes adapter `number` of the bank; base: what it belongs to, a directory or hub id."""
  assert c.lora is not None
  os.makedirs(directory, exist_ok=True)
  one = jax.tree.map(lambda x: x[:, number], adapters)
  modules = {module.split('.')[-1] for found in one['layers'].values() for module in found}
  entries = PLAIN | dict(
    base_model_name_or_path=base,
    fan_in_fan_out=c.family.transposed,
    lora_alpha=c.lora.alpha,
    lora_dropout=c.lora.dropout,
    r=c.lora.rank,
    target_modules=sorted(modules),
    task_type='CAUSAL_LM',
    use_rslora=c.lora.rslora,
  )
  with durable.making(os.path.join(directory, WEIGHTS)) as file:
    save_file(tensors(c, one), file, metadata=METADATA)
  durable.write(os.path.join(directory, CONFIG), json.dumps(entries, indent=2, sort_keys=True))


def packed(c: ModelConfig, adapter: PyTree) -> bytes:
  """What `save` writes as adapter_model.safetensors, of an adapter without the bank's axis."""
  return save_bytes(tensors(c, adapter), metadata=METADATA)


def tensors(c: ModelConfig, adapter: PyTree) -> dict[str, np.ndarray]:
  """PEFT's name -> tensor; adapter: matrix -> module -> a f32[L,D,r], b f32[L,r,...]."""
  found = {}
  for matrix, modules in jax.device_get(adapter['layers']).items():
    for module, pair in modules.items():
      for layer in range(c.num_hidden_layers):
        a, b = (np.asarray(pair[k][layer], np.float32) for k in 'ab')
        whole = b if b.ndim == 2 else _flat(c, matrix, b)
        for name, x in zip(names(c, module, layer), (a, whole), strict=True):
          found[name] = np.ascontiguousarray(x.T)
  return found


def load(directory: str, c: ModelConfig) -> PyTree:
  """The adapter as the first of the bank of `c.lora`; the others begin at zero.

  Its rank may be smaller, its scale another. Raises HubError for what is missing or not supported.
  """
  lora, entries = c.lora, _entries(directory)
  assert lora is not None
  rank = entries['r']
  if rank > lora.rank:
    raise HubError(f'{directory} has rank {rank}: set model.lora.rank to at least that')
  scale = entries['lora_alpha'] / (rank**0.5 if entries.get('use_rslora') else rank) / lora.scale
  stored = safetensors_of(directory, WEIGHTS)
  used: set[str] = set()

  def pair(matrix, module, shapes):
    a, b = (np.zeros(shapes[k], np.float32) for k in 'ab')
    for layer in range(c.num_hidden_layers):
      pair = names(c, module, layer)
      if pair[0] not in stored:
        continue
      used.update(pair)
      a[layer, 0, :, :rank] = stored[pair[0]].T
      own = stored[pair[1]].T
      b[layer, 0, :rank] = scale * _shaped(c, matrix, own, b.shape[3:])
    return dict(a=jnp.asarray(a), b=jnp.asarray(b))

  layers = {
    matrix: {module: pair(matrix, module, shapes) for module, shapes in found.items()}
    for matrix, found in adapter_shapes(c).items()
  }
  if left := sorted(set(stored) - used):
    raise HubError(f'{directory}: {left[0]} has no place: widen model.lora.targets')
  return {'layers': layers}


def _entries(directory: str) -> dict[str, Any]:
  file = os.path.join(directory, CONFIG)
  if not os.path.isfile(file):
    raise HubError(f'{directory} has no {CONFIG}: name the directory of a PEFT adapter')
  with open(file) as text:
    entries = json.load(text)
  for key, value in PLAIN.items():
    if entries.get(key, value) != value and entries.get(key) not in (None, [], {}):
      raise HubError(f'{file}: {key}={entries[key]!r} is not supported, only {value!r}')
  return entries


def _flat(c, matrix, b):
  """b [r, *own outputs] -> [r,out]: a whole fused matrix in the order in which it is stored."""
  if b.ndim == 4 and b.shape[2] == c.repeat + 2:
    return unfuse_outputs(c, matrix, b)[0]
  return b.reshape(len(b), -1)


def _shaped(c, matrix, b, outputs):
  if len(outputs) == 3 and outputs[1] == c.repeat + 2:
    return fuse_outputs(c, matrix, [b])
  return b.reshape(len(b), *outputs)
