"""Rows of data sets: local files of jsonl, json, parquet, csv and tsv, and splits of the hub's.

Rows are known by number and parsed one at a time, so that a bad one stops nothing else. Of a local
file nothing is taken from a cache.
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from rft_jax.data.delimited import csv_rows
from rft_jax.data.files import Again, BadRow, Lines, digest, lines
from rft_jax.data.jsons import json_line, json_rows
from rft_jax.data.parquet import ParquetRows, Row, parquet_stream
from rft_jax.data.text import shorten
from rft_jax.registry import ConfigError, nearest

KINDS = ('jsonl', 'json', 'parquet', 'csv', 'tsv')
SAME = dict(ndjson='jsonl')
DELIMITERS = dict(csv=',', tsv='\t')
SAVED = 'state.json', 'dataset_dict.json'


class Source(NamedTuple):
  """rows: a sequence, or an iterable that starts anew each time, where streamed; parse(what it
  holds) -> a mapping, None where it is no row. Raises BadRow. digest: tells whether the rows
  are the same as at another time, '' where nobody knows."""

  name: str
  rows: Any
  parse: Callable[[Any], Mapping[str, Any] | None]
  digest: str = ''


def open_sources(source: str, subset: str, split: str, streaming: bool) -> list[Source]:
  """The files that `source` names (a file, a directory, a pattern), in the order of their names, or
  one split of a hub data set. Raises ConfigError where there is nothing to read."""
  if is_local(source):
    return [open_file(path, streaming) for path in files(source)]
  return [open_hub(source, subset, split, streaming)]


def is_local(source: str) -> bool:
  path = os.path.expanduser(source)
  named = path.startswith(('/', '.')) or bool(kind_of(path)) or glob.has_magic(path)
  return named or os.path.exists(path)


def files(source: str) -> list[str]:
  """The readable files of a path or pattern. Raises ConfigError where there are none."""
  path = os.path.expanduser(source)
  if saved := next((p for p in SAVED if os.path.exists(os.path.join(path, p))), None):
    raise ConfigError(
      f'source={source!r} was written by save_to_disk (it holds {saved}): write it as parquet '
      "instead, load_from_disk(...).to_parquet('x.parquet')"
    )
  if os.path.isdir(path):
    found = [p for p in glob.glob(os.path.join(glob.escape(path), '*')) if kind_of(p)]
  else:
    found = [path] if os.path.isfile(path) else glob.glob(path, recursive=True)
    found = [p for p in found if not os.path.isdir(p)]
  wrong = next((p for p in found if not kind_of(p)), None)
  if wrong or not found:
    raise ConfigError(
      f'source={source!r}: '
      + (f'{wrong} is of no known kind' if wrong else 'no file is there')
      + f'; known are {", ".join(KINDS)}, each also with .gz but for parquet'
    )
  return sorted(found)


def kind_of(path: str) -> str:
  """'jsonl' for x.jsonl and x.jsonl.gz, '' for what is not known."""
  suffix = path.lower().removesuffix('.gz').rpartition('.')[2]
  suffix = SAME.get(suffix, suffix)
  return suffix if suffix in KINDS else ''


def open_file(path: str, streaming: bool) -> Source:
  """Raises ConfigError for a file that cannot be read, or is not of its kind."""
  kind = kind_of(path)
  seen = digest(path)
  if kind == 'parquet':
    rows = Again(lambda: parquet_stream(path, seen)) if streaming else ParquetRows(path)
    return Source(path, rows, Row, seen)
  if delimiter := DELIMITERS.get(kind):
    rows = Again(lambda: csv_rows(path, delimiter, seen))
    return Source(path, rows if streaming else list(rows), dict, seen)
  return Source(path, lines_of(path, kind, streaming, seen), json_line, seen)


def lines_of(path: str, kind: str, streaming: bool, seen: str) -> Any:
  """The rows of a file of JSON, of lines or as people write it by hand."""
  rows = json_rows(path) if kind == 'json' else None
  if rows is not None and not isinstance(rows, Lines):
    return rows
  if streaming:
    return Again(lambda: lines(path, seen))
  rows = rows or Lines(path)
  hollow = len(rows) and all(map(blank, rows))
  return [BadRow('is not JSON: the file has blank lines only')] if hollow else rows


def blank(line: Any) -> bool:
  return not isinstance(line, BadRow) and not line.strip()


def open_hub(name: str, subset: str, split: str, streaming: bool) -> Source:
  """A split of a hub data set. Raises ConfigError where it cannot be had."""
  import datasets  # takes a second

  if not name:
    raise ConfigError("source='' names nothing: give a file, a directory, a pattern or a hub id")
  try:
    rows = datasets.load_dataset(name, subset or None, split=split, streaming=streaming)
  except Exception as error:  # network, names, permissions: each library has its own
    raise ConfigError(
      f'data set {name!r} (subset={subset!r}, split={split!r}) cannot be loaded: '
      f'{shorten(error, 200)}; a local file needs one of the endings {", ".join(KINDS)}'
    ) from error
  what, known = f'{name}[{split}]', str(getattr(rows, '_fingerprint', ''))
  rows = rows.with_format('arrow')  # columns that nobody uses, such as pictures, stay as they are
  return Source(what, Again(lambda: received(rows, what)) if streaming else rows, Row, known)


def received(rows: Iterable[Any], what: str) -> Iterator[Any]:
  """Raises ConfigError where the hub sends no more: what follows is not lost, but not here."""
  number = 0
  try:
    for row in rows:
      yield row
      number += 1
  except Exception as error:  # network and formats: each library has its own
    raise ConfigError(
      f'{what} cannot be read on after row {number} ({type(error).__name__}: {shorten(error)}): '
      'the same command goes on from the last checkpoint, or use streaming=False'
    ) from error


def column(row: Mapping[str, Any], name: str) -> Any:
  """Raises BadRow where the row lacks the column."""
  if row.get(name) is None:
    others = [key for key in row if key != name]
    raise BadRow(f'column {name!r} is missing: {nearest(name, others)}')
  return row[name]
