"""Data sets: files of jsonl, json, parquet and csv, and those of the hub; docs/data.md shows each
form with a line of config and a row."""

import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from rft_jax.data import chat as chat_text
from rft_jax.data.columns import Columns
from rft_jax.data.fitting import fit
from rft_jax.data.matching import NAMES, imported, judge
from rft_jax.data.reading import Reader, Table, Walk, tables
from rft_jax.data.sources import BadRow, Source, is_local, open_sources
from rft_jax.data.splits import SPLITS, split_of
from rft_jax.data.text import encode_example, encode_prompt
from rft_jax.registry import ConfigError
from rft_jax.types import Example, Task


def make(
  tokenizer,
  *,
  source: str = 'train.jsonl',
  subset: str = '',
  split: str = 'train',
  test: str = '',
  prompt: str = 'prompt',
  response: str = '',
  rejected: str = '',
  messages: str = '',
  text: str = '',
  answer: str = '',
  system: str = '',
  chat: bool = False,
  reward: str = '',
  max_prompt: int = 0,
  max_new: int = 0,
  bad: str = 'error',
  size: int | None = None,
  streaming: bool = False,
  buffer: int = 1000,
  seed: int = 0,
) -> Task:
  """The task of a data set.

  source: a file, a directory or a pattern of files, or a hub id with its `subset` and `split`.
  test: the file, or the split of the same hub id, that evaluations read; without it one prompt in
  eight is held out, always the same ones.

  Columns, each a name or a template such as '{context}\\n{question}'; '' for none: prompt (a text
  or a list of turns) with response, and with rejected for pairs; messages, a conversation of which
  every turn of the assistant is learned; text, plain; answer, what the reward compares with. chat:
  a prompt that is a text goes through the tokenizer's chat template. system: a system prompt for
  conversations without one.

  reward: gsm8k (the final number), math (an expression), exact (the text), choice (a letter), or a
  function of (completion, example) -> float by its name, 'package.module.function'. bad: 'error',
  or 'skip' to leave bad rows out and count them (metric data/skipped). max_prompt, max_new: a row
  with more tokens of prompt or response is bad; 0 = no limit but the stage's, which is an error.
  size: only the first so many training rows.

  streaming: rows are read as they are needed, and shuffled by `seed` within blocks of `buffer`;
  resuming reads the rows before the position once more. Otherwise each row is looked at when the
  task is made. Raises ConfigError for whatever does not fit, with file, row and column.
  """
  columns = Columns(prompt, response, rejected, messages, text, answer, system, chat)
  columns.check()
  if columns.conversational:
    chat_text.check_template(tokenizer)
  if bad not in ('error', 'skip'):
    raise ConfigError(f"bad={bad!r} must be 'error' or 'skip'")
  if size is not None and not (isinstance(size, int) and size > 0):
    raise ConfigError(f'size={size!r} must be at least 1, or None for all rows')
  if streaming and (size is not None or buffer < 1):
    raise ConfigError(
      f'streaming=True has no end and needs a buffer: size={size} must be None and buffer={buffer} '
      'at least 1'
    )
  verdict = rewards(reward, columns)
  known = verdict.pop('known', None)

  def convert(row):
    return checked(tokenizer, columns, columns.example(row), known, max_prompt, max_new)

  sources = open_sources(source, subset, split, streaming)
  others = open_test(source, subset, test, streaming) if test else sources
  whole = Whole(source, bool(test), verdict, digests(sources, others))
  if streaming:
    readers = {name: Reader(convert, bad == 'skip') for name in SPLITS}
    return endless(whole, readers, dict(train=sources, test=others), buffer, seed)
  reader = Reader(convert, bad == 'skip')
  found = tables(sources, reader, (lambda e: 'train') if test else side)
  if test:
    found['test'] = tables(others, reader, lambda e: 'test')['test']
  told_apart = all(whole.digests.values())
  settings = columns, max_prompt, max_new, reward, whole.test, whole.digests
  key = repr(settings) if told_apart else ''
  return finite(whole, found, size, key)


class Whole(NamedTuple):
  """What stays the same of a data set when rows are left out; test: whether files or a split say
  what is held out; verdict: the task's verifier."""

  source: str
  test: bool
  verdict: dict[str, Any]
  digests: dict[str, str]


def finite(whole: Whole, found: dict[str, Table], size: int | None, key: str) -> Task:
  """The task of rows that can be read anywhere. key: tells them from others, '' for nothing."""
  reader = found['train'].reader
  check_found(whole.source, found, reader)
  lengths = {name: len(table.kept) for name, table in found.items()}
  lengths['train'] = min(lengths['train'], size or lengths['train'])

  def fitting(encoders):
    limits = dict(train=size, test=None)
    of = lambda name: key and f'{name} {limits[name]} {key}'
    fitted = {
      name: fit(table, encoders[name], of(name), limits[name]) for name, table in found.items()
    }
    return finite(whole, fitted, size, '')

  return Task(
    lambda name, index: found[name].example(index),
    lengths.__getitem__,
    skipped=lambda: len(reader.skipped),
    fitting=fitting,
    fingerprint=whole.digests,
    **whole.verdict,
  )


def endless(
  whole: Whole, readers: dict[str, Reader], sources: dict[str, list[Source]], buffer: int, seed: int
) -> Task:
  """The task of rows that are read one after the other."""

  def walk(name: str) -> Walk:
    start = lambda: stream(readers[name], sources[name], None if whole.test else name)
    return Walk(start, buffer, seed if name == 'train' else None, f'source={whole.source!r}')

  def fitting(encoders):
    fitted = {name: reader.fitting(encoders[name]) for name, reader in readers.items()}
    return endless(whole, fitted, sources, buffer, seed)

  found = {name: walk(name) for name in SPLITS}
  return Task(
    lambda name, index: found[name].example(index),
    lambda name: None,
    skipped=lambda: len(readers['train'].skipped),
    fitting=fitting,
    fingerprint=whole.digests,
    **whole.verdict,
  )


def digests(*groups: list[Source]) -> dict[str, str]:
  """By name, which is the same in every user's folder."""
  home = os.path.join(os.path.expanduser('~'), '')
  name = lambda text: text.replace(home, '~/', 1) if text.startswith(home) else text
  return {name(source.name): source.digest for sources in groups for source in sources}


def stream(reader: Reader, sources: list[Source], split: str | None) -> Iterator[Example]:
  """The good rows in order, of one side if asked for."""
  for example in reader.all(sources):
    if example is not None and (split is None or side(example) == split):
      yield example


def side(example: Example) -> str:
  """Which split an example belongs to, where no file says so: its prompt decides."""
  return split_of(example.prompt or example.response)


def checked(
  tokenizer, columns: Columns, example: Example, known, max_prompt: int, max_new: int
) -> Example:
  """The example. Raises BadRow for an answer that the reward cannot read, and beyond the limits."""
  answer = example.answer or example.response
  if known and known(answer, example.prompt) is None:
    raise BadRow(
      f'column {columns.answer or columns.response!r}: nothing to compare in {answer[:80]!r}'
    )
  try:
    if max_prompt and not columns.text:
      limited(
        len(encode_prompt(tokenizer, example.messages or example.prompt)), 'prompt', max_prompt
      )
    for response in filter(None, (example.response, example.rejected)):
      if max_new and not columns.text:
        one = example._replace(response=response)
        limited(len(encode_example(tokenizer, one, sys.maxsize)[1]), 'new', max_new)
  except ConfigError as error:
    raise BadRow(f'column {columns.main!r}: {error}') from error
  return example._replace(answer=answer) if known else example


def limited(tokens: int, name: str, limit: int) -> None:
  if tokens > limit:
    raise BadRow(f'{tokens} tokens of max_{name}={limit}')


def rewards(spec: str, columns: Columns) -> dict[str, Any]:
  """'reward' and 'answer' of the task and 'known', what finds the value in a known answer. Raises
  ConfigError for an unknown reward, and for one without an answer to compare with."""
  if not spec:
    return {}
  if spec not in NAMES:
    return dict(reward=imported(spec))
  if not (columns.answer or columns.response):
    raise ConfigError(f'reward={spec!r} compares with a known answer: name its column by answer=')
  return judge(spec)


def open_test(source: str, subset: str, test: str, streaming: bool) -> list[Source]:
  """What `test` names: a file where `source` is one or it looks like one, else a split."""
  if is_local(test) or is_local(source):
    return open_sources(test, '', 'train', streaming)
  return open_sources(source, subset, test, streaming)


def check_found(source: str, found: dict[str, Table], reader: Reader) -> None:
  """Raises ConfigError where a split has no examples."""
  bad = f' ({len(reader.skipped)} bad rows were left out)' if reader.skipped else ''
  if not len(found['train'].kept):
    raise ConfigError(f'source={source!r} has no rows to train on{bad}')
  if not len(found['test'].kept):
    raise ConfigError(
      f'source={source!r} has no held-out rows, which one prompt in eight is{bad}: name a file or '
      'split to test on by test='
    )
