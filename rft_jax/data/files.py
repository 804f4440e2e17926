"""Local files as lines, unpacked where their names end in .gz, and a fingerprint of their bytes.

What is read stays what it was when the file was opened: a file that changes meanwhile is an error,
and nothing is taken from a cache that the file's name or date might deceive.
"""

import functools
import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from rft_jax.registry import ConfigError, UserError

BLOCK = 2**20
WIDE = (b'\xff\xfe', b'\xfe\xff')  # the marks that UTF-16 and UTF-32 begin with
NO_TEXT = {b'\x1f\x8b': 'gzip', b'PK\3\4': 'zip', b'PAR1': 'parquet', b'\x28\xb5\x2f\xfd': 'zstd'}
ANEW = 'put back what it was, or start again in another --workdir'
Stamp = tuple[int, int, int]


class BadRow(ConfigError):
  """A row that cannot be used: the message says of which column, and why. Where rows are
  listed it stands for one."""


class Lost(BadRow):
  """Stands for all rows of a file from its place on."""


class Changed(UserError):
  """A file is no longer what it was when the run began to read it."""


class Again:
  """An iterable that starts anew each time; Lost, which ends it early, is its last item."""

  def __init__(self, start: Callable[[], Iterable[Any]]):
    self.start = start

  def __iter__(self) -> Iterator[Any]:
    try:
      yield from self.start()
    except Lost as error:
      yield error


class Lines(Sequence):
  """The lines of a file by number, without their ends; each is read when it is asked for. Of a file
  that is cut the last one is Lost."""

  def __init__(self, path: str):
    self.path, self.lost, self.digest = path, None, digest(path)
    self.file = self._unpacked() if packed(path) else opened(path, buffering=0)
    self.stamp = stamp(self.file)
    ends, at, last = [np.zeros(1, np.int64)], 0, b'\n'
    for block in blocks(self.file, path):
      ends.append(np.flatnonzero(np.frombuffer(block, np.uint8) == ord('\n')) + at + 1)
      at, last = at + len(block), block[-1:]
    if last != b'\n' and not self.lost:
      ends.append(np.array([at]))
    self.starts = np.concatenate(ends).astype(np.int64)

  def __len__(self) -> int:
    return len(self.starts) - 1 + bool(self.lost)

  def __getitem__(self, number: Any) -> Any:
    if self.lost and number == len(self) - 1:
      return self.lost
    if stamp(self.file) != self.stamp:
      self._look_again()
    start, end = int(self.starts[number]), int(self.starts[number + 1])
    return os.pread(self.file.fileno(), end - start, start).rstrip(b'\r\n')

  def _look_again(self) -> None:
    """Whoever touches a file has not changed it."""
    if hashed(self.file) != self.digest:
      raise Changed(f'{self.path} was changed while it is read: {ANEW}')
    self.stamp = stamp(self.file)

  def _unpacked(self):
    file: Any = tempfile.TemporaryFile()
    try:
      for block in unpacked(self.path):
        file.write(block)
    except Lost as error:
      self.lost = error
    file.flush()
    file.seek(0)
    return file


def packed(path: str) -> bool:
  return path.lower().endswith('.gz')


def opened(path: str, buffering: int = -1) -> Any:
  """A file of bytes. Raises ConfigError where it cannot be read, or only once."""
  if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
    raise ConfigError(f'{path} is a pipe or a device, which can be read but once: write a file')
  try:
    return open(path, 'rb', buffering)
  except OSError as error:
    raise ConfigError(f'{path} cannot be read: {error.strerror}') from error


def stamp(file) -> Stamp:
  """What tells that a file was written to."""
  found = os.fstat(file.fileno())
  return found.st_ino, found.st_size, found.st_mtime_ns


def unpacked(path: str, wanted: str = '') -> Iterator[bytes]:
  """The bytes of a file in blocks. Raises ConfigError where it cannot be read or is
  damaged, Lost where it was cut, Changed if it has another digest than `wanted`."""
  check_digest(path, wanted)
  with opened(path) as file:
    yield from blocks(gzip.GzipFile(fileobj=file) if packed(path) else file, path)


def blocks(file, path: str) -> Iterator[bytes]:
  """What is left of an open file."""
  read, first = getattr(file, 'read1', file.read), True
  while True:
    try:
      block = read(BLOCK)
    except EOFError as error:
      raise Lost('the file was cut here, what follows is lost') from error
    except (zlib.error, gzip.BadGzipFile) as error:  # what came before may be wrong too
      raise ConfigError(f'{path} cannot be unpacked, it is damaged: {error}') from error
    except OSError as error:
      raise ConfigError(f'{path} cannot be read: {error.strerror}') from error
    if not block:
      return
    if first:
      check_text(block[:4], path)
    yield block
    first = False


def check_text(head: bytes, path: str) -> None:
  """Raises ConfigError for texts in units of two or four bytes, and for what is no text."""
  if kind := next((NO_TEXT[mark] for mark in NO_TEXT if head.startswith(mark)), None):
    raise ConfigError(f'{path} holds {kind}, which its name does not say: rename or unpack it')
  narrow = len(head) < 4 or not any(head) or b'\0\0' not in (head[::2], head[1::2])
  if head[:2] in WIDE or not narrow:
    raise ConfigError(
      f'{path} is UTF-16 or UTF-32, it must be UTF-8: convert it (iconv -f UTF-16 -t UTF-8)'
    )


def lines(path: str, wanted: str = '') -> Iterator[bytes]:
  """The lines of a file in turn, with their ends; what follows the last end of a damaged file is
  no line. Raises as `unpacked` does."""
  begun: list[bytes] = []  # parts of a line: a whole file may be one
  for block in unpacked(path, wanted):
    first, *others = block.split(b'\n')
    begun.append(first)
    for following in others:
      yield b''.join(begun) + b'\n'
      begun = [following]
  if any(begun):
    yield b''.join(begun)


def as_text(data: bytes) -> str:
  """Never fails: bytes that are no UTF-8 become halves of characters, which `columns` refuses in
  the rows that use them."""
  return data.decode('utf-8', 'surrogateescape').lstrip('\ufeff')


def digest(path: str) -> str:
  """The size of a file and a hash of its bytes. Raises ConfigError where it cannot be read."""
  with opened(path) as file:
    return _digest(os.path.abspath(path), (*stamp(file), os.fstat(file.fileno()).st_ctime_ns))


@functools.lru_cache(maxsize=1024)
def _digest(path: str, seen: tuple[int, ...]) -> str:
  """Of a file that looks as it did when it was last hashed: `seen` tells."""
  with opened(path) as file:
    try:
      return hashed(file)
    except OSError as error:
      raise ConfigError(f'{path} cannot be read: {error.strerror}') from error


def hashed(file) -> str:
  file.seek(0)
  found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8))
  return f'{os.fstat(file.fileno()).st_size:,} bytes, {found.hexdigest()}'


def check_digest(path: str, wanted: str) -> None:
  """Raises Changed where a file is not what it was."""
  if wanted and digest(path) != wanted:
    raise Changed(f'{path} was changed since it was opened: {ANEW}')
