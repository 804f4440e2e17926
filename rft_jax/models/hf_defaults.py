"""The entries of a `config.json` with the defaults of transformers' class of its family."""

import copy
from typing import Any

from rft_jax.registry import ConfigError


def completed(entries: dict[str, Any]) -> dict[str, Any]:
  """Raises ConfigError for what that class does not take."""
  from huggingface_hub.errors import StrictDataclassError
  from transformers.models.auto.configuration_auto import CONFIG_MAPPING
  from transformers.utils import logging

  logging.set_verbosity_error()
  entries = copy.deepcopy(entries)  # which the class would change, in rope_scaling
  of_class = {k: v for k, v in entries.items() if k not in ('model_type', 'dtype', 'torch_dtype')}
  try:
    return CONFIG_MAPPING[entries['model_type']](**of_class).to_dict()
  except (
    ArithmeticError,
    AttributeError,
    KeyError,
    StrictDataclassError,
    TypeError,
    ValueError,
  ) as error:
    raise ConfigError(f'config.json cannot be read: {_line(error)}') from error


def _line(error: Exception) -> str:
  zero = 'a size or a length is 0: ' if isinstance(error, ArithmeticError) else ''
  return zero + ' '.join(str(error).split())[:200]
