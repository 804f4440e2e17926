"""The architecture of a model, in the field names of a Hugging Face `config.json`."""

import dataclasses
import re
from typing import Any, NamedTuple

from rft_jax.models.families import FAMILIES, Family
from rft_jax.registry import ConfigError, nearest

FULL, SLIDING = 'full_attention', 'sliding_attention'
DTYPES = 'float32', 'bfloat16'
REMATS = 'none', 'dots', 'full'
ATTENTIONS = 'auto', 'xla', 'cudnn', 'splash'
ACTIVATIONS = 'silu', 'gelu_pytorch_tanh', 'gelu_new', 'gelu', 'relu', 'relu2'
SCALINGS = 'default', 'linear', 'llama3', 'yarn', 'longrope'


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


class Kind(NamedTuple):
  """Of attention. sliding: it sees a window; turned: it has rotary embeddings."""

  sliding: bool
  turned: bool


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """What decides the shape of the parameters, and (from `dtype` on) how they are computed with.

  layer_types: FULL or SLIDING for each layer, () for FULL everywhere. rope_layers: whether each has
  rotary embeddings, () where the family decides. rope_scaling: the entries of `rope_parameters`
  besides its theta, sorted pairs; rope_local_theta: of SLIDING layers, 0 for that of the others;
  partial_rotary_factor: of a head, what is turned. attention_scale: of queries, 0 for
  head_dim ** -0.5. embedding_multiplier; residual_multiplier: of what half a layer adds;
  logits_scaling divides. moe_intermediate_size: 0
  for intermediate_size. dtype: of activations; the parameters keep theirs. remat: what of a layer
  the backward pass computes again (none | dots: all but matmuls | full). attention: see
  `models.attention`.
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
  rope_layers: tuple[bool, ...] = ()
  sliding_window: int = 0
  rope_scaling: tuple[tuple[str, Any], ...] = ()
  rope_local_theta: float = 0.0
  partial_rotary_factor: float = 1.0
  attention_scale: float = 0.0
  embedding_multiplier: float = 1.0
  residual_multiplier: float = 1.0
  logits_scaling: float = 1.0
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
      raise ConfigError(f'model.{unsupported(self.model_type)}')
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
    if self.rotary_dim % 2 and self.family.positions == 'rope':
      raise ConfigError(
        f'model.head_dim={self.head_dim} must be even (of it, {self.rotary_dim} are turned): '
        'rotary embeddings turn pairs'
      )
    if self.family.positions == 'learned' and not self.max_position_embeddings:
      raise ConfigError(f'model_type={self.model_type!r} needs max_position_embeddings')
    options = dict(self.rope_scaling)
    kind, count = options.get('rope_type', 'default'), self.rotary_dim // 2
    known = self.family.scalings or SCALINGS
    if kind not in known:
      raise ConfigError(f'rope_type={kind!r} is not supported, only {", ".join(known)}')
    if kind == 'longrope' and len(options['short_factor']) != count:
      raise ConfigError(
        f'rope_parameters: short_factor has {len(options["short_factor"])} numbers, must have '
        f'{count}: half of the {self.rotary_dim} features of a head that are turned'
      )

  def _check_layers(self):
    if self.layer_types and len(self.layer_types) != self.num_hidden_layers:
      raise ConfigError(
        f'model.layer_types names {len(self.layer_types)} layers, '
        f'model.num_hidden_layers={self.num_hidden_layers}'
      )
    if self.rope_layers and len(self.rope_layers) != self.num_hidden_layers:
      raise ConfigError(
        f'model.rope_layers names {len(self.rope_layers)} layers, '
        f'model.num_hidden_layers={self.num_hidden_layers}'
      )
    for kind in self.layer_types:
      if kind not in (FULL, SLIDING):
        raise ConfigError(f'layer type {kind!r} is not supported, only {FULL} and {SLIDING}')
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
  def kinds(self) -> tuple[Kind, ...]:
    """The kinds of attention that there are."""
    return tuple(sorted(set(self._kinds)))

  @property
  def kind_of_layer(self) -> tuple[int, ...]:
    """Which of `kinds` each layer has."""
    return tuple(map(self.kinds.index, self._kinds))

  @property
  def _kinds(self) -> list[Kind]:
    types = self.layer_types or (FULL,) * self.num_hidden_layers
    sliding = [kind == SLIDING for kind in types]
    only_sliding = self.family.turned == 'sliding' and self.sliding_window > 0
    turned = self.rope_layers or (sliding if only_sliding else [True] * len(sliding))
    return list(map(Kind, sliding, turned))

  @property
  def rotary_dim(self) -> int:
    """So many features of a head are turned."""
    return int(self.head_dim * self.partial_rotary_factor)

  @property
  def longest(self) -> int:
    """A row has at most so many positions, 0 for any number. LongRoPE turns by other frequencies in
    texts that are longer than its original length: a text that grew past it would be computed anew,
    and what was sampled would not be what is learned."""
    if self.family.positions == 'learned':
      return self.max_position_embeddings
    options = dict(self.rope_scaling)
    long = options.get('rope_type') == 'longrope'
    return options['original_max_position_embeddings'] if long else 0

  def check_length(self, length: int, what: str = '') -> None:
    """Raises ConfigError where rows have more positions than there are; what: sets their length."""
    if self.longest and length > self.longest:
      kind = 'learned' if self.family.positions == 'learned' else 'of the short factors of longrope'
      raise ConfigError(
        f'{what or "rows of"} {length} tokens are more than the {self.longest} positions that are '
        f'{kind}: lower max_prompt or max_new'
      )

  @property
  def scale(self) -> float:
    return self.attention_scale or self.head_dim**-0.5


def unsupported(kind: object) -> str:
  """What is said of a model_type that is no family. A neighbour in spelling is often another
  architecture (llava, phi), so only a slip of the pen is taken for one."""
  meant = next((name for name in FAMILIES if _slip(str(kind), name)), '')
  guess = f'did you mean {meant!r}? ' if meant else ''
  return f'model_type={kind!r} is not supported: {guess}Known: {", ".join(sorted(FAMILIES))}'


def _slip(word: str, name: str) -> bool:
  """Whether they differ in case and punctuation, or by one letter, not the first, that is left out,
  doubled or swapped with its neighbour."""
  a, b = (re.sub('[^a-z0-9]', '', text.lower()) for text in (word, name))
  if a == b:
    return True
  short, long = sorted((a, b), key=len)
  if len(short) == len(long):
    swapped = (a[:i] + a[i + 1] + a[i] + a[i + 2 :] for i in range(1, len(a) - 1))
    return any(s == b for s in swapped)
  return any(long[i].isalpha() and long[:i] + long[i + 1 :] == short for i in range(1, len(long)))


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
