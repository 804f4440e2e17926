"""Everything that serves and learns, put together over the weights of one model."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rft_jax.engine.codec import Codec
from rft_jax.engine.engine import SlotEngine
from rft_jax.engine.metrics import Metrics
from rft_jax.engine.protocol import ChatMessage, Request
from rft_jax.engine.routes import Routes
from rft_jax.engine.tickets import Completed
from rft_jax.feedback.store import Store
from rft_jax.infra import durable, peft
from rft_jax.infra.workdir import read_json
from rft_jax.learning.canary import Canary, CanaryOptions, Prompt
from rft_jax.learning.fold import taught
from rft_jax.learning.learner import LearnerOptions, OnlineLearner
from rft_jax.learning.lessons import Said
from rft_jax.learning.ramp import RampOptions
from rft_jax.learning.recovery import Loader, live_versions
from rft_jax.learning.shelf import Shelf
from rft_jax.learning.student import Student
from rft_jax.learning.study import Options as Teaching
from rft_jax.models.config import Lora, ModelConfig
from rft_jax.models.lora import no_adapter
from rft_jax.registry import UserError
from rft_jax.serve.limits import Rates
from rft_jax.serve.material import Material
from rft_jax.serve.service import Options, Service
from rft_jax.types import PyTree

ANCHOR_TOKENS, ANCHOR_SAMPLES, ANCHORS_AT_ONCE = 48, 2, 128
SMALL = 2**25  # parameters of a model of which two scopes learn at the same time
Tell = Callable[[str], None]


class Model(NamedTuple):
  """weights: a policy's params; config: its architecture, without adapters; stop: what ends an
  answer; name: what the page calls it; source: what tells it from other models; directory: of the
  checkpoint it is from, '' for none."""

  weights: PyTree
  config: ModelConfig
  tokenizer: Any
  stop: list[int]
  name: str
  source: str
  directory: str = ''


@contextlib.contextmanager
def opened(
  store: Store, model: Model, settings: Any, material: Material, tell: Tell
) -> Iterator[Service]:
  """A service that is ready, over what the store's folder has learned so far;
  settings: `config.serve`.

  tell: hears what is being done, and may raise to end it. Raises UserError where the folder belongs
  to another model.
  """
  folder = Path(store.db.path).parent
  engine = learner = None
  try:
    codec, metrics = Codec(model.tokenizer, model.stop), Metrics()
    lora = Lora(settings.rank, settings.alpha, settings.targets, adapters=2)
    learning = dataclasses.replace(model.config, lora=lora)
    lora = dataclasses.replace(lora, adapters=settings.rows)
    serving = dataclasses.replace(model.config, lora=lora)
    kept = blank(learning)
    check_identity(folder, model, settings, kept)

    loader = Loader(store, Shelf(folder / 'versions', kept))
    routes = Routes(live_versions(store), holdout=settings.holdout)
    engine = SlotEngine(
      model.weights, serving, codec, settings.slots, settings.context, loader, routes
    )
    engine.start()
    engine.warm_up(lambda done, of: tell(f'compiling {done}/{of}'))
    anchors = remembered(folder, engine, codec, material, tell)
    teaching = Teaching(context=settings.context, lr=settings.lr)
    student = Student(learning, model.weights, codec, anchors, teaching)
    student.warm_up(lambda text: tell(f'compiling {text}'))
    sha = student.settings_sha
    if other := store.ledger.learned_otherwise(sha):
      tell(f'updates learned with other settings, JAX or device: {other}')
      tell('made again from the store, they would be like what was learned, not equal to the bit')
    ask = lambda version, prompts: [
      done.text for done in answers(engine, version, prompts, settings.max_tokens, 0.0)
    ]
    learner = OnlineLearner(
      store,
      engine,
      student,
      taught(store, codec),
      loader,
      LearnerOptions(
        enabled=settings.learn,
        threads=learners(model.weights),
        config_sha=sha,
        ramp=RampOptions(tuple(settings.ramp)),
      ),
      metrics,
      Canary(
        ask,
        material.probes,
        options=CanaryOptions(forbidden=tuple(filter(None, settings.forbidden))),
        anchors=material.anchors,
      ),
      functools.partial(peft.packed, learning, base_directory=model.directory),
      student.rehearse,
      spare=lambda: not engine.slots_busy,
    )
    student.heed = learner.heed
    tell('what has been learned is looked through')
    learner.start()
    options = Options(
      model=model.name,
      max_tokens=settings.max_tokens,
      most_tokens=settings.context,
      suggestions=tuple(dict(s) for s in material.suggestions),
      rates=Rates(**settings.limits),
      models=tuple(settings.models),
      proxies=tuple(settings.proxies),
      hosts=tuple(settings.hosts),
      user_header=settings.user_header,
    )
    yield Service(store, engine, learner, options, metrics)
  finally:
    end(learner, engine, settings.grace)


def learners(weights: PyTree) -> int:
  """How many scopes may learn at the same time. A second one fills the gaps of a small model's
  first; to a large one it would cost its memory, and wait for the same arithmetic."""
  return 2 if sum(x.size for x in jax.tree.leaves(weights)) <= SMALL else 1


def end(learner: OnlineLearner | None, engine: SlotEngine | None, grace: float):
  """First nothing more is learned; then answers get until half of the grace is over."""
  began = time.monotonic()
  if learner:
    learner.stop(grace / 4)
  if engine:
    engine.stop(max(0.0, began + grace / 2 - time.monotonic()))


def check_identity(folder: Path, model: Model, settings: Any, kept: PyTree) -> None:
  """What was learned belongs to one model, and to one form of what is kept of it: raises UserError
  for another."""
  parts = [repr(model.config), model.source, settings.rank, settings.alpha, settings.targets]
  parts.append(str(jax.tree.structure(kept)))
  found = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
  file = folder / 'model'
  if not file.exists():
    return durable.write(file, found)
  written = file.read_bytes().decode(errors='replace')
  if not re.fullmatch('[0-9a-f]{64}', written):
    raise UserError(
      f'{file} is damaged: delete it, and start with the model and the serve.rank, alpha and '
      f'targets that have learned what is in {folder}'
    )
  if written != found:
    raise UserError(
      f'what {folder} has learned belongs to another model, to another serve.rank, alpha or '
      'targets, or to another version of rft_jax: put them back, or serve in another --workdir'
    )


def blank(config: ModelConfig) -> PyTree:
  """The shape of a State of the student, zeros."""
  one = functools.partial(no_adapter, config)
  return {'adapter': one(), 'opt': dict(count=np.int32(0), nu=one())}


def remembered(
  folder: Path, engine: SlotEngine, codec: Codec, material: Material, tell: Tell
) -> list[Said]:
  """The anchors with answers that the model gave before it learned anything; kept, because what is
  learned depends on them bit for bit."""
  file = folder / 'anchors.json'
  if not file.exists():
    texts = [text for text in material.anchors for _ in range(ANCHOR_SAMPLES)]
    given: list[Completed] = []
    while left := texts[len(given) : len(given) + ANCHORS_AT_ONCE]:
      tell(f'asking for anchors {len(given)}/{len(texts)}')
      given += answers(engine, 0, left, ANCHOR_TOKENS, 1.0, len(given))
    asked = [codec.prompt([ChatMessage('user', text)]) for text in texts]
    rows = [(prompt, done.ids) for prompt, done in zip(asked, given, strict=True)]
    durable.write(file, json.dumps(rows))
  return read_anchors(file)


def read_anchors(file: Path) -> list[Said]:
  """Raises UserError where they are damaged."""
  way_out = 'put a copy of it back, or delete it: the same model gives the same answers again'
  rows = read_json(file, way_out)
  if not (isinstance(rows, list) and rows and all(map(is_said, rows))):
    raise UserError(f'{file} is damaged (it has no list of prompts and answers): {way_out}')
  return [Said(tuple(prompt), tuple(answer)) for prompt, answer in rows]


def is_said(row: Any) -> bool:
  """Whether a value is [token ids, token ids]."""
  ids = lambda part: isinstance(part, list) and all(type(id) is int for id in part)
  return isinstance(row, list) and len(row) == 2 and all(map(ids, row))


def answers(
  engine: SlotEngine,
  version: int,
  prompts: Sequence[Prompt],
  max_tokens: int,
  temperature: float,
  first: int = 0,
) -> list[Completed]:
  """What a global version says to each prompt; the same whenever it is asked. first: the number of
  the first prompt, of all that are asked."""
  requests = [
    Request(
      f'answer {i}',
      (ChatMessage('user', asked),) if isinstance(asked, str) else asked,
      version=version,
      max_tokens=max_tokens,
      temperature=temperature,
      seed=i,
    )
    for i, asked in enumerate(prompts, first)
  ]
  return engine.generate(requests)
