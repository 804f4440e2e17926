"""Tables of typed columns, as parquet files and the hub keep them."""

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import parquet, read
from talking import talking

from rft_jax.registry import ConfigError
from rft_jax.tasks import make_task


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)


def table(**columns):
  return parquet(pa.table(dict(q=['1', '2'], a=['x', 'x']) | columns))


@pytest.mark.parametrize('kind', [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize('streaming', [False, True])
def test_a_number_is_the_one_that_was_written_however_few_bits_it_is_kept_in(kind, streaming):
  numbers = pa.array(np.array([0.1, 3.14])).cast(kind)
  inside = pa.StructArray.from_arrays([pa.array([[0.7], [2.5]], pa.list_(kind))], ['l'])
  content = table(n=numbers, s=inside)
  found = read('a.parquet', content, prompt='{n} {s[l][0]}', streaming=streaming)[0]
  assert [q for q, _ in found] == ['0.1 0.7', '3.14 2.5']


ODD = dict(
  time=pa.array([2**50, 1], pa.timestamp('s')),
  day=pa.array([2**30, 1], pa.date32()),
  zone=pa.array([1, 2], pa.timestamp('us', tz='Mars/Base')),
  text=pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b'\xff\xfe')]
  ),
)


@pytest.mark.parametrize('name', ODD)
def test_what_python_cannot_hold_spoils_only_rows_that_use_it(name):
  for streaming in (False, True):
    found = read('a.parquet', table(n=ODD[name]), streaming=streaming)
    assert found == ([('1', 'x'), ('2', 'x')], 0)
    with pytest.raises(ConfigError, match=r'a\.parquet, row 1: '):
      read('a.parquet', table(n=ODD[name]), prompt='n', streaming=streaming)


def spoken(*roles):
  turns = [pa.array(roles).dictionary_encode(), pa.array(['hi', 'yes'])]
  both = pa.StructArray.from_arrays(turns, ['role', 'content'])
  return pa.table(dict(m=pa.ListArray.from_arrays(pa.array([0, 2]), both)))


@pytest.mark.parametrize('streaming', [False, True])
def test_categories_inside_of_turns_may_differ_from_part_to_part(streaming):
  parts = [spoken('user', 'assistant'), spoken('human', 'gpt')]
  with pq.ParquetWriter('a.parquet', parts[0].schema) as file:
    for part in parts:
      file.write_table(part)
  found = read('a.parquet', prompt='p', response='', messages='m', streaming=streaming)
  assert found == ([('hi', 'yes')] * 2, 0)


class Picture(datasets.Image):
  def decode_example(self, *args, **options):
    raise OSError('nobody asked for a picture')


@pytest.mark.parametrize('streaming', [False, True])
def test_of_the_hub_only_the_columns_that_are_used_are_made_objects(streaming, monkeypatch):
  monkeypatch.setattr(datasets.Image, 'decode_example', Picture.decode_example)
  kinds = dict(p=datasets.Value('string'), n=datasets.Value('float32'), picture=datasets.Image())
  rows = dict(p=['1', '2'], n=[0.1, 3.14], picture=[dict(path=None, bytes=b'\xff')] * 2)
  kept = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
  load = lambda *names, **options: kept.to_iterable_dataset() if streaming else kept
  monkeypatch.setattr(datasets, 'load_dataset', load)
  options = f'prompt="p", answer="n", test="test", streaming={streaming}'
  task = make_task(f'dataset(source="some/set", {options})', talking())
  assert [task.example('test', i).answer for i in range(2)] == ['0.1', '3.14']
