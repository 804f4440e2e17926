"""The `rope_parameters` of a `config.json`, as fields of a ModelConfig, and back.

Which keys a type reads is decided by transformers' `modeling_rope_utils`, whose formulas are in
`models.rope`.
"""

from typing import Any

from rft_jax.models.config import FULL, SCALINGS, SLIDING, ModelConfig
from rft_jax.models.families import Family
from rft_jax.models.hf_keys import Keys

LENGTH = 'original_max_position_embeddings'
FACTORS = 'short_factor', 'long_factor'
PARTIAL = 'partial_rotary_factor'
NEEDED: dict[str, tuple[str, ...]] = dict(
  default=(),
  linear=('factor',),
  llama3=('factor', 'low_freq_factor', 'high_freq_factor', LENGTH),
  yarn=('factor', LENGTH),
  longrope=('factor', LENGTH, *FACTORS),
)
OPTIONAL = dict(
  yarn=('attention_factor', 'beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim', 'truncate'),
  longrope=('attention_factor',),
)
IRRELEVANT = 'rope_type', 'type', 'finetuned', 'max_position_embeddings'
NEUTRAL = dict(
  attention_factor=1,
  attn_factor=1,
  factor=1,
  llama_4_scaling_beta=0,
  mrope_interleaved=False,
  partial_rotary_factor=1,
)
"""Keys that a type does not read, with the value that leaves its arithmetic as it is."""


def read_rope(keys: Keys, family: Family, kinds: tuple[str, ...]) -> dict[str, Any]:
  """The fields of a ModelConfig; kinds: the layers'. What is wrong is told to `keys`."""
  rows = _rows(keys, 'rope_local_theta' in family.reads)
  first, whole = next(iter(rows.items()))
  partial = {PARTIAL: _partial(keys, whole)} if PARTIAL in family.reads else {}
  theta, scaling = _one(keys, first, whole)
  fields: dict[str, Any] = dict(rope_theta=theta, rope_scaling=scaling) | partial
  if len(rows) == 1 or SLIDING not in kinds:
    return fields
  place, local = list(rows.items())[1]
  own, extended = _one(keys, place, local)
  if (own, extended) != (theta, scaling):
    if extended:
      keys.refuse(place, local, 'is not supported, only rope_type=default')
    fields['rope_local_theta'] = own
  return fields


def _partial(keys: Keys, found: dict) -> float:
  """Of a head, what is turned: taken out of the rope's entries. Older files have it beside them."""
  beside = keys.get(PARTIAL, default=found.get(PARTIAL, 1.0))
  value = found.pop(PARTIAL, beside)
  if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
    keys.refuse(PARTIAL, value, 'must be more than 0, and at most 1')
    return 1.0
  if beside != value:
    keys.refuse(PARTIAL, beside, f'differs from that of rope_parameters, {value!r}')
  return value


def _rows(keys: Keys, local_theta: bool) -> dict[str, dict[str, Any]]:
  """Place -> entries: of all layers, or of the FULL and then of the SLIDING ones. Files from before
  transformers 5 have `rope_theta` and `rope_scaling` instead, which move in there."""
  found = keys.get('rope_scaling') or keys.get('rope_parameters') or {}
  old, outside = keys.get('rope_theta'), keys.get(LENGTH)
  if not isinstance(found, dict):
    keys.refuse('rope_parameters', found, 'must be an object')
    found = {}
  before = {} if old is None else dict(rope_theta=old)
  if FULL not in found and SLIDING not in found:
    after = {} if outside is None else {LENGTH: outside}  # in transformers it decides
    return dict(rope_parameters=before | found | after)
  if not local_theta:
    keys.refuse('rope_parameters', found, 'has entries for kinds of layers, which all have one')
  return {f'rope_parameters.{k}': before | (found.get(k) or {}) for k in (FULL, SLIDING)}


def _one(keys: Keys, place: str, found: dict[str, Any]) -> tuple[float, tuple]:
  """Theta, and the scaling's entries."""
  found = {k: v for k, v in found.items() if v is not None}
  kind = found.get('rope_type', found.get('type', 'default'))
  if kind not in SCALINGS:
    keys.refuse(f'{place}.rope_type', kind, f'is not supported, only {", ".join(SCALINGS)}')
    return 10_000.0, ()
  reads = (*NEEDED[kind], *OPTIONAL.get(kind, ()))
  if kind in ('yarn', 'longrope') and 'factor' not in found and _positive(found.get(LENGTH)):
    found['factor'] = keys.get('max_position_embeddings', default=0) / found[LENGTH]
  for key, value in found.items():
    _judge(keys, place, key, value, kind)
  for key in ('rope_theta', *NEEDED[kind]):
    if key not in found:
      keys.refuse(f'{place}.{key}', None, f'is missing, which rope_type={kind!r} needs')
  scaling = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items() if k in reads}
  if scaling:
    scaling['rope_type'] = kind
  return found.get('rope_theta', 0.0), tuple(sorted(scaling.items()))


def _judge(keys: Keys, place: str, key: str, value: Any, kind: str) -> None:
  name, reads = f'{place}.{key}', (*NEEDED[kind], *OPTIONAL.get(kind, ()))
  if key == 'truncate' and key in reads:
    if not isinstance(value, bool):
      keys.refuse(name, value, 'must be true or false')
    elif not value and place != 'rope_parameters':
      keys.refuse(name, value, 'is not read there by transformers, and not supported')
  elif key in reads and key in FACTORS:
    if not isinstance(value, (list, tuple)) or not all(map(_positive, value)):
      keys.refuse(name, value, 'must be a list of positive numbers')
  elif key in reads or key in ('rope_theta', LENGTH):
    if not _positive(value):
      keys.refuse(name, value, 'must be a positive number')
  elif key in NEUTRAL:
    if value != NEUTRAL[key]:
      why = f'changes the arithmetic, and is not supported with rope_type={kind!r}'
      keys.refuse(name, value, f'{why}: only {NEUTRAL[key]!r}')
  elif key not in IRRELEVANT:
    keys.refuse(
      name,
      value,
      f"is not read by transformers' rope_type={kind!r}: to compute as that does, "
      f'model.ignore=({name!r},)',
    )


def _positive(value: Any) -> bool:
  number = isinstance(value, (int, float)) and not isinstance(value, bool)
  return number and 0 < value < float('inf')


def write_rope(c: ModelConfig) -> dict[str, Any]:
  """The entries, `rope_parameters` among them."""
  scaling = {k: list(v) if k in FACTORS else v for k, v in c.rope_scaling}
  whole = (scaling or dict(rope_type='default')) | dict(rope_theta=c.rope_theta)
  if PARTIAL in c.family.reads:
    whole[PARTIAL] = c.partial_rotary_factor
  if 'rope_local_theta' not in c.family.reads:
    # That of Phi-3's class would decide, were it not here.
    outside = {LENGTH: scaling[LENGTH]} if scaling.get('rope_type') == 'longrope' else {}
    return dict(rope_parameters=whole) | outside
  own = dict(rope_type='default', rope_theta=c.rope_local_theta)
  return dict(rope_parameters={FULL: whole, SLIDING: own if c.rope_local_theta else whole})
