"""Batches of problems as a pure function of the step: the position in the data is the step's
number, and resuming exact."""

import functools
from typing import TypeVar

import numpy as np

from rft_jax.data.text import batch_prompts
from rft_jax.registry import ConfigError
from rft_jax.types import Example, Prompts, Task

Rows = TypeVar('Rows', np.ndarray, list)
AHEAD = dict(train=8, test=2)  # steps whose problems are made while the first is worked on


class Stream:
  """`batch` problems of one split per step; a finite task is walked in a new order each epoch.

  Of several processes each reads the part `index` of `count` of every batch: a block of
  neighbours, whose numbers are those of the whole batch.
  """

  def __init__(
    self, task: Task, split: str, batch: int, seed: int = 0, index: int = 0, count: int = 1
  ):
    self.task, self.split, self.batch, self.seed = task, split, batch, seed
    self.size = size = task.size(split)
    if size is not None and size < 1:
      raise ConfigError(f'the task has no {split} examples; give it some, or choose another split')
    if batch % count:
      raise ConfigError(f'a batch of {batch} must be a multiple of the {count} processes')
    self.order = functools.lru_cache(maxsize=2)(
      lambda epoch: np.random.default_rng((seed, epoch)).permutation(size or 0)
    )
    self.part = slice(index * batch // count, (index + 1) * batch // count)

  def own(self, rows: Rows) -> Rows:
    """This process's part of the rows of a whole batch."""
    return rows[self.part]

  def numbers(self, step: int) -> np.ndarray:
    """The global numbers of the step's samples i64[batch / count], which seed their noise."""
    return self.own(np.arange(step * self.batch, (step + 1) * self.batch))

  def examples(self, step: int) -> list[Example]:
    if self.task.ahead:
      steps = range(step, step + AHEAD[self.split])
      self.task.ahead(self.split, [i for each in steps for i in self.indices(each)])
    return [self.task.example(self.split, i) for i in self.indices(step)]

  def indices(self, step: int) -> list[int]:
    """Of the step's examples in the task's split."""
    numbers = [int(n) for n in self.numbers(step)]
    if self.size is None or self.split == 'test':
      return [n % (self.size or 2**31) for n in numbers]
    return [int(self.order(n // self.size)[n % self.size]) for n in numbers]

  def prompts(self, tokenizer, step: int, length: int) -> tuple[Prompts, list[Example]]:
    examples = self.examples(step)
    ids = (self.numbers(step) % 2**31).astype(np.int32)
    asked = [e.messages or e.prompt for e in examples]
    answers, places = [e.answer for e in examples], [e.place for e in examples]
    return batch_prompts(tokenizer, asked, ids, answers, length, places), examples
