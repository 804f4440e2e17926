"""Every family computes what `transformers` computes, in one pass and token by token."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rft_jax.infra import hub
from rft_jax.infra.parallel import Mesh
from rft_jax.models.hf_config import IRRELEVANT, read_config
from rft_jax.models.policy import make_policy
from rft_jax.models.transformer import Decoder
from rft_jax.registry import ConfigError
from rft_jax.sampling import make_rollout, sampling
from rft_jax.types import Prompts
from tests.checkpoints import (
  CHECKPOINTS,
  GOLDENS,
  reference,
  reference_logits,
  rows,
  write_checkpoint,
)

RECOMBINED = (
  *('vaultgemma', 'cwm', 'ministral', 'seed_oss', 'arcee', 'glm'),
  *('starcoder2_plain', 'smollm3_sliding', 'exaone4_full'),
)
"""Checkpoints whose every part another one has too: what does not change the parts is slow."""
PARTS = [
  pytest.param(name, marks=pytest.mark.slow) if name in RECOMBINED else name for name in CHECKPOINTS
]
HOME = lambda *_: jax.sharding.SingleDeviceSharding(jax.devices()[0])


@pytest.fixture(scope='module')
def models(tmp_path_factory):
  """name -> (directory, config, variables), written once."""
  found = {}

  def get(name):
    if name not in found:
      directory = tmp_path_factory.mktemp(name)
      write_checkpoint(directory, name)
      c = hub.model_config(str(directory))
      found[name] = str(directory), c, hub.load(str(directory), c, HOME)
    return found[name]

  return get


def logits_in(c, variables, tokens, mask):
  decoder, wide = Decoder(c), ((0, 0), (0, 1))
  with jax.default_matmul_precision('highest'):
    states = decoder.apply(variables, jnp.pad(tokens, wide), jnp.pad(mask > 0, wide))
    return decoder.apply(variables, states, method='logits')[:, 1:]


def logits_of(c, variables, tokens, mask):
  return np.asarray(logits_in(c, variables, tokens, mask))


@pytest.mark.parametrize('name', CHECKPOINTS)
def test_logits_are_those_that_transformers_computed(name, models):
  _, c, variables = models(name)
  tokens, mask = rows()
  found, expected = (
    logits_of(c, variables, tokens, mask)[:, 4::7],
    np.load(GOLDENS / 'families.npz'),
  )
  seen = mask[:, 4::7, None] > 0
  np.testing.assert_allclose(np.where(seen, found, 0), np.where(seen, expected[name], 0), atol=1e-4)


@pytest.mark.parametrize('name', CHECKPOINTS)
def test_logits_are_those_that_transformers_computes_here(name, models):
  pytest.importorskip('torch')
  directory, c, variables = models(name)
  tokens, mask = rows()
  expected = reference_logits(reference(directory), tokens, mask)
  error = np.where(mask[..., None] > 0, logits_of(c, variables, tokens, mask) - expected, 0)
  assert np.abs(error).max() <= 1e-4


@pytest.mark.parametrize('name', PARTS)
def test_greedy_decoding_is_the_argmax_of_the_whole_forward_pass(name, models):
  """200 tokens from the cache; the log-probabilities of sampler and trainer agree too (law 3)."""
  _, c, variables = models(name)
  policy, params = make_policy(c), {'decoder': variables}
  tokens, mask = rows()
  prompts = Prompts(jnp.array(tokens[:, :12]), jnp.array(mask[:, :12] > 0), jnp.arange(3))
  rollout = jax.jit(make_rollout(policy.decoder, 1, 200))
  e = rollout(params, prompts, sampling([96], temperature=0.0, min_new=200), jax.random.key(0), 0)
  whole = np.array(logits_of(c, variables, e.tokens, np.asarray(e.valid).astype(int)))[:, 11:-1]
  whole[..., 96] = -np.inf
  chosen = np.take_along_axis(whole, np.asarray(e.tokens)[:, 12:, None], -1)[..., 0]
  np.testing.assert_allclose(chosen, whole.max(-1), atol=1e-4)
  logp = jax.nn.log_softmax(whole)
  expected = np.take_along_axis(np.asarray(logp), np.asarray(e.tokens)[:, 12:, None], -1)[..., 0]
  np.testing.assert_allclose(e.behaviour_logp[:, 12:], expected, atol=1e-4)


@pytest.mark.parametrize('name', [pytest.param(n, marks=pytest.mark.slow) for n in CHECKPOINTS])
def test_a_mesh_of_devices_computes_and_writes_the_same(name, models):
  """Parameters in 2 x 2 parts, rows over 4: the logits of one device, and its 24 greedy tokens."""
  directory, c, variables = models(name)
  mesh = Mesh(jax.devices()[:8], fsdp=2, tensor=2)
  tokens, mask = (np.resize(x, (8, x.shape[1])) for x in rows())
  spread = hub.load(directory, c, mesh.home)
  assert any(not x.is_fully_replicated for x in jax.tree.leaves(spread))
  compute = mesh.compile(lambda weights, rows: logits_in(c, weights, *rows), 'sb')
  found = compute(spread, mesh.put_batch((tokens, mask)))
  seen = mask[..., None] > 0
  whole = logits_of(c, variables, tokens, mask)
  np.testing.assert_allclose(np.where(seen, found, 0), np.where(seen, whole, 0), atol=1e-4)

  prompts = Prompts(tokens[:, :12], mask[:, :12] > 0, np.arange(8))
  rollout = make_rollout(make_policy(c).decoder, 1, 24)
  options = sampling([96], temperature=0.0, min_new=24)
  write = lambda weights, p: rollout({'decoder': weights}, p, options, jax.random.key(0), 0).tokens
  written = mesh.compile(write, 'sb')(spread, mesh.put_batch(prompts))
  np.testing.assert_array_equal(written, jax.jit(write)(variables, prompts))


@pytest.mark.parametrize('name', PARTS)
def test_shared_prompts_change_nothing(name, models):
  _, c, variables = models(name)
  tokens, mask = rows()
  tokens[1:, :16], mask[1:, :16] = tokens[0, :16], mask[0, :16]
  decoder = Decoder(c)
  apply = lambda *args: decoder.apply(variables, tokens, mask > 0, *args)
  np.testing.assert_allclose(apply(3, 16), apply()[:, 16:], atol=2e-4)


@pytest.mark.parametrize('name', CHECKPOINTS)
def test_every_key_of_a_config_is_used_or_irrelevant_or_refused(name, models):
  """A key whose value is replaced by another must change the model or be an error; unless it is
  listed as irrelevant, and then it must change nothing."""
  entries = hub.config_entries(models(name)[0])
  plain = read_config(entries)
  for key, value in entries.items():
    other = dict(entries) | {key: not value if isinstance(value, bool) else ['?']}
    try:
      changed = read_config(other) != plain
    except (ConfigError, TypeError, ValueError, AttributeError, KeyError):
      changed = True
    assert changed != (key in IRRELEVANT), f'{key}={other[key]!r} is passed over, or not irrelevant'


def test_an_unknown_key_is_refused_by_name_and_can_be_ignored(models):
  entries = hub.config_entries(models('llama3')[0]) | dict(head_scale=2)
  with pytest.raises(ConfigError, match='head_scale=2'):
    read_config(entries)
  assert read_config(entries, ignore=('head_scale',)).model_type == 'llama'


def test_an_unknown_family_is_refused_by_name(tmp_path):
  (tmp_path / 'config.json').write_text(json.dumps(dict(model_type='bert')))
  with pytest.raises(
    ConfigError, match=r"model_type='bert' is not supported. Known: arcee, .*, vaultgemma$"
  ):
    hub.model_config(str(tmp_path))
