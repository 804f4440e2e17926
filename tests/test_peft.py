"""Over everything that the installed PEFT can be told: an adapter computes here what it computes
there, or is refused by the name of the setting."""

import dataclasses
import json

import numpy as np
import pytest

from rft_jax.infra import peft
from rft_jax.infra.hub import HubError
from rft_jax.infra.peft_config import IRRELEVANT, KINDS, REFUSED, USED
from tests.peft_trials import (
  PLAIN,
  TOKENS,
  base,
  begun,
  configure,
  model,
  opened,
  our_logits,
  reloaded,
  torch_logits,
  trained,
)

library = pytest.importorskip('peft')
pytest.importorskip('torch')
pytestmark = pytest.mark.filterwarnings('ignore')

EVERYTHING = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
SUB = library.tuners.lora.config
SAME = dict(
  r=dict(r=3),
  lora_alpha=dict(lora_alpha=1),
  lora_dropout=dict(lora_dropout=0.3),
  use_rslora=dict(use_rslora=True),
  fan_in_fan_out=dict(fan_in_fan_out=True),
  task_type=dict(task_type=None),
  revision=dict(revision='main'),
  ensure_weight_tying=dict(ensure_weight_tying=True),
  megatron_core=dict(megatron_core='other.core'),
  qalora_group_size=dict(qalora_group_size=4),
  runtime_config=dict(runtime_config=library.LoraRuntimeConfig(ephemeral_gpu_offload=True)),
  velora_config=dict(velora_config=SUB.VeloraConfig(num_groups=4)),
  eva_config=dict(eva_config=SUB.EvaConfig()),
  corda_config=dict(corda_config=SUB.CordaConfig()),
  lora_ga_config=dict(lora_ga_config=SUB.LoraGAConfig()),
  loftq_config=dict(loftq_config=dict(loftq_bits=4)),
  everything=dict(target_modules=EVERYTHING),
  all_linear=dict(target_modules='all-linear'),
  regex=dict(target_modules=r'.*\.(0|2)\.self_attn\.[qv]_proj'),
  regex_with_flags=dict(target_modules=r'(?i)MODEL\.layers\.\d+\.(self_attn|mlp)\.(q|down)_PROJ'),
  regex_of_two=dict(target_modules=r'(.*text.*q_proj)|(\bmodel\.layers\.[\d]{1,}\.mlp\.up_proj)'),
  by_default=dict(target_modules=None),
  by_full_name=dict(target_modules=['model.layers.1.mlp.up_proj', '2.mlp.down_proj']),
  exclude_modules=dict(exclude_modules=['1.self_attn.q_proj']),
  exclude_by_regex=dict(exclude_modules=r'.*layers\.[02]\.mlp.*'),
  layers_to_transform=dict(layers_to_transform=[0, 2]),
  one_layer=dict(layers_to_transform=1),
  layers_pattern=dict(layers_to_transform=[1], layers_pattern='layers'),
  layers_patterns=dict(layers_to_transform=[1], layers_pattern=['h', 'layers']),
  rank_pattern=dict(rank_pattern={'q_proj': 7, 'layers.1.mlp.down_proj': 2}),
  rank_by_regex=dict(rank_pattern={r'layers\.[01]\..*': 6, 'q_proj': 9}),
  alpha_pattern=dict(alpha_pattern={'^model.layers.0.self_attn.q_proj': 30, 'down_proj': 1.5}),
  both_patterns=dict(
    rank_pattern={'down_proj': 2, 'proj': 1},
    alpha_pattern={r'.*\.1\..*': 3, 'nothing': 9},
    use_rslora=True,
  ),
)
"""Settings with which PEFT's logits are ours."""
NOT_HERE = dict(
  bias=dict(bias='lora_only'),
  bias_of_all=dict(bias='all'),
  lora_bias=dict(lora_bias=True),
  use_dora=dict(use_dora=True),
  use_qalora=dict(use_qalora=True, qalora_group_size=8),
  modules_to_save=dict(modules_to_save=['lm_head']),
  modules_to_save_embedding=dict(modules_to_save=['embed_tokens', 'lm_head']),
  trainable_token_indices=dict(trainable_token_indices=[3, 4]),
  target_parameters=dict(target_parameters=['mlp.up_proj.weight']),
  layer_replication=dict(layer_replication=[[0, 2], [1, 3]]),
  alora_invocation_tokens=dict(alora_invocation_tokens=[5, 6]),
  use_bdlora=dict(
    use_bdlora=SUB.BdLoraConfig(
      target_modules_bd_a=['down_proj'], target_modules_bd_b=['q_proj'], nblocks=2
    )
  ),
  monteclora_config=dict(monteclora_config=SUB.MontecloraConfig(num_samples=2)),
  kasa_config=dict(kasa_config=SUB.KasaConfig()),
  task_type_of_vectors=dict(task_type='FEATURE_EXTRACTION'),
  target_modules=dict(target_modules=['q_proj', 'lm_head']),
  target_modules_embedding=dict(target_modules=['q_proj', 'embed_tokens']),
)
"""Settings that are refused. The name of a trial begins with that of its field."""
WRITTEN = dict(
  arrow_config=dict(top_k=3, router_temperature=1.0, use_gks=False),
  megatron_config=dict(hidden_size=8),
  enable_lora=[True, False],
  peft_type='ADALORA',
  alora_invocation_tokens=[],
  use_bdlora={},
)
"""Refused too, but PEFT makes no such adapter here."""
ELSEWHERE = frozenset(
  # By tests of their own: init_lora_weights; the base that an adapter names, and its version.
  'init_lora_weights base_model_name_or_path auto_mapping peft_version inference_mode'.split()
)


def field_of(trial: str) -> str:
  return max((k for k in REFUSED | KINDS | dict.fromkeys(USED) if trial.startswith(k)), key=len)


def test_every_field_of_the_installed_peft_is_used_irrelevant_or_refused():
  """A new version shows its new fields here: say in infra/peft_config.py what they do."""
  fields = {field.name for field in dataclasses.fields(library.LoraConfig)}
  assert fields <= USED | IRRELEVANT | REFUSED.keys() | KINDS.keys()


def test_every_field_is_tried():
  fields = {field.name for field in dataclasses.fields(library.LoraConfig)}
  tried = {key for options in [*SAME.values(), *NOT_HERE.values()] for key in options}
  assert fields <= tried | WRITTEN.keys() | ELSEWHERE


@pytest.mark.parametrize('trial', SAME)
def test_an_adapter_computes_what_it_computes_in_peft(trial, tmp_path):
  trained(begun(**SAME[trial]), tmp_path)
  expected = reloaded('llama3', tmp_path)
  assert np.abs(expected - torch_logits(model('llama3'))).max() > 0.1
  assert np.abs(our_logits('llama3', tmp_path) - expected).max() <= 1e-4


def refused(name, directory) -> str:
  with pytest.raises(HubError) as error:
    peft.load(str(directory), opened(name)[0])
  assert '\n' not in str(error.value) and 'widen' not in str(error.value)
  return str(error.value)


@pytest.mark.parametrize('trial', NOT_HERE)
def test_what_is_not_computed_is_refused_by_name(trial, tmp_path):
  trained(begun(**NOT_HERE[trial]), tmp_path)
  assert field_of(trial) in refused('llama3', tmp_path)


@pytest.mark.parametrize('field', WRITTEN)
def test_what_is_written_and_not_computed_is_refused_by_name(field, tmp_path):
  trained(begun(), tmp_path)
  configure(tmp_path, **{field: WRITTEN[field]})
  assert f'{field}=' in refused('llama3', tmp_path)


@pytest.mark.parametrize('kind', sorted({k.value for k in library.PeftType} - {'LORA'}))
def test_other_methods_are_refused_by_name(kind, tmp_path):
  trained(begun(), tmp_path)
  configure(tmp_path, peft_type=kind)
  assert f'peft_type={kind!r}' in refused('llama3', tmp_path)


@pytest.mark.parametrize('kind', sorted({k.value for k in library.TaskType} - {'CAUSAL_LM'}))
def test_adapters_for_other_tasks_are_refused_by_name(kind, tmp_path):
  trained(begun(), tmp_path)
  configure(tmp_path, task_type=kind)
  assert f'task_type={kind!r}' in refused('llama3', tmp_path)


def with_gradients(found, config):
  import torch

  text = torch.tensor(TOKENS)
  config.lora_ga_config = library.LoraGAConfig()
  library.preprocess_loraga(found, config, lambda: found(text, labels=text).loss.backward())


def with_activations(found):
  import torch

  text = torch.tensor(TOKENS)
  batch = dict(input_ids=text, attention_mask=torch.ones_like(text), labels=text)
  library.initialize_lora_eva_weights(found, [batch] * 3, show_progress_bar=False)


BEGINNINGS = dict.fromkeys((True, False, 'gaussian', 'eva', 'orthogonal', 'mica'), 'same')
BEGINNINGS |= dict.fromkeys(('pissa', 'pissa_niter_2', 'olora', 'lora_ga'), 'refused')
NEEDS_MORE = 'loftq', 'corda', 'pissa_niter_16', 'OLoRA', 'something_new', 'True', 1


def test_every_beginning_that_peft_lists_is_tried():
  field = library.LoraConfig.__dataclass_fields__['init_lora_weights']
  known = str(field.type)
  listed = [x.strip(' \'"') for x in known[known.index('Literal[') + 8 : -1].split(',')]
  listed = [x.replace('[number of iters', '16').rstrip("]'") for x in listed]
  assert len(listed) > 5 and set(listed) <= {*BEGINNINGS, *NEEDS_MORE}


@pytest.mark.parametrize('init', BEGINNINGS)
def test_over_every_beginning_logits_are_those_of_training_or_it_is_refused(init, tmp_path):
  """And where the change of the base is refused, PEFT's own conversion is the way out."""
  found = begun(init_lora_weights=init, prepare=with_gradients if init == 'lora_ga' else None)
  if init == 'eva':
    with_activations(found)
  kept, found.peft_config['default'].init_lora_weights = init, True
  found.save_pretrained(str(tmp_path / 'begun'))
  found.peft_config['default'].init_lora_weights = kept
  expected = torch_logits(trained(found, tmp_path / 'plain'))
  found.save_pretrained(
    str(tmp_path / 'converted'), path_initial_model_for_weight_conversion=str(tmp_path / 'begun')
  )
  if BEGINNINGS[init] == 'same':
    assert np.abs(our_logits('llama3', tmp_path / 'plain') - expected).max() <= 1e-4
    return
  assert f'init_lora_weights={init!r}' in refused('llama3', tmp_path / 'plain')
  assert np.abs(our_logits('llama3', tmp_path / 'converted') - expected).max() <= 1e-4


@pytest.mark.parametrize('init', NEEDS_MORE)
def test_a_beginning_that_is_not_known_to_be_neutral_is_refused_by_name(init, tmp_path):
  trained(begun(), tmp_path)
  configure(tmp_path, init_lora_weights=init)
  assert f'init_lora_weights={init!r}' in refused('llama3', tmp_path)


@pytest.mark.parametrize('name', ['qwen2', 'gemma2', 'gpt2', 'qwen3_moe'])
def test_other_families_adapters_compute_the_same(name, tmp_path):
  attention = ['q_proj', 'k_proj', 'v_proj', 'o_proj']
  wanted = dict(gpt2='all-linear', qwen3_moe=attention).get(name, EVERYTHING)
  found = begun(name, target_modules=wanted, rank_pattern={'k_proj': 5, 'c_attn': 7})
  trained(found, tmp_path)
  expected = reloaded(name, tmp_path)
  assert np.abs(our_logits(name, tmp_path) - expected).max() <= 1e-4


@pytest.mark.parametrize('wanted', ['all-linear', ['q_proj', 'gate_proj', 'up_proj', 'down_proj']])
def test_adapters_of_experts_are_refused_by_name(wanted, tmp_path):
  """PEFT turns them into target_parameters, and adds patterns of their ranks and alphas."""
  trained(begun('qwen3_moe', target_modules=wanted), tmp_path)
  entries = json.loads((tmp_path / 'adapter_config.json').read_text())
  assert entries['alpha_pattern'] and entries['target_parameters']
  assert 'target_parameters' in refused('qwen3_moe', tmp_path)


def test_an_adapter_without_experts_may_keep_their_patterns(tmp_path):
  trained(begun('qwen3_moe', target_modules=['q_proj']), tmp_path)
  configure(
    tmp_path, alpha_pattern={r'.*\.gate_up_proj': 16}, rank_pattern={r'.*\.gate_up_proj': 8}
  )
  found = our_logits('qwen3_moe', tmp_path)
  assert np.abs(found - reloaded('qwen3_moe', tmp_path)).max() <= 1e-4


def test_a_sequence_classifier_is_refused(tmp_path):
  from transformers import AutoModelForSequenceClassification

  found = AutoModelForSequenceClassification.from_pretrained(base('llama3'))
  found = library.get_peft_model(found, library.LoraConfig(**PLAIN | dict(task_type='SEQ_CLS')))
  trained(found, tmp_path)
  assert 'task_type' in refused('llama3', tmp_path)
  configure(tmp_path, task_type=None, modules_to_save=None)
  assert 'score' in refused('llama3', tmp_path)
