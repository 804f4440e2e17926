"""Every data set of reasoning-gym as a task with a strict verifier; see `data.verifiers`."""

import contextlib
import dataclasses
import functools
import json
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from reasoning_gym.factory import DATASETS, create_dataset

from rft_jax.data.splits import redraw
from rft_jax.data.verifiers import CHECKS, answer_of, verify
from rft_jax.registry import ConfigError, nearest
from rft_jax.types import Example, Task

BLOCK = 4096  # problems of one seed: some data sets prepare them all at once
WALK = 64  # problems that one index may look through before it meets those of the next
TAGS = '\nGive the final answer between <answer> and </answer>.'
HASH_SEEDED = {
  'isomorphic_strings',
  'knight_swap',
  'polynomial_multiplication',
  'ransom_note',
  'word_ladder',
}
UNCHECKABLE = {
  'composite': 'name one of its data sets instead',
  'propositional_logic': 'any restated premise is a right answer to it; choose another data set',
}


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
  max_answer: characters; longer texts are right only if they are the known answer. size: examples
  of each split, None for no end. lines: keep only so many lines of the question, where the rest
  explains it to readers of English. Raises ConfigError for what does not fit the data set.
  """
  options = dict(options or {})
  check_options(dataset, options)
  problems = functools.lru_cache(maxsize=32)(functools.partial(block, dataset, options))
  problems(0)

  @functools.lru_cache(maxsize=4096)  # some problems take 0.1 s, and evaluations ask again
  def example(split: str, index: int) -> Example:
    if size is not None and index >= size:
      raise ConfigError(f'index {index} of split {split!r} is beyond size={size}: raise size')
    at = functools.cache(lambda attempt: entry(problems, index * WALK + attempt))
    text = lambda attempt: identity(dataset, at(attempt)) if at(attempt)['answer'] != '' else None
    found = at(redraw(split, text, f'data set {dataset!r}'))
    answer = found['answer']
    response = f'<answer>{answer}</answer>' if answer_tags and answer else answer or ''
    question = '\n'.join(found['question'].split('\n')[:lines])
    prompt = question + (TAGS if answer_tags else '')
    return Example(prompt, facts(dataset, options, found), response)

  reward = functools.partial(verify, answer_tags=answer_tags, max_answer=max_answer)
  answer = answer_of if answer_tags else str.strip
  return Task(example, size=lambda split: size, reward=reward, answer=answer)


def identity(dataset: str, found: dict) -> str:
  """What makes two problems the same: for some data sets less than their wording."""
  if dataset == 'countdown':
    return f'{found["metadata"]["target"]} of {sorted(found["metadata"]["numbers"])}'
  return found['question']


def check_options(dataset: str, options: dict):
  """Raises ConfigError for an unknown data set or option, and for a set that cannot be used."""
  if dataset not in DATASETS:
    raise ConfigError(f'unknown data set {dataset!r}: {nearest(dataset, DATASETS)}')
  if dataset in UNCHECKABLE:
    raise ConfigError(f'data set {dataset!r} has no strict verifier: {UNCHECKABLE[dataset]}')
  if dataset in HASH_SEEDED and os.environ.get('PYTHONHASHSEED', 'random') == 'random':
    raise ConfigError(
      f'problems of {dataset!r} depend on how Python hashes strings: set '
      'PYTHONHASHSEED=0, so that every run gets the same ones'
    )
  known = {field.name for field in dataclasses.fields(DATASETS[dataset][1])} - {'seed', 'size'}
  for option in options:
    if option not in known:
      raise ConfigError(f'data set {dataset!r} has no option {option!r}: {nearest(option, known)}')


def block(dataset: str, options: dict, number: int) -> Any:
  """The problems `number * BLOCK` and on. Raises ConfigError where the options do not fit."""
  try:
    with seeded(number):
      return create_dataset(dataset, seed=number * BLOCK, size=BLOCK, **options)
  except (AssertionError, TypeError, ValueError, KeyError) as error:
    raise ConfigError(
      f'options={options} do not suit data set {dataset!r}: {str(error) or type(error).__name__}'
    ) from error


def entry(problems, number: int) -> dict:
  """One problem as reasoning-gym writes it."""
  with seeded(number):
    return problems(number // BLOCK)[number % BLOCK]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
  """Some data sets draw from the global generators too: seeds them, and restores them after."""
  states = random.getstate(), np.random.get_state()
  random.seed(seed)
  np.random.seed(seed % 2**32)
  try:
    yield
  finally:
    random.setstate(states[0])
    np.random.set_state(states[1])


def facts(dataset: str, options: dict, found: dict) -> dict:
  """What the verifier needs, as JSON."""
  names = CHECKS[dataset].facts if dataset in CHECKS else ()
  known = {name: found['metadata'][name] for name in names if name in found['metadata']}
  answer = None if found['answer'] is None else str(found['answer'])
  return json.loads(json.dumps(dict(dataset=dataset, options=options, answer=answer, facts=known)))
