"""Rows of csv and tsv files. A quote that never closes, or closes amid a field, spoils its own line
only: reading goes on with the next one."""

import collections
import csv
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from rft_jax.data.files import BadRow, as_text, lines
from rft_jax.data.text import shorten
from rft_jax.registry import ConfigError

OTHERS = ';\t|'  # what stands between fields where a header has no comma, as Excel writes it
LONGEST = 2**26  # characters of a field: a quote that is never closed ends there


def csv_rows(path: str, delimiter: str, wanted: str = '') -> Iterator[dict | BadRow]:
  """Raises ConfigError for a header that cannot be used, and as files.lines does. A header without
  commas says what stands in their place."""
  parts = (as_text(part) for line in lines(path, wanted) for part in ended(line))
  first = next((part for part in parts if part.strip()), '')
  delimiter = next((mark for mark in delimiter + OTHERS if mark in first), delimiter)
  found = records(itertools.chain([first], parts), delimiter)
  header = next(found, None)
  if header is None:
    return
  if isinstance(header, BadRow):
    raise ConfigError(f'{path}: its header {header}')
  named = [name for name in header if name]
  if twice := next((name for name in named if named.count(name) > 1), None):
    raise ConfigError(f'{path}: its header names {twice!r} twice: rename one')
  for record in found:
    yield record if isinstance(record, BadRow) else row_of(header, record)


def ended(line: bytes) -> list[bytes]:
  """The lines of a line: some files end them by a carriage return alone."""
  return line.splitlines(keepends=True)


def row_of(header: list[str], record: list[str]) -> dict[str, str] | BadRow:
  if len(record) > len(header):
    return BadRow(f'has more fields than the header names: {shorten(record[len(header) :])}')
  if len(record) < len(header):
    return BadRow(f'column {header[len(record)]!r} is missing: the row ends before it')
  return dict(zip(header, record, strict=True))


class Reread:
  """An iterator that can go back to the line after the first that was taken since `mark`."""

  def __init__(self, source: Iterator[str]):
    self.source = source
    self.ahead: collections.deque[str] = collections.deque()
    self.taken: list[str] = []

  def __iter__(self) -> Iterator[str]:
    return self

  def __next__(self) -> str:
    self.taken.append(self.ahead.popleft() if self.ahead else next(self.source))
    return self.taken[-1]

  def mark(self) -> None:
    self.taken = []

  def back(self) -> str:
    """Returns that first line."""
    self.ahead.extendleft(reversed(self.taken[1:]))
    return self.taken[0]


def records(found: Iterable[str], delimiter: str) -> Iterator[list[str] | BadRow]:
  """The fields of each record; empty lines are none."""
  csv.field_size_limit(LONGEST)
  source = Reread(iter(found))
  reader: Any = None
  while True:
    source.mark()
    reader = reader or csv.reader(source, delimiter=delimiter, strict=True)
    try:
      if fields := next(reader):
        yield fields
    except StopIteration:
      return
    except csv.Error as error:
      reader = None
      yield BadRow(f'has a quote out of place or unclosed ({error}): {shorten(source.back())!r}')
