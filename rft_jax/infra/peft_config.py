"""The `adapter_config.json` of PEFT. No entry is passed over: each is used, irrelevant, or refused
unless its value is one that changes nothing.

An entry that is not known is accepted only where PEFT has it switched off, which it writes as null,
false, or an empty text, list or map; so what a later version adds is refused by name once it is on.
"""

import os
import re
from typing import Any, NamedTuple

from rft_jax.infra.hub import HubError, json_object
from rft_jax.models.config import Lora

CONFIG = 'adapter_config.json'
USED = frozenset(
  'r lora_alpha use_rslora rank_pattern alpha_pattern target_modules exclude_modules '
  'layers_to_transform layers_pattern'.split()
)
IRRELEVANT = frozenset(
  # Bookkeeping: of the base (ours is model.path), of the version, and how its matrices lie.
  'auto_mapping base_model_name_or_path revision peft_version inference_mode fan_in_fan_out '
  'runtime_config megatron_core merge_weights '
  # What only training needs: model.lora.dropout is ours; gradients in another form.
  'lora_dropout velora_config '
  # Options of an init_lora_weights, which decides; they stay in an adapter that was converted.
  'loftq_config eva_config corda_config lora_ga_config '
  # Options of what is refused once it is on.
  'qalora_group_size ensure_weight_tying'.split()
)
KINDS: dict[str, tuple[Any, ...]] = dict(
  peft_type=('LORA', None),
  task_type=('CAUSAL_LM', None),
  bias=('none', None),
  init_lora_weights=(True, False, None, 'gaussian', 'eva', 'orthogonal', 'mica'),
)
"""Entries with the values that are supported. Of these beginnings none changes the base."""
MERGE = 'merge it in PEFT (merge_and_unload), save that, and name it as model.path'
CONVERT = (
  'this beginning changed the base, and the change is not in the adapter: save it in PEFT with '
  f'path_initial_model_for_weight_conversion (not loftq), or {MERGE}'
)
WAYS = dict(
  init_lora_weights=CONVERT,
  task_type='if it is of a causal language model nevertheless, write CAUSAL_LM into the file',
)
REFUSED = dict(
  alora_invocation_tokens='it acts on part of a text only: train one without',
  arrow_config='it chooses among several adapters: name one of them',
  enable_lora=MERGE,
  kasa_config=MERGE,
  layer_replication=f'the base has other layers: {MERGE}',
  lora_bias=f'it has biases: {MERGE}',
  megatron_config='it belongs to layers of Megatron: save it for those of transformers',
  modules_to_save=f'it holds whole modules: {MERGE}',
  monteclora_config='its weights are drawn: train one without',
  target_parameters=f'experts have no adapters here: {MERGE}',
  trainable_token_indices=f'it holds rows of the embedding: {MERGE}',
  use_bdlora=MERGE,
  use_dora=f'its magnitudes are no low-rank matrices: {MERGE}',
  use_qalora='its inputs are pooled in groups: train one without',
)
"""Known entries that must be switched off, and the way out where they are not."""
ONLY_NULL = frozenset(
  'alora_invocation_tokens arrow_config kasa_config monteclora_config use_bdlora'.split()
)
"""Those that PEFT takes as switched on where they are empty."""


class AdapterConfig(NamedTuple):
  """file: where the entries are from; modules are named in full, `model.layers.0.mlp.up_proj`."""

  file: str
  entries: dict[str, Any]

  def rank(self, module: str) -> int:
    return self._of('rank_pattern', 'r', module)

  def scale(self, module: str) -> float:
    rank = self.rank(module)
    divisor = rank**0.5 if self.entries.get('use_rslora') else rank
    return self._of('alpha_pattern', 'lora_alpha', module) / divisor

  def targets(self, module: str) -> bool | None:
    """Whether PEFT gives the module an adapter; None where the file does not say."""
    wanted = self.entries.get('target_modules')
    if wanted is None:
      return None
    excluded = self.entries.get('exclude_modules')
    if excluded and self._named('exclude_modules', excluded, module):
      return False
    if isinstance(wanted, str):
      return wanted == 'all-linear' or self._named('target_modules', wanted, module)
    return self._named('target_modules', wanted, module) and self._in_layers(module)

  def _of(self, patterns: str, default: str, module: str) -> Any:
    """The value of the first pattern that is the module's name or its end, else the default."""
    for pattern, value in (self.entries.get(patterns) or {}).items():
      if self._match(patterns, rf'(.*\.)?({pattern})$', module):
        return value
    return self.entries[default]

  def _named(self, key: str, wanted: str | list[str], module: str) -> bool:
    if isinstance(wanted, str):
      return self._match(key, wanted, module, re.fullmatch) is not None
    return any(module == name or module.endswith(f'.{name}') for name in wanted)

  def _in_layers(self, module: str) -> bool:
    layers, patterns = (self.entries.get(k) for k in ('layers_to_transform', 'layers_pattern'))
    if layers is None or layers == []:
      return True
    starts = [patterns] if isinstance(patterns, str) else patterns
    found = [
      self._match('layers_pattern', rf'(?:^|.*?\.){start}\.(\d+)\.', module)
      for start in starts or [r'[^.]*']
    ]
    match = next(filter(None, found), None)
    return bool(match) and int(match[1]) in ([layers] if isinstance(layers, int) else layers)

  def _match(self, key: str, pattern: str, module: str, how: Any = re.match) -> re.Match | None:
    try:
      return how(pattern, module)
    except re.error as error:
      raise HubError(f'{self.file}: {key} holds {pattern!r}, no pattern: {error}') from error


def read(directory: str) -> AdapterConfig:
  """Raises HubError, on one line, for whatever of the file is missing or not supported."""
  file = os.path.join(directory, CONFIG)
  if not os.path.isfile(file):
    raise HubError(f'{directory} has no {CONFIG}: name the directory of a PEFT adapter')
  entries = json_object(file)
  for key in ('r', 'lora_alpha'):
    if 'peft_type' not in entries and key not in entries:
      raise HubError(f'{file} has neither peft_type nor {key}: only adapters of PEFT are read')
  if faults := list(filter(None, (_fault(key, value) for key, value in entries.items()))):
    raise HubError(f'{file}: {"; and ".join(faults)}')
  _check_numbers(file, entries)
  _check_names(file, entries)
  return AdapterConfig(file, entries)


def write(lora: Lora, base: str, targets: str | list[str], transposed: bool) -> dict[str, Any]:
  """The entries for an adapter of ours."""
  return dict(
    alpha_pattern={},
    base_model_name_or_path=base,
    bias='none',
    fan_in_fan_out=transposed,
    inference_mode=True,
    init_lora_weights=True,
    lora_alpha=lora.alpha,
    lora_dropout=lora.dropout,
    modules_to_save=None,
    peft_type='LORA',
    r=lora.rank,
    rank_pattern={},
    target_modules=targets,
    task_type='CAUSAL_LM',
    use_dora=False,
    use_rslora=lora.rslora,
  )


def _fault(key: str, value: Any) -> str:
  """What is wrong with an entry, and the way out; '' where nothing is."""
  if key in KINDS:
    given = value.lower() if key == 'init_lora_weights' and isinstance(value, str) else value
    if any(given is fine or (isinstance(fine, str) and given == fine) for fine in KINDS[key]):
      return ''
    way = WAYS.get(key, MERGE)
    return f'{key}={_short(value)} is not supported, only {", ".join(map(repr, KINDS[key]))}: {way}'
  if key in USED or key in IRRELEVANT or (value is None if key in ONLY_NULL else off(value)):
    return ''
  if key in REFUSED:
    return f'{key}={_short(value)} is not supported, only null: {REFUSED[key]}'
  return (
    f'{key}={_short(value)} is not known, and may change what the adapter computes: if it does '
    f'not, take it out of the file; else {MERGE}'
  )


def off(value: Any) -> bool:
  """How PEFT writes what an adapter does without. 0 is not among it: it can be a setting."""
  return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def _check_numbers(file: str, entries: dict[str, Any]) -> None:
  """A rank is a whole number from 1 on, an alpha any finite number; also in the patterns."""
  rank = lambda x: isinstance(x, int) and x >= 1
  alpha = lambda x: isinstance(x, int | float) and abs(x) < 1e12
  for key, patterns, fine, rule in (
    ('r', 'rank_pattern', rank, 'a whole number from 1 on'),
    ('lora_alpha', 'alpha_pattern', alpha, 'a finite number'),
  ):
    if key not in entries:
      raise HubError(f'{file} has no {key}: put in {rule}, the one the adapter was trained with')
    found = entries.get(patterns) or {}
    if not isinstance(found, dict):
      raise HubError(f'{file}: {patterns}={_short(found)} must be a map from names to numbers')
    for name, value in (
      (key, entries[key]),
      *((f'{patterns} of {k}', v) for k, v in found.items()),
    ):
      if isinstance(value, bool) or not fine(value):
        raise HubError(f'{file}: {name}={_short(value)} must be {rule}, as the adapter was trained')
  if not isinstance(entries.get('use_rslora'), bool | None):
    raise HubError(f'{file}: use_rslora={_short(entries["use_rslora"])} must be true or false')


def _check_names(file: str, entries: dict[str, Any]) -> None:
  names = lambda x: isinstance(x, list) and all(isinstance(one, str) for one in x)
  whole = lambda x: isinstance(x, int) and not isinstance(x, bool)
  for key in ('target_modules', 'exclude_modules', 'layers_pattern'):
    value = entries.get(key)
    if value is not None and not isinstance(value, str) and not names(value):
      raise HubError(f'{file}: {key}={_short(value)} must be a pattern or a list of names')
  layers = entries.get('layers_to_transform')
  if layers is not None and not all(map(whole, layers if isinstance(layers, list) else [layers])):
    raise HubError(f'{file}: layers_to_transform={_short(layers)} must be layers, counted from 0')


def _short(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= 80 else f'{text[:77]}...'
