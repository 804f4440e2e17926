"""Which rows of a finite data set a stage can use: each is encoded before the first step as its
batch will encode it. What is known of the same bytes, tokenizer and limits is not worked out again.

Rows are encoded here; what would take long goes on in worker processes.
"""

import collections
import contextlib
import functools
import hashlib
import importlib.metadata
import itertools
import json
import os
import pathlib
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rft_jax.data import chat
from rft_jax.data.reading import Table, described
from rft_jax.infra.drawing import AHEAD, Drawers
from rft_jax.infra.launch import cache_folder
from rft_jax.infra.progress import Progress
from rft_jax.infra.workdir import write_json
from rft_jax.registry import ConfigError, UserError
from rft_jax.types import Example

Encode = Callable[[Example], object]
CHUNK = 500  # rows
PATIENCE = 4.0  # seconds without a word, and without help
WORTH = 10.0  # seconds that help must save
PROBE = (
  'Don\'t    stop: 1234.5 + x_1 == "ÄÖ é"\r\n\n\tfor i in range(10): 我们 🙂 www.example.org ...'
)
LIBRARIES = 'tokenizers', 'transformers', 'jinja2'


def fit(table: Table, encode: functools.partial, key: str, size: int | None = None) -> Table:
  """The table without the rows that `encode` refuses, which its reader counts; size: nobody needs
  more good ones. key: tells the rows from others, '' where nobody knows. Raises ConfigError for the
  first bad row unless they are left out."""
  file = known_file(f'{key} {hashed(table.kept.tobytes().hex())}', encode) if key else None
  known = stored(file) if file else None
  found = bad_rows(table, encode, size) if known is None else known
  bad = []
  for number, place, reason in found:
    table.reader.refuse(place, ConfigError(reason))
    bad.append((number, place, reason))
  if file and known is None:
    with contextlib.suppress(OSError):  # whoever cannot write it looks at the rows again
      file.parent.mkdir(parents=True, exist_ok=True)
      write_json(file, dict(bad=bad))
  out = np.array([number for number, *_ in bad], np.int64)
  return Table(table.sources, table.reader, np.delete(table.kept, out))


def stored(file: pathlib.Path) -> list[Any] | None:
  """None where there is nothing, or nothing that can be read."""
  try:
    bad = json.loads(file.read_text())['bad']
    return [(int(number), str(place), str(reason)) for number, place, reason in bad]
  except (OSError, ValueError, KeyError, TypeError):
    return None


def bad_rows(table: Table, encode: Encode, size: int | None) -> Iterator[tuple[int, str, str]]:
  """(number, place, reason) of each bad row before the good ones are `size`."""
  good, progress, began = 0, None, time.monotonic()
  for start, places, reasons in judged(table, encode):
    for number, (place, reason) in enumerate(zip(places, reasons, strict=True), start):
      if size is not None and good >= size:
        return
      good += not reason
      if reason:
        yield number, place, reason
    done = start + len(places)
    if progress:
      progress.update(done)
    elif time.monotonic() - began > PATIENCE:
      progress = Progress(len(table.kept), done, 'looking at rows', unit='row')
  if progress:
    progress.close()


def judged(table: Table, encode: Encode) -> Iterator[tuple[int, list[str], list[str]]]:
  """(number of the first, places, reasons) of rows in their order."""
  began, size = time.monotonic(), len(table.kept)
  for start in range(0, size, CHUNK):
    spent = time.monotonic() - began
    left = spent * (size - start) / max(start, 1)  # seconds, as far as one can tell
    if spent > PATIENCE and left > 2 * WORTH and cores() > 1 and (known := pickled(encode)):
      yield from helped(table, encode, known, start)
      return
    examples = rows(table, start)
    yield start, [e.place for e in examples], faults(encode, examples)


def helped(
  table: Table, encode: Encode, known: bytes, start: int
) -> Iterator[tuple[int, list[str], list[str]]]:
  """The same from a row on, in worker processes; a few parts wait, however many rows there are.
  known: the pickled `encode`. What a process that died should have done is done here."""
  starts = iter(range(start, len(table.kept), CHUNK))
  waiting: collections.deque[Any] = collections.deque()
  with tempfile.NamedTemporaryFile() as file, contextlib.closing(Drawers(cores())) as pool:
    file.write(known)
    file.flush()
    for number in itertools.chain(starts, [None] * 4 * cores()):
      if number is not None:
        examples = rows(table, number)
        call = f'{__name__}:faults_there', file.name, pickle.dumps(examples)
        waiting.append((number, examples, pool.start(call, AHEAD)))
      if waiting and (number is None or len(waiting) >= 4 * cores()):
        first, examples, future = waiting.popleft()
        try:
          reasons = future.result()
        except UserError:
          reasons = faults(encode, examples)
        yield first, [e.place for e in examples], reasons


def pickled(encode: Encode) -> bytes:
  """b'' for what no other process can have, as a tokenizer that a notebook made."""
  try:
    return pickle.dumps(encode)
  except Exception:  # each class raises what it likes
    return b''


def cores() -> int:
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def rows(table: Table, start: int) -> list[Example]:
  return [table.example(i) for i in range(start, min(start + CHUNK, len(table.kept)))]


def faults(encode: Encode, examples: list[Example]) -> list[str]:
  """Why each cannot be used, '' where it can."""
  return [fault(encode, example) for example in examples]


def fault(encode: Encode, example: Example) -> str:
  try:
    encode(example)
  except Exception as error:  # templates and tokenizers raise what they like
    return described(error)
  return ''


def faults_there(file: str, examples: bytes) -> list[str]:
  """In a worker process, which does not run the user's script: of pickles."""
  return faults(unpickled(file), pickle.loads(examples))


@functools.lru_cache(maxsize=1)
def unpickled(file: str) -> Encode:
  return pickle.loads(pathlib.Path(file).read_bytes())


def known_file(key: str, encode: functools.partial) -> pathlib.Path:
  settings = {k: v for k, v in encode.keywords.items() if k != 'tokenizer'}
  tokenizer = encode.keywords['tokenizer']
  how = fingerprint(tokenizer), rendered(tokenizer), code()
  whole = hashed(key, json.dumps(settings, sort_keys=True), *how)
  return cache_folder() / 'rows' / f'{whole}.json'


@functools.lru_cache(maxsize=8)
def fingerprint(tokenizer: Any) -> str:
  """What the tokenizer makes of texts and conversations; the same in other versions of libraries
  that make the same of them."""
  kept = 'split_special_tokens', 'chat_template', 'special_tokens_map'
  outer = {name: str(getattr(tokenizer, name, None)) for name in kept}
  try:
    probe = tokenizer.encode(PROBE)
  except Exception:  # one of few characters
    probe = []
  vocabulary = sorted(tokenizer.get_vocab().items())
  return hashed(json.dumps([vocabulary, outer, probe], sort_keys=True))


def rendered(tokenizer: Any) -> str:
  """A conversation as it is written today: some templates print a date."""
  if not getattr(tokenizer, 'chat_template', None):
    return ''
  try:
    return chat.render(tokenizer, [dict(role='user', content='hi')], ask=True)
  except ConfigError as error:
    return str(error)


@functools.cache
def code() -> str:
  """Of what encodes: this package's part and the libraries."""
  own = [path.read_text() for path in sorted(pathlib.Path(__file__).parent.glob('*.py'))]
  return hashed(*own, *map(importlib.metadata.version, LIBRARIES))


def hashed(*parts: str) -> str:
  found = hashlib.blake2b(digest_size=16)
  for part in parts:
    found.update(f'{len(part)} '.encode() + part.encode('utf-8', 'surrogatepass'))
  return found.hexdigest()
