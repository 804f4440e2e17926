"""Data files as people have them: a row or a clear error."""

import gzip
import json
import os

import datasets
import pyarrow as pa
import pytest
from data_files import GOOD, jsonl, parquet, read, row
from talking import talking

from rft_jax.data import files
from rft_jax.registry import ConfigError
from rft_jax.tasks import make_task


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)


OFFSETS = b''.join(i.to_bytes(4, 'little') for i in range(4))
NO_TEXT = pa.Array.from_buffers(
  pa.string(), 3, [None, pa.py_buffer(OFFSETS), pa.py_buffer(b'12\xff')]
)
ONE_BAD = {
  'half a character': ('a.jsonl', GOOD + b'{"q": "\\ud800", "a": "x"}\n', 3, 'half a character'),
  'in a conversation': (
    'a.jsonl',
    GOOD + b'{"q": [{"role": "user", "content": "\\udfff"}], "a": "x"}\n',
    3,
    'half a character',
  ),
  'latin-1 in jsonl': ('a.jsonl', GOOD + b'{"q": "caf\xe9", "a": "x"}\n', 3, 'is not UTF-8'),
  'latin-1 in json': (
    'a.json',
    b'[{"q": "1", "a": "x"}, {"q": "\xfc", "a": "x"}, {"q": "2", "a": "x"}]',
    2,
    'is not UTF-8',
  ),
  'latin-1 in csv': ('a.csv', b'q,a\n1,x\ncaf\xe9,x\n2,x\n', 2, 'is not UTF-8'),
  'deep': ('a.jsonl', GOOD + b'{"q": ' + b'[' * 100_000 + b'\n', 3, 'nested too deeply'),
  'NUL': ('a.jsonl', GOOD + b'{"q": "a\\u0000", "a": "x"}\n', 3, 'NUL'),
  'zeros of a lost block': ('a.jsonl', row('1') + b'\0' * 99 + b'\n' + row('2'), 2, 'is not JSON'),
  'zeros of the first block': ('a.jsonl', b'\0' * 99 + b'\n' + GOOD, 1, 'is not JSON'),
  'a key twice': ('a.jsonl', GOOD + b'{"q": "3", "q": "4", "a": "x"}\n', 3, "'q' twice"),
  'a number': ('a.jsonl', GOOD + b'{"q": 123456789012345678901234567890, "a": "x"}\n', 3, 'int'),
  'not a number': ('a.jsonl', GOOD + b'{"q": NaN, "a": "x"}\n', 3, 'float'),
  'a cut line': ('a.jsonl', GOOD + b'{"q": "3", "a', 3, 'is not JSON'),
  'a comma behind': ('a.jsonl', b'{"q": "0", "a": "x"},\n' + GOOD, 1, 'is not JSON'),
  'an open quote': ('a.csv', b'q,a\n1,x\n3,"x\n2,x\n', 2, 'quote'),
  'a quote amid': ('a.csv', b'q,a\n1,x\n"3"4,x\n2,x\n', 2, 'quote'),
  'quotes in two rows': ('a.csv', b'q,a\n3,"x\n1,x\n2,"x"\n', 1, 'quote'),
  'a cut list': ('a.json', b'[{"q": "1", "a": "x"}, {"q": "2", "a": "x"}, {"q"', 3, 'is lost'),
  'an open list': ('a.json', b'[{"q": "1", "a": "x"}, {"q": "2", "a": "x"}', 3, 'cut'),
  'nothing': (
    'a.parquet',
    parquet(pa.table(dict(q=['1', '2', None], a=pa.array(['x'] * 3).dictionary_encode()))),
    3,
    "column 'q' is missing",
  ),
  'bytes in a text': ('a.parquet', parquet(pa.table(dict(q=NO_TEXT, a=['x'] * 3))), 3, 'Unicode'),
}


@pytest.mark.parametrize('streaming', [False, True])
@pytest.mark.parametrize('kind', ONE_BAD)
def test_what_spoils_a_row_is_an_error_of_that_row_alone(kind, streaming):
  name, content, number, message = ONE_BAD[kind]
  with pytest.raises(ConfigError, match=message) as error:
    read(name, content, streaming=streaming)
  assert f'{name}, row {number}: ' in str(error.value) and '\n' not in str(error.value)
  assert read(name, content, 'skip', streaming) == ([('1', 'x'), ('2', 'x')], 1)


WHOLE = {
  'a mark': ('a.jsonl', b'\xef\xbb\xbf' + GOOD),
  'blank lines': ('a.jsonl', row('1') + b'\n  \r\n' + row('2') + b'\n\n'),
  'a mark in a csv': ('a.csv', b'\xef\xbb\xbfq,a\r\n1,x\r\n\r\n2,x\r\n'),
  'old line ends': ('a.csv', b'q,a\r1,x\r2,x\r'),
  'two marks': ('a.jsonl', b'\xef\xbb\xbf' * 2 + row('1') + b'\xef\xbb\xbf' + row('2')),
  'marks between objects': ('a.json', b'{\n"q": "1", "a": "x"}\n\xef\xbb\xbf' + row('2')),
  'semicolons': ('a.csv', b'\xef\xbb\xbfq;a\r\n1;x\r\n"2";"x"\r\n'),
  'tabs in a csv': ('a.csv', b'\n \nq\ta\n1\tx\n2\tx\n'),
  'semicolons behind commas': ('a.csv', b'q,a,n;m\n1,x,\n2,x,;\n'),
  'archives one after the other': (
    'a.jsonl.gz',
    gzip.compress(row('1')) + gzip.compress(row('2')) + bytes(99),
  ),
  'tabs': ('a.tsv', b'q\ta\n1\tx\n2\tx\n'),
  'no last line end': ('a.ndjson', GOOD[:-1]),
  'columns without a name': ('a.csv', b',q,a,\n0,1,x,\n1,2,x,\n'),
  'kinds that differ': ('a.jsonl', b'{"q":"1","a":"x","n":1}\n{"q":"2","a":"x","n":"?"}\n'),
  'numbers of many digits elsewhere': ('a.jsonl', b'{"q":"1","a":"x","n":1e999}\n' + row('2')),
  'objects one after the other': ('a.json', b'{\n"q": "1",\n"a": "x"\n}\n' + row('2')),
  'a list with a comma too much': ('a.json', b'[{"q": "1", "a": "x"}, {"q": "2", "a": "x"},]'),
  'lines in json': ('a.json', GOOD),
  'a list of the name data': ('a.json', b'{"data": [{"q": "1", "a": "x"}, {"q": "2", "a": "x"}]}'),
  'odd columns of parquet': (
    'a.parquet',
    parquet(
      pa.table(
        dict(
          q=pa.array(['1', '2']).dictionary_encode(),
          a=pa.array(['x', 'x'], pa.large_string()),
          t=pa.array([2**62, 1], pa.timestamp('ns')),
          s=[dict(k=[1]), None],
          b=[b'\xff', b''],
        )
      )
    ),
  ),
}


@pytest.mark.parametrize('streaming', [False, True])
@pytest.mark.parametrize('kind', WHOLE)
def test_what_people_have_is_read(kind, streaming):
  assert read(*WHOLE[kind], streaming=streaming) == ([('1', 'x'), ('2', 'x')], 0)


UNREADABLE = {
  'UTF-16': ('a.csv', 'q,a\n1,x\n'.encode('utf-16'), 'UTF-16'),
  'UTF-16 without a mark': ('a.jsonl', GOOD.decode().encode('utf-16-le'), 'UTF-16'),
  'UTF-32': ('a.json', '[{}]'.encode('utf-32'), 'UTF-16 or UTF-32'),
  'a header twice': ('a.csv', b'q,a,a\n1,x,y\n', "names 'a' twice"),
  'not packed': ('a.jsonl.gz', GOOD, 'cannot be unpacked'),
  'no parquet': ('a.parquet', parquet(pa.table(dict(q=['1'] * 99, a=['x'] * 99)))[:500], 'parquet'),
  'an empty parquet': ('a.parquet', b'', 'is empty'),
  'no JSON': ('a.json', b'<html></html>', 'a.json is not JSON'),
  'no rows': ('a.csv', b'q,a\n', 'no rows|no examples'),
  'packed by another name': ('a.jsonl', gzip.compress(GOOD), 'holds gzip'),
  'parquet by another name': ('a.csv', parquet(pa.table(dict(q=['1'], a=['x']))), 'holds parquet'),
  'packed twice': ('a.csv.gz', gzip.compress(gzip.compress(b'q,a')), 'holds gzip'),
  'zip': ('a.jsonl.zip', GOOD, 'of no known kind'),
}


@pytest.mark.parametrize('streaming', [False, True])
@pytest.mark.parametrize('kind', UNREADABLE)
def test_what_cannot_be_read_is_one_error_that_names_the_file(kind, streaming):
  name, content, message = UNREADABLE[kind]
  for bad in ('error', 'skip'):
    with pytest.raises(ConfigError, match=message) as error:
      read(name, content, bad, streaming)
    assert name in str(error.value) and '\n' not in str(error.value)


def test_empty_parts_stand_beside_full_ones():
  os.mkdir('parts')
  for name, content in {
    'a.jsonl': b'',
    'b.csv': b'',
    'c.csv': b'q,a\n',
    'd.parquet': parquet(pa.table(dict(q=pa.array([], pa.string())))),
    'e.jsonl.gz': gzip.compress(b''),
    'f.jsonl': GOOD,
  }.items():
    with open(f'parts/{name}', 'wb') as file:
      file.write(content)
  for streaming in (False, True):
    assert read('parts', streaming=streaming) == ([('1', 'x'), ('2', 'x')], 0)


def test_what_is_no_file_is_an_error_that_names_it():
  os.symlink('nowhere', 'a.jsonl')
  with pytest.raises(ConfigError, match=r'a\.jsonl cannot be read: No such file'):
    read('a.jsonl')
  os.makedirs('parts/b.jsonl')
  with pytest.raises(ConfigError, match=r'b\.jsonl cannot be read: Is a directory'):
    read('parts')


def test_what_can_be_read_but_once_is_refused_and_not_waited_for():
  os.mkfifo('a.jsonl')
  for streaming in (False, True):
    with pytest.raises(ConfigError, match=r'a\.jsonl is a pipe or a device'):
      read('a.jsonl', streaming=streaming)


def test_a_data_set_that_was_saved_is_refused_with_the_way_out():
  saved = datasets.Dataset.from_dict(dict(q=['1'], a=['x']))
  saved.save_to_disk('saved')
  datasets.DatasetDict(train=saved).save_to_disk('both')
  for name in ('saved', 'both'):
    with pytest.raises(ConfigError, match=f"'{name}' was written by save_to_disk .*to_parquet"):
      read(name)


def test_a_pattern_of_two_stars_reaches_into_all_folders_that_are_not_hidden():
  os.makedirs('a/b/c')
  os.makedirs('a/.ipynb_checkpoints')
  for i, folder in enumerate(('a', 'a/b/c', 'a/b', 'a/.ipynb_checkpoints')):
    with open(f'{folder}/x.jsonl', 'wb') as file:
      file.write(row(str(i)))
  for pattern in ('a/**/*.jsonl', 'a/**'):
    assert [q for q, _ in read(pattern)[0]] == ['1', '2', '0']


def test_a_line_may_be_longer_than_many_blocks(monkeypatch):
  monkeypatch.setattr(files, 'BLOCK', 16)
  rows = [dict(q='x' * 20_000, a=str(i)) for i in range(20)]
  for name, content in (('a.json', json.dumps(rows).encode()), ('a.jsonl', jsonl(rows))):
    found = list(files.lines(name)) if read(name, content)[0] else []
    assert b''.join(found) == content and len(found) == (1 if name == 'a.json' else 20)


@pytest.mark.parametrize('size', [0, -1, '3', 1.5])
def test_a_size_is_a_number_of_rows(size):
  with pytest.raises(ConfigError, match='must be at least 1'):
    read('a.jsonl', GOOD, size=size)


REACHES = [
  ('{l[0]} {m.k}', dict(l=['z'], m=dict(k='v')), 'z v'),
  ('{m[k]}', dict(m=dict(k='v')), 'v'),
  ('{m.k}', {'m.k': 'flat'}, 'flat'),
  ('{n:.1f}', dict(n=2), '2.0'),
  ('{n:{w}}', dict(n=2, w=3), '  2'),
  ('{0}', {'0': 'first'}, 'first'),
  ('{l[0]}', dict(l=[]), "no '0' in list of 0"),
  ('{l[-1]}', dict(l=[1]), "no '-1'"),
  ('{m.k}', dict(m=None), "'m' is missing"),
  ('{m.k.j}', dict(m=dict(k=None)), "no 'k'"),
  ('{q.__class__}', dict(q='x'), "no '__class__'"),
  ('{l.__class__.__init__.__globals__}', dict(l=[]), "no '__class__'"),
  ('{l}', dict(l=[1]), 'not list'),
  ('{n}', dict(n=float('nan')), 'finite'),
  ('{n:.2f}', dict(n='x'), 'does not fit'),
  ('{n:zz}', dict(n=3), 'does not fit'),
]


@pytest.mark.parametrize('template, columns, wanted', REACHES)
def test_templates_reach_into_rows_and_into_nothing_else(template, columns, wanted):
  content = jsonl([columns | dict(a='x')])
  if len(wanted) < 6:
    assert read('a.jsonl', content, prompt=template)[0] == [(wanted, 'x')]
    return
  with pytest.raises(ConfigError, match=wanted) as error:
    read('a.jsonl', content, prompt=template)
  assert 'a.jsonl, row 1: ' in str(error.value)


@pytest.mark.parametrize('template', ['{}', '{[0]}', '{q!z}', '{q:{}}', '{q', '{q[}', '{q..a}'])
def test_a_template_that_names_no_column_is_an_error_of_the_config(template):
  with pytest.raises(ConfigError, match='is no template'):
    read('a.jsonl', GOOD, prompt=template)


TURN = dict(role='user', content='hi')
PART = dict(type='text', text='yes')
PICTURE = dict(type='image_url', image_url='')
SPOKEN = [
  (dict(role='Assistant', content='yes'), None),
  ({'from': 'GPT', 'value': 'yes'}, None),
  ({'from': 'model', 'value': 'yes', 'weight': 1}, None),
  (dict(role='assistant', content=[PART, PART]), None),
  (dict(role='assistant', content='yes', tool_calls=None, reasoning_content=''), None),
  (dict(role='asistant', content='yes'), "role 'asistant' is unknown: use one of system"),
  (dict(role='assistant', content=None), 'must be a text, not NoneType'),
  (dict(role='assistant', content=' '), 'turn 2 is empty'),
  (dict(role='assistant', content='yes', weight=0), 'weight=0 is not supported'),
  (dict(role='assistant', content='yes', reasoning_content='hm'), 'reasoning_content is not'),
  (dict(role='assistant', content='', function_call=dict(name='f')), 'function_call are not'),
  (dict(role='assistant', content=[PART, PICTURE]), "'image_url': only texts"),
]


@pytest.mark.parametrize('said, message', SPOKEN)
def test_turns_are_read_as_people_write_them_and_nothing_of_them_is_lost(said, message):
  content = jsonl([dict(m=[TURN, said])])
  options = dict(prompt='prompt', response='', messages='m')
  if message is None:
    assert read('a.jsonl', content, **options)[0] in ([('hi', 'yes')], [('hi', 'yesyes')])
    return
  with pytest.raises(ConfigError, match=message) as error:
    read('a.jsonl', content, **options)
  assert "a.jsonl, row 1: column 'm', turn 2" in str(error.value)


@pytest.mark.parametrize(
  'number, text', [(1e-05, '0.00001'), (1e16, '10000000000000000'), (3, '3')]
)
def test_numbers_are_written_as_people_do(number, text):
  with open('a.jsonl', 'wb') as file:
    file.write(jsonl([dict(prompt='a', n=number)]))
  task = make_task("dataset(source='a.jsonl', test='a.jsonl', answer='n')", talking())
  assert task.example('train', 0).answer.removesuffix('.0') == text


def test_an_object_of_lists_is_a_list_of_turns_as_the_hub_keeps_them():
  content = jsonl([dict(m=dict(role=['user', 'assistant'], content=['hi', 'yes']))])
  assert read('a.jsonl', content, prompt='p', response='', messages='m')[0] == [('hi', 'yes')]
  content = jsonl([dict(m=dict(role=['user', 'assistant'], content=['hi']))])
  with pytest.raises(ConfigError, match='must be a list of turns, not dict'):
    read('a.jsonl', content, prompt='p', response='', messages='m')
