"""Laws of checkpoints and of the directory of a run."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct

from rft_jax.infra.checkpoint import CheckpointError, Checkpoints
from rft_jax.infra.workdir import open_workdir
from rft_jax.registry import ConfigError

ROOT = pathlib.Path(__file__).parents[1]

SAVE_FOREVER = """
import sys
import jax.numpy as jnp
from rft_jax.infra.checkpoint import Checkpoints
store = Checkpoints(sys.argv[1], keep=2)
step = (store.latest() or 0) + 1
while True:
  state = {'x': jnp.full((300, 300), step), 'y': jnp.full(5, step)}
  store.save(step, {'state': state}, {'at': step})
  step += 1
"""

RESTORE_ON_FOUR = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from rft_jax.infra.checkpoint import Checkpoints
mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(4), ('data',))
split = NamedSharding(mesh, PartitionSpec('data'))
with Checkpoints(sys.argv[1]) as store:
  leaf = jax.ShapeDtypeStruct((8, 2), jnp.float32, sharding=split)
  x = store.restore(abstract={'state': {'x': leaf}})[1]['state']['x']
  assert x.sharding == split and len(x.addressable_shards) == 4
  assert (np.asarray(x) == np.arange(16).reshape(8, 2)).all()
  store.save(2, {'state': {'x': x}})
"""


@struct.dataclass
class State:
  step: jax.Array
  params: dict
  opt: optax.OptState
  key: jax.Array
  absent: jax.Array | None = None
  width: int = struct.field(pytree_node=False, default=3)


def state(seed: int = 0) -> State:
  key = jax.random.key(seed)
  params = {
    'w': jax.random.normal(key, (5, 3)),
    'b': jax.random.normal(key, (7,), jnp.bfloat16),
    'layers': [jnp.arange(4), {}],
  }
  opt = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)).init(params)
  return State(jnp.int32(seed), params, opt, jax.random.split(key, 2))


def same(a, b) -> bool:
  bits = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
  equal = lambda x, y: (
    x.dtype == y.dtype and np.asarray(bits(x)).tobytes() == np.asarray(bits(y)).tobytes()
  )
  return jax.tree.structure(a) == jax.tree.structure(b) and all(
    jax.tree.leaves(jax.tree.map(equal, a, b))
  )


def script(source: str, *arguments: str, **environment: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-c', source, *arguments],
    cwd=ROOT,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', **environment},
  )


def one_line(error: pytest.ExceptionInfo) -> str:
  assert '\n' not in str(error.value)
  return str(error.value)


def test_restore_returns_every_bit_that_was_saved(tmp_path):
  arrays = {'state': state(3), 'rng': jax.random.key(7), 'host': {'count': np.arange(3), 'n': 5}}
  data = {'cursor': 2**70, 'list': [1, None, 'x', {}], 'rate': 0.1}
  abstract = {**arrays, 'state': jax.eval_shape(lambda: state(3))}
  with Checkpoints(tmp_path / 'c') as store:
    assert store.save(3, arrays, data)
  with Checkpoints(tmp_path / 'c') as store:
    step, back, told = store.restore(abstract=abstract)
  assert step == 3 and told == data and set(back) == set(arrays)
  assert same(back['state'], arrays['state']) and same(back['rng'], arrays['rng'])
  assert back['host']['n'] == 5 and same(back['host']['count'], arrays['host']['count'])


def test_arrays_may_be_donated_and_data_changed_right_after_save(tmp_path):
  overwrite = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
  x, data = jnp.arange(2_000_000.0), {'seen': [1]}
  with Checkpoints(tmp_path) as store:
    store.save(1, {'state': x}, data)
    data['seen'].append(2)
    overwrite(x).block_until_ready()
    _, arrays, told = store.restore(
      abstract={'state': jax.ShapeDtypeStruct((2_000_000,), jnp.float32)}
    )
  assert (np.asarray(arrays['state']) == np.arange(2_000_000.0)).all() and told == {'seen': [1]}


def test_keeps_the_last_and_the_best(tmp_path):
  scores = {1: 0.1, 2: 0.9, 3: float('nan'), 4: 0.2, 5: None, 6: 0.3}
  with Checkpoints(tmp_path, keep=2, best_metric='score') as store:
    for step, score in scores.items():
      store.save(step, {'x': jnp.zeros(1)}, metrics=None if score is None else {'score': score})
    assert not store.save(6, {'x': jnp.ones(1)})
    store.wait()
    assert (store.steps(), store.best(), store.latest()) == ([2, 5, 6], 2, 6)
  with Checkpoints(tmp_path, keep=2, best_metric='score') as store:
    store.save(7, {'x': jnp.zeros(1)}, metrics={'score': 0.9})
    store.wait()
    assert (store.steps(), store.best()) == ([6, 7], 7)
    assert store.restore(6, {'x': jnp.zeros(1)})[1]['x'] == 0


def test_a_killed_run_leaves_every_earlier_checkpoint_loadable(tmp_path):
  chance, reached = random.Random(0), 0
  wanted = {
    'state': {
      'x': jax.ShapeDtypeStruct((300, 300), jnp.int32),
      'y': jax.ShapeDtypeStruct((5,), jnp.int32),
    }
  }
  for _ in range(3):
    run = script(SAVE_FOREVER, str(tmp_path))
    deadline = time.monotonic() + 60
    while not (tmp_path / str(reached + 2)).exists() and time.monotonic() < deadline:
      time.sleep(0.001)
    time.sleep(chance.random() * 0.15)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    with Checkpoints(tmp_path, keep=2) as store:
      assert store.latest() > reached + 1
      reached = store.latest()
      for step in [s for s in store.steps() if s >= reached - 1]:
        _, arrays, data = store.restore(step, wanted)
        assert data == {'at': step} and all(
          (leaf == step).all() for leaf in jax.tree.leaves(arrays['state'])
        )


def test_what_is_half_written_is_ignored_and_can_be_saved_again(tmp_path):
  with Checkpoints(tmp_path) as store:
    store.save(1, {'x': jnp.ones(2)})
  (tmp_path / '2').mkdir()
  (tmp_path / '3.orbax-checkpoint-tmp' / 'x').mkdir(parents=True)
  with Checkpoints(tmp_path) as store:
    assert store.steps() == [1]
    for step in (2, 3):
      assert store.save(step, {'x': jnp.full(2, step)})
    assert store.restore(abstract={'x': jnp.ones(2, int)})[0] == 3 and store.steps() == [1, 2, 3]


@pytest.mark.parametrize(
  'file', ['x/ocdbt.process_0/d/*', 'x/d/*', 'x/_METADATA', 'x/manifest.ocdbt', 'data/data.json']
)
def test_a_damaged_checkpoint_names_itself_and_the_one_before(tmp_path, file):
  wanted = {'x': jnp.arange(5000.0)}
  with Checkpoints(tmp_path) as store:
    for step in (4, 8):
      store.save(step, wanted, {'a': step})
    store.wait()
    [part] = (tmp_path / '8').glob(file)
    os.truncate(part, part.stat().st_size // 2)
    with pytest.raises(CheckpointError, match='resume from step 4') as error:
      store.restore(abstract=wanted)
    assert f'delete {tmp_path}/8 ' in one_line(error)
    assert same(store.restore(4, wanted)[1], wanted)


def test_damaged_metrics_are_named_when_the_directory_is_opened(tmp_path):
  with Checkpoints(tmp_path, best_metric='m') as store:
    store.save(1, {'x': jnp.ones(2)}, metrics={'m': 1.0})
  os.truncate(tmp_path / '1/metrics/metrics', 4)
  with pytest.raises(CheckpointError, match=rf'{tmp_path}/1 is damaged') as error:
    Checkpoints(tmp_path, best_metric='m')
  assert 'delete it' in one_line(error)


@pytest.mark.parametrize(
  'wanted, message',
  [
    ({'x': {'w': jnp.ones((2, 4))}}, r'x/w is float32\[2,3\] there and float32\[2,4\] here'),
    ({'x': {'w': jnp.ones((2, 3), jnp.bfloat16)}}, r'x/w is float32\[2,3\] there and bfloat16'),
    (
      {'x': {'w': jnp.ones((2, 3)), 'v': jnp.ones(1)}},
      r'x/v is absent there and float32\[1\] here',
    ),
    ({'x': {}}, r'x/w is float32\[2,3\] there and absent here'),
    ({'x': {'w': jax.random.key(0)}}, r'x/w is float32\[2,3\] there and uint32\[2\] here'),
    ({'y': jnp.ones(1)}, r'y is absent there'),
  ],
)
def test_a_tree_that_does_not_fit_names_the_first_leaf_with_both_shapes(tmp_path, wanted, message):
  with Checkpoints(tmp_path) as store:
    store.save(1, {'x': {'w': jnp.ones((2, 3))}})
    with pytest.raises(CheckpointError, match=message) as error:
      store.restore(abstract=wanted)
    assert 'does not fit' in one_line(error)


def test_a_checkpoint_moves_to_another_mesh_and_back(tmp_path):
  x = jnp.arange(16.0).reshape(8, 2)
  with Checkpoints(tmp_path) as store:
    store.save(1, {'state': {'x': x}})
  four = script(
    RESTORE_ON_FOUR, str(tmp_path), XLA_FLAGS='--xla_force_host_platform_device_count=4'
  )
  assert four.communicate()[1] is not None and four.returncode == 0
  with Checkpoints(tmp_path) as store:
    step, arrays, _ = store.restore(abstract={'state': {'x': x}})
  assert step == 2 and same(arrays['state']['x'], x)


@pytest.mark.parametrize('place', ['file', 'file/below'])
def test_a_place_that_cannot_hold_checkpoints_is_an_error(tmp_path, place):
  (tmp_path / 'file').touch()
  with pytest.raises(CheckpointError, match='choose another --workdir') as error:
    Checkpoints(tmp_path / place)
  assert str(tmp_path / place) in one_line(error)


def test_a_save_that_fails_in_the_background_is_told_at_the_next_call(tmp_path):
  store = Checkpoints(tmp_path / 'c')
  store.save(1, {'x': jnp.ones(2)})
  store.wait()
  (tmp_path / 'c').rename(tmp_path / 'gone')
  with pytest.raises(CheckpointError, match='cannot write a checkpoint') as error:
    store.save(2, {'x': jnp.ones(2)})
    store.wait()
  assert f'{tmp_path}/c' in one_line(error)


def test_bad_requests_are_errors_with_the_way_out(tmp_path):
  with Checkpoints(tmp_path) as store:
    with pytest.raises(CheckpointError, match='no complete checkpoint'):
      store.restore()
    store.save(1, {'x': jnp.ones(1)})
    with pytest.raises(CheckpointError, match=r'step 5.* use one of 1'):
      store.restore(5)
    with pytest.raises(ValueError, match=r"data\['cursor'\].*does not survive JSON"):
      store.save(2, {}, {'cursor': {1: 2}})
    with pytest.raises(ValueError, match=r"'data'.*reserved"):
      store.save(2, {'data': jnp.ones(1)})


def test_a_workdir_belongs_to_one_config(tmp_path):
  path, config = tmp_path / 'run', {'a': {'b': 1, 'c': (1, 2)}, 'steps': 10, 'empty': {}}
  assert not open_workdir(path, config)
  assert open_workdir(path, config, ignore=('steps',))
  assert open_workdir(path, {**config, 'steps': 20}, ignore=('steps',))
  assert json.loads((path / 'config.json').read_text())['steps'] == 20
  with pytest.raises(ConfigError, match=r'a\.b 1 -> 2, a\.d absent -> 3') as error:
    open_workdir(path, {**config, 'a': {'b': 2, 'c': [1, 2], 'd': 3}}, ignore=('steps',))
  assert 'another --workdir' in one_line(error) and 'steps' not in one_line(error)


def test_a_workdir_lists_at_most_eight_differences(tmp_path):
  open_workdir(tmp_path, {f'k{i}': 0 for i in range(12)})
  with pytest.raises(ConfigError, match='and 4 more') as error:
    open_workdir(tmp_path, {f'k{i}': 1 for i in range(12)})
  assert one_line(error).count('0 -> 1') == 8


def test_a_prefix_frees_whole_sections_only(tmp_path):
  open_workdir(tmp_path, {'eval': {'n': 1}, 'evaluator': 1})
  assert open_workdir(tmp_path, {'eval': {'n': 2}, 'evaluator': 1}, ignore=('eval',))
  with pytest.raises(ConfigError, match='evaluator 1 -> 2'):
    open_workdir(tmp_path, {'eval': {'n': 2}, 'evaluator': 2}, ignore=('eval',))


def test_an_unusable_workdir_is_a_config_error(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(ConfigError, match='choose another --workdir') as error:
    open_workdir(tmp_path / 'file' / 'run', {})
  assert str(tmp_path / 'file') in one_line(error)
  (tmp_path / 'config.json').write_text('{')
  with pytest.raises(ConfigError, match='not JSON'):
    open_workdir(tmp_path, {})
