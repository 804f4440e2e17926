"""Data files as disks and programs leave them: right rows or a clear error."""

import gzip
import json
import random

import pyarrow as pa
import pytest
from data_files import MANY, delimited, jsonl, parquet, read

from rft_jax.registry import ConfigError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize('streaming', [False, True])
@pytest.mark.parametrize('name, pack', [('a.jsonl.gz', jsonl), ('a.csv.gz', delimited)])
def test_of_a_cut_file_the_rows_before_are_used_and_the_loss_is_told(name, pack, streaming, capsys):
  content = gzip.compress(pack(MANY))
  with pytest.raises(ConfigError, match=rf'{name}, row \d+: the file was cut here'):
    read(name, content[: len(content) // 2], streaming=streaming)
  found, skipped = read(name, content[: len(content) // 2], 'skip', streaming)
  assert 300 < len(found) < 1200 and skipped == 1
  assert found == [(r['q'], r['a']) for r in MANY[: len(found)]]
  assert f'row {len(found) + 1}: the file was cut here' in capsys.readouterr().err


FORMS = {
  'a.jsonl': jsonl,
  'a.json': lambda rows: json.dumps(rows, indent=1).encode(),
  'a.csv': delimited,
  'a.tsv': lambda rows: delimited(rows, '\t'),
  'a.jsonl.gz': lambda rows: gzip.compress(jsonl(rows)),
  'a.csv.gz': lambda rows: gzip.compress(delimited(rows)),
  'a.parquet': lambda rows: parquet(pa.Table.from_pylist(rows), write_page_checksum=True),
}
HARM = {
  'flip': lambda draw, old: bytes([old[0] ^ 1 << draw.randrange(8)]),
  'insert': lambda draw, old: old + draw.choice([b'"', b'\n', b'{', b',', b'\xff', b'\0', b'\\']),
  'drop': lambda draw, old: b'',
}
NEAR = 3  # rows that one byte may spoil: its own and, by a line end or a quote, its neighbours


@pytest.mark.parametrize('name', FORMS)
def test_damaged_files_give_right_rows_or_an_error_that_names_the_file(name):
  rows = MANY[:60]
  whole, right = FORMS[name](rows), {(r['q'], r['a']) for r in rows}
  for seed in range(40):
    draw = random.Random(f'{name} {seed}')
    at, kind = draw.randrange(len(whole)), draw.choice(['cut', *HARM])
    rest = b'' if kind == 'cut' else HARM[kind](draw, whole[at : at + 1]) + whole[at + 1 :]
    for bad in ('error', 'skip'):
      try:
        found = read(name, whole[:at] + rest, bad, streaming=bool(seed % 2))[0]
      except ConfigError as error:
        assert name in str(error) and '\n' not in str(error), (seed, kind)
      else:
        wrong = set(found) - right
        summed = name.endswith(('gz', 'parquet'))
        if kind == 'cut' or (summed and bad == 'error'):
          assert not wrong, (seed, kind, wrong)
        elif not summed:
          assert len(wrong) < NEAR, (seed, kind, wrong)
          assert name == 'a.json' or len(found) >= len(rows) - NEAR, (seed, kind)
