"""One problem of a data set: drawn, settled, and held against its own verifier. Free of JAX.

reasoning-gym draws some problems from global generators, from the order of sets of strings, from
what was drawn before. So all of them are drawn in processes of their own (`infra.drawing`).
"""

import contextlib
import dataclasses
import decimal
import functools
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rft_jax.data.gym.checks import CHECKS
from rft_jax.data.splits import redraw, split_of
from rft_jax.data.verifiers import verify
from rft_jax.registry import ConfigError, nearest

BLOCK = 4096  # problems of one seed: some data sets prepare them all at once
UNCHECKABLE = {
  'composite': 'name one of its data sets instead',
  'propositional_logic': 'any restated premise is a right answer to it; choose another data set',
}
WALK = 64  # problems that one index may look through before it meets those of the next


class Drawn(NamedTuple):
  """A problem: its text, a right answer as the text asks for it, and what the verifier needs."""

  question: str
  answer: str
  facts: dict


class Stated(NamedTuple):
  """`types.Example` for the verifier."""

  answer: dict


def draw(dataset: str, options: str, split: str, index: int) -> Drawn:
  """Problem `index` of a split; options as JSON. Raises ConfigError where there are too few."""
  chosen = json.loads(options)
  faults: list[str] = []

  found: dict | None = None

  def text(attempt: int) -> str | None:
    nonlocal found
    try:
      raw = entry(problems(dataset, options), index * WALK + attempt)
      said = identity(dataset, raw)
      if split_of(said) != split:
        return said
      found = settled(dataset, chosen, raw)
      if not found:
        faults.append('it has no one right answer')
      return said if found else None
    except (ConfigError, MemoryError):
      raise
    except Exception as error:  # the library could not make this one
      faults.append(f'{type(error).__name__}: {error}')
      return None

  try:
    redraw(split, text, f'data set {dataset!r}')
  except ConfigError as error:
    left = f'; {len(faults)} were left out, the last because {faults[-1]}' if faults else ''
    where = f'problem {index} of {split} with options {options}'
    raise ConfigError(f'{where}: {error}{left}') from None
  assert found
  return Drawn(found['question'], found['answer'], facts(dataset, chosen, found))


def fits(dataset: str, options: str):
  """Raises ConfigError for an unknown data set or option, and for what cannot be used."""
  from reasoning_gym.factory import DATASETS

  if dataset not in DATASETS:
    raise ConfigError(f'unknown data set {dataset!r}: {nearest(dataset, DATASETS)}')
  if dataset in UNCHECKABLE or dataset not in CHECKS:
    why = UNCHECKABLE.get(dataset, 'it is newer than this version; choose another data set')
    raise ConfigError(f'data set {dataset!r} has no strict verifier: {why}')
  known = {field.name for field in dataclasses.fields(DATASETS[dataset][1])} - {'seed', 'size'}
  for option in json.loads(options):
    if option not in known:
      raise ConfigError(f'data set {dataset!r} has no option {option!r}: {nearest(option, known)}')
  problems(dataset, options)(0)


@functools.lru_cache(maxsize=4)
def problems(dataset: str, options: str):
  return functools.lru_cache(maxsize=8)(functools.partial(block, dataset, json.loads(options)))


def block(dataset: str, options: dict, number: int) -> Any:
  """The problems `number * BLOCK` and on. Raises ConfigError where the options do not fit."""
  from reasoning_gym.factory import create_dataset

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


def settled(dataset: str, options: dict, found: dict) -> dict | None:
  """The problem with a right answer in the form asked for; None where it has none."""
  found = found | {'options': options}
  extra = CHECKS[dataset].settle(found)
  if not extra or not str(extra['answer']).strip():
    return None
  found = found | {'answer': extra['answer'], 'metadata': found['metadata'] | extra}
  return found if right(dataset, options, found) else None


def right(dataset: str, options: dict, found: dict) -> bool:
  """Whether the check takes the answer for what it is, not only for its text."""
  check = CHECKS[dataset]
  stated = facts(dataset, options, found)
  text = stated['answer'].strip()
  paid = verify(text, Stated(stated), answer_tags=False, max_answer=len(text))
  return bool(paid) and bool(check.solves(text, stated))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
  """Some data sets draw from the global generators too: seeds them, and restores them after."""
  states = random.getstate(), np.random.get_state()
  random.seed(seed)
  np.random.seed(seed % 2**32)
  try:
    with decimal.localcontext(decimal.DefaultContext):  # some set its precision
      yield
  finally:
    random.setstate(states[0])
    np.random.set_state(states[1])


def identity(dataset: str, found: dict) -> str:
  """What makes two problems the same: for some data sets less than their wording."""
  if dataset == 'countdown':
    return f'{found["metadata"]["target"]} of {sorted(found["metadata"]["numbers"])}'
  return found['question']


def facts(dataset: str, options: dict, found: dict) -> dict:
  """What the verifier needs, as JSON."""
  names = CHECKS[dataset].facts if dataset in CHECKS else ()
  known = {name: found['metadata'][name] for name in names if name in found['metadata']}
  answer = None if found['answer'] is None else str(found['answer'])
  return json.loads(json.dumps(dict(dataset=dataset, options=options, answer=answer, facts=known)))
