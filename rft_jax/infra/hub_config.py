"""The entries of a `config.json`: of a multimodal model those of its text."""

from typing import Any

from rft_jax.models.config import unsupported
from rft_jax.models.families import FAMILIES
from rft_jax.registry import ConfigError

WRAPPERS = 'gemma3', 'internvl', 'llava', 'mistral3', 'vipllava'
"""Multimodal models whose text is computed as that of its family alone."""
IDS = 'bos_token_id', 'eos_token_id', 'pad_token_id', 'tie_word_embeddings'
"""What a multimodal model's own entry decides for its text too."""
STALE = 'auto_map', 'torch_dtype'
"""Untrue of an export: it has no code beside it, and its dtype is named anew."""


def text_entries(raw: dict[str, Any]) -> dict[str, Any]:
  """The decoder's entries as the file has them. Raises ConfigError where it names none."""
  kind = raw.get('model_type')
  if not isinstance(kind, str) or not kind:
    raise ConfigError(f'config.json: model_type={kind!r} must name the family, such as "qwen3"')
  if kind in FAMILIES:
    return raw
  if kind not in WRAPPERS:
    raise ConfigError(unsupported(kind))
  return _text(kind, raw)


def _text(kind: str, raw: dict[str, Any]) -> dict[str, Any]:
  """What the whole has besides its class's own keys stays, such as how it is quantised."""
  from transformers.models.auto.configuration_auto import CONFIG_MAPPING

  whole = CONFIG_MAPPING[kind]
  spec = whole.sub_configs_defaults['text_config']
  text = raw.get('text_config')
  text = spec.init_kwargs if text is None else text
  if not isinstance(text, dict):
    raise ConfigError(f'config.json: text_config={text!r} must be an object')
  own = text.get('model_type', spec.model_type)
  own = own if spec.config_class.__name__ == 'AutoConfig' else spec.model_type
  if kind == 'gemma3' and (cap := text.get('final_logit_softcapping')):
    raise ConfigError(
      f'config.json: text_config.final_logit_softcapping={cap}: transformers leaves it out of a '
      'gemma3, but not of its text alone: set it to null'
    )
  if own not in FAMILIES:
    raise ConfigError(f'text_config of model_type={kind!r}: {unsupported(own)}')
  known = {*whole.__dataclass_fields__, *whole.attribute_map, 'model_type', 'torch_dtype'}
  more = {k: v for k, v in raw.items() if k in IDS or k not in known}
  return text | more | dict(model_type=own)


def exported(raw: dict[str, Any]) -> dict[str, Any]:
  """Of the config.json of what was trained from the checkpoint with this one."""
  return {k: v for k, v in text_entries(raw).items() if k not in STALE}
