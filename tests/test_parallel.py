"""Placement: what lies where. That the results are the same everywhere is a law of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rft_jax.infra.parallel import Mesh, Pmap, make_placement
from rft_jax.models.config import ModelConfig
from rft_jax.models.policy import make_policy
from rft_jax.registry import ConfigError
from rft_jax.types import TrainState

CONFIG = ModelConfig(64, 32, 64, 2, 4, 2, 8)
SMALL = 2048  # bytes; what is larger has to be cut


@pytest.fixture(scope='module')
def state():
  """Parameters, the moments of Adam, and a reference."""
  params = make_policy(CONFIG).init(jax.random.key(0))
  tx = optax.adamw(1e-3)
  return jax.device_get(TrainState(jnp.int32(0), params, tx.init(params), {'ref': params}))


def local_bytes(leaf) -> int:
  """What one device holds of it."""
  return leaf.addressable_shards[0].data.nbytes


def by_path(tree) -> dict:
  return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.parametrize('fsdp, tensor', [(2, 2), (8, 1), (1, 2), (4, 1)])
def test_every_large_matrix_is_cut_into_fsdp_times_tensor_parts(state, fsdp, tensor):
  placed = make_placement('mesh', 8, fsdp, tensor).put_state(state)
  large = {path: x for path, x in by_path(placed).items() if x.nbytes > SMALL}
  assert (
    len(large) >= 4 * 5
  )  # embedding and four matrices, in params, two moments and the reference
  for path, x in large.items():
    assert local_bytes(x) * fsdp * tensor == x.nbytes, path


@pytest.mark.parametrize('fsdp, tensor', [(2, 2), (8, 1)])
def test_moments_and_reference_lie_where_their_parameter_lies(state, fsdp, tensor):
  placed = Mesh(jax.devices(), fsdp, tensor).put_state(state)
  params = by_path(placed.params)
  for other in (placed.opt_state[0].mu, placed.opt_state[0].nu, placed.frozen['ref']):
    assert {k: x.sharding for k, x in by_path(other).items()} == {
      k: x.sharding for k, x in params.items()
    }


@pytest.mark.parametrize('placement', [Mesh(jax.devices(), 2, 2), Pmap(jax.devices())])
def test_what_is_placed_comes_back(state, placement):
  back = placement.get_state(placement.put_state(state))
  jax.tree.map(np.testing.assert_array_equal, state, jax.device_get(back))
  batch = {'x': np.arange(48).reshape(16, 3), 'y': np.arange(16.0)}
  double = placement.compile(lambda state, batch: jax.tree.map(lambda x: x + x, batch), 'sb')
  rows = placement.rows(double(placement.put_state(state), placement.put_batch(batch)))
  jax.tree.map(lambda x, y: np.testing.assert_array_equal(2 * x, y), batch, rows)


def test_a_batch_is_cut_over_data_and_fsdp_but_not_over_tensor(state):
  placement = Mesh(jax.devices(), 2, 2)
  batch = placement.put_batch(np.zeros((16, 4), np.float32))
  assert placement.shards == 4 and local_bytes(batch) * 4 == batch.nbytes


def test_an_axis_that_does_not_divide_a_dimension_leaves_it_whole():
  leaf = Mesh(jax.devices(), 1, 8).put_state({'embedding': np.zeros((12, 32), np.float32)})
  assert local_bytes(leaf['embedding']) == 12 * 32 * 4


@pytest.mark.parametrize(
  'settings, kind, shards',
  [
    (dict(), Pmap, 8),
    (dict(devices=1), Mesh, 1),
    (dict(fsdp=4), Mesh, 8),
    (dict(tensor=2), Mesh, 4),
    (dict(kind='mesh', devices=6), Mesh, 6),
    (dict(kind='pmap', devices=2), Pmap, 2),
  ],
)
def test_auto_maps_plain_copies_and_meshes_what_is_cut(settings, kind, shards):
  placement = make_placement(**settings)
  assert isinstance(placement, kind) and placement.shards == shards


@pytest.mark.parametrize(
  'settings, message',
  [
    (dict(kind='pmpa'), "'pmpa': did you mean 'pmap'"),
    (dict(devices=9), 'devices=9, but there are 8'),
    (dict(fsdp=3), 'fsdp=3 x parallel.tensor=1 must divide the 8 devices'),
    (dict(kind='pmap', fsdp=2), "kind='pmap' copies .* use kind='mesh'"),
  ],
)
def test_what_cannot_be_placed_is_an_error_with_the_way_out(settings, message):
  with pytest.raises(ConfigError, match=message):
    make_placement(**settings)
