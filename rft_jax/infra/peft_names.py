"""How PEFT names what an adapter holds: out, as the base's class of transformers has them; in, as
different writers spell them."""

import json
import os
import re
from typing import NamedTuple

import numpy as np

from rft_jax.infra.hub_files import HubError, safetensors_of
from rft_jax.models.config import ModelConfig
from rft_jax.models.shapes import MATRICES, matrix_shapes, parts

WEIGHTS = 'adapter_model.safetensors'
WRAPPERS = re.compile(
  r'(?:(?<=\.)|^)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|module)\.'
)
"""What compilation and sharding put into names."""
PARENTS = frozenset(
  'base_model model language_model text_model transformer pretrained_model'.split()
)
"""What may stand before a decoder's layers."""
TENSOR = re.compile(
  r'(?P<key>(?P<lead>(\w+\.)*?)(layers|h)\.(?P<layer>\d+)\.(?P<module>[\w.]+?))'
  r'\.lora_(?P<which>[AB])(\.(?P<adapter>\w+))?\.weight'
)


TRAINING = re.compile(r'\.lora_velora_embed(\.\w+)?')
"""What an adapter holds for its gradients alone."""


class Stored(NamedTuple):
  """One module's part of an adapter: its name in full; lora_A [r,in], lora_B [out,r]."""

  key: str
  layer: int
  module: str
  a: np.ndarray
  b: np.ndarray


def modules_of(c: ModelConfig) -> list[str]:
  """Every module of a layer that can have an adapter."""
  names = [name for name in MATRICES if name in matrix_shapes(c)]
  return [module for name in names for module, _ in parts(c, name)]


def trunk(c: ModelConfig, directory: str = '') -> str:
  """Where the layers lie in the class that transformers makes of the base in a directory: within
  `model.language_model` where that is multimodal."""
  file, own = os.path.join(directory, 'config.json'), c.family.names['layers']
  if not directory or not os.path.isfile(file):
    return own
  from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

  with open(file, encoding='utf-8') as text:
    entries = json.load(text)
  kind = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(
    entries.get('model_type'), 'ForConditionalGeneration'
  )
  if 'text_config' not in entries or not kind.endswith('ForConditionalGeneration'):
    return own
  return f'model.language_model.{own.split(".")[-1]}'


def names(layers: str, module: str, layer: int) -> tuple[str, str]:
  """The tensors lora_A [r,in] and lora_B [out,r] of a module."""
  stem = f'base_model.model.{layers}.{layer}.{module}'
  return f'{stem}.lora_A.weight', f'{stem}.lora_B.weight'


def target_modules(c: ModelConfig, layers: str, adapted: set[str]) -> str | list[str]:
  """What PEFT calls the adapted modules: their last names where these say it all; a pattern where
  other parts of a multimodal base have modules of the same name."""
  if layers != c.family.names['layers']:
    whole = '|'.join(re.escape(module) for module in sorted(adapted))
    return rf'{re.escape(layers)}\.\d+\.(?:{whole})'
  last = lambda module: module.split('.')[-1]
  others = {last(module) for module in modules_of(c) if module not in adapted}
  return sorted({module if last(module) in others else last(module) for module in adapted})


def stored(directory: str, c: ModelConfig) -> dict[tuple[int, str], Stored]:
  """(layer, module) -> what the adapter holds of it. Raises HubError for what has no place."""
  file = os.path.join(directory, WEIGHTS)
  halves: dict[tuple[int, str], dict[str, tuple[str, np.ndarray]]] = {}
  seen: dict[str, str] = {}
  for name, x in _tensors(directory).items():
    match = TENSOR.fullmatch(WRAPPERS.sub('', name))
    reason = _stranger(c, match) if match else _kind(name)
    if not match or reason:
      raise HubError(f'{file}: {name} has no place: {reason}')
    place, which = (int(match['layer']), match['module']), match['which']
    again = which in halves.setdefault(place, {})
    same = all(seen.setdefault(k, match[k] or '') == (match[k] or '') for k in ('lead', 'adapter'))
    if again or not same:
      raise HubError(f'{file}: {name} is of another adapter or model than the rest: one at a time')
    halves[place][which] = _key(c, match), x
  return {place: _joined(file, place, found) for place, found in halves.items()}


def _tensors(directory: str) -> dict[str, np.ndarray]:
  """By name, without what only training needs."""
  if not os.path.isfile(os.path.join(directory, WEIGHTS)):
    if os.path.isfile(os.path.join(directory, 'adapters.safetensors')):
      raise HubError(f'{directory} is an adapter of mlx-lm: fuse it there, name that as model.path')
    raise HubError(
      f'{directory} has no {WEIGHTS}: fetch it, or load an adapter_model.bin in PEFT and '
      'save_pretrained it again'
    )
  file = os.path.join(directory, WEIGHTS)
  try:
    found = safetensors_of(directory, WEIGHTS)
  except AttributeError as error:  # that is how NumPy answers for eight bits
    raise HubError(f'{file} is of a type that is not read ({error}): save it as float32') from error
  held = {name: x for name, x in found.items() if not TRAINING.search(name)}
  if not held:
    raise HubError(f'{file} holds no tensors of an adapter: fetch or save it again')
  return held


def _key(c: ModelConfig, match: re.Match) -> str:
  """A module's full name in its base: PEFT's patterns are about that."""
  _, prefix, key = match['key'].rpartition('base_model.model.')
  if prefix or match['lead']:
    return key
  return f'{c.family.names["layers"]}.{match["layer"]}.{match["module"]}'


def _stranger(c: ModelConfig, match: re.Match) -> str:
  """Why a tensor that is named as an adapter's has no place, '' where it has one."""
  lead, module, layer = match['lead'].split('.')[:-1], match['module'], int(match['layer'])
  if not PARENTS.issuperset(lead):
    return 'only the text decoder has adapters here; train one for its layers alone'
  if module not in modules_of(c):
    return f'the modules of a {c.model_type} that have adapters here are {", ".join(modules_of(c))}'
  if layer >= c.num_hidden_layers:
    return f'the model has {c.num_hidden_layers} layers; is it an adapter of another one?'
  return ''


def _kind(name: str) -> str:
  """What a tensor is that is none of an adapter's."""
  for part, reason in (
    ('magnitude', 'it is of DoRA (use_dora), which is not supported'),
    ('bias', 'biases (bias, lora_bias) are not supported'),
    ('lora_E', 'it is of AdaLoRA (peft_type), which is not supported'),
    ('lora_a', 'it is named as mlx-lm does, only adapters of PEFT are read'),
    ('experts', 'experts (target_parameters) have no adapters here'),
    ('embed_tokens', 'the embedding has none here (target_modules, modules_to_save)'),
    ('wte', 'the embedding has none here (target_modules, modules_to_save)'),
    ('lm_head', 'the head has none here (target_modules, modules_to_save)'),
    ('score', 'a classifier has none here (task_type, modules_to_save)'),
  ):
    if part in name:
      return f'{reason}; merge it where it was trained'
  return 'only lora_A and lora_B of the layers have; merge it where it was trained'


def _joined(file: str, place: tuple[int, str], halves: dict) -> Stored:
  layer, module = place
  (key, _), other = next(iter(halves.values())), {'A': 'B', 'B': 'A'}
  for which in halves:
    if other[which] not in halves:
      raise HubError(
        f'{file} has lora_{which} of {key}, but no lora_{other[which]}: fetch it again'
      )
  return Stored(key, layer, module, halves['A'][1], halves['B'][1])
