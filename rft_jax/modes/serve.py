"""Serve: a chat page and an API over a model that learns from what its users say.

Without a checkpoint (`model.path`) it first trains the config's own stages, once. What it learns
from feedback lies in workdir/serve.
"""

import contextlib
import copy
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from rft_jax.config import RESUMABLE, base
from rft_jax.data.text import MADE
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.store import Store
from rft_jax.infra.workdir import dated, open_workdir
from rft_jax.learning.ramp import RampOptions
from rft_jax.modes import train
from rft_jax.modes.model import APART, OURS
from rft_jax.modes.restored import merged, restored
from rft_jax.modes.session import open_session
from rft_jax.registry import ConfigError
from rft_jax.serve import server
from rft_jax.serve.classroom import Model, Tell, opened
from rft_jax.serve.lifecycle import Lifecycle
from rft_jax.serve.material import Material, find
from rft_jax.serve.names import Names
from rft_jax.serve.proxies import check_proxies
from rft_jax.serve.restoring import check_present
from rft_jax.serve.service import Service


def run(config, workdir: str, started: float) -> dict:
  """Serves until a signal. `started`: when the process began, s since 1970."""
  c = of_checkpoint(config) if config.model.path else config
  material = find(material_of(c))
  RampOptions(tuple(c.serve.ramp))  # What is wrong with it is said before the work.
  check_proxies(c.serve.proxies)
  Names(tuple(c.serve.models))
  trained = bool(c.model.path) or os.path.exists(os.path.join(workdir, 'summary.json'))
  if trained:
    open_workdir(workdir, c.to_dict(), RESUMABLE)
  folder = make_folder(workdir)
  check_present(folder)
  ready = lambda url: print(f'ready after {time.time() - started:.1f} s: {url}', flush=True)
  with (
    contextlib.closing(Store(folder / 'store.db', Rules(quorum=c.serve.quorum))) as store,
    server.listen(store, c.serve.host, c.serve.port) as listening,
  ):
    first = None if trained else functools.partial(train.run, copy.deepcopy(c), workdir, started)
    make = functools.partial(prepared, c, workdir, first, store, material)
    life = Lifecycle(store, listening, make, c.serve.grace, ready)
    life.run()
  life.end()
  return {}


@contextlib.contextmanager
def prepared(
  c, workdir: str, first: Callable[[Tell], Any] | None, store: Store, material: Material, hear: Tell
) -> Iterator[Service]:
  """The service. `first` trains its model, where it has none yet."""

  def tell(text: str):
    hear(text)
    print(f'serve: {text}', file=sys.stderr, flush=True)

  hear('loading the model')
  if first:
    first(hear)
    open_workdir(workdir, c.to_dict(), RESUMABLE)
  with jax.default_device(jax.devices()[0]):
    with opened(store, open_served(c, workdir), c.serve, material, tell) as service:
      yield service


def make_folder(workdir: str) -> Path:
  folder = Path(workdir) / 'serve'
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise ConfigError(
      f'cannot write to workdir {workdir} ({error.strerror}): choose another --workdir'
    ) from error
  return folder


def of_checkpoint(config) -> Any:
  """The config without what describes the model that it would train itself."""
  c: Any = copy.deepcopy(config)
  default: Any = base().model
  for key in c.model:
    if key not in (*APART, *OURS):
      c.model[key] = default[key]
  if c.tokenizer.split('(')[0] in MADE:
    c.tokenizer = 'auto'
  return c


def material_of(c) -> str:
  own = c.stages[0] and c[c.stages[0]].task.split('(')[0]
  found = 'smalltalk' if own == 'smalltalk' and not c.model.path else 'general'
  return found if c.serve.material == 'auto' else c.serve.material


def open_served(config, workdir: str) -> Model:
  """The weights that are served, on one device; adapters of their training are merged."""
  c: Any = copy.deepcopy(config)
  c.parallel.update(kind='mesh', devices=1, fsdp=1, tensor=1)
  session = open_session(dated(c, workdir))
  if c.model.path:
    weights, source, name = session.params(), c.model.path, Path(c.model.path).name
  else:
    with restored(session, workdir) as found:
      weights, source, name = found.state.weights, f'step {found.step}', c.stages[-1]
  config = session.model.architecture
  weights = {'decoder': {'params': merged(session, weights)}}
  directory = session.model.directory
  return Model(weights, config, session.tokenizer, session.stop, name, source, directory)
