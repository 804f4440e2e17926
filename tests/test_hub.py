"""Checkpoints in and out; what is wrong with one is a one-line error that names the place."""

import json
import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rft_jax.data.text import characters
from rft_jax.infra import hub, hub_save, peft
from rft_jax.models.config import Lora
from rft_jax.models.hf_config import write_config
from rft_jax.models.lora import init_adapters, merge
from rft_jax.modes.stage import check_length
from rft_jax.registry import ConfigError, UserError
from tests.checkpoints import CHECKPOINTS, reference, reference_logits, rows, write_checkpoint
from tests.test_families import HOME, logits_of
from tests.tiny import CONFIG

TOKENIZER = characters(alphabet=''.join(map(chr, range(32, 126))))  # 97 tokens


def opened(directory, **options):
  c = hub.model_config(str(directory), **options)
  return c, hub.load(str(directory), c, HOME)


def saved(directory, c, variables, entries, **options):
  return hub_save.save(str(directory), c, variables['params'], TOKENIZER, entries, **options)


@pytest.mark.parametrize('shard', [10**9, 20_000])
@pytest.mark.parametrize('name', CHECKPOINTS)
def test_what_is_exported_is_bit_for_bit_what_was_loaded(name, shard, tmp_path):
  write_checkpoint(tmp_path / 'in', name)
  c, variables = opened(tmp_path / 'in')
  saved(
    tmp_path / 'out',
    c,
    variables,
    json.loads((tmp_path / 'in/config.json').read_text()),
    shard=shard,
  )
  assert (len(list((tmp_path / 'out').glob('*.safetensors'))) > 1) == (shard < 10**9)
  again, reloaded = opened(tmp_path / 'out')
  assert again == c
  jax.tree.map(np.testing.assert_array_equal, reloaded, variables)


@pytest.mark.parametrize(
  'name', ['llama31', 'qwen3_moe', 'gemma3', 'gpt2', 'mixtral', 'phi3', 'olmo2', 'nemotron']
)
def test_transformers_computes_the_same_from_an_export(name, tmp_path):
  pytest.importorskip('torch')
  write_checkpoint(tmp_path / 'in', name)
  c, variables = opened(tmp_path / 'in')
  variables = jax.tree.map(lambda x: x + 0.01, variables)
  saved(tmp_path / 'out', c, variables, json.loads((tmp_path / 'in/config.json').read_text()))
  tokens, mask = rows()
  expected = reference_logits(reference(tmp_path / 'out'), tokens, mask)
  error = np.where(mask[..., None] > 0, logits_of(c, variables, tokens, mask) - expected, 0)
  assert np.abs(error).max() <= 1e-4


def test_a_model_from_scratch_can_be_exported(tmp_path):
  write_checkpoint(tmp_path / 'in', 'qwen3')
  c, variables = opened(tmp_path / 'in')
  saved(tmp_path / 'out', c, variables, write_config(c))
  assert opened(tmp_path / 'out')[0] == c


def test_half_precision_files_load_into_either_dtype(tmp_path):
  write_checkpoint(tmp_path, 'llama3', dtype='bfloat16')
  c = hub.model_config(str(tmp_path))
  wide, narrow = (hub.load(str(tmp_path), c, HOME, dtype) for dtype in ('float32', 'bfloat16'))
  assert narrow['params']['qkv'].dtype == jnp.bfloat16
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.astype('float32')), wide, narrow)


def test_a_checkpoint_is_read_into_the_parts_of_a_mesh(tmp_path):
  from rft_jax.infra.parallel import Mesh

  write_checkpoint(tmp_path, 'llama3')
  c, whole = opened(tmp_path)
  mesh = Mesh(jax.devices()[:8], fsdp=2, tensor=2)
  parts = hub.load(str(tmp_path), c, mesh.home)
  assert parts['params']['qkv'].addressable_shards[0].data.size == whole['params']['qkv'].size // 4
  jax.tree.map(np.testing.assert_array_equal, parts, whole)


def test_several_ids_end_an_answer(tmp_path):
  write_checkpoint(tmp_path, 'llama3')
  (tmp_path / 'generation_config.json').write_text(json.dumps(dict(eos_token_id=[2, 9])))
  assert hub.stop_ids(str(tmp_path), TOKENIZER) == [2, 5, 9]


@pytest.mark.parametrize('path', ['/no/such/place', 'no-such-model-anywhere/at-all'])
def test_a_path_that_does_not_exist_is_refused(path, monkeypatch):
  monkeypatch.setenv('HF_HUB_OFFLINE', '1')
  with pytest.raises(UserError, match=path):
    hub.locate(path)


def test_an_export_does_not_overwrite(tmp_path):
  write_checkpoint(tmp_path, 'qwen3')
  c, variables = opened(tmp_path)
  with pytest.raises(UserError, match='exists'):
    saved(tmp_path, c, variables, {})


LORA = Lora(rank=3, alpha=5.0)


def adapted(c, seed=0):
  """A bank whose adapters change something."""
  bank = init_adapters(c, jax.random.key(seed))
  noise = lambda x: x + 0.1 * jax.random.normal(jax.random.key(seed + 1), x.shape)
  return jax.tree.map(noise, bank)


@pytest.mark.parametrize(
  'name', ['llama3', 'qwen2', 'gemma2', 'gpt2', 'phi3', 'starcoder2', 'glm4', 'olmo2', 'granite']
)
def test_adapters_compute_what_peft_computes(name, tmp_path):
  library = pytest.importorskip('peft')
  write_checkpoint(tmp_path / 'base', name)
  c, variables = opened(tmp_path / 'base', lora=LORA)
  bank = adapted(c)
  peft.save(str(tmp_path / 'adapter'), c, bank, base=str(tmp_path / 'base'))
  tokens, mask = rows()
  model = library.PeftModel.from_pretrained(reference(tmp_path / 'base'), str(tmp_path / 'adapter'))
  expected = reference_logits(model, tokens, mask)
  found = logits_of(c, variables | {'adapters': bank}, tokens, mask)
  assert np.abs(found - logits_of(c, variables, tokens, mask)).max() > 0.1
  assert np.abs(np.where(mask[..., None] > 0, found - expected, 0)).max() <= 1e-4


@pytest.mark.parametrize('name', ['llama3', 'gpt2', 'phi3'])
def test_an_adapter_of_another_rank_and_scale_joins_the_bank(name, tmp_path):
  write_checkpoint(tmp_path / 'base', name)
  c, variables = opened(tmp_path / 'base', lora=LORA)
  bank = adapted(c)
  peft.save(str(tmp_path / 'adapter'), c, bank)
  wider, _ = opened(tmp_path / 'base', lora=Lora(rank=6, alpha=1.0, adapters=2))
  loaded = peft.load(str(tmp_path / 'adapter'), wider)
  tokens, mask = rows()
  np.testing.assert_allclose(
    logits_of(wider, variables | {'adapters': loaded}, tokens, mask),
    logits_of(c, variables | {'adapters': bank}, tokens, mask),
    atol=1e-4,
  )


def test_an_adapter_that_does_not_fit_is_refused(tmp_path):
  write_checkpoint(tmp_path / 'base', 'llama3')
  c, _ = opened(tmp_path / 'base', lora=LORA)
  peft.save(str(tmp_path / 'adapter'), c, adapted(c))
  narrow, _ = opened(tmp_path / 'base', lora=Lora(rank=2))
  with pytest.raises(UserError, match='rank 3'):
    peft.load(str(tmp_path / 'adapter'), narrow)
  few, _ = opened(tmp_path / 'base', lora=Lora(rank=3, targets='q_proj'))
  with pytest.raises(UserError, match='widen'):
    peft.load(str(tmp_path / 'adapter'), few)
  file = pathlib.Path(tmp_path / 'adapter/adapter_config.json')
  file.write_text(json.dumps(json.loads(file.read_text()) | dict(use_dora=True)))
  with pytest.raises(UserError, match='use_dora=True'):
    peft.load(str(tmp_path / 'adapter'), c)


def test_targets_that_match_nothing_are_refused():
  with pytest.raises(ConfigError, match='matches none of the modules'):
    init_adapters(
      CONFIG.__class__(**vars(CONFIG) | dict(lora=Lora(2, targets='nothing'))), jax.random.key(0)
    )


@pytest.mark.parametrize('name', ['qwen3', 'gemma3', 'gpt2', 'phi3', 'arcee'])
def test_merging_is_adding_and_can_be_undone(name, tmp_path):
  write_checkpoint(tmp_path, name)
  c, variables = opened(tmp_path, lora=Lora(rank=3, adapters=2))
  bank, amount = adapted(c), jnp.array([1.0, 0.0])
  merged = merge(c, variables['params'], bank, amount)
  tokens, mask = rows()
  np.testing.assert_allclose(
    logits_of(c, {'params': merged}, tokens, mask),
    logits_of(c, variables | {'adapters': bank}, tokens, mask),
    atol=1e-4,
  )
  back = merge(c, merged, bank, amount, sign=-1)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), back, variables['params'])


def test_rows_longer_than_the_positions_are_refused(tmp_path):
  write_checkpoint(tmp_path / 'gpt2', 'gpt2')
  write_checkpoint(tmp_path / 'llama', 'llama3')
  learned, turned = (hub.model_config(str(tmp_path / name)) for name in ('gpt2', 'llama'))
  sizes = lambda new: SimpleNamespace(max_prompt=200, max_new=new)
  check_length(sizes(56), learned)
  check_length(sizes(57), turned)
  with pytest.raises(ConfigError, match='256 positions'):
    check_length(sizes(57), learned)


def test_longrope_is_refused_beyond_its_short_factors(tmp_path):
  """Its long factors turn all of a text otherwise as soon as it is longer than 240 tokens."""
  pytest.importorskip('torch')
  write_checkpoint(tmp_path, 'phi4_mini')
  c, variables = opened(tmp_path)
  tokens, mask = np.full((1, 240), 5), np.ones((1, 240), int)
  expected = reference_logits(reference(tmp_path), tokens, mask)
  np.testing.assert_allclose(logits_of(c, variables, tokens, mask), expected, atol=1e-4)
  wide = ((0, 0), (0, 1))
  with pytest.raises(ConfigError, match=r'241 tokens.*240 positions.*longrope'):
    logits_of(c, variables, np.pad(tokens, wide), np.pad(mask, wide))
