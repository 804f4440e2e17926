"""Adapter directories as PEFT writes them: `adapter_config.json`, `adapter_model.safetensors`."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save as save_bytes
from safetensors.numpy import save_file

from rft_jax.infra import durable, peft_config
from rft_jax.infra.hub import HubError, locate
from rft_jax.infra.peft_config import CONFIG, AdapterConfig
from rft_jax.infra.peft_names import (
  WEIGHTS,
  Stored,
  modules_of,
  names,
  stored,
  target_modules,
  trunk,
)
from rft_jax.models.config import ModelConfig
from rft_jax.models.hf_names import fuse_outputs, unfuse_outputs
from rft_jax.models.lora import init_adapters
from rft_jax.models.shapes import parts
from rft_jax.types import PyTree

METADATA = {'format': 'pt'}


def save(
  directory: str,
  c: ModelConfig,
  adapters: PyTree,
  number: int = 0,
  base: str = '',
  base_directory: str = '',
) -> None:
  """Writes adapter `number` of the bank; base: what it belongs to, a directory or hub id;
  base_directory: where the latter lies. Its config.json says how modules are named."""
  assert c.lora is not None
  os.makedirs(directory, exist_ok=True)
  one, layers = jax.tree.map(lambda x: x[:, number], adapters), trunk(c, base_directory or base)
  adapted = {module for found in one['layers'].values() for module in found}
  targets = target_modules(c, layers, adapted)
  entries = peft_config.write(c.lora, base, targets, c.family.transposed)
  with durable.making(os.path.join(directory, WEIGHTS)) as file:
    save_file(tensors(c, one, layers), file, metadata=METADATA)
  durable.write(os.path.join(directory, CONFIG), json.dumps(entries, indent=2, sort_keys=True))


def packed(c: ModelConfig, adapter: PyTree, base_directory: str = '') -> bytes:
  """What `save` writes as adapter_model.safetensors, of an adapter without the bank's axis."""
  return save_bytes(tensors(c, adapter, trunk(c, base_directory)), metadata=METADATA)


def tensors(c: ModelConfig, adapter: PyTree, layers: str = '') -> dict[str, np.ndarray]:
  """PEFT's name -> tensor; adapter: matrix -> module -> a f32[L,D,r], b f32[L,r,...]; layers: where
  they lie in the base."""
  found, layers = {}, layers or trunk(c)
  for matrix, modules in jax.device_get(adapter['layers']).items():
    for module, pair in modules.items():
      for layer in range(c.num_hidden_layers):
        a, b = (np.asarray(pair[k][layer], np.float32) for k in 'ab')
        for name, x in zip(names(layers, module, layer), (a, _flat(c, matrix, b)), strict=True):
          found[name] = np.ascontiguousarray(x.T)
  return found


def load(directory: str, c: ModelConfig) -> PyTree:
  """The adapter as the first of the bank of `c.lora`; what it leaves free, in rank, in modules and
  in the rest of the bank, begins as a fresh adapter does: it changes nothing, and can learn.

  directory: or a hub id. Its ranks may be smaller, its scales others. Raises HubError for what is
  missing or not supported.
  """
  assert c.lora is not None
  directory = locate(directory, 'model.lora.path', CONFIG)
  config, held = peft_config.read(directory), stored(directory, c)
  _check_targets(config, c, held)
  bank = jax.tree.map(np.array, init_adapters(c, jax.random.key(0)))['layers']
  homes = {module: matrix for matrix, found in bank.items() for module in found}
  for (layer, module), pair in held.items():
    if module not in homes:
      raise HubError(
        f'{directory}: {pair.key} has an adapter, but is not among model.lora.targets='
        f'{c.lora.targets!r}: widen them'
      )
    place = bank[homes[module]][module]
    a, b = _checked(config, c, pair, place['a'].shape[2], int(np.prod(place['b'].shape[3:])))
    rank, scale = len(b), config.scale(pair.key) / c.lora.scale
    place['a'][layer, 0, :, :rank] = a
    place['b'][layer, 0, :rank] = scale * _shaped(c, homes[module], b, place['b'].shape[3:])
  return {'layers': jax.tree.map(jnp.asarray, bank)}


def _check_targets(config: AdapterConfig, c: ModelConfig, held: dict) -> None:
  """What is held is what target_modules and the like call for: PEFT passes over what is too much,
  and leaves untrained what is too little."""
  one = next(iter(held.values()))
  start = one.key.removesuffix(f'{one.layer}.{one.module}')
  for layer in range(c.num_hidden_layers):
    for module in modules_of(c):
      spelled = [f'{x}{layer}.{module}' for x in (start, f'{c.family.names["layers"]}.')]
      called = [config.targets(name) for name in spelled]
      if None not in called and any(called) != ((layer, module) in held):
        fault = 'call for it: fetch it again' if any(called) else 'leave it out: put it in there'
        has = 'lacks' if any(called) else 'holds'
        raise HubError(
          f'{config.file}: the adapter {has} {spelled[0]}, but target_modules and what limits them '
          f'{fault}'
        )


def _checked(config: AdapterConfig, c: ModelConfig, pair: Stored, inputs: int, outputs: int):
  """(a [in,r], b [r,out]) in float32. Raises HubError for another shape than that which the file
  and the model call for, and for what is no number."""
  assert c.lora is not None
  rank = config.rank(pair.key)
  for which, x, shape in (('A', pair.a, (rank, inputs)), ('B', pair.b, (outputs, rank))):
    name = f'{config.file}: lora_{which} of {pair.key}'
    if x.shape != shape:
      raise HubError(
        f'{name} has shape {list(x.shape)}, its rank {rank} and the model call for {list(shape)}: '
        'is it an adapter of another model?'
      )
    if not jnp.issubdtype(x.dtype, jnp.floating) or not np.isfinite(x.astype(np.float32)).all():
      raise HubError(f'{name} ({x.dtype}) holds what is no finite number: train or fetch it again')
  if rank > c.lora.rank:
    raise HubError(
      f'{config.file}: {pair.key} has rank {rank}: set model.lora.rank to at least that'
    )
  return pair.a.T.astype(np.float32), pair.b.T.astype(np.float32)


def _fused(c: ModelConfig, matrix: str) -> bool:
  """Whether the modules of a matrix are stored as one."""
  return len(parts(c, matrix)) == 1 and parts(c, matrix)[0][1] > 0


def _flat(c: ModelConfig, matrix: str, b: np.ndarray) -> np.ndarray:
  """b [r, *own outputs] -> [r,out], in the order in which it is stored."""
  if _fused(c, matrix):
    return unfuse_outputs(c, matrix, b)[0]
  return b.reshape(len(b), -1)


def _shaped(c: ModelConfig, matrix: str, b: np.ndarray, outputs: tuple[int, ...]) -> np.ndarray:
  """Back."""
  if _fused(c, matrix):
    return fuse_outputs(c, matrix, [b])
  return b.reshape(len(b), *outputs)
