"""Runs that train adapters: what a checkpoint holds, and what comes of it."""

import jax
import numpy as np
import pytest
from training import run, run_until, tiny

from rft_jax.infra.checkpoint import Checkpoints
from rft_jax.modes import evaluate, export
from rft_jax.modes.session import checkpoint_directory, open_session
from rft_jax.registry import UserError


def adapted():
  """Two stages with one model, then one whose model begins as a copy."""
  c = tiny(
    sft=dict(preset='sft', group=1, optimizer=dict(lr=1e-2, warmup=0)),
    rl=dict(preset='grpo', model='other', algorithm=dict(kl='k3')),
  )
  c.checkpoint.keep = 10
  c.model.lora.update(rank=2)
  c.model.param_dtype = 'bfloat16'
  return c


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  directory = tmp_path_factory.mktemp('whole')
  run(adapted(), directory)
  return directory


def arrays(directory, step):
  session = open_session(adapted())
  with Checkpoints(checkpoint_directory(str(directory))) as saved:
    shapes = session.policies['policy'].split(session.shapes())[0]
    state = saved._store.load_checkpointables(step, {'state': None})['state']
  return shapes, jax.device_get(state)


def test_a_checkpoint_holds_what_is_trained_and_not_the_base(whole):
  shapes, state = arrays(whole, 6)
  assert set(state['params']) == set(shapes) == {'adapters'}
  assert set(state['frozen']) == {'ref'} and set(state['frozen']['ref']) == {'adapters'}


def test_a_new_model_begins_as_a_copy_of_the_policy_adapters_and_all(whole):
  """The reference of the second stage is the first stage's policy."""
  learned, ref = arrays(whole, 3)[1]['params'], arrays(whole, 6)[1]['frozen']['ref']
  jax.tree.map(np.testing.assert_array_equal, learned['adapters'], ref['adapters'])
  assert max(np.abs(x).max() for x in jax.tree.leaves(ref['adapters'])) > 0


def test_an_interrupted_run_ends_exactly_as_one_that_was_not(whole, tmp_path, monkeypatch):
  assert run_until(adapted(), tmp_path, 4, monkeypatch)
  run(adapted(), tmp_path)
  jax.tree.map(np.testing.assert_array_equal, arrays(whole, 6)[1], arrays(tmp_path, 6)[1])


def test_it_can_be_evaluated_and_exported_but_not_over_another(whole):
  assert evaluate.run(adapted(), str(whole), 0.0)['step'] in range(1, 7)
  c = adapted()
  c.export.adapter = True
  export.run(c, str(whole), 0.0)
  assert (whole / 'export/adapter_model.safetensors').exists()
  for adapter in (True, False):
    c.export.adapter = adapter
    with pytest.raises(UserError, match='exists'):
      export.run(c, str(whole), 0.0)


@pytest.mark.parametrize(
  'settings,message',
  [
    (dict(targets='nothing'), 'matches none of the modules'),
    (dict(alpha=0.0), 'model.lora.alpha=0.0 must be other than 0'),
    (dict(path='adapter'), 'set model.path'),
    (dict(rank=0, path='adapter'), 'needs model.lora.rank'),
  ],
)
def test_adapters_that_cannot_work_are_refused_before_anything_is_written(
  settings, message, tmp_path
):
  c = adapted()
  c.model.update(param_dtype='float32')
  c.model.lora.update(settings)
  with pytest.raises(UserError, match=message):
    run(c, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
