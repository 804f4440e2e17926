"""Several texts in one row: plain text cut into full rows, demonstrations never cut."""

import bisect

import numpy as np

from rft_jax.data.text import about, encode_demonstration, encode_prompt, ending, recorded
from rft_jax.registry import ConfigError
from rft_jax.types import Example, Experience


class Packed:
  """batch(step) -> Experience of `stream.batch` rows of `width` tokens, without padding.

  Texts, each with its EOS, follow one another in an order that is new in each epoch; a text is cut
  where a row ends. `valid` numbers the texts of a row from 1 on, so that none attends to another.
  The first token of each is given, not learned: nothing precedes it. An example's text is its
  response, after its prompt if it has one. Raises ConfigError for a task without an end, or with
  less text than a batch.
  """

  def __init__(self, stream, tokenizer, width: int):
    self.stream, self.width = stream, width
    if stream.size is None:
      raise ConfigError("source='text' packs a finite collection: give the task a size")
    examples = (stream.task.example(stream.split, i) for i in range(stream.size))
    self.texts = [self._encoded(tokenizer, e) for e in examples]
    self.batches = sum(map(len, self.texts)) // (stream.batch * width)
    if not self.batches:
      raise ConfigError(
        f'the texts hold {sum(map(len, self.texts))} tokens, fewer than one batch of '
        f'{stream.batch} x {width}: lower prompts, max_prompt or max_new'
      )
    self._epoch = None

  def _encoded(self, tokenizer, example: Example) -> np.ndarray:
    with about(example.place):
      return encode_text(tokenizer, example)

  def batch(self, step: int) -> Experience:
    epoch, index = divmod(step, self.batches)
    if epoch != self._epoch:
      order = np.random.default_rng((self.stream.seed, epoch)).permutation(len(self.texts))
      self._tokens = np.concatenate([self.texts[i] for i in order])
      self._text = np.concatenate([np.full(len(self.texts[i]), n) for n, i in enumerate(order)])
      self._epoch = epoch
    rows = self.stream.batch
    cut = slice(index * rows * self.width, (index + 1) * rows * self.width)
    shaped = (x[cut].reshape(rows, self.width) for x in (self._tokens, self._text))
    tokens, owner = map(self.stream.own, shaped)
    target = np.zeros(tokens.shape, bool)
    target[:, 1:] = owner[:, 1:] == owner[:, :-1]
    numbers = (owner - owner[:, :1] + 1).astype(np.int32)
    return recorded(tokens, numbers, target)


class PackedDemonstrations:
  """batch(step) -> Experience of `stream.batch` rows of `width` tokens, each of several examples.

  Each epoch packs all examples anew, in an order of its own; the rows of the next epoch follow
  those of the last. `valid` numbers the examples of a row from 1 on and is 0 on padding. All
  examples are encoded at the start. Raises ConfigError for a task without an end, and for an
  example longer than a row.
  """

  def __init__(self, stream, tokenizer, width: int):
    self.stream, self.width = stream, width
    if stream.size is None:
      raise ConfigError('packing needs a finite collection: give the task a size, or packing=False')
    examples = (stream.task.example(stream.split, i) for i in range(stream.size))
    self.encoded = [self._encoded(tokenizer, e) for e in examples]
    self.lengths = np.array([len(ids) for ids, _ in self.encoded])
    self.ends: list[int] = []
    self._epoch = -1

  def batch(self, step: int) -> Experience:
    tokens = np.zeros((self.stream.batch, self.width), np.int32)
    tokens = self.stream.own(tokens)
    numbers, target = tokens.copy(), np.zeros(tokens.shape, bool)
    for row, number in enumerate(self.stream.numbers(step)):
      start = 0
      for text, i in enumerate(self._row(int(number)), 1):
        ids, learned = self.encoded[i]
        place = row, slice(start, start + len(ids))
        tokens[place], numbers[place], target[place] = ids, text, learned
        start += len(ids)
    return recorded(tokens, numbers, target)

  def _encoded(self, tokenizer, example: Example) -> tuple[list[int], list[bool]]:
    with about(example.place):
      return encode_demonstration(tokenizer, example, self.width)

  def _row(self, number: int) -> list[int]:
    """The examples of row `number`, counted from the first epoch on."""
    while not self.ends or number >= self.ends[-1]:
      self.ends.append((self.ends or [0])[-1] + len(self._packed(len(self.ends))))
    epoch = bisect.bisect_right(self.ends, number)
    return self._packed(epoch)[number - (0 if epoch == 0 else self.ends[epoch - 1])]

  def _packed(self, epoch: int) -> list[list[int]]:
    if epoch != self._epoch:
      draw = np.random.default_rng((self.stream.seed, epoch))
      order = draw.permutation(len(self.lengths))
      packed = best_fit(self.lengths[order].tolist(), self.width)
      self._rows = [[int(order[i]) for i in packed[j]] for j in draw.permutation(len(packed))]
      self._epoch = epoch
    return self._rows


def encode_text(tokenizer, example: Example) -> np.ndarray:
  """Token ids i32[n] of a whole example with EOS. Raises ConfigError where there are none."""
  ids = encode_prompt(tokenizer, example.prompt + example.response)
  return np.array([*ids, ending(tokenizer)], np.int32)


def best_fit(lengths: list[int], width: int) -> list[list[int]]:
  """Rows of indices whose lengths add up to at most `width`: the longest first, each to the row
  that it fills best."""
  rows: list[list[int]] = []
  room: list[tuple[int, int]] = []  # (what is left, -row), sorted
  for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
    found = bisect.bisect_left(room, (lengths[i], -len(rows)))
    if found < len(room):
      left, row = room.pop(found)
    else:
      left, row = width, -len(rows)
      rows.append([])
    rows[-row].append(i)
    bisect.insort(room, (left - lengths[i], row))
  return rows
