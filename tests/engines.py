"""Engines over tiny random models, and what their answers should be."""

import asyncio
import contextlib
import dataclasses
import functools
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.data.text import batch_prompts, characters, stop_tokens
from rft_jax.engine.codec import Codec
from rft_jax.engine.engine import SlotEngine
from rft_jax.engine.protocol import Request
from rft_jax.engine.tickets import Completed, Reader
from rft_jax.feedback.records import GLOBAL
from rft_jax.models.config import Lora, ModelConfig
from rft_jax.models.lora import adapter_shapes, merge
from rft_jax.models.policy import make_policy
from rft_jax.models.transformer import Decoder
from rft_jax.sampling import make_rollout, sampling

TOKENIZER = characters()
CODEC = Codec(TOKENIZER, stop_tokens(TOKENIZER))
CONFIG = ModelConfig(
  *(len(TOKENIZER), 16, 32, 2, 4, 2, 8),
  initializer_range=0.4,
  lora=Lora(rank=2, alpha=4.0, adapters=8),
)
CONTEXT = 64


def params_of(config: ModelConfig = CONFIG):
  return make_policy(dataclasses.replace(config, lora=None)).init(jax.random.key(0))


def adapter(seed: int, config: ModelConfig = CONFIG, size: float = 0.3):
  """One that changes the answers, as `load` gives it."""
  draw = np.random.default_rng(seed)
  made = lambda shape: (draw.standard_normal((shape[0], *shape[2:])) * size).astype(np.float32)
  shapes = adapter_shapes(config)
  return {'layers': jax.tree.map(made, shapes, is_leaf=lambda x: isinstance(x, tuple))}


def load(scope: str, version: int, config: ModelConfig = CONFIG):
  """Every scope and version has its own."""
  number = 0 if scope == GLOBAL else 1 + int(scope.removeprefix('u:'))
  return adapter(1000 * number + version, config)


@contextlib.contextmanager
def engine(config: ModelConfig = CONFIG, params=None, **changes):
  """One that is ready; it is stopped in the end."""
  made = SlotEngine(
    params_of(config) if params is None else params,
    config,
    **(dict(codec=CODEC, slots=4, context=CONTEXT, load=load) | changes),
  )
  made.start()
  made.warm_up()
  yield made
  made.stop(patience=0)


def ask(prompt: str = 'hello', number: int = 0, **changes) -> Request:
  return Request(str(number), prompt=prompt, **(dict(max_tokens=12, temperature=0.0) | changes))


def merged(*adapters, config: ModelConfig = CONFIG, params=None):
  """The policy's parameters with adapters added to the weights."""
  params = params_of(config) if params is None else params
  inner = params['decoder']['params']
  for one in adapters:
    widened = jax.tree.map(lambda x: x[:, None], one)
    inner = merge(config, inner, widened, jnp.ones(1))
  return {'decoder': {'params': inner}}


def greedy(params, prompt: str, count: int) -> tuple[int, ...]:
  """What the training sampler answers."""
  return _sampled(dataclasses.replace(CONFIG, lora=None), params, [prompt], count)[0]


def greedy_of_each(adapters: list, chosen: list[tuple[int, ...]], prompt: str, count: int):
  """What the training sampler answers with these of the adapters, all at once."""
  stacked = jax.tree.map(lambda *x: np.stack(x, 1), *adapters)
  lora = dataclasses.replace(CONFIG.lora, adapters=len(adapters))
  use = np.zeros((len(chosen), len(adapters)), np.float32)
  for row, some in enumerate(chosen):
    use[row, list(some)] = 1
  params = params_of() | {'adapters': stacked}
  config = dataclasses.replace(CONFIG, lora=lora)
  return _sampled(config, params, [prompt] * len(chosen), count, use)


def _sampled(config, params, texts, count, use=None) -> list[tuple[int, ...]]:
  asked = batch_prompts(TOKENIZER, texts, range(len(texts)), [None] * len(texts), 32)
  options, sample = sampling(CODEC.stop, temperature=0.0), _sampler(config, count)
  e = sample(params, asked.replace(adapters=use), options, jax.random.key(0), 0)
  rows = zip(np.asarray(e.tokens), np.asarray(e.target), strict=True)
  return [tuple(tokens[target].tolist()) for tokens, target in rows]


@functools.cache
def _sampler(config, count):
  return jax.jit(make_rollout(Decoder(config), 1, count))


async def complete(engine: SlotEngine, request: Request) -> Completed:
  """The whole answer, as a coroutine gets it."""
  return await read(await engine.submit(request))


async def read(reader: Reader) -> Completed:
  pieces = [piece async for piece in reader]
  tokens = [token for piece in pieces for token in piece.tokens]
  assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
  return Completed(
    ''.join(piece.text for piece in pieces),
    tuple(token.id for token in tokens),
    tuple(token.logp for token in tokens),
    pieces[-1].finish_reason or '',
    reader.prompt_ids,
    reader.global_version,
    reader.personal_version,
  )


def together(engine: SlotEngine, requests) -> list[Completed]:
  """All asked at once."""

  async def ask_all():
    return await asyncio.gather(*(complete(engine, request) for request in requests))

  return asyncio.run(ask_all())


def whole(config: ModelConfig, params, prompt_ids, ids) -> np.ndarray:
  """The logits [n,V] that predict each of the ids, by one pass over all."""
  tokens, count = np.zeros((1, CONTEXT), np.int32), len(prompt_ids) + len(ids)
  tokens[0, :count] = [*prompt_ids, *ids]
  logits = _logits(dataclasses.replace(config, lora=None))(params['decoder'], tokens, tokens > -1)
  return np.asarray(logits)[0, len(prompt_ids) : count]


@functools.cache
def _logits(config):
  decoder: Any = Decoder(config)

  def logits(weights, tokens, valid):
    states = decoder.apply(weights, tokens, valid)
    return decoder.apply(weights, states, method='logits')

  return jax.jit(logits)


class Gate:
  """Stands before a function of the engine's thread and holds it up until `way` is set; `passed`
  counts."""

  def __init__(self, owner, name: str):
    self.owner, self.name, self.inner = owner, name, getattr(owner, name)
    self.way, self.reached, self.passed = threading.Event(), threading.Event(), 0

  def __call__(self, *args, **kwargs):
    self.reached.set()
    assert self.way.wait(20)
    self.passed += 1
    return self.inner(*args, **kwargs)

  def __enter__(self):
    setattr(self.owner, self.name, self)
    return self

  def __exit__(self, *_):
    self.way.set()
    setattr(self.owner, self.name, self.inner)
