"""Hugging Face checkpoints out: what `transformers` loads to the same logits."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from rft_jax.infra.durable import making
from rft_jax.infra.hub_files import INDEX, SINGLE
from rft_jax.models.config import ModelConfig
from rft_jax.models.hf_names import layer_names, top_names, unfuse
from rft_jax.models.shapes import layer_shapes
from rft_jax.registry import UserError
from rft_jax.types import PyTree


def save(
  directory: str,
  c: ModelConfig,
  params: PyTree,
  tokenizer: Any,
  entries: dict[str, Any],
  dtype: str = '',
  shard: int = 5 * 10**9,
  generation: dict[str, Any] | None = None,
) -> str:
  """Writes the decoder's `params` as a new directory, complete or not at all; returns its path.

  entries: of config.json; dtype: '' for that of the parameters; shard: bytes at most in one file;
  generation: entries of generation_config.json, None for no such file. Raises
  UserError where the directory exists.
  """
  if os.path.exists(directory):
    raise UserError(f'{directory} exists: name another directory, or remove it')
  kind = np.dtype(dtype or params['embed'].dtype).name
  entries = entries | dict(dtype=kind, architectures=[_class(c)])
  with making(directory.rstrip('/')) as unfinished:
    os.makedirs(unfinished)
    _write(str(unfinished), _tensors(c, params, dtype), shard)
    _write_json(unfinished / 'config.json', entries)
    if generation is not None:
      _write_json(unfinished / 'generation_config.json', generation)
    tokenizer.save_pretrained(unfinished)
  return directory


def _write_json(file: Path, entries: dict[str, Any]) -> None:
  file.write_text(json.dumps(entries, indent=2, sort_keys=True))


def _class(c: ModelConfig) -> str:
  from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

  return MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[c.model_type]


def _tensors(c: ModelConfig, params: PyTree, dtype: str) -> Iterator[tuple[str, np.ndarray]]:
  """Name and array, a layer of a parameter at a time."""

  def stored(x) -> np.ndarray:
    x = np.asarray(jax.device_get(x))
    return np.ascontiguousarray(x.astype(dtype) if dtype else x)

  for ours, name in top_names(c).items():
    yield name, stored(params[ours])
  for ours in layer_shapes(c):
    for layer in range(c.num_hidden_layers):
      names = layer_names(c, ours, layer)
      for name, x in zip(names, unfuse(c, ours, stored(params[ours][layer])), strict=True):
        yield name, np.ascontiguousarray(x)


def _write(directory: str, tensors: Iterator[tuple[str, np.ndarray]], shard: int) -> None:
  """One file where all fits in it, else numbered ones and their index."""
  names: list[list[str]] = []
  size, held = 0, {}

  def flush():
    names.append(list(held))
    save_file(held, os.path.join(directory, f'part-{len(names)}'), metadata={'format': 'pt'})
    held.clear()

  total = 0
  for name, x in tensors:
    if held and size + x.nbytes > shard:
      flush()
      size = 0
    held[name] = x
    size, total = size + x.nbytes, total + x.nbytes
  flush()
  files = [f'model-{i + 1:05}-of-{len(names):05}.safetensors' for i in range(len(names))]
  if len(names) == 1:
    files = [SINGLE]
  else:
    place = {name: file for part, file in zip(names, files, strict=True) for name in part}
    with open(os.path.join(directory, INDEX), 'w') as text:
      json.dump(dict(metadata=dict(total_size=total), weight_map=place), text, indent=2)
  for i, file in enumerate(files):
    os.rename(os.path.join(directory, f'part-{i + 1}'), os.path.join(directory, file))
