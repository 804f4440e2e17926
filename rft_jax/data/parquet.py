"""Rows of a parquet file by number, unpacked into a temporary file that is mapped into memory."""

import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rft_jax.data.files import Lost, check_digest, opened
from rft_jax.data.text import shorten
from rft_jax.registry import ConfigError

ROWS = 1024


class Row(Mapping):
  """A table of one row by column. Only what is asked for is made an object of Python, which may not
  be able to hold it."""

  def __init__(self, table: Any):
    self.table = table

  def __getitem__(self, name: str) -> Any:
    column = self.table.column(name)
    return exact(column[0].as_py(), column.type)

  def __iter__(self) -> Iterator[str]:
    return iter(self.table.schema.names)

  def __len__(self) -> int:
    return len(self.table.schema.names)


def exact(value: Any, kind: Any) -> Any:
  """The value with its floats of less than 64 bits as people wrote them: 0.1, not 0.10000000149."""
  import pyarrow as pa

  if value is None:
    return None
  if pa.types.is_float32(kind) or pa.types.is_float16(kind):
    return float(str(kind.to_pandas_dtype()(value)))
  if pa.types.is_struct(kind):
    return {field.name: exact(value[field.name], field.type) for field in kind}
  if isinstance(value, list) and not pa.types.is_map(kind):
    return [exact(item, kind.value_type) for item in value]
  return value


class ParquetRows:
  """Tables of one row each. Of a file whose later part cannot be read the last one is a Lost."""

  def __init__(self, path: str):
    import pyarrow as pa

    self.lost, self.batches, counts = None, [], [0]
    found = batches(path)
    schema = next(found)
    with tempfile.NamedTemporaryFile() as file:
      with pa.OSFile(file.name, 'wb') as sink, pa.ipc.new_file(sink, schema) as writer:
        try:
          for batch in found:
            counts.append(len(batch))
            writer.write_batch(batch)
        except Lost as error:
          self.lost = error
      mapped = pa.ipc.open_file(pa.memory_map(file.name))
    self.batches = [mapped.get_batch(i) for i in range(mapped.num_record_batches)]
    self.starts = np.cumsum(counts)

  def __len__(self) -> int:
    return int(self.starts[-1]) + bool(self.lost)

  def __getitem__(self, number: int) -> Any:
    if number >= self.starts[-1]:
      return self.lost
    at = int(np.searchsorted(self.starts, number, 'right')) - 1
    return self.batches[at].slice(number - int(self.starts[at]), 1)


def parquet_stream(path: str, wanted: str) -> Iterator[Any]:
  found = batches(path, wanted)
  next(found)
  for batch in found:
    for number in range(len(batch)):
      yield batch.slice(number, 1)


def batches(path: str, wanted: str = '') -> Iterator[Any]:
  """The schema, then some rows at a time. Raises ConfigError for what is no parquet, Lost where a
  later part is damaged."""
  import pyarrow.parquet as pq

  check_digest(path, wanted)
  with opened(path) as file:
    if os.fstat(file.fileno()).st_size == 0:
      raise ConfigError(f'{path} cannot be read as parquet: it is empty')
    try:
      table = pq.ParquetFile(file, page_checksum_verification=True)
      schema = plain(table.schema_arrow)
    except Exception as error:  # whatever the reader of a broken file raises
      raise ConfigError(f'{path} cannot be read as parquet: {shorten(error, 200)}') from error
    if twice := next((n for n in schema.names if schema.names.count(n) > 1), None):
      raise ConfigError(f'{path} has two columns {twice!r}: rename one')
    yield schema
    groups = range(table.num_row_groups)  # in turn: none has two dictionaries of a column
    found = itertools.chain.from_iterable(table.iter_batches(ROWS, [i]) for i in groups)
    while True:
      try:
        batch = next(found).cast(schema)
      except StopIteration:
        return
      except Exception as error:
        raise Lost(
          f'the file is damaged and ends here, what follows is lost ({shorten(error, 100)})'
        ) from error
      yield batch


def plain(schema: Any) -> Any:
  """The schema without dictionaries, which differ from batch to batch."""
  import pyarrow as pa

  return pa.schema([pa.field(field.name, plain_kind(field.type)) for field in schema])


def plain_kind(kind: Any) -> Any:
  import pyarrow as pa

  if pa.types.is_dictionary(kind):
    return plain_kind(kind.value_type)
  if pa.types.is_struct(kind):
    return pa.struct([field.with_type(plain_kind(field.type)) for field in kind])
  if pa.types.is_list(kind):
    return pa.list_(kind.value_field.with_type(plain_kind(kind.value_type)))
  if pa.types.is_large_list(kind):
    return pa.large_list(kind.value_field.with_type(plain_kind(kind.value_type)))
  return kind
