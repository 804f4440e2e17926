"""Hugging Face checkpoints in: `config.json`, safetensors, generation config.

Tensors are read from memory-mapped files straight into the place and dtype where the parameter
will live: no device gets, and no host holds, more than its part and one layer.
"""

import os
import re
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np

from rft_jax.data.stops import eos
from rft_jax.infra.hub_config import text_entries
from rft_jax.infra.hub_files import FLOATS, HubError, Tensors, json_object
from rft_jax.models.config import ModelConfig
from rft_jax.models.hf_config import read_config
from rft_jax.models.hf_defaults import completed
from rft_jax.models.hf_names import fuse, layer_names, top_names, unfuse
from rft_jax.models.shapes import layer_shapes
from rft_jax.registry import ConfigError
from rft_jax.types import PyTree

WANTED = '*.json', '*.safetensors', '*.model', '*.txt', '*.jinja'
BUFFERS = re.compile(r'(rotary_emb\.\w+|attn\.bias|attn\.masked_bias)$')
"""Tensors of old checkpoints that are computed, not learned."""
OTHERS = re.compile(r'(^|\.)(vision_tower|vision_model|multi_modal_projector)\.')
"""Of multimodal checkpoints: what the text decoder does without."""


def locate(path: str, key: str = 'model.path', file: str = 'config.json') -> str:
  """A local directory as it is; a hub id becomes the directory that it was downloaded to. key: what
  names it, and file: what is in it, for the error."""
  if os.path.isdir(path):
    return path
  if os.path.exists(path) or not re.fullmatch(r'[\w.-]+(/[\w.-]+)?', path):
    raise HubError(f'{key}={path!r} is no directory: name one with {file}, or a hub id')
  from huggingface_hub import snapshot_download

  try:
    return snapshot_download(path, allow_patterns=list(WANTED))
  except Exception as error:
    reason = str(error).split('\n')[0]
    raise HubError(
      f'{key}={path!r} is no local directory, and the hub does not give it ({reason}): '
      'check the name, your access, or download it and name the directory'
    ) from error


def raw_config(directory: str) -> dict[str, Any]:
  """The config.json as it is."""
  file = os.path.join(directory, 'config.json')
  if not os.path.isfile(file):
    raise HubError(f'{directory} has no config.json: name the directory of a checkpoint')
  return json_object(file)


def config_entries(directory: str) -> dict[str, Any]:
  """The config.json with the defaults of its class; of a multimodal model, that of its text."""
  return completed(text_entries(raw_config(directory)))


def model_config(directory: str, ignore: Collection[str] = (), **options) -> ModelConfig:
  """The architecture of a checkpoint; `options` are ours. Raises ConfigError, naming the file."""
  try:
    return read_config(config_entries(directory), ignore, **options)
  except ConfigError as error:
    raise ConfigError(f'{directory}: {error}') from error


def stop_ids(directory: str, tokenizer: Any) -> list[int]:
  """Every token that ends an answer: of the config, of its generation config, of the tokenizer.
  Raises HubError for a file that names none rightly."""
  config = raw_config(directory)
  parts = dict(
    config=config, text=config.get('text_config') or {}, generation=generation(directory)
  )
  found = {
    i for name, part in parts.items() for i in _ids(part.get('eos_token_id'), name, directory)
  }
  return sorted(found | {i for i in [eos(tokenizer)] if i is not None})


def generation(directory: str) -> dict[str, Any]:
  """The generation_config.json, empty where there is none."""
  file = os.path.join(directory, 'generation_config.json')
  return json_object(file) if os.path.isfile(file) else {}


def stop_strings(directory: str) -> list[str]:
  """The texts of the generation config that end an answer. Raises HubError for what is no text."""
  value = generation(directory).get('stop_strings')
  texts = value if isinstance(value, list) else [] if value is None else [value]
  wrong = [text for text in texts if not isinstance(text, str) or not text]
  if wrong:
    raise HubError(
      f'{directory}/generation_config.json: stop_strings={value!r} names {wrong[0]!r}, which is no '
      'text: write a list of texts, or leave it out'
    )
  return texts


def _ids(value: Any, name: str, directory: str) -> list[int]:
  """eos_token_id: a number, several, or none."""
  ids = value if isinstance(value, list) else [] if value is None else [value]
  wrong = [i for i in ids if not isinstance(i, int) or isinstance(i, bool) or i < 0]
  if wrong:
    file = 'generation_config.json' if name == 'generation' else 'config.json'
    raise HubError(
      f'{directory}/{file}: eos_token_id={value!r} names {wrong[0]!r}, which is no token: write '
      'the number of a token, a list of numbers, or leave it out'
    )
  return ids


def load(
  directory: str,
  c: ModelConfig,
  home: Callable[[str, tuple[int, ...]], jax.sharding.Sharding],
  dtype: str = 'float32',
) -> PyTree:
  """The decoder's variables {'params': ...}. home(name, shape): where a parameter will live."""
  tensors = Tensors(directory)
  names = _resolved(tensors, c)
  _check(tensors, c, names)
  target = np.dtype(dtype)

  def parameter(name: str):
    rows = names[name]
    if isinstance(rows, str):
      shape = tensors.shape(rows)
      whole = lambda index: tensors[rows][index].astype(target)
    else:
      one = lambda files, index: fuse(c, name, [tensors[f] for f in files])[index].astype(target)
      shape = len(rows), *layer_shapes(c)[name][1]
      whole = lambda index: np.stack([one(files, index[1:]) for files in rows[index[0]]])
    return jax.make_array_from_callback(shape, home(name, shape), _once(whole))

  return {'params': {name: parameter(name) for name in names}}


def _once(read: Callable) -> Callable:
  """Devices that hold the same part share one reading."""
  last: dict[str, np.ndarray] = {}

  def call(index):
    if str(index) not in last:
      last.clear()
      last[str(index)] = read(index)
    return last[str(index)]

  return call


def _resolved(tensors: Tensors, c: ModelConfig) -> dict[str, Any]:
  """Our parameter -> its tensor, or for each layer its tensors, under the names in these files:
  checkpoints differ in what stands before the trunk's."""
  there = c.family.names['embed'].split('.', 1)
  embed = next((n for n in tensors.files if f'.{n}'.endswith(f'.{there[1]}.weight')), None)
  if embed is None:
    raise HubError(f'{tensors.directory} lacks {".".join(there)}.weight: is it a {c.model_type}?')
  prefix = embed.removesuffix(f'{there[1]}.weight')

  def name(wanted: str) -> str:
    if wanted.startswith(f'{there[0]}.'):
      return prefix + wanted.split('.', 1)[1]
    ends = (n for n in tensors.files if f'.{n}'.endswith(f'.{wanted}'))
    return next(ends, wanted)

  found: dict[str, Any] = {ours: name(wanted) for ours, wanted in top_names(c).items()}
  for ours in layer_shapes(c):
    rows = (layer_names(c, ours, i) for i in range(c.num_hidden_layers))
    found[ours] = [[name(n) for n in row] for row in rows]
  return found


def _check(tensors: Tensors, c: ModelConfig, names: dict[str, Any]) -> None:
  """Raises HubError for a tensor that is missing, has another shape, or is not known."""
  expected: dict[str, tuple[int, ...]] = {}
  for ours, rows in names.items():
    if isinstance(rows, str):
      expected[rows] = _top_shape(c, ours)
      continue
    example = np.empty(layer_shapes(c)[ours][1], bool)
    shapes = [t.shape for t in unfuse(c, ours, example)]
    for row in rows:
      expected |= dict(zip(row, shapes, strict=True))
  for name, shape in expected.items():
    if name not in tensors.files:
      raise HubError(f'{tensors.directory} lacks {name}, which its config.json calls for')
    if tensors.shape(name) != shape:
      raise HubError(
        f'{tensors.directory}: {name} has shape {list(tensors.shape(name))}, its config.json calls '
        f'for {list(shape)}'
      )
    if (kind := tensors.dtype(name)) not in FLOATS:
      raise HubError(
        f'{tensors.directory}: {name} is of type {kind}, not of {", ".join(FLOATS)}: quantised '
        'weights are not read; name the checkpoint that they were made from'
      )
  for name in tensors.files:
    if name in expected or BUFFERS.search(name) or OTHERS.search(name):
      continue
    if name.endswith('lm_head.weight') and c.tie_word_embeddings:
      if np.array_equal(tensors[name], tensors[names['embed']]):
        continue
      raise HubError(
        f'{tensors.directory}: {name} differs from the embedding, but tie_word_embeddings is true'
      )
    raise HubError(f'{tensors.directory}: {name} has no place in a {c.model_type}; remove it')


def _top_shape(c: ModelConfig, name: str) -> tuple[int, ...]:
  if name.startswith('final_norm'):
    return (c.hidden_size,)
  return (c.max_position_embeddings if name == 'positions' else c.vocab_size), c.hidden_size
