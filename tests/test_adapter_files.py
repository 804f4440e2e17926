"""Adapters as writers other than ours leave them, whole and damaged: read, or one line that says
what is wrong and the way out."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rft_jax.infra import hub, peft
from rft_jax.infra.hub import HubError
from rft_jax.models.config import Lora
from rft_jax.models.lora import init_adapters
from tests.adapter_faults import CONFIG, FAULTS, entries, renamed, tensors
from tests.checkpoints import rows, write_checkpoint
from tests.test_families import HOME, logits_of

LORA = Lora(rank=3, alpha=5.0)


def noisy(c):
  noise = lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape)
  return jax.tree.map(noise, init_adapters(c, jax.random.key(0)))


@pytest.fixture
def adapter(tmp_path):
  """A directory with a good adapter, the config it is for, and its bank."""
  write_checkpoint(tmp_path / 'base', 'llama3')
  c = hub.model_config(str(tmp_path / 'base'), lora=LORA)
  bank = noisy(c)
  peft.save(str(tmp_path / 'adapter'), c, bank)
  return tmp_path / 'adapter', c, bank


def same(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7), a, b)


SPELLINGS = dict(
  with_the_adapters_name=lambda k: k.replace('.weight', '.default.weight'),
  with_another_name=lambda k: k.replace('.weight', '.my_task.weight'),
  without_prefix=lambda k: k.removeprefix('base_model.model.'),
  of_the_trunk_alone=lambda k: k.replace('base_model.model.model.', 'base_model.model.'),
  of_a_multimodal_class=lambda k: k.replace('model.layers', 'model.language_model.layers'),
  of_its_older_class=lambda k: k.replace('model.layers', 'language_model.model.layers'),
  compiled=lambda k: k.replace('base_model.model.', 'base_model.model._orig_mod.'),
  sharded=lambda k: k.replace('.self_attn', '._checkpoint_wrapped_module.self_attn'),
  with_a_value_head=lambda k: f'pretrained_model.{k}',
)


@pytest.mark.parametrize('spelling', SPELLINGS)
def test_names_of_other_writers_are_read(spelling, adapter):
  directory, c, bank = adapter
  renamed(SPELLINGS[spelling])(directory)
  same(peft.load(str(directory), c), bank)


def test_patterns_are_about_names_in_full_also_where_a_file_has_less(adapter):
  directory, c, bank = adapter
  entries(directory, lora_alpha=7.0, alpha_pattern={'^model.layers.0.self_attn.q_proj': 10.0})
  expected = peft.load(str(directory), c)
  found, stored = (x['layers']['qkv']['self_attn.q_proj']['b'] for x in (expected, bank))
  scale = found / stored
  np.testing.assert_allclose(scale[0], 2.0, rtol=1e-5)
  np.testing.assert_allclose(scale[1], 1.4, rtol=1e-5)
  renamed(lambda k: k.removeprefix('base_model.model.model.'))(directory)
  same(peft.load(str(directory), c), expected)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_half_precision_adapters_are_read(dtype, adapter):
  directory, c, bank = adapter
  tensors(directory, lambda t: {k: v.astype(jnp.dtype(dtype)) for k, v in t.items()})
  narrow = jax.tree.map(lambda x: x.astype(dtype).astype('float32'), bank)
  same(peft.load(str(directory), c), narrow)


OLD = dict(
  version_0_2=dict(enable_lora=None, merge_weights=False, inference_mode=True),
  version_0_4=dict(layers_pattern=None, layers_to_transform=None, revision=None),
  version_0_10=dict(layer_replication=None, loftq_config={}, megatron_config=None),
  runtime=dict(runtime_config=dict(ephemeral_gpu_offload=False)),
  of_a_class=dict(task_type=None, auto_mapping=dict(base_model_class='LlamaForCausalLM')),
  later=dict(new_null=None, new_false=False, new_text='', new_list=[], new_map={}),
  nothing_said=dict(rank_pattern=None, alpha_pattern=None, use_rslora=None, target_modules=None),
)


@pytest.mark.parametrize('changes', OLD.values(), ids=OLD)
def test_entries_of_other_versions_that_are_switched_off_change_nothing(changes, adapter):
  directory, c, bank = adapter
  entries(directory, **changes)
  same(peft.load(str(directory), c), bank)


def test_a_byte_order_mark_before_the_entries_changes_nothing(adapter):
  directory, c, bank = adapter
  file = directory / CONFIG
  file.write_bytes(b'\xef\xbb\xbf' + file.read_bytes())
  same(peft.load(str(directory), c), bank)


@pytest.mark.parametrize('value', [True, 1, 0, 0.0, 'auto', [1], dict(k=0)])
def test_an_entry_that_is_not_known_is_refused_once_it_is_on(value, adapter):
  directory, c, _ = adapter
  entries(directory, use_tomorrows_method=value)
  with pytest.raises(HubError, match='use_tomorrows_method='):
    peft.load(str(directory), c)


def test_all_that_is_not_supported_is_named_at_once(adapter):
  directory, c, _ = adapter
  entries(directory, use_dora=True, modules_to_save=['score'], task_type='SEQ_CLS', brand_new=3)
  with pytest.raises(HubError) as error:
    peft.load(str(directory), c)
  for key in ('use_dora', 'modules_to_save', 'task_type', 'brand_new'):
    assert f'{key}=' in str(error.value)


@pytest.mark.parametrize('fault', FAULTS)
def test_what_is_wrong_with_an_adapter_is_one_line_that_names_it(fault, adapter):
  directory, c, _ = adapter
  damage, message = FAULTS[fault]
  damage(directory)
  with pytest.raises(HubError, match=message) as error:
    peft.load(str(directory), c)
  assert '\n' not in str(error.value) and str(directory) in str(error.value)
  assert 'widen' not in str(error.value)


def test_an_adapter_of_a_smaller_model_is_refused(tmp_path, adapter):
  directory, c, _ = adapter
  with pytest.raises(HubError, match=r'lacks model\.layers\.3'):
    peft.load(str(directory), dataclasses.replace(c, num_hidden_layers=4))
  with pytest.raises(HubError, match='another model'):
    peft.load(str(directory), dataclasses.replace(c, hidden_size=64))


def test_a_path_that_is_none_names_the_setting(tmp_path, monkeypatch, adapter):
  monkeypatch.setenv('HF_HUB_OFFLINE', '1')
  for path in ('/no/such/place', 'no-such-adapter-anywhere/at-all', str(adapter[0] / CONFIG)):
    with pytest.raises(HubError, match=r'model\.lora\.path'):
      peft.load(path, adapter[1])


@pytest.mark.parametrize(
  ('name', 'targets'),
  [('llama3', 'q_proj'), ('llama3', '.*'), ('gpt2', 'c_fc|mlp.c_proj'), ('gpt2', '.*')],
)
def test_what_is_saved_is_loaded_bit_for_bit(name, targets, tmp_path):
  write_checkpoint(tmp_path / 'base', name)
  c = hub.model_config(str(tmp_path / 'base'), lora=Lora(rank=3, targets=targets))
  bank = noisy(c)
  peft.save(str(tmp_path / 'adapter'), c, bank)
  jax.tree.map(np.testing.assert_array_equal, peft.load(str(tmp_path / 'adapter'), c), bank)


def test_what_an_adapter_leaves_free_begins_fresh_and_can_learn(tmp_path, adapter):
  """Zeros in both halves would have no gradient: rank, modules and others of the bank would stay
  idle for ever."""
  directory, c, bank = adapter
  wider = dataclasses.replace(c, lora=Lora(rank=6, alpha=1.0, adapters=2))
  loaded = peft.load(str(directory), wider)
  variables = hub.load(str(tmp_path / 'base'), c, HOME)
  tokens, mask = rows()
  np.testing.assert_allclose(
    logits_of(wider, variables | {'adapters': loaded}, tokens, mask),
    logits_of(c, variables | {'adapters': bank}, tokens, mask),
    atol=1e-4,
  )
  for modules in loaded['layers'].values():
    for pair in modules.values():
      assert np.abs(pair['a'][:, 0, :, 3:]).min(1).max() > 0 and np.abs(pair['a'][:, 1]).max() > 0
      assert not pair['b'][:, 0, 3:].any() and not pair['b'][:, 1].any()


def test_messages_are_short_enough_to_read(adapter):
  directory, c, _ = adapter
  entries(directory, modules_to_save=['a' * 1000])
  with pytest.raises(HubError) as error:
    peft.load(str(directory), c)
  assert len(re.sub(re.escape(str(directory)), '', str(error.value))) < 400
