"""A Hugging Face `config.json` as a ModelConfig, and back. No key is passed over: each is used,
irrelevant by the lists below, or refused."""

from collections.abc import Collection
from typing import Any

from rft_jax.models.config import FULL, SIZES, SLIDING, ModelConfig, unsupported
from rft_jax.models.families import FAMILIES
from rft_jax.registry import ConfigError

IRRELEVANT = frozenset(
  # Bookkeeping, and what other kinds of heads and of outputs are made of.
  '_name_or_path architectures chunk_size_feed_forward dtype torch_dtype id2label label2id '
  'output_attentions output_hidden_states output_router_logits problem_type return_dict '
  'summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj '
  'transformers_version use_cache pretraining_tp n_ctx '
  # Ids of special tokens: `infra.hub.stop_ids` reads them.
  'bos_token_id eos_token_id pad_token_id boi_token_index eoi_token_index image_token_index '
  # Noise and losses of pre-training, which fine-tuning here does without.
  'attention_dropout attn_pdrop embd_pdrop resid_pdrop router_aux_loss_coef '
  # Already in layer_types, or in which rows numerics do not differ.
  'no_rope_layer_interval partial_rotary_factor original_max_position_embeddings '
  'residual_dropout embedding_dropout hidden_dropout router_jitter_noise cache_implementation max_window_layers use_sliding_window sliding_window_pattern '
  '_sliding_window_pattern reorder_and_upcast_attn mm_tokens_per_image'.split()
)
REQUIRED = dict(
  add_cross_attention=(False,),
  attention_out_bias=(False,),
  qk_layernorm=(False,),
  use_parallel_residual=(False,),
  decoder_sparse_step=(1,),
  is_encoder_decoder=(False,),
  mlp_only_layers=([], None),
  scale_attn_by_inverse_layer_idx=(False,),
  scale_attn_weights=(True,),
  use_bidirectional_attention=(False, None),
)
"""Keys with the values that the decoder computes."""


class Keys:
  """The entries of a config.json, and which of them were asked for."""

  def __init__(self, entries: dict[str, Any]):
    self.entries, self.used = entries, {'model_type'}

  def get(self, *names: str, default: Any = None) -> Any:
    """The first of `names` that is set, else the default."""
    self.used.update(names)
    found = (self.entries[name] for name in names if self.entries.get(name) is not None)
    return next(found, default)


def read_config(entries: dict[str, Any], ignore: Collection[str] = (), **options) -> ModelConfig:
  """entries: of a config.json, completed by the defaults of its class; ignore: keys to pass over;
  options: the fields of ModelConfig that are ours. Raises ConfigError for what is not supported."""
  kind = str(entries.get('model_type'))
  if kind not in FAMILIES:
    raise ConfigError(unsupported(f'model_type={kind!r}'))
  family, keys = FAMILIES[kind], Keys(entries)
  take = lambda field, default=None: keys.get(family.keys.get(field, field), default=default)
  fields = {name: take(name) for name in SIZES if take(name) is not None}
  fields.setdefault('num_key_value_heads', fields['num_attention_heads'])
  fields.setdefault('head_dim', fields['hidden_size'] // fields['num_attention_heads'])
  fields.setdefault('intermediate_size', 4 * fields['hidden_size'])
  fields['max_position_embeddings'] = take('max_position_embeddings', 0)
  for name in ('tie_word_embeddings', 'attention_bias', 'mlp_bias', 'norm_topk_prob'):
    fields[name] = take(name, False)
    if not isinstance(fields[name], bool):
      raise ConfigError(f'config.json: {name}={fields[name]!r} must be true or false')
  for name in ('attn_logit_softcapping', 'final_logit_softcapping'):
    fields[name] = float(keys.get(name, default=0.0))
  if scalar := keys.get('query_pre_attn_scalar'):
    fields['attention_scale'] = scalar**-0.5
  elif 'attention_scale' in family.keys:
    fields['attention_scale'] = take('attention_scale')
  for name in ('embedding_multiplier', 'residual_multiplier', 'logits_scaling'):
    fields[name] = take(name, 1.0)
  if family.experts:
    names = 'num_experts', 'num_experts_per_tok', 'moe_intermediate_size'
    fields |= {name: take(name) for name in names}
    fields['num_experts'] = keys.get('num_experts', 'num_local_experts')
  fields['hidden_act'] = take('hidden_act', 'silu')
  fields |= _rope(keys) | _layers(keys, family.sliding, fields['num_hidden_layers'])
  _refuse_rest(keys, set(ignore))
  return ModelConfig(model_type=kind, **fields, **options)


def _rope(keys: Keys) -> dict[str, Any]:
  found = keys.get('rope_parameters', default={})
  keys.get('rope_theta', 'rope_scaling', 'rope_local_base_freq')  # of old files; moved there
  local = {}
  if FULL in found:
    local, found = found.get(SLIDING, {}), found[FULL]
    if local.get('rope_type', 'default') != 'default':
      raise ConfigError(f'rope_parameters of {SLIDING} layers must be default, not {local}')
  scaling = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
  scaling.pop('rope_theta', None)
  partial = scaling.pop('partial_rotary_factor', 1.0)
  if scaling.get('rope_type', 'default') == 'default':
    scaling = {}
  return dict(
    rope_theta=found.get('rope_theta', 10_000.0),
    rope_scaling=tuple(sorted((k, v) for k, v in scaling.items() if v is not None)),
    rope_local_theta=local.get('rope_theta', 0.0),
    partial_rotary_factor=partial,
  )


def _layers(keys: Keys, sliding: str, count: int) -> dict[str, Any]:
  window, kinds = keys.get('sliding_window', default=0), tuple(keys.get('layer_types', default=()))
  if sliding == 'all' and window:
    kinds = (SLIDING,) * count
  if set(kinds) <= {FULL}:
    kinds = ()
  turned = tuple(map(bool, keys.get('no_rope_layers', default=())))
  return dict(layer_types=kinds, sliding_window=window, rope_layers=() if all(turned) else turned)


def _refuse_rest(keys: Keys, ignore: set[str]) -> None:
  for key, value in keys.entries.items():
    if key in keys.used or key in IRRELEVANT or key in ignore:
      continue
    if key not in REQUIRED:
      raise ConfigError(
        f'config.json: {key}={value!r} is not known for model_type={keys.entries["model_type"]!r}; '
        f"if it changes nothing, pass over it by model.ignore=('{key}',)"
      )
    if value not in REQUIRED[key]:
      raise ConfigError(f'config.json: {key}={value!r} is not supported, only {REQUIRED[key][0]!r}')


def write_config(c: ModelConfig) -> dict[str, Any]:
  """The entries of a config.json for a model that did not come from one."""
  keys = c.family.keys
  fields = {name: getattr(c, name) for name in SIZES if name != 'rope_theta'}
  if c.max_position_embeddings:
    fields['max_position_embeddings'] = c.max_position_embeddings
  if c.family.positions == 'learned':
    fields = {k: v for k, v in fields.items() if k not in ('num_key_value_heads', 'head_dim')}
  else:
    fields['rope_parameters'] = dict(
      rope_theta=c.rope_theta, **dict(c.rope_scaling or (('rope_type', 'default'),))
    )
  fields |= dict(hidden_act=c.hidden_act, tie_word_embeddings=c.tie_word_embeddings)
  if c.attention_bias or c.mlp_bias:
    fields |= dict(attention_bias=c.attention_bias, mlp_bias=c.mlp_bias)
  return {keys.get(name, name): value for name, value in fields.items()} | dict(
    model_type=c.model_type
  )
