"""Files of rows as bytes, and what a data set reads of them."""

import csv
import io
import json

import pyarrow.parquet as pq
from talking import talking

from rft_jax.tasks import make_task

MANY = [dict(q=f'question {i * i}', a=f'answer, "{i}"') for i in range(1500)]


def jsonl(rows) -> bytes:
  return b''.join(json.dumps(row).encode() + b'\n' for row in rows)


def delimited(rows, delimiter=',') -> bytes:
  file = io.StringIO()
  table = csv.DictWriter(file, ['q', 'a'], delimiter=delimiter)
  table.writeheader()
  table.writerows(rows)
  return file.getvalue().encode()


def parquet(table, **options) -> bytes:
  file = io.BytesIO()
  pq.write_table(table, file, **options)
  return file.getvalue()


def read(name, content=None, bad='error', streaming=False, **options):
  """The prompts and responses of a file, those of a stream once, and how many rows were bad."""
  if content is not None:
    with open(name, 'wb') as file:
      file.write(content)
  options = dict(prompt='q', response='a', bad=bad, streaming=streaming, buffer=10_000) | options
  written = ', '.join(f'{k}={v!r}' for k, v in dict(source=name, test=name, **options).items())
  task = make_task(f'dataset({written})', talking())
  task.example('test', 0)
  examples = [task.example('test', i) for i in range(task.size('test') or 0)]
  if streaming:
    examples = once(task)
  assert task.skipped
  return [(e.prompt, e.response) for e in examples], task.skipped()


def once(task):
  found = [task.example('test', 0)]
  while (e := task.example('test', len(found))).place != found[0].place:
    found.append(e)
  task.example('train', 0)
  return found


def row(*texts) -> bytes:
  return jsonl([dict(q=text, a='x') for text in texts])


GOOD = row('1', '2')
