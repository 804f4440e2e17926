"""A Hugging Face `config.json` as a ModelConfig, and back. No key is passed over: each is used,
irrelevant, or refused (see `hf_keys`)."""

import dataclasses
import math
from collections.abc import Collection
from typing import Any

from rft_jax.models.config import FULL, SLIDING, ModelConfig, unsupported
from rft_jax.models.families import FAMILIES, Family
from rft_jax.models.hf_defaults import completed
from rft_jax.models.hf_keys import IRRELEVANT, Keys
from rft_jax.models.hf_rope import read_rope, write_rope
from rft_jax.registry import ConfigError

__all__ = ['IRRELEVANT', 'read_config', 'write_config']

COMMON = (
  'vocab_size',
  'hidden_size',
  'intermediate_size',
  'num_hidden_layers',
  'num_attention_heads',
  'num_key_value_heads',
  'head_dim',
  'rms_norm_eps',
  'initializer_range',
  'hidden_act',
  'max_position_embeddings',
  'tie_word_embeddings',
)
"""Fields of a ModelConfig that every family reads; `Family.reads` lists its others."""
APART = 'model_type', 'layer_types', 'sliding_window', 'rope_theta', 'rope_scaling'
OF_ROPE = 'rope_local_theta', 'partial_rotary_factor'
OURS = 'dtype', 'remat', 'attention', 'lora'
FIELDS = {f.name: f for f in dataclasses.fields(ModelConfig)}
ALIASES = dict(num_experts='num_local_experts', num_local_experts='num_experts')
"""Keys that transformers takes for each other."""
ACTIVATIONS = dict(swish='silu', gelu_fast='gelu_pytorch_tanh', gelu_python='gelu')
SCALAR = 'query_pre_attn_scalar'
"""The key whose value is the scale of queries to the power of -2."""


def read_config(entries: dict[str, Any], ignore: Collection[str] = (), **options) -> ModelConfig:
  """entries: of a config.json, as it is or completed by the defaults of its class; ignore: keys to
  pass over; options: the fields of ModelConfig that are ours. Raises ConfigError for what is not
  supported."""
  kind = entries.get('model_type')
  if not isinstance(kind, str) or kind not in FAMILIES:
    raise ConfigError(unsupported(kind))
  family = FAMILIES[kind]
  if not _complete(family) <= entries.keys():
    entries = completed(entries)
  keys = Keys(entries, ignore)
  fields = {name: _read(keys, family, name) for name in (*COMMON, *family.reads)}
  fields = {name: value for name, value in fields.items() if value is not None}
  _derive(fields)
  fields |= _layers(keys, family, fields['num_hidden_layers'])
  if family.positions == 'rope':
    fields |= read_rope(keys, family, fields['layer_types'])
  keys.rest(*_read_elsewhere())
  keys.check()
  return ModelConfig(model_type=kind, **fields, **options)


def _key(family: Family, name: str) -> str:
  """The key of a field, '' where a family has none."""
  return family.keys.get(name, name)


def _read(keys: Keys, family: Family, name: str) -> Any:
  """The value of a field, None where it is not set."""
  key = _key(family, name)
  if not key or name in OF_ROPE:
    return None
  if name != key:
    keys.used.add(name)  # transformers reads the family's own key instead
  value = keys.get(key, *[ALIASES[k] for k in (key,) if k in ALIASES])
  if value is None:
    return None
  if fault := _fault(value, FIELDS[name].type):
    raise ConfigError(f'config.json: {key}={value!r} {fault}')
  if key == SCALAR:
    return value and value**-0.5
  if name == 'rope_layers':
    return () if all(value) else tuple(map(bool, value))
  return ACTIVATIONS.get(value, value) if name == 'hidden_act' else value


def _fault(value: Any, kind: Any) -> str:
  """Why a value of a field is no such thing, or ''."""
  if kind in (bool, str):
    rule = 'must be true or false' if kind is bool else 'must be a text'
    return '' if isinstance(value, kind) else rule
  number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
  if kind not in (int, float):
    return '' if isinstance(value, (list, tuple)) else 'must be a list'
  if not number:
    return 'must be an integer' if kind is int else 'must be a number'
  return '' if math.isfinite(value) and value >= 0 else 'must be a finite number, at least 0'


def _complete(family: Family) -> set[str]:
  """The keys that its class writes whatever it is given; a file may lack them."""
  rope = {'rope_parameters'} if family.positions == 'rope' else set()
  return rope | {_key(family, n) for n in COMMON if n != 'head_dim' and _key(family, n)}


def _derive(fields: dict[str, Any]) -> None:
  """What follows from other fields where it is not set."""
  needed = 'vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads'
  others = (n for n in ('head_dim', 'attention_scale', 'logits_scaling') if n in fields)
  for name in (*needed, *others):
    if not fields.get(name):
      raise ConfigError(f'config.json: {name}={fields.get(name)!r} must be positive')
  width, heads = fields['hidden_size'], fields['num_attention_heads']
  if 'head_dim' not in fields and width % heads:
    raise ConfigError(
      f'config.json: hidden_size={width} must be a multiple of num_attention_heads={heads}'
    )
  fields.setdefault('num_key_value_heads', heads)
  fields.setdefault('head_dim', width // heads)
  fields.setdefault('intermediate_size', 4 * fields['hidden_size'])
  fields.setdefault('tie_word_embeddings', False)
  if fields.get('attention_scale') == fields['head_dim'] ** -0.5:
    del fields['attention_scale']


def _layers(keys: Keys, family: Family, count: int) -> dict[str, Any]:
  window, listed = keys.get('sliding_window'), keys.get('layer_types', default=())
  for name, value, kind in (('sliding_window', window, int), ('layer_types', listed, tuple)):
    if value is not None and (fault := _fault(value, kind)):
      raise ConfigError(f'config.json: {name}={value!r} {fault}')
  listed = tuple(listed)
  kinds = listed
  if family.sliding != 'types':
    kinds = (SLIDING,) * count if family.sliding == 'all' and window is not None else ()
    if listed and listed != (kinds or (FULL,) * count):
      keys.unread('layer_types', listed)
  elif not listed and window and keys.entries.get('use_sliding_window', True):
    keys.refuse('layer_types', None, 'is missing: which layers have the sliding window?')
  if family.sliding == 'none' and window:
    keys.unread('sliding_window', window)
  if set(kinds) <= {FULL}:
    return dict(layer_types=(), sliding_window=window or 0 if family.turned == 'sliding' else 0)
  return dict(layer_types=kinds, sliding_window=window or 0)


def _read_elsewhere() -> tuple[set[str], set[str]]:
  """The keys of what only some families compute, and what others call what all compute."""
  families = FAMILIES.values()
  some = {_key(family, name) for family in families for name in family.reads}
  renamed = {family.keys.get(name, '') for family in families for name in COMMON}
  return some | set(ALIASES), renamed


def write_config(c: ModelConfig) -> dict[str, Any]:
  """The entries of a config.json for a model that did not come from one. Raises ConfigError for
  what transformers' code of the family does not compute."""
  family = c.family
  _check_written(c)
  found: dict[str, Any] = {}
  for name in (*COMMON, *family.reads):
    key, value = _key(family, name), _written(c, name)
    if key and value is not None and found.setdefault(key, value) != value:
      raise ConfigError(f'model.{name}={value!r}: a {c.model_type} has one {key}, {found[key]!r}')
  found |= _written_layers(c)
  if family.positions == 'rope':
    found |= write_rope(c)
  ids = ('bos_token_id', 'eos_token_id', 'pad_token_id')
  ids = {name: None for name in ids if _key(family, name)}  # not those of the class
  return found | ids | dict(model_type=c.model_type)


def _written(c: ModelConfig, name: str) -> Any:
  """The value of a field in the file, None where it is left out."""
  key = _key(c.family, name)
  if name in OF_ROPE or (name == 'max_position_embeddings' and not getattr(c, name)):
    return None
  if name == 'hidden_act' and c.hidden_act == 'gelu':
    return c.family.gelu
  if name == 'rope_layers':
    return list(map(int, c.rope_layers or (True,) * c.num_hidden_layers))
  if name == 'attention_scale':
    return _scalar(c) if key == SCALAR else c.scale
  if name.endswith('_softcapping'):
    return getattr(c, name) or None
  return getattr(c, name)


def _scalar(c: ModelConfig) -> int:
  found = round(c.scale**-2)
  if not math.isclose(found**-0.5, c.scale, rel_tol=1e-9):
    raise ConfigError(
      f'model.attention_scale={c.scale}: a {c.model_type} stores an integer n of which it is '
      f'n ** -0.5, such as {max(found, 1) ** -0.5}'
    )
  return found


def _written_layers(c: ModelConfig) -> dict[str, Any]:
  sliding, windows = c.family.sliding, SLIDING in c.layer_types
  if not windows:
    kinds, none = dict(layer_types=[FULL] * c.num_hidden_layers), dict(sliding_window=None)
    if c.family.turned == 'sliding':  # with a window, FULL layers are not turned
      kinds |= dict(sliding_window=c.sliding_window or None)
    return dict(all=none, types=kinds).get(sliding, {})
  found = dict(sliding_window=c.sliding_window, use_sliding_window=True)
  if sliding == 'types':
    return found | dict(layer_types=list(c.layer_types))
  if sliding == 'none' or FULL in c.layer_types:
    raise ConfigError(
      f'model.layer_types={c.layer_types}: a {c.model_type} has no such layers in transformers; '
      'qwen3 and gemma3_text mix them'
    )
  return found


def _check_written(c: ModelConfig) -> None:
  """Raises ConfigError for a field that the family's files have no key for, unless it has its
  neutral value."""
  read = {*COMMON, *APART, *OURS, *c.family.reads}
  for name, field in FIELDS.items():
    if name not in read and getattr(c, name) != field.default:
      raise ConfigError(
        f'model.{name}={getattr(c, name)!r}: a {c.model_type} does not compute it in transformers; '
        f'leave it at {field.default!r}, or choose another model_type'
      )
  follows = dict(
    num_key_value_heads=c.num_attention_heads, head_dim=c.hidden_size // c.num_attention_heads
  )
  for name, value in follows.items():
    if not _key(c.family, name) and getattr(c, name) != value:
      raise ConfigError(
        f'model.{name}={getattr(c, name)}: a {c.model_type} has {value}, which follows from '
        'hidden_size and num_attention_heads'
      )
