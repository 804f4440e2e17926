"""Examples of a data set by number: of a table in any order, of a stream by reading ahead."""

import bisect
import collections
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rft_jax.data.files import BadRow, Lost
from rft_jax.data.sources import Source
from rft_jax.data.splits import SPLITS
from rft_jax.data.text import shorten
from rft_jax.registry import ConfigError, UserError
from rft_jax.types import Example

ITERATORS = 3  # places in a stream that are kept open: a stage may read at several
BLOCKS = 2


class Reader:
  """Rows to examples. A bad one is an error with file, row and column; with `skip` it is left out,
  and `skipped` has the reason by its place; the first is told on stderr."""

  def __init__(self, convert: Callable[[Mapping], Example], skip: bool):
    self.convert, self.skip = convert, skip
    self.skipped: dict[str, str] = {}

  def __call__(self, source: Source, number: int, fetch: Callable[[], Any]) -> Example | None:
    """The example of a row; None for one that is bad or blank. fetch() is what `source` holds
    there, perhaps a BadRow."""
    place = f'{source.name}, row {number + 1}'
    try:
      raw = fetch()
      if isinstance(raw, BadRow):
        raise raw
      row = source.parse(raw)
      return None if row is None else self.convert(row)._replace(place=place)
    except Exception as error:  # libraries raise what they like for what a row holds
      self.refuse(place, error)
      return None

  def refuse(self, place: str, error: Exception) -> None:
    """Counts a row as bad. Raises ConfigError unless bad rows are left out, and what is not the
    row's fault as it is."""
    if isinstance(error, MemoryError | UserError) and not isinstance(error, ConfigError):
      raise error
    reason = described(error)
    if not self.skip:
      raise ConfigError(f"{place}: {reason} (mend it, or leave it out by bad='skip')") from error
    if isinstance(error, Lost) and place not in self.skipped:
      print(f'{place}: {reason}', file=sys.stderr)
    elif not self.skipped:
      print(f'leaving out bad rows, such as {place}: {reason}', file=sys.stderr)
    self.skipped[place] = reason

  def fitting(self, encode: Callable[[Example], object]) -> 'Reader':
    """A reader to which rows that `encode` refuses are bad too; both count together."""

    def convert(row: Mapping) -> Example:
      example = self.convert(row)
      encode(example)
      return example

    fitted = Reader(convert, self.skip)
    fitted.skipped = self.skipped
    return fitted

  def all(self, sources: Iterable[Source]) -> Iterator[Example | None]:
    """Every row in order, None for a bad one."""
    for source in sources:
      for number, fetch in enumerate(fetches(source.rows)):
        yield self(source, number, fetch)


def described(error: Exception) -> str:
  known = isinstance(error, ConfigError)
  return str(error) if known else f'cannot be used ({type(error).__name__}: {shorten(error)})'


def fetches(rows: Any) -> Iterator[Callable[[], Any]]:
  """A function per row: one that cannot be had stops no other where they are numbered."""
  if hasattr(rows, '__len__') and hasattr(rows, '__getitem__'):
    for number in range(len(rows)):
      yield lambda number=number: rows[number]
  else:
    for raw in rows:
      yield lambda raw=raw: raw


class Table:
  """Those examples of sources that can be read anywhere whose positions are `kept` i64[N]."""

  def __init__(self, sources: list[Source], reader: Reader, kept: np.ndarray):
    self.sources, self.reader, self.kept = sources, reader, kept
    self.starts = [0, *itertools.accumulate(len(source.rows) for source in sources)]

  def example(self, number: int) -> Example:
    position = int(self.kept[number])
    at = bisect.bisect_right(self.starts, position) - 1
    source, row = self.sources[at], position - self.starts[at]
    example = self.reader(source, row, lambda: source.rows[row])
    assert example is not None, 'a row that was good has changed'
    return example


def tables(
  sources: list[Source], reader: Reader, split: Callable[[Example], str]
) -> dict[str, Table]:
  """Looks at every row once; split(example) says which of SPLITS it belongs to."""
  kept: dict[str, list[int]] = {name: [] for name in SPLITS}
  for position, example in enumerate(reader.all(sources)):
    if example is not None:
      kept[split(example)].append(position)
  return {name: Table(sources, reader, np.array(kept[name], np.int64)) for name in SPLITS}


class Walk:
  """The examples of a stream, over and over, shuffled within blocks of `buffer`.

  example(number) is a function of the number: block number // buffer is read from wherever an
  iterator stands before it, else from the start, so that reading on is cheap and going back or
  starting late costs reading all rows before. start() -> the examples from the first on; seed None:
  in order. what: is named where there are none.
  """

  def __init__(
    self,
    start: Callable[[], Iterator[Example]],
    buffer: int,
    seed: int | None,
    what: str = 'the data set',
  ):
    self.start, self.buffer, self.seed, self.what = start, buffer, seed, what
    self.size: int | None = None
    self.order: tuple[tuple[int, int], np.ndarray] | None = None
    self.open: dict[int, Iterator[Example]] = {}
    self.blocks: collections.OrderedDict[int, list[Example]] = collections.OrderedDict()

  def example(self, number: int) -> Example:
    """Raises ConfigError for a stream without examples."""
    epoch, position = divmod(number, self.size) if self.size else (0, number)
    index, place = divmod(position, self.buffer)
    block = self._block(index)
    if place >= len(block):
      if not self.size:
        raise ConfigError(f'{self.what} holds no examples of this split')
      return self.example(number)  # the end was met, and with it the number of examples
    return block[place if self.seed is None else self._shuffled((epoch, index), len(block))[place]]

  def _shuffled(self, key: tuple[int, int], size: int) -> np.ndarray:
    if self.order is None or self.order[0] != key:
      self.order = key, np.random.default_rng((self.seed or 0, *key)).permutation(size)
    return self.order[1]

  def _block(self, index: int) -> list[Example]:
    if index not in self.blocks:
      self.blocks[index] = self._read(index)
      while len(self.blocks) > BLOCKS:
        self.blocks.popitem(last=False)
    return self.blocks[index]

  def _read(self, index: int) -> list[Example]:
    before = [i for i in self.open if i <= index]
    at = max(before, default=0)
    rows = self.open.pop(at) if before else self.start()
    passed = sum(1 for _ in itertools.islice(rows, (index - at) * self.buffer))
    block = list(itertools.islice(rows, self.buffer))
    if len(block) < self.buffer:
      self.size = at * self.buffer + passed + len(block)
    else:
      self.open[index + 1] = rows
      while len(self.open) > ITERATORS:
        del self.open[min(self.open)]
    return block
