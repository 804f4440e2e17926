"""Rows of JSON: lines, an array, objects one after the other. Each is parsed when it is used, so a
bad one is known by its number."""

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from rft_jax.data.files import Again, BadRow, Lines, Lost, as_text, lines, unpacked
from rft_jax.data.text import shorten
from rft_jax.registry import ConfigError

GAP = re.compile(r'[\s,\ufeff]*')
PEEK = 2  # lines, the first of which may be bad
ROOT = 'data'  # the name of the list in {"data": [...]}


def json_rows(path: str) -> Sequence[Any]:
  """Of a file of any of these forms, or an object whose list "data" holds them."""
  there = (line for line in Again(lambda: lines(path)) if isinstance(line, bytes) and line.strip())
  first = list(itertools.islice(there, PEEK))
  listed = bool(first) and as_text(first[0]).lstrip()[:1] == '['
  whole = [] if listed else [v for v in map(attempted, first) if isinstance(v, dict)]
  if whole and not rooted(whole[0]):
    return Lines(path)
  text, lost = read(path)
  found = spans(text)
  rows: list[Any] = []
  try:
    rows += (text[start:end] for start, end in found)
  except BadRow as error:
    if not rows:
      raise ConfigError(f'{path} is not JSON: {error}') from error
    lost = lost or error
  if len(rows) == 1 and not listed and (values := rooted(attempted(rows[0]))) is not None:
    rows = [json.dumps(value) for value in values]
  return rows + ([lost] if lost else [])


def read(path: str) -> tuple[str, BadRow | None]:
  parts, lost = [], None
  try:
    parts.extend(unpacked(path))
  except BadRow as error:
    lost = error
  return as_text(b''.join(parts)), lost


def attempted(text: str | bytes) -> Any:
  try:
    return json.loads(as_text(text) if isinstance(text, bytes) else text)
  except (ValueError, RecursionError):
    return None


def rooted(value: Any) -> list[Any] | None:
  """The rows of {"data": [{...}, ...]}."""
  rows = value.get(ROOT) if isinstance(value, dict) else None
  listed = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
  return rows if listed and rows else None


def spans(text: str) -> Iterator[tuple[int, int]]:
  """Where each value begins and ends. Raises BadRow where it is not JSON from some place on."""
  decoder, at = json.JSONDecoder(), after(text, 0)
  listed = text[at : at + 1] == '['
  at = after(text, at + listed)
  while at < len(text):
    if listed and text[at] == ']':
      at = after(text, at + 1)
      break
    try:
      end = decoder.raw_decode(text, at)[1]
    except (ValueError, RecursionError) as error:
      raise Lost(f'{reason(error)}: {shorten(text[at : at + 80])!r}; the rest is lost') from error
    yield at, end
    at = after(text, end)
  else:
    if listed:
      raise Lost('the file ends before its list does: it was cut')
  if at < len(text):
    raise Lost(f'more follows the end of the list: {shorten(text[at : at + 80])!r}')


def after(text: str, at: int) -> int:
  """The place of what follows spaces and commas."""
  found = GAP.match(text, at)
  return found.end() if found else at


def json_line(line: str | bytes) -> dict[str, Any] | None:
  """None for a blank line. Raises BadRow for what is not an object of JSON."""
  text = as_text(line) if isinstance(line, bytes) else line
  if not text.strip():
    return None
  try:
    return json_object(DECODER.decode(text))
  except (ValueError, RecursionError) as error:
    if isinstance(error, BadRow):
      raise
    raise BadRow(f'is not JSON ({reason(error)}): {shorten(text)!r}') from error


def reason(error: Exception) -> str:
  return 'nested too deeply' if isinstance(error, RecursionError) else str(error)


def json_object(row: Any) -> dict[str, Any]:
  if not isinstance(row, dict):
    raise BadRow(f'is not an object with columns: {shorten(row)!r}')
  return row


def single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """An object. Raises BadRow where it names a key twice: nobody can say which is meant."""
  found = dict(pairs)
  if len(found) < len(pairs):
    names = [name for name, _ in pairs]
    raise BadRow(f'names {next(n for n in names if names.count(n) > 1)!r} twice in one object')
  return found


DECODER = json.JSONDecoder(object_pairs_hook=single)
