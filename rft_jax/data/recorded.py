"""Batches of recorded data, by kind, each a pure function of the step."""

from typing import Any

import numpy as np

from rft_jax.data.packing import Packed, PackedDemonstrations, encode_text
from rft_jax.data.stream import Stream
from rft_jax.data.text import (
  about,
  answered,
  answers,
  asked,
  demonstrations,
  encode_demonstration,
  quoted,
)
from rft_jax.registry import ConfigError
from rft_jax.types import Example, Experience


class Recorded:
  """batch(step) -> Experience, numpy arrays.

  kind: 'demonstrations', prompt and response from column 0 on; 'answers', the same with prompts in
  the first `max_prompt` columns; 'pairs' of a better and a worse response, rewarded 1 and 0;
  'labels', single responses, every other one the worse; 'text', packed, with no prompt. packing:
  several demonstrations in a row.
  """

  def __init__(
    self,
    kind: str,
    stream: Stream,
    tokenizer: Any,
    max_prompt: int,
    max_new: int,
    packing: bool = False,
  ):
    self.kind, self.stream, self.tokenizer = kind, stream, tokenizer
    self.max_prompt, self.max_new = max_prompt, max_new
    self.packed = None
    if packing or kind == 'text':
      pack = PackedDemonstrations if packing else Packed
      self.packed = pack(stream, tokenizer, max_prompt + max_new)

  def batch(self, step: int) -> Experience:
    if self.packed:
      return self.packed.batch(step)
    examples = self.stream.examples(step)
    if self.kind == 'demonstrations':
      return demonstrations(self.tokenizer, examples, self.max_prompt + self.max_new)
    rows, group = self._rows(examples, self.stream.numbers(step))
    return answers(self.tokenizer, rows, self.max_prompt, self.max_new, group)

  def _rows(self, examples: list[Example], numbers: np.ndarray):
    if self.kind == 'answers':
      return [(e, e.response, 1.0) for e in examples], 1
    for e in examples:
      with about(e.place):
        check_pair(e)
    if self.kind == 'pairs':
      both = [((e, e.response, 1.0), (e, e.rejected, 0.0)) for e in examples]
      return [row for pair in both for row in pair], 2
    return [
      (e, e.rejected, 0.0) if number % 2 else (e, e.response, 1.0)
      for e, number in zip(examples, numbers, strict=True)
    ], 1


def check_pair(example: Example) -> None:
  if not example.rejected:
    raise ConfigError(
      f'{quoted(example)} has no rejected response: learning from preferences needs a task or a '
      'data set with pairs'
    )


def encode(
  example: Example, *, kinds: tuple[str, ...], tokenizer: Any, max_prompt: int, max_new: int
) -> None:
  """Encodes an example as batches of these kinds of `Recorded` will, or of prompts ('prompts').
  Raises ConfigError where they would."""
  for kind in kinds:
    if kind == 'prompts':
      asked(tokenizer, example.messages or example.prompt, max_prompt)
    elif kind == 'text':
      encode_text(tokenizer, example)
    elif kind == 'demonstrations':
      encode_demonstration(tokenizer, example, max_prompt + max_new)
    else:
      answered(tokenizer, example, example.response, max_prompt, max_new)
    if kind in ('pairs', 'labels'):
      check_pair(example)
      answered(tokenizer, example, example.rejected, max_prompt, max_new)
