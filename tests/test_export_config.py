"""What `write_config` writes is what `read_config` reads, and what transformers computes."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from rft_jax.data.text import characters
from rft_jax.infra import hub, hub_save
from rft_jax.models.config import FULL, SLIDING, ModelConfig
from rft_jax.models.families import FAMILIES
from rft_jax.models.hf_config import read_config, write_config
from rft_jax.models.hf_defaults import completed
from rft_jax.models.policy import make_policy
from rft_jax.registry import ConfigError
from tests.architectures import architecture
from tests.checkpoints import reference, reference_logits, rows
from tests.test_families import logits_of

TOKENIZER = characters(alphabet=''.join(map(chr, range(32, 126))))  # 97 tokens
SEEDS = range(8)


@pytest.mark.parametrize('kind', FAMILIES)
def test_what_is_written_of_an_architecture_is_read_as_the_same(kind):
  for seed in SEEDS:
    c = architecture(kind, seed)
    entries = json.loads(json.dumps(write_config(c)))
    assert read_config(completed(entries)) == c, (seed, entries)


@pytest.mark.parametrize('kind', FAMILIES)
def test_every_field_that_a_family_reads_is_varied(kind):
  """Else the two laws here would say nothing of it."""
  for name in FAMILIES[kind].reads:
    field = ModelConfig.__dataclass_fields__[name]
    assert any(getattr(architecture(kind, seed), name) != field.default for seed in SEEDS), name


@pytest.mark.parametrize('seed', [0, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize('kind', FAMILIES)
def test_transformers_computes_the_same_of_a_model_from_scratch(kind, seed, tmp_path):
  pytest.importorskip('torch')
  c = architecture(kind, seed)
  params = make_policy(c).init(jax.random.key(seed))['decoder']['params']
  noise = lambda x: x + 0.1 * jax.random.normal(jax.random.key(1), x.shape)
  params = jax.tree.map(noise, params)
  hub_save.save(str(tmp_path / 'out'), c, params, TOKENIZER, write_config(c))
  assert hub.model_config(str(tmp_path / 'out')) == c
  tokens, mask = rows()
  expected = reference_logits(reference(tmp_path / 'out'), tokens, mask)
  found = logits_of(c, {'params': params}, tokens, mask)
  error = np.where(mask[..., None] > 0, found - expected, 0)
  assert np.abs(error).max() <= 2e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize('kind', FAMILIES)
def test_an_export_has_the_special_tokens_that_it_is_given_and_not_those_of_its_class(kind):
  """A llama's class ends answers at id 2, a gpt2's at 50256: ordinary characters, or none."""
  entries = write_config(architecture(kind, 0))
  assert entries['eos_token_id'] is None and entries['pad_token_id'] is None
  assert completed(entries | dict(eos_token_id=[5, 6]))['eos_token_id'] == [5, 6]


WRONG = dict(
  llama=dict(layer_types=(SLIDING,) * 3, sliding_window=7),
  mistral=dict(layer_types=(SLIDING, FULL, FULL), sliding_window=7),
  qwen2=dict(attention_bias=True),
  qwen3=dict(final_logit_softcapping=3.0),
  qwen3_moe=dict(rope_local_theta=5.0),
  gemma2=dict(attention_scale=0.3),
  gemma3_text=dict(attn_logit_softcapping=2.0),
  gpt2=dict(head_dim=16),
)


@pytest.mark.parametrize('kind', WRONG)
def test_what_a_family_cannot_say_is_refused_and_not_left_out(kind):
  name = next(iter(WRONG[kind]))
  c = dataclasses.replace(architecture(kind, 0), **WRONG[kind])
  with pytest.raises(ConfigError, match=f'model.{name}=') as caught:
    write_config(c)
  assert '\n' not in str(caught.value)
