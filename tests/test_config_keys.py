"""The judgement of each key is that of transformers' code: what it reads, and what that changes."""

import dataclasses
import inspect
import json
import re
import sys
from typing import Any

import numpy as np
import pytest

from rft_jax.infra import hub
from rft_jax.infra.hub_config import WRAPPERS, exported
from rft_jax.models.config import SCALINGS
from rft_jax.models.families import FAMILIES
from rft_jax.models.hf_config import read_config, write_config
from rft_jax.models.hf_defaults import completed
from rft_jax.models.hf_keys import IRRELEVANT, NEUTRAL, irrelevant
from rft_jax.models.hf_rope import NEEDED, OPTIONAL
from rft_jax.models.rope import frequencies
from rft_jax.registry import ConfigError
from tests.architectures import architecture
from tests.checkpoints import reference_logits, rows
from tests.test_families import HOME, logits_of

OTHERS = (
  # Read, and no part of what a decoder computes without dropout: outputs, losses, other heads.
  'attention_dropout attn_pdrop embd_pdrop resid_pdrop residual_dropout embedding_dropout '
  'hidden_dropout classifier_dropout summary_first_dropout summary_last_dropout '
  'chunk_size_feed_forward use_cache output_router_logits router_aux_loss_coef router_jitter_noise '
  'output_attentions output_hidden_states num_labels problem_type return_dict use_return_dict '
  'pad_token_id summary_activation summary_proj_to_labels summary_type summary_use_proj '
  'pretraining_tp _attn_implementation reorder_and_upcast_attn '
  # For kernels that get no mask; noted only.
  'use_sliding_window sliding_window_pattern'.split()
)
ELSEWHERE = re.compile(
  # Of the images of Gemma 3.
  'get_text_config|text_config|vision_config|image_token_id|mm_tokens_per_image|max_seq_len_cached|'
  # Stored, or of kernels that need no mask: layer_types decides.
  'sliding_window_pattern|use_sliding_window'
)


def entries_of(kind: str, **more) -> dict:
  return completed(write_config(architecture(kind, 0)) | more)


def takes(entries: dict):
  """The ModelConfig, or None where the entries are refused."""
  try:
    return read_config(entries)
  except ConfigError:
    return None


@pytest.mark.parametrize('kind', FAMILIES)
def test_every_key_that_a_class_of_transformers_knows_is_used_neutral_or_irrelevant(kind):
  """Another value changes the model or is refused, unless the key is irrelevant; then it must
  change nothing."""
  entries = entries_of(kind)
  plain = read_config(entries)
  for key, value in entries.items():
    if value is None and key in NEUTRAL:
      continue
    other = entries | {key: not value if isinstance(value, bool) else ['?']}
    assert (takes(other) == plain) == irrelevant(key), key


@pytest.mark.parametrize('kind', FAMILIES)
def test_every_key_that_the_code_of_a_family_reads_is_used_or_of_no_account(kind):
  """By its source: a new version of transformers that reads another key shows here."""
  pytest.importorskip('torch')
  from transformers.models.auto.configuration_auto import CONFIG_MAPPING
  from transformers.models.auto.modeling_auto import AutoModelForCausalLM

  model = AutoModelForCausalLM._model_mapping[CONFIG_MAPPING[kind]]
  source = inspect.getsource(sys.modules[model.__module__])
  pattern = r'config\.([a-z_0-9]+)|getattr\((?:self\.)?config, "([a-z_0-9]+)"'
  read = {a or b for a, b in re.findall(pattern, source)}
  names: dict[str, str] = CONFIG_MAPPING[kind].attribute_map
  entries, unjudged = entries_of(kind), set()
  plain = read_config(entries)
  for key in {names.get(k, k) for k in read}:
    if key in OTHERS or key in NEUTRAL or ELSEWHERE.fullmatch(key):
      continue
    if takes(entries | {key: ['?']}) == plain:
      unjudged.add(key)
  assert not unjudged


def strange(key: str) -> Any:
  """Another value than what any file has."""
  values: dict[str, Any] = dict(
    architectures=['Other'],
    auto_map=dict(AutoConfig='configuration_x.X'),
    dtype='bfloat16',
    id2label={'0': 'a', '1': 'b', '2': 'c'},
    label2id=dict(a=0, b=1, c=2),
    problem_type='regression',
    bad_words_ids=[[3]],
    suppress_tokens=[3],
    begin_suppress_tokens=[3],
    task_specific_params=dict(x=dict(max_length=3)),
    summary_activation='tanh',
    summary_type='last',
    cache_implementation='dynamic',
    sequence_bias=[[[3], 5.0]],
  )
  if key.endswith('_token_id'):
    return 7
  return values.get(key, 0.25 if re.search('drop', key) else 3)


@pytest.mark.parametrize('kind', FAMILIES)
def test_what_is_irrelevant_changes_no_logit_of_transformers(kind):
  torch = pytest.importorskip('torch')
  from transformers import AutoModelForCausalLM
  from transformers.models.auto.configuration_auto import CONFIG_MAPPING

  entries = write_config(architecture(kind, 0))
  del entries['model_type']
  tokens, mask = rows()
  found = []
  for more in ({}, {k: strange(k) for k in IRRELEVANT if k not in UNTRIED}):
    known = CONFIG_MAPPING[kind].__dataclass_fields__
    fine = {k: v for k, v in more.items() if k not in known or _fits(kind, entries, k, v)}
    config = CONFIG_MAPPING[kind](
      **{k: v for k, v in (entries | fine).items() if k != 'model_type'}
    )
    config._attn_implementation = 'eager'
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
      for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape) * 0.3)
    found.append(reference_logits(model, tokens, mask))
  np.testing.assert_array_equal(*found)


UNTRIED = frozenset(
  # Those that decide how it runs, or that transformers takes apart before.
  'dtype torch_dtype _attn_implementation attn_implementation experts_implementation device_map '
  'output_attentions output_hidden_states output_router_logits return_dict use_return_dict '
  'use_cache fusion_config transformers_version tie_last_hidden_states '
  # That decide layer_types, which the entries have.
  'use_sliding_window max_window_layers sliding_window_pattern _sliding_window_pattern '
  'initializer_factor gradient_checkpointing'.split()
)


def _fits(kind: str, entries: dict, key: str, value) -> bool:
  """Whether the class takes the value."""
  try:
    completed(entries | {key: value} | dict(model_type=kind))
  except ConfigError:
    return False
  return True


@pytest.mark.parametrize('key', NEUTRAL)
def test_neutral_values_are_accepted_and_others_refused_by_name(key):
  for kind in ('llama', 'qwen3', 'gpt2'):
    entries = entries_of(kind)
    if key in FAMILIES[kind].keys.values():
      continue
    for value in NEUTRAL[key]:
      assert read_config(entries | {key: value}) == read_config(entries)
    other = 0.5 if isinstance(NEUTRAL[key][0], int) else [1]
    other = not NEUTRAL[key][0] if isinstance(NEUTRAL[key][0], bool) else other
    with pytest.raises(ConfigError, match=re.escape(f'{key}={other}')):
      read_config(entries | {key: other})


def test_how_old_files_say_that_answers_are_sampled_is_irrelevant():
  from transformers import GenerationConfig

  known = GenerationConfig._get_default_generation_params()
  assert all(irrelevant(key) for key in known), [k for k in known if not irrelevant(k)]


@pytest.mark.parametrize('kind', [kind for kind in SCALINGS if kind != 'default'])
def test_the_keys_of_a_rope_type_are_those_that_its_function_reads(kind):
  pytest.importorskip('torch')
  from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

  source = inspect.getsource(ROPE_INIT_FUNCTIONS[kind])
  read = set(re.findall(r'rope_parameters(?:_dict)?(?:\[|\.get\()"(\w+)"', source))
  known = {*NEEDED[kind], *OPTIONAL.get(kind, ())}
  assert read - {'rope_theta', 'partial_rotary_factor'} == known


LENGTH = dict(original_max_position_embeddings=16)
ROPES = (
  dict(type='linear', factor=3.0),
  dict(rope_type='llama3', factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, **LENGTH),
  dict(rope_type='yarn', factor=4.0, **LENGTH),
  dict(rope_type='yarn', factor=None, **LENGTH),
  dict(rope_type='yarn', factor=4.0),
  dict(rope_type='yarn', factor=4.0, mscale=0.7, mscale_all_dim=0.4, **LENGTH),
  dict(rope_type='yarn', factor=4.0, mscale=0.7, **LENGTH),
  dict(rope_type='yarn', factor=4, attention_factor=1.5, beta_fast=16, beta_slow=2, **LENGTH),
  dict(rope_type='yarn', factor=4.0, truncate=False, original_max_position_embeddings=64),
)


@pytest.mark.parametrize('outside', [{}, LENGTH | dict(original_max_position_embeddings=32)])
@pytest.mark.parametrize('rope', ROPES, ids=str)
def test_frequencies_are_those_of_transformers(rope, outside):
  pytest.importorskip('torch')
  from transformers import LlamaConfig
  from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

  entries = write_config(architecture('llama', 0)) | dict(rope_theta=3e4) | outside
  entries = {k: v for k, v in entries.items() if k != 'rope_parameters'}
  entries |= dict(rope_scaling=json.loads(json.dumps(rope)))
  c = read_config(completed(entries))
  found, scale = frequencies(c, c.kinds[0])
  embedding = LlamaRotaryEmbedding(LlamaConfig(**entries))
  np.testing.assert_allclose(found, embedding.inv_freq.numpy(), rtol=1e-5)
  assert scale == pytest.approx(embedding.attention_scaling)


TINY = dict(hidden_size=16, image_size=8, intermediate_size=16, num_attention_heads=2, patch_size=4)
WHOLES = dict(
  gemma3=('gemma3_text', 'siglip_vision_model'),
  internvl=('qwen2', 'internvl_vision'),
  llava=('llama', 'clip_vision_model'),
  mistral3=('mistral', 'pixtral'),
  vipllava=('llama', 'clip_vision_model'),
)


def whole(wrapper: str, **more) -> dict:
  c = architecture(WHOLES[wrapper][0], 1)
  c = dataclasses.replace(c, final_logit_softcapping=0.0)
  vision = TINY | dict(num_hidden_layers=1, model_type=WHOLES[wrapper][1])
  tied = dict(tie_word_embeddings=c.tie_word_embeddings)
  return dict(model_type=wrapper, text_config=write_config(c), vision_config=vision) | tied | more


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_the_text_of_a_multimodal_model_keeps_what_the_whole_says(wrapper, tmp_path):
  entries = whole(wrapper, eos_token_id=[5, 6], unsloth_fixed=True)
  file = tmp_path / 'config.json'
  file.write_text(json.dumps(entries))
  assert hub.config_entries(str(tmp_path))['eos_token_id'] == [5, 6]
  c = architecture(WHOLES[wrapper][0], 1)
  assert hub.model_config(str(tmp_path)) == dataclasses.replace(c, final_logit_softcapping=0.0)
  found = exported(entries | dict(torch_dtype='float16', auto_map=dict(AutoModel='x.Y')))
  assert found == entries['text_config'] | dict(eos_token_id=[5, 6], unsloth_fixed=True)
  for key in ('quantization_config', 'head_scale'):
    file.write_text(json.dumps(entries | {key: dict(bits=4)}))
    with pytest.raises(ConfigError, match=key):
      hub.model_config(str(tmp_path))


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_the_text_of_a_multimodal_model_is_computed_as_transformers_does(wrapper, tmp_path):
  torch = pytest.importorskip('torch')
  from transformers import AutoConfig, AutoModelForImageTextToText

  file = tmp_path / 'config.json'
  file.write_text(json.dumps(whole(wrapper, image_token_index=96)))
  config = AutoConfig.from_pretrained(tmp_path)
  model = AutoModelForImageTextToText.from_config(config, attn_implementation='eager')
  with torch.no_grad():
    for parameter in model.float().eval().parameters():
      parameter.copy_(torch.randn(parameter.shape) * 0.2)
  model.save_pretrained(tmp_path)
  c, (tokens, mask) = hub.model_config(str(tmp_path)), rows()
  tokens = np.minimum(tokens, 90)
  found = logits_of(c, hub.load(str(tmp_path), c, HOME), tokens, mask)
  error = np.where(mask[..., None] > 0, found - reference_logits(model, tokens, mask), 0)
  assert np.abs(error).max() <= 1e-4


def test_gemma_3_with_images_has_no_cap_of_its_logits(tmp_path):
  """Transformers caps those of its text alone only."""
  entries = whole('gemma3')
  entries['text_config'] |= dict(final_logit_softcapping=30.0)
  (tmp_path / 'config.json').write_text(json.dumps(entries))
  with pytest.raises(ConfigError, match='final_logit_softcapping=30'):
    hub.model_config(str(tmp_path))


@pytest.mark.parametrize('kind', ['paligemma', 'mllama', 'idefics3', 'qwen2_5_vl', 'gemma3n'])
def test_another_multimodal_model_is_refused_though_its_text_has_a_known_family(kind, tmp_path):
  """PaliGemma's Gemma sees its prompt both ways."""
  entries = dict(model_type=kind, text_config=write_config(architecture('llama', 0)))
  (tmp_path / 'config.json').write_text(json.dumps(entries))
  with pytest.raises(ConfigError, match=f"model_type='{kind}' is not supported"):
    hub.model_config(str(tmp_path))
