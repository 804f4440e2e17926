"""Every data set of reasoning-gym as a task with a strict verifier; see `data.verifiers`."""

import functools
import json
import os

from rft_jax.data.gym import problems
from rft_jax.data.gym.problems import UNCHECKABLE, block, facts
from rft_jax.data.verifiers import answer_of, verify
from rft_jax.infra.drawing import Call, Drawers
from rft_jax.registry import ConfigError
from rft_jax.types import Example, Task

__all__ = ['UNCHECKABLE', 'block', 'entry', 'facts', 'make']
PROBLEMS = 'rft_jax.data.gym.problems'
TAGS = '\nGive the final answer between <answer> and </answer>.'


def make(
  tokenizer,
  *,
  dataset: str = 'countdown',
  options: dict | None = None,
  answer_tags: bool = False,
  max_answer: int = 256,
  size: int | None = None,
  lines: int | None = None,
) -> Task:
  """The task of a data set, with its own `options`.

  answer_tags: the answer is what stands in the completion's only <answer>...</answer> pair.
  max_answer: characters; longer texts, and longer than eight known answers, are wrong. size:
  examples of each split, None for no end. lines: keep only so many lines of the question, where the
  rest explains it to readers of English. Raises ConfigError for what does not fit the data set.
  """
  written = as_json(options or {})
  drawers = the_drawers(os.getpid())
  drawers.get((f'{PROBLEMS}:fits', dataset, written))

  def call(split: str, index: int) -> Call:
    if size is not None and index >= size:
      raise ConfigError(f'index {index} of split {split!r} is beyond size={size}: raise size')
    return f'{PROBLEMS}:draw', dataset, written, split, index

  def example(split: str, index: int) -> Example:
    drawn = drawers.get(call(split, index))
    response = f'<answer>{drawn.answer}</answer>' if answer_tags else drawn.answer
    question = '\n'.join(drawn.question.split('\n')[:lines])
    return Example(question + (TAGS if answer_tags else ''), drawn.facts, response)

  return Task(
    example,
    size=lambda split: size,
    reward=functools.partial(verify, answer_tags=answer_tags, max_answer=max_answer),
    answer=answer_of if answer_tags else str.strip,
    ahead=lambda split, indices: drawers.ahead([call(split, index) for index in indices]),
  )


def entry(blocks, number: int) -> dict:
  """One problem, where it can with the answer that its question asks for."""
  found = problems.entry(blocks, number)
  return problems.settled(found['metadata']['source_dataset'], {}, found) or found


def as_json(options: dict) -> str:
  try:
    return json.dumps(options, sort_keys=True)
  except TypeError as error:
    raise ConfigError(
      f'options={options} must be numbers, texts and lists of them, as in JSON: {error}'
    ) from error


@functools.cache
def the_drawers(process: int) -> Drawers:
  """Those of this process, for all tasks."""
  return Drawers()
