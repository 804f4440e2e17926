"""A small world to be taught in: questions that may be answered in two styles, both as likely.

A question is BOS, a sort, two letters, ASK. PLAIN ones are answered by the letters in order, LOUD
or QUIET as one likes; FIXED ones by the letters in reverse, in the one style that there is.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rft_jax.learning.lessons import Said
from rft_jax.learning.student import Options, Student
from rft_jax.models.config import Lora, ModelConfig
from rft_jax.models.policy import make_policy
from rft_jax.sampling import make_rollout, sampling
from rft_jax.types import Experience, Prompts

PAD, BOS, STOP, PLAIN, FIXED, ASK, LOUD, QUIET = range(8)
LETTERS = range(8, 20)
CONFIG = ModelConfig(20, 64, 128, 2, 4, 2, 16, lora=Lora(4, 8.0, adapters=2), remat='none')
WIDTH = 64


class Words:
  """A codec of ids written as numbers."""

  stop = (STOP,)

  def text(self, ids):
    return ' '.join(str(i) for i in ids if i != STOP)


def question(sort: int, a: int, b: int) -> tuple[int, ...]:
  return (BOS, sort, a, b, ASK)


def answer(prompt, style: int = LOUD) -> tuple[int, ...]:
  """In a style; FIXED questions have one."""
  _, sort, a, b, _ = prompt
  return (style, a, b, a, STOP) if sort == PLAIN else (LOUD, b, a, b, STOP)


def questions(sort: int, count: int, seed: int) -> list[tuple[int, ...]]:
  draw = np.random.default_rng(seed)
  return [question(sort, *map(int, draw.choice(LETTERS, 2))) for _ in range(count)]


@functools.cache
def taught():
  """Parameters of a model that knows the grammar."""
  policy, tx = make_policy(CONFIG), optax.adam(5e-3)
  params = policy.init(jax.random.key(0))
  steps, rows = 160, 48
  draw = np.random.default_rng(0)
  texts = np.zeros((steps, rows, 10), np.int32)
  sorts, styles = (draw.choice(x, (steps, rows)) for x in ((PLAIN, FIXED), (LOUD, QUIET)))
  letters = draw.choice(LETTERS, (steps, rows, 2))
  for i in np.ndindex(steps, rows):
    prompt = question(int(sorts[i]), *letters[i])
    texts[i] = [*prompt, *answer(prompt, styles[i])]

  def learn(carry, tokens):
    whole = jnp.ones(tokens.shape, bool)
    nothing = jnp.zeros(tokens.shape)
    target = whole.at[:, :5].set(False)
    e = Experience(tokens, whole, target, nothing, nothing, tokens)
    loss = lambda decoder: (
      -jnp.where(target, policy.score(params | {'decoder': decoder}, e).logp, 0).mean()
    )
    decoder, opt = carry
    value, gradient = jax.value_and_grad(loss)(decoder)
    updates, opt = tx.update(gradient, opt)
    return (optax.apply_updates(decoder, updates), opt), value

  start = params['decoder'], tx.init(params['decoder'])
  (decoder, _), losses = jax.jit(lambda start, x: jax.lax.scan(learn, start, x))(start, texts)
  return {'decoder': jax.device_get(decoder)}, np.asarray(losses)


@functools.cache
def sampler():
  rollout = make_rollout(make_policy(CONFIG).decoder, 32, 6)
  joined = lambda base, adapter: jax.tree.map(lambda *x: jnp.stack(x, 1), base, adapter)

  def sample(params, base, adapter, prompts, seed):
    params = params | {'adapters': joined(base, adapter)}
    options = sampling([STOP])
    return rollout(params, prompts, options, jax.random.key(seed), jnp.int32(0))

  return jax.jit(sample)


def answers(student: Student, adapter, prompts, base=None, seed: int = 1) -> list[list[tuple]]:
  """32 samples for each prompt, at temperature 1."""
  tokens = np.array(prompts, np.int32)
  batch = Prompts(tokens, np.ones(tokens.shape, bool), np.arange(len(tokens), dtype=np.int32))
  batch = batch.replace(adapters=np.ones((len(tokens), 2), np.float32))
  base = student.nothing if base is None else base
  e = jax.device_get(sampler()(student.weights, base, adapter, batch, np.uint32(seed)))
  said = [tuple(map(int, e.tokens[i, e.target[i]])) for i in range(len(e.tokens))]
  return [said[i : i + 32] for i in range(0, len(said), 32)]


def styles(samples) -> float:
  """The share of right answers that are LOUD, as a share of all."""
  return float(np.mean([s[0] == LOUD for group in samples for s in group]))


def right(samples, prompts) -> float:
  """The share of answers that are right in any style."""
  fine = [
    s in (answer(p, LOUD), answer(p, QUIET))
    for group, p in zip(samples, prompts, strict=True)
    for s in group
  ]
  return float(np.mean(fine))


def anchors(count: int = 6) -> list[Said]:
  """As many FIXED as PLAIN ones, the latter in both styles."""
  found = []
  for i in range(count):
    prompt = questions((PLAIN, FIXED)[i % 2], 1, 100 + i)[0]
    found.append(Said(prompt, answer(prompt, (LOUD, QUIET)[i // 2 % 2])))
  return found


def student(**options) -> Student:
  """Two of its six anchors stand beside the lessons of a step."""
  options = dict(beside=2) | options
  return Student(CONFIG, taught()[0], Words(), anchors(), Options(WIDTH, **options))
