"""The model that a config names: from scratch, or a Hugging Face checkpoint."""

import dataclasses
from typing import Any, NamedTuple

from rft_jax.config import base
from rft_jax.data.stops import set_stop_texts, stop_texts
from rft_jax.data.text import load_tokenizer, stop_tokens
from rft_jax.data.trimming import trimmed
from rft_jax.infra import hub
from rft_jax.infra.parallel import Placement
from rft_jax.models.config import Lora, ModelConfig
from rft_jax.models.hf_config import write_config
from rft_jax.models.hf_defaults import completed
from rft_jax.models.lora import adapter_shapes
from rft_jax.registry import ConfigError, nearest
from rft_jax.types import PyTree

OURS = 'dtype', 'remat', 'attention'
APART = 'path', 'ignore', 'param_dtype', 'lora'


class Model(NamedTuple):
  """architecture; tokenizer; directory: of the checkpoint, '' for none; stop: the ids that end an
  answer; dtype: of parameters that are not trained."""

  architecture: ModelConfig
  tokenizer: Any
  directory: str
  stop: list[int]
  dtype: str

  def decoder(self, placement: Placement) -> PyTree:
    """The checkpoint's decoder, where the placement wants it."""
    return hub.load(self.directory, self.architecture, placement.home, self.dtype)


def open_model(config: Any, placement: Placement) -> Model:
  """Reads no weights. Raises ConfigError or HubError for what cannot work."""
  settings = config.model
  known = {f.name for f in dataclasses.fields(ModelConfig)} - {'vocab_size'} | set(APART)
  for key in settings:
    if key not in known:
      raise ConfigError(f'model has no setting {key!r}: {nearest(key, known)}')
  lora = _lora(settings)
  ours: dict[str, Any] = {key: settings[key] for key in OURS} | dict(lora=lora)
  if settings.param_dtype != 'float32' and lora is None:
    raise ConfigError(
      f'model.param_dtype={settings.param_dtype!r} is for what is not trained: what is trained '
      'stays float32; set model.lora.rank, or leave it'
    )
  if not settings.path:
    tokenizer = load_tokenizer('characters' if config.tokenizer == 'auto' else config.tokenizer)
    sizes = {k: v for k, v in settings.items() if k not in (*APART, *OURS)}
    architecture = _checked(ModelConfig(vocab_size=len(tokenizer), **sizes, **ours))
    _check_exportable(architecture)
    stop = stop_tokens(tokenizer)
    check_stops(tokenizer, stop)
    return Model(architecture, tokenizer, '', stop, settings.param_dtype)
  _check_alone(settings)
  directory = hub.locate(settings.path)
  architecture = _checked(hub.model_config(directory, tuple(settings.ignore), **ours))
  tokenizer = load_tokenizer(directory if config.tokenizer == 'auto' else config.tokenizer)
  tokenizer = trimmed(tokenizer, architecture.vocab_size)
  if len(tokenizer) > architecture.vocab_size:
    raise ConfigError(
      f'{directory}: its tokenizer has {len(tokenizer)} tokens, its config.json vocab_size='
      f'{architecture.vocab_size}: name the tokenizer that belongs to it by tokenizer='
    )
  set_stop_texts(tokenizer, hub.stop_strings(directory))
  stop = sorted({*hub.stop_ids(directory, tokenizer), *stop_tokens(tokenizer)})
  check_stops(tokenizer, stop)
  return Model(architecture, tokenizer, directory, stop, settings.param_dtype)


def check_stops(tokenizer, stop: list[int]) -> None:
  """Raises ConfigError where nothing ends an answer."""
  if not stop and not stop_texts(tokenizer):
    raise ConfigError(
      'the tokenizer has neither an EOS token nor a chat template that ends turns, so no answer '
      'would end: set eos_token in its tokenizer_config.json'
    )


def _lora(settings) -> Lora | None:
  options = {k: v for k, v in settings.lora.items() if k != 'path'}
  if not settings.lora.rank:
    if settings.lora.path:
      raise ConfigError('model.lora.path needs model.lora.rank: at least that of the adapter')
    return None
  if settings.lora.path and not settings.path:
    raise ConfigError('model.lora.path belongs to a checkpoint: set model.path to it')
  return Lora(**options)


def _checked(c: ModelConfig) -> ModelConfig:
  """Raises ConfigError where the adapters' targets match nothing."""
  if c.lora:
    adapter_shapes(c)
  return c


def _check_exportable(c: ModelConfig) -> None:
  """Raises ConfigError where transformers has no such model: now, not after the training."""
  entries = write_config(c)
  try:
    completed(entries)
  except ConfigError as error:
    raise ConfigError(f'model: transformers has no such {c.model_type} ({error})') from error


def _check_alone(settings) -> None:
  """The checkpoint decides the architecture: a size beside it would be passed over."""
  default: Any = base().model
  for key, value in settings.items():
    if key not in (*APART, *OURS) and value != default[key]:
      raise ConfigError(f'model.{key}={value!r} is decided by model.path: leave it out')
