"""The architecture of a model, in the field names of a Hugging Face `config.json`."""

import dataclasses
import re

from rft_jax.models.families import FAMILIES, Family
from rft_jax.registry import ConfigError, nearest

FULL, SLIDING = 'full_attention', 'sliding_attention'
DTYPES = 'float32', 'bfloat16'
REMATS = 'none', 'dots', 'full'
ATTENTIONS = 'auto', 'xla', 'cudnn', 'splash'
ACTIVATIONS = 'silu', 'gelu_pytorch_tanh', 'gelu_new', 'gelu', 'relu'
SCALINGS = 'default', 'linear', 'llama3', 'yarn'


@dataclasses.dataclass(frozen=True)
class Lora:
  """Low-rank adapters (arXiv:2106.09685): `adapters` of them side by side, each of `rank`.

  alpha / rank scales what they add (alpha / sqrt(rank) with `rslora`); targets: a pattern that is
  searched for in the modules' Hugging Face names, such as 'q_proj|v_proj'; dropout: of their
  input, while training.
  """

  rank: int
  alpha: float = 16.0
  targets: str = '.*'
  dropout: float = 0.0
  adapters: int = 1
  rslora: bool = False

  def __post_init__(self):
    for name, fine, rule in (
      ('rank', self.rank >= 1, 'at least 1'),
      ('alpha', self.alpha != 0, 'other than 0'),
      ('adapters', self.adapters >= 1, 'at least 1'),
      ('dropout', 0 <= self.dropout < 1, 'in [0, 1)'),
    ):
      if not fine:
        raise ConfigError(f'model.lora.{name}={getattr(self, name)} must be {rule}')
    try:
      re.compile(self.targets)
    except re.error as error:
      raise ConfigError(f'model.lora.targets={self.targets!r} is no pattern: {error}') from error

  @property
  def scale(self) -> float:
    return self.alpha / (self.rank**0.5 if self.rslora else self.rank)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """What decides the shape of the parameters, and (from `dtype` on) how they are computed with.

  layer_types: FULL or SLIDING for each layer, () for FULL everywhere. rope_scaling: the entries of
  `rope_parameters` besides its theta, sorted pairs; rope_local_theta: of SLIDING layers, 0 for that
  of the others. attention_scale: of queries, 0 for head_dim ** -0.5. dtype: of activations; the
  parameters keep theirs. remat: what of a layer the backward pass computes again (none | dots: all
  but matmuls | full). attention: see `models.attention`.
  """

  vocab_size: int
  hidden_size: int
  intermediate_size: int
  num_hidden_layers: int
  num_attention_heads: int
  num_key_value_heads: int
  head_dim: int
  rope_theta: float = 10_000.0
  rms_norm_eps: float = 1e-6
  tie_word_embeddings: bool = True
  initializer_range: float = 0.02
  model_type: str = 'qwen3'
  hidden_act: str = 'silu'
  attention_bias: bool = False
  mlp_bias: bool = False
  max_position_embeddings: int = 0
  layer_types: tuple[str, ...] = ()
  sliding_window: int = 0
  rope_scaling: tuple[tuple[str, float | str], ...] = ()
  rope_local_theta: float = 0.0
  attention_scale: float = 0.0
  attn_logit_softcapping: float = 0.0
  final_logit_softcapping: float = 0.0
  num_experts: int = 0
  num_experts_per_tok: int = 0
  moe_intermediate_size: int = 0
  norm_topk_prob: bool = False
  dtype: str = 'float32'
  remat: str = 'dots'
  attention: str = 'auto'
  lora: Lora | None = None

  def __post_init__(self):
    if self.model_type not in FAMILIES:
      raise ConfigError(
        f'model.model_type={self.model_type!r} is not supported: '
        + nearest(self.model_type, FAMILIES)
      )
    for name in SIZES:
      if getattr(self, name) <= 0:
        raise ConfigError(f'model.{name}={getattr(self, name)} must be positive')
    for name, known in (
      ('dtype', DTYPES),
      ('remat', REMATS),
      ('attention', ATTENTIONS),
      ('hidden_act', ACTIVATIONS),
    ):
      if getattr(self, name) not in known:
        value = getattr(self, name)
        raise ConfigError(f'model.{name}={value!r} is not supported: {nearest(value, known)}')
    self._check_heads()
    self._check_layers()

  def _check_heads(self):
    if self.num_attention_heads % self.num_key_value_heads:
      raise ConfigError(
        f'model.num_attention_heads={self.num_attention_heads} must be a multiple of '
        f'model.num_key_value_heads={self.num_key_value_heads}'
      )
    if self.head_dim % 2 and self.family.positions == 'rope':
      raise ConfigError(
        f'model.head_dim={self.head_dim} must be even: rotary embeddings turn pairs'
      )
    if self.family.positions == 'learned' and not self.max_position_embeddings:
      raise ConfigError(f'model_type={self.model_type!r} needs max_position_embeddings')
    kind = dict(self.rope_scaling).get('rope_type', 'default')
    if kind not in SCALINGS:
      raise ConfigError(f'rope_type={kind!r} is not supported: {nearest(str(kind), SCALINGS)}')

  def _check_layers(self):
    if self.layer_types and len(self.layer_types) != self.num_hidden_layers:
      raise ConfigError(
        f'model.layer_types names {len(self.layer_types)} layers, '
        f'model.num_hidden_layers={self.num_hidden_layers}'
      )
    for kind in self.layer_types:
      if kind not in (FULL, SLIDING):
        raise ConfigError(f'layer type {kind!r} is not supported: {nearest(kind, (FULL, SLIDING))}')
    if SLIDING in self.layer_types and self.sliding_window < 1:
      raise ConfigError(f'model.sliding_window={self.sliding_window} must be positive')
    if self.family.experts and not 0 < self.num_experts_per_tok <= self.num_experts:
      raise ConfigError(
        f'model.num_experts_per_tok={self.num_experts_per_tok} must be from 1 to '
        f'model.num_experts={self.num_experts}'
      )

  @property
  def family(self) -> Family:
    return FAMILIES[self.model_type]

  @property
  def repeat(self) -> int:
    """Query heads per key-value head."""
    return self.num_attention_heads // self.num_key_value_heads

  @property
  def kinds(self) -> tuple[str, ...]:
    """The kinds of attention that there are."""
    return tuple(sorted(set(self.layer_types))) or (FULL,)

  @property
  def kind_of_layer(self) -> tuple[int, ...]:
    """Which of `kinds` each layer has."""
    return tuple(map(self.kinds.index, self.layer_types)) or (0,) * self.num_hidden_layers

  @property
  def scale(self) -> float:
    return self.attention_scale or self.head_dim**-0.5


SIZES = (
  'vocab_size',
  'hidden_size',
  'intermediate_size',
  'num_hidden_layers',
  'num_attention_heads',
  'num_key_value_heads',
  'head_dim',
  'rope_theta',
  'rms_norm_eps',
  'initializer_range',
)
