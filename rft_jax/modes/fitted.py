"""The rows of a session's tasks that its stages can use, known before the first step; and whether
a run goes on with the data that it began with."""

import functools
import importlib.metadata
from typing import Any

from rft_jax.data.fitting import fingerprint
from rft_jax.data.recorded import encode
from rft_jax.modes.session import DEMONSTRATIONS, Session, algorithm_of, specs
from rft_jax.registry import ConfigError, parse
from rft_jax.types import Task

DRAWN_BY = dict(reasoning_gym='reasoning-gym')
"""Tasks whose problems other versions of a library draw otherwise."""


def fitted(session: Session) -> Session:
  """The session with tasks that hold only what their stages can encode. Raises ConfigError for what
  they cannot, where the task does not leave it out."""
  tasks = dict(session.tasks)
  for name in session.config.stages:
    apart = name + DEMONSTRATIONS
    train, test = kinds(session.config[name], tasks[name])
    extra = others(session.config[name])
    if apart in tasks:
      tasks[apart] = fit(session, name, tasks[apart], extra, ())
    else:
      train += extra
    tasks[name] = fit(session, name, tasks[name], train, test)
  return session._replace(tasks=tasks)


def fit(session: Session, name: str, task: Task, train: tuple, test: tuple) -> Task:
  if task.fitting is None:
    return task
  c: Any = session.config[name]
  rows = functools.partial(
    encode, tokenizer=session.tokenizer, max_prompt=c.max_prompt, max_new=c.max_new
  )
  return task.fitting(
    {
      name: functools.partial(rows, kinds=found)
      for name, found in (('train', train), ('test', test))
    }
  )


def kinds(config, task: Task) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """The kinds of rows of `data.recorded` that a stage trains on, and that it is evaluated on."""
  algorithm = algorithm_of(config)
  own = () if algorithm.samples else (algorithm.source,)
  verified = task.environment or task.jit_reward or task.reward
  test = ('prompts',) if verified and not algorithm.parts['ranking'] else own
  if algorithm.parts['preference']:
    test += own
  if config.evaluate.nll:
    test += ('demonstrations',)
  return own or ('prompts',), tuple(dict.fromkeys(test))


def others(config) -> tuple[str, ...]:
  """The kind of demonstrations beside samples."""
  algorithm = algorithm_of(config)
  if algorithm.parts['mix']:
    return ('demonstrations',)
  return ('answers',) if algorithm.source == 'self_play' else ()


def fingerprints(session: Session) -> dict[str, str]:
  """What decides which tokens the run learns from, besides its config: by name."""
  found = {'the tokenizer': fingerprint(session.tokenizer)}
  for name, spec in specs(session.config).items():
    found |= session.tasks[name].fingerprint
    if library := DRAWN_BY.get(parse(spec)[0]):
      found[library] = importlib.metadata.version(library)
  return found


def check_same(before: dict[str, str], now: dict[str, str], workdir: str) -> None:
  """Raises ConfigError where a run would go on with other data than it began with."""
  changed = [
    f'{name} was {before[name]}, it is {now.get(name, "absent")}'
    for name in before
    if before[name] and now.get(name) not in (before[name], '')
  ]
  changed += [f'{name} is new' for name in now if name not in before]
  if before and changed:
    raise ConfigError(
      f'the data of the run in {workdir} have changed: {"; ".join(changed)}: put back what was '
      'there to go on, or use another --workdir'
    )
