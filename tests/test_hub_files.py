"""The files of a checkpoint, damaged and whole: read, or one line that names the place."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rft_jax.registry import UserError
from tests.checkpoints import write_checkpoint
from tests.test_hub import opened


def damage_missing_shard(path):
  (path / 'model.safetensors').unlink()
  index = dict(weight_map={'model.norm.weight': 'model-00001-of-00002.safetensors'})
  (path / 'model.safetensors.index.json').write_text(json.dumps(index))


def damage_truncated(path):
  file = path / 'model.safetensors'
  file.write_bytes(file.read_bytes()[:-100])


def edit(path, change):
  tensors = load_file(path / 'model.safetensors')
  change(tensors)
  save_file(tensors, path / 'model.safetensors')


def configure(path, **entries):
  file = path / 'config.json'
  file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def index(content):
  """In place of the one file."""

  def damage(path):
    (path / 'model.safetensors').rename(path / 'a.safetensors')
    (path / 'model.safetensors.index.json').write_bytes(content)

  return damage


def eight_bits(path):
  torch = pytest.importorskip('torch')
  from safetensors.torch import save_file as save_by_torch

  tensors = load_file(path / 'model.safetensors')
  narrow = {k: torch.tensor(x).to(torch.float8_e4m3fn) for k, x in tensors.items()}
  save_by_torch(narrow, path / 'model.safetensors')


NORM = 'model.layers.1.input_layernorm.weight'
DAMAGES = dict(
  index_cut=(index(b'{"weight_map": {'), 'index.json cannot be read'),
  index_latin=(index(b'\xff\xfe{}'), 'index.json cannot be read'),
  index_list=(index(b'[1]'), 'not an object'),
  index_empty=(index(b'{}'), 'weight_map must name'),
  index_null=(index(b'{"weight_map": null}'), 'weight_map must name'),
  index_number=(index(b'{"weight_map": {"model.norm.weight": 3}}'), 'weight_map must name'),
  eight_bits=(eight_bits, 'F8_E4M3.*quantised'),
  integers=(lambda p: edit(p, lambda t: t.update({NORM: np.ones(32, np.int8)})), 'I8.*quantised'),
  missing_shard=(damage_missing_shard, 'lacks model-00001-of-00002.safetensors'),
  truncated=(damage_truncated, 'is damaged'),
  shape=(lambda p: edit(p, lambda t: t.update({NORM: np.zeros(7)})), r'shape \[7\].*\[32\]'),
  missing=(lambda p: edit(p, lambda t: t.pop(NORM)), f'lacks {NORM}'),
  extra=(lambda p: edit(p, lambda t: t.update(odd=np.zeros(3))), 'odd has no place'),
  no_config=(lambda p: (p / 'config.json').unlink(), 'no config.json'),
  wrong_type=(lambda p: configure(p, hidden_size='abc'), 'cannot be read'),
  wrong_layers=(lambda p: configure(p, num_hidden_layers=-1), 'num_hidden_layers=-1'),
  not_json=(lambda p: (p / 'config.json').write_text('{'), 'cannot be read'),
  no_weights=(lambda p: (p / 'model.safetensors').unlink(), 'no model.safetensors'),
)


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_malformed_checkpoint_is_one_line_that_names_the_place(damage, tmp_path):
  write_checkpoint(tmp_path, 'llama3')
  spoil, message = DAMAGES[damage]
  spoil(tmp_path)
  with pytest.raises(UserError, match=message) as caught:
    opened(tmp_path)
  assert str(tmp_path) in str(caught.value) and '\n' not in str(caught.value)


def test_a_single_file_decides_as_in_transformers_over_an_index_that_was_left(tmp_path):
  write_checkpoint(tmp_path, 'llama3')
  left = dict(weight_map={NORM: 'model-00001-of-00002.safetensors'})
  (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(left))
  opened(tmp_path)


def test_tensors_that_are_computed_are_passed_over(tmp_path):
  write_checkpoint(tmp_path, 'llama3')
  names = 'model.layers.0.self_attn.rotary_emb.cos_cached', 'model.rotary_emb.original_inv_freq'
  edit(tmp_path, lambda t: t.update({name: np.ones(6, np.float32) for name in names}))
  opened(tmp_path)


def test_a_tied_head_that_differs_is_refused(tmp_path):
  write_checkpoint(tmp_path, 'llama31')
  edit(tmp_path, lambda t: t.update({'lm_head.weight': np.zeros((97, 32), 'float32')}))
  with pytest.raises(UserError, match='differs from the embedding'):
    opened(tmp_path)
