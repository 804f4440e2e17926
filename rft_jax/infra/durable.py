"""Files and folders that are there as a whole or not at all, whatever stops the process or the
machine: each is made under another name, and gets its own once it is on disk."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from rft_jax.infra.faults import reach

SCRATCH = '.tmp'


@contextlib.contextmanager
def making(path: str | os.PathLike) -> Iterator[Path]:
  """A name under which the block makes a file or a folder, which then is `path`.

  A file that was there is replaced; a folder must not be there. What an earlier attempt left is
  removed, and so is what this one leaves where it fails. Raises OSError.
  """
  final = Path(path)
  scratch = final.with_name(final.name + SCRATCH)
  remove(scratch)
  try:
    yield scratch
    sync(scratch)
    reached('tmp', final)
    os.replace(scratch, final)
  except BaseException:
    with contextlib.suppress(OSError):
      remove(scratch)
    raise
  reached('rename', final)
  sync_names(final.parent)


def write(path: str | os.PathLike, data: bytes | str, mode: int = 0o666) -> None:
  """The file at `path` has the old content or the new one, whenever it is read; mode: of a new
  file, less the umask. Raises OSError."""
  with making(path) as scratch:
    os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    reached('open', Path(path))
    write_file(scratch, data.encode() if isinstance(data, str) else data)


def write_file(path: Path, data: bytes) -> None:
  """A file that nobody reads yet, on disk."""
  with open(path, 'wb') as file:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def sync(path: Path) -> None:
  """A file, or all that is in a folder, survives a crash of the machine."""
  if path.is_dir():
    for inner in path.iterdir():
      sync(inner)
  sync_names(path)


def sync_names(path: Path) -> None:
  """Of a folder, only what it lists."""
  handle = os.open(path, os.O_RDONLY)
  try:
    os.fsync(handle)
  finally:
    os.close(handle)


def remove(path: Path) -> None:
  """A file or a folder, if it is there."""
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def reached(point: str, final: Path) -> None:
  """`RFT_FAULT=tmp` dies at the first file of all, `tmp:anchors` at that of anchors.json."""
  kind = re.match('[a-z]*', final.name)
  reach(point, f'{point}:{kind and kind[0]}')
