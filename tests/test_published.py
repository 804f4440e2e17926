"""Configs as the hub has them are read, and compute in a small size what transformers does."""

import json

import numpy as np
import pytest

from rft_jax.infra import hub
from rft_jax.models.families import FAMILIES
from rft_jax.models.hf_config import read_config
from rft_jax.models.hf_keys import irrelevant
from rft_jax.registry import ConfigError, UserError
from tests.checkpoints import reference, reference_logits, rows
from tests.published import PUBLISHED, tiny
from tests.test_families import HOME, logits_of

QUANTIZED = (
  *('quantization_config', 'compression_config', 'quantization', 'quant_config', 'quantize_config'),
  *('quant_method', 'quantization_bit', 'mlx_quantization'),
)
BNB = dict(load_in_4bit=True, quant_method='bitsandbytes', bnb_4bit_quant_type='nf4')


def written(directory, entries) -> str:
  directory.mkdir(parents=True, exist_ok=True)
  (directory / 'config.json').write_text(json.dumps(entries))
  return str(directory)


@pytest.mark.parametrize('name', PUBLISHED)
def test_a_published_config_is_read(name, tmp_path):
  entries = PUBLISHED[name]
  c = hub.model_config(written(tmp_path, entries))
  text = entries.get('text_config', entries)
  assert c.hidden_size == text.get('hidden_size', text.get('n_embd'))
  assert c.num_hidden_layers == text.get('num_hidden_layers', text.get('n_layer'))


@pytest.mark.parametrize('name', [n for n, e in PUBLISHED.items() if 'text_config' not in e])
def test_entries_as_a_file_has_them_are_read_as_with_the_defaults_of_their_class(name, tmp_path):
  """A Gemma's file says nothing of its head, which is the embedding."""
  directory = written(tmp_path, PUBLISHED[name])
  assert read_config(PUBLISHED[name]) == hub.model_config(directory)
  assert PUBLISHED[name] == hub.raw_config(directory)


def alike() -> dict[str, str]:
  """One name for each arithmetic: for values that matter, and the names of keys that do not."""
  found = {}
  for name, entries in PUBLISHED.items():
    told = {k: None if irrelevant(k) else v for k, v in tiny(entries).items()}
    found.setdefault(json.dumps(told, sort_keys=True), name)
  return found


@pytest.mark.parametrize('name', sorted(alike().values()))
def test_it_computes_what_transformers_computes(name, tmp_path):
  torch = pytest.importorskip('torch')
  from transformers import AutoConfig, AutoModelForCausalLM

  entries = tiny(PUBLISHED[name])
  directory = written(tmp_path / 'in', entries)
  torch.manual_seed(0)
  model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
  model.float().save_pretrained(tmp_path / 'out')
  directory = written(tmp_path / 'out', entries)
  c, (tokens, mask) = hub.model_config(directory), rows()
  tokens = np.maximum(tokens, 6)  # no id of an image
  expected = reference_logits(reference(directory), tokens, mask)
  found = logits_of(c, hub.load(directory, c, HOME), tokens, mask)
  error = np.where(mask[..., None] > 0, found - expected, 0)
  assert np.abs(error).max() <= 2e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize('name', ['Qwen/Qwen3-8B', 'google/gemma-3-4b-it'])
@pytest.mark.parametrize('key', QUANTIZED)
def test_quantised_weights_are_refused_with_advice_that_works(name, key, tmp_path):
  with pytest.raises(ConfigError, match=f'{key}=.*bitsandbytes.*made from') as caught:
    hub.model_config(written(tmp_path, PUBLISHED[name] | {key: BNB}))
  assert 'ignore' not in str(caught.value)
  assert hub.model_config(written(tmp_path, PUBLISHED[name] | {key: None}))


def test_all_that_is_not_known_is_named_at_once_and_can_be_passed_over(tmp_path):
  more = dict(head_scale=2, use_foo=True, depth_scale=1.5)
  directory = written(tmp_path, PUBLISHED['Qwen/Qwen3-8B'] | more)
  with pytest.raises(ConfigError) as caught:
    hub.model_config(directory)
  ignore = tuple(more)
  assert 'head_scale=2, use_foo=True, depth_scale=1.5' in str(caught.value)
  assert f'model.ignore={ignore}' in str(caught.value)
  assert hub.model_config(directory, ignore).model_type == 'qwen3'
  assert hub.model_config(written(tmp_path, PUBLISHED['Qwen/Qwen3-8B'] | dict(head_scale=None)))


LLAMA = tiny(PUBLISHED['meta-llama/Llama-3.1-8B-Instruct'])
GEMMA = tiny(PUBLISHED['google/gemma-2-2b-it'])
GPT2 = tiny(PUBLISHED['openai-community/gpt2'])
GRANITE = tiny(PUBLISHED['ibm-granite/granite-3.3-8b-instruct'])
LONG = LLAMA['rope_scaling']
LENGTHLESS = dict(rope_type='yarn', factor=None, original_max_position_embeddings=0)
BAD = dict(
  list=([1], r"'\[1\]', not an object"),
  text=('x', "'x', not an object"),
  no_family=({k: v for k, v in LLAMA.items() if k != 'model_type'}, 'model_type=None'),
  families=(LLAMA | dict(model_type=['llama']), r"model_type=\['llama'\]"),
  number=(LLAMA | dict(hidden_size='32'), "hidden_size.*'32'"),
  flag=(LLAMA | dict(tie_word_embeddings='true'), "tie_word_embeddings.*'true'"),
  truth=(LLAMA | dict(hidden_size=True), 'hidden_size.*True'),
  nothing=(LLAMA | dict(vocab_size=None), 'vocab_size.*None'),
  none=(LLAMA | dict(num_attention_heads=0), 'a size or a length is 0'),
  negative=(LLAMA | dict(num_hidden_layers=-1), 'num_hidden_layers=-1'),
  nan=(LLAMA | dict(rms_norm_eps=float('nan')), 'rms_norm_eps=nan'),
  theta=(LLAMA | dict(rope_theta='1e6', rope_scaling=None), "rope_theta='1e6'"),
  no_theta=(
    LLAMA | dict(rope_scaling=None, rope_theta=None, rope_parameters=dict(rope_theta=None)),
    'rope_parameters.rope_theta=None is missing',
  ),
  infinite=(LLAMA | dict(rope_theta=float('inf'), rope_scaling=None), 'rope_theta=inf'),
  act=(LLAMA | dict(hidden_act='mish'), "hidden_act='mish'"),
  types=(LLAMA | dict(layer_types=['sliding_attention'] * 6), 'layer_types='),
  window=(LLAMA | dict(sliding_window=7), 'sliding_window=7'),
  two_ways=(LLAMA | dict(is_causal=False), 'is_causal=False is not supported, only True'),
  per_layer=(LLAMA | dict(per_layer_config={'0': dict(num_key_value_heads=1)}), 'per_layer_config'),
  dynamic=(LLAMA | dict(rope_scaling=dict(type='dynamic', factor=2.0)), "rope_type='dynamic'"),
  kind=(
    LLAMA | dict(rope_scaling=dict(type='mrope', factor=2.0)),
    "'mrope' is not supported, only",
  ),
  heads=(GPT2 | dict(n_head=5), 'hidden_size=32 must be a multiple'),
  zero=(GRANITE | dict(logits_scaling=0), 'logits_scaling=0 must be positive'),
  no_head=(LLAMA | dict(head_dim=0), 'head_dim=0'),
  no_scale=(GEMMA | dict(query_pre_attn_scalar=0), 'attention_scale=0'),
  no_layers=(GEMMA | dict(layer_types=['full_attention'] * 3), 'layer_types'),
  no_length=(LLAMA | dict(rope_scaling=LONG | LENGTHLESS), 'a length is 0'),
  mrope=(LLAMA | dict(rope_scaling=LONG | dict(mrope_section=[2, 2])), r'mrope_section=\[2, 2\]'),
  beta=(LLAMA | dict(rope_scaling=LONG | dict(llama_4_scaling_beta=0.1)), 'llama_4_scaling_beta'),
  factor=(LLAMA | dict(rope_scaling=LONG | dict(attn_factor=0.5)), 'attn_factor=0.5'),
  partial=(LLAMA | dict(partial_rotary_factor=0.5), 'partial_rotary_factor=0.5'),
  half=(LLAMA | dict(rope_scaling=dict(rope_type='llama3', factor=8.0)), 'low_freq_factor'),
  text_of=(dict(model_type='llava', text_config=dict(model_type='opt')), "model_type='opt'"),
  text_list=(dict(model_type='gemma3', text_config=[1]), r'text_config=\[1\]'),
)


@pytest.mark.parametrize('what', BAD)
def test_a_config_that_cannot_be_used_is_one_line_that_names_the_value(what, tmp_path):
  entries, message = BAD[what]
  with pytest.raises(UserError, match=message) as caught:
    hub.model_config(written(tmp_path, entries))
  assert str(tmp_path) in str(caught.value) and '\n' not in str(caught.value)


GOOD = dict(
  dtype=dict(torch_dtype='bf16'),
  auto=dict(torch_dtype='auto'),
  derived=dict(num_key_value_heads=4, head_dim=None),
  ends=dict(eos_token_id=[2, 3, 4], pad_token_id=-1),
  sampling=dict(temperature=0.6, top_p=0.9, do_sample=True, max_length=4096, num_beams=1),
  full=dict(layer_types=['full_attention'] * 6),
  neutral=dict(rope_scaling=LONG | dict(attn_factor=1.0, type='llama3', finetuned=True)),
  elsewhere=dict(use_mrope=False, sliding_window=None, num_experts=0, attention_bias=False),
)


@pytest.mark.parametrize('what', GOOD)
def test_what_changes_nothing_is_accepted(what, tmp_path):
  plain = hub.model_config(written(tmp_path, LLAMA | dict(num_key_value_heads=4)))
  changed = LLAMA | dict(num_key_value_heads=4) | GOOD[what]
  assert hub.model_config(written(tmp_path, changed)) == plain


@pytest.mark.parametrize(
  'kind, meant',
  [
    ('LLaMA', 'llama'),
    ('qwen-3', 'qwen3'),
    ('mistarl', 'mistral'),
    ('lama', 'llama'),
    ('bert', ''),
    ('llava_next', ''),
    ('mllama', ''),
    ('phi', ''),
    ('llama4', ''),
    ('gpt_neo', ''),
    ('gemma4', ''),
    ('qwen', ''),
  ],
)
def test_an_unknown_family_is_a_slip_of_the_pen_or_not_supported(kind, meant, tmp_path):
  with pytest.raises(ConfigError, match=f"model_type='{kind}' is not supported") as caught:
    hub.model_config(written(tmp_path, dict(model_type=kind)))
  assert ('did you mean' in str(caught.value)) == bool(meant)
  assert f'did you mean {meant!r}' in str(caught.value) or not meant
  assert 'Known: ' + ', '.join(sorted(FAMILIES)) in str(caught.value)
