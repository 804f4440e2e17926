"""Which keys of a `config.json` change what a decoder computes, and which do not.

The measure is transformers' own code of the family, in inference and in training without dropout. A
key is used (see `hf_config`), irrelevant, of arithmetic that is absent here and so accepted at its
neutral values only, or unknown, which is refused: so nothing is passed over by accident.
"""

import re
from collections.abc import Collection
from typing import Any

from rft_jax.registry import ConfigError

IRRELEVANT = frozenset(
  # Where a file came from and how it is loaded. With `auto_map` too, transformers runs its own code
  # of a family that it knows, unless it is told to trust that of the checkpoint.
  '_name_or_path architectures auto_map custom_pipelines dtype model_max_length model_name '
  'name_or_path tokenizer_class torch_dtype torchscript transformers_version '
  'use_bfloat16 license language library_name mergekit_config '
  # Outputs, caches and kernels: how the same is computed.
  '_attn_implementation _attn_implementation_autoset attn_implementation cache_implementation '
  'chunk_size_feed_forward device_map experts_implementation flash_attention fusion_config '
  'gradient_checkpointing onnx output_attentions output_hidden_states output_past '
  'output_router_logits pretraining_tp reorder_and_upcast_attn return_dict tf_legacy_loss '
  'attention_softmax_in_fp32 scale_attention_softmax_in_fp32 '
  'tie_last_hidden_states use_cache use_flash_attention use_flash_attention_2 use_flash_attn '
  'use_flashattn use_fused_cross_entropy use_fused_rms_norm use_fused_swiglu use_return_dict '
  # Other heads and tasks.
  'finetuning_task id2label label2id num_labels predict_special_tokens prefix problem_type '
  'task_specific_params token_classification_bias summary_activation summary_first_dropout '
  'summary_proj_to_labels summary_type summary_use_proj tie_encoder_decoder is_decoder '
  # Ids of special tokens: `infra.hub.stop_ids` reads them.
  'bos_token_id eos_token_id pad_token_id boi_token_index eoi_token_index image_token_index '
  'bad_words_ids mm_tokens_per_image n_special '
  # How answers are sampled, which old files keep here.
  'assistant_confidence_threshold assistant_lookbehind begin_suppress_tokens diversity_penalty '
  'do_sample early_stopping encoder_no_repeat_ngram_size encoder_repetition_penalty '
  'num_assistant_tokens num_assistant_tokens_schedule target_lookbehind '
  'epsilon_cutoff eta_cutoff exponential_decay_length_penalty length_penalty max_length '
  'max_new_tokens min_length min_new_tokens no_repeat_ngram_size num_beam_groups num_beams '
  'num_return_sequences output_scores penalty_alpha remove_invalid_values repetition_penalty '
  'return_dict_in_generate sequence_bias suppress_tokens temperature top_h top_k top_p typical_p '
  # Noise and losses of pre-training, which fine-tuning here does without.
  'attention_dropout attn_pdrop embd_pdrop initializer_factor neftune_noise_alpha resid_pdrop '
  'embedding_dropout hidden_dropout residual_dropout router_aux_loss_coef router_jitter_noise '
  # Already in layer_types; lengths that nothing is computed with; what is said by another key.
  '_sliding_window_pattern activation is_llama_config max_seq_len max_sequence_length '
  'max_window_layers n_ctx no_rope_layer_interval seq_length sliding_window_pattern '
  'sliding_window_size use_sliding_window'.split()
)
PRIVATE = re.compile(
  r'_.*|unsloth_.*|transformers\.js.*|summary_.*|.*_token_ids?|.*_token_index|'
  r'(.*_)?(dropout|pdrop|layerdrop|drop)(_prob|_p|_rate)?'
)
"""Notes of a library to itself, ids and noise: irrelevant whatever they are called in full."""
NEUTRAL = dict(
  add_cross_attention=(False,),
  alibi=(False,),
  attention_chunk_size=(None,),
  attention_out_bias=(False,),
  bias=(False,),
  clip_qkv=(None,),
  decoder_sparse_step=(1,),
  embedding_multiplier=(1,),
  full_attn_mod=(1,),
  is_causal=(True,),
  interpolate_factor=(1,),
  is_encoder_decoder=(False,),
  lm_head_bias=(False,),
  logit_scale=(1,),
  logits_scaling=(1,),
  mlp_only_layers=([],),
  mlp_type=('default',),
  norm_type=('layer_norm',),
  parallel_attn=(False,),
  partial_rotary_factor=(1,),
  per_layer_config=({},),
  pruned_heads=({}, []),
  qk_layernorm=(False,),
  residual_multiplier=(1,),
  rope_interleaved=(False,),
  rotary_pct=(1,),
  scale_attn_by_inverse_layer_idx=(False,),
  scale_attn_weights=(True,),
  use_bidirectional_attention=(False,),
  use_mrope=(False,),
  use_parallel_residual=(False,),
  use_qk_norm=(False,),
)
"""Keys of arithmetic that is absent here, with the values that leave it out. So does null, except
where they are True."""
QUANTIZED = re.compile(r'(.*_)?(quanti[sz]ation|quanti[sz]e|quant|compression)(_.*)?')


def irrelevant(key: str) -> bool:
  return key in IRRELEVANT or bool(PRIVATE.fullmatch(key))


class Keys:
  """The entries of a config.json, which of them were asked for, and what is wrong with them: all of
  it is told at once."""

  def __init__(self, entries: dict[str, Any], ignore: Collection[str] = ()):
    self.entries, self.ignore, self.used = entries, set(ignore), {'model_type'}
    self.wrong: list[str] = []
    self.unknown: dict[str, Any] = {}

  def get(self, *names: str, default: Any = None) -> Any:
    """The first of `names` that is set, else the default."""
    self.used.update(names)
    found = (self.entries[name] for name in names if self.entries.get(name) is not None)
    return next(found, default)

  def refuse(self, key: str, value: Any, why: str) -> None:
    if key not in self.ignore:
      self.wrong.append(f'{key}={_short(value)} {why}')

  def unread(self, key: str, value: Any) -> None:
    """Other families' arithmetic, which transformers leaves out and the file asks for."""
    why = (
      "is read by other families, not by transformers' code of this one: to compute as that does"
    )
    self.refuse(key, value, f'{why}, model.ignore=({key!r},)')

  def rest(self, unread: Collection[str] = (), renamed: Collection[str] = ()) -> None:
    """Judges the keys that were not asked for; unread: those that only other families compute
    with; renamed: what others call what this one has told by a key of its own."""
    known = {*self.used, *self.ignore, *renamed}
    for key, value in self.entries.items():
      if key not in known and not irrelevant(key):
        self._judge(key, value, unread)

  def _judge(self, key: str, value: Any, unread: Collection[str]) -> None:
    if value is None and NEUTRAL.get(key) != (True,):
      return
    if QUANTIZED.fullmatch(key) and value:
      self.refuse(
        key,
        value,
        'says that the weights are quantised, which are not read: name the checkpoint that it was '
        'made from, whose weights are float32, bfloat16 or float16',
      )
    elif key in NEUTRAL:
      if value not in NEUTRAL[key]:
        only = NEUTRAL[key][0]
        self.refuse(key, value, f'is not supported, only {only!r}: name another checkpoint')
    elif key in unread:
      if value:
        self.unread(key, value)
    elif not QUANTIZED.fullmatch(key):
      self.unknown[key] = value

  def check(self) -> None:
    """Raises ConfigError for all that was found wrong."""
    told = list(self.wrong)
    if self.unknown:
      names = ', '.join(f'{k}={_short(v)}' for k, v in self.unknown.items())
      told.append(
        f"not known: {names}; if transformers' own code of the family computes the same without "
        f'them, pass over them by model.ignore={tuple(self.unknown)!r}'
      )
    if told:
      raise ConfigError(f'config.json of a {self.entries["model_type"]}: ' + '; '.join(told))


def _short(value: Any) -> str:
  text = ' '.join(repr(value).split())
  return text if len(text) <= 60 else text[:57] + '...'
