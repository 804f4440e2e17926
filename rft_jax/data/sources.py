"""Rows of data sets: local files of jsonl, json, parquet and csv, and splits of a hub data set.

`datasets` reads all but csv and JSON arrays, which it cannot number row by row. JSON lines are read
as lines and parsed one at a time, so that a bad one is known by its number and stops nothing else.
"""

import csv
import glob
import gzip
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rft_jax.data.text import shorten
from rft_jax.registry import ConfigError, nearest

KINDS = ('jsonl', 'json', 'parquet', 'csv')
LONGEST = 2**31 - 1  # characters of a field of a csv file


class BadRow(ConfigError):
  """A row that cannot be used: the message says of which column, and why."""


class Source(NamedTuple):
  """rows: a sequence, or an iterable that starts anew each time, where streamed; parse(what it
  holds) -> dict by column. Raises BadRow."""

  name: str
  rows: Any
  parse: Callable[[Any], dict[str, Any]]


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
  if os.path.isdir(path):
    found = [p for p in glob.glob(os.path.join(glob.escape(path), '*')) if kind_of(p)]
  else:
    found = [path] if os.path.isfile(path) else glob.glob(path)
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
  suffix = path.removesuffix('.gz').rpartition('.')[2].lower()
  return suffix if suffix in KINDS else ''


def open_file(path: str, streaming: bool) -> Source:
  kind = kind_of(path)
  if kind == 'parquet':
    return Source(path, load('parquet', path, streaming), dict)
  if kind == 'csv':
    rows = Again(lambda: csv_rows(path))
    return Source(path, rows if streaming else list(rows), csv_row)
  if kind == 'json' and starts_with_bracket(path):
    return Source(path, json_array(path), json_object)
  return Source(path, load('text', path, streaming), lambda row: json_line(row['text']))


def load(kind: str, path: str, streaming: bool) -> Any:
  """A local file by `datasets`. Raises ConfigError for a file that is not of its kind."""
  import datasets  # takes a second

  read = dict(text=datasets.Dataset.from_text, parquet=datasets.Dataset.from_parquet)[kind]
  try:
    # As load_dataset, which would report the reading of a local file to the hub. A path is a
    # pattern there.
    return read(glob.escape(os.path.abspath(path)), split=datasets.Split.TRAIN, streaming=streaming)
  except Exception as error:  # whatever the reader of a broken file raises
    cause = error.__cause__ or error
    raise ConfigError(f'{path} cannot be read as {kind}: {shorten(cause, 200)}') from error


def open_hub(name: str, subset: str, split: str, streaming: bool) -> Source:
  """A split of a hub data set. Raises ConfigError where it cannot be had."""
  import datasets

  try:
    rows = datasets.load_dataset(name, subset or None, split=split, streaming=streaming)
  except Exception as error:  # network, names, permissions: each library has its own
    raise ConfigError(
      f'data set {name!r} (subset={subset!r}, split={split!r}) cannot be loaded: '
      f'{shorten(error, 200)}; a local file needs one of the endings {", ".join(KINDS)}'
    ) from error
  return Source(f'{name}[{split}]', rows, dict)


class Again:
  """An iterable that starts anew each time."""

  def __init__(self, start: Callable[[], Iterator[Any]]):
    self.start = start

  def __iter__(self) -> Iterator[Any]:
    return self.start()


def opened(path: str):
  """A file as text, unpacked where it ends in .gz."""
  opener: Any = gzip.open if path.endswith('.gz') else open
  return opener(path, 'rt', encoding='utf-8-sig', newline='')


def csv_rows(path: str) -> Iterator[dict]:
  csv.field_size_limit(LONGEST)
  with opened(path) as file:
    yield from csv.DictReader(file)


def csv_row(row: dict) -> dict[str, Any]:
  """Raises BadRow for one with more or fewer fields than the header."""
  if None in row:
    raise BadRow(f'has more fields than the header names: {shorten(row[None])}')
  missing = next((name for name, value in row.items() if value is None), None)
  if missing is not None:
    raise BadRow(f'column {missing!r} is missing: the row ends before it')
  return row


def starts_with_bracket(path: str) -> bool:
  with opened(path) as file:
    return file.read(4096).lstrip().startswith('[')


def json_array(path: str) -> list[Any]:
  with opened(path) as file:
    try:
      return json.load(file)
    except ValueError as error:
      raise ConfigError(f'{path} is not JSON: {error}') from error


def json_line(line: str) -> dict[str, Any]:
  """Raises BadRow for what is not an object of JSON."""
  try:
    return json_object(json.loads(line))
  except ValueError as error:
    if isinstance(error, BadRow):
      raise
    raise BadRow(f'is not JSON ({error}): {shorten(line)!r}') from error


def json_object(row: Any) -> dict[str, Any]:
  if not isinstance(row, dict):
    raise BadRow(f'is not an object with columns: {shorten(row)!r}')
  return row


def column(row: dict[str, Any], name: str) -> Any:
  """Raises BadRow where the row lacks the column."""
  if row.get(name) is None:
    there = [key for key, value in row.items() if value is not None]
    raise BadRow(f'column {name!r} is missing: {nearest(name, there)}')
  return row[name]
