"""Learning from feedback: an adapter goes in, a better one comes out, or a reason why not.

Each event is pushed until it meets its margin and no further; anchors, the reference's own answers
to other prompts, hold everything else where it is.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Sequence

import jax
import numpy as np

from rft_jax.engine.codec import Codec
from rft_jax.learning.laps import Lap
from rft_jax.learning.lessons import Alone, Critique, Lesson, Said
from rft_jax.learning.packed import Shape, arrange, empty, fitting, shapes
from rft_jax.learning.programs import Programs
from rft_jax.learning.rehearsal import Rehearsal, Tried
from rft_jax.learning.rewriting import Rewriter, resolved
from rft_jax.learning.study import Options, Outcome, State, Study
from rft_jax.models.config import ModelConfig
from rft_jax.objectives.feedback import make_losses
from rft_jax.registry import ConfigError
from rft_jax.types import PyTree

STANDS, PER_TOKEN = 4.0, 0.1
"""Nats that an answer may lose where the conversation before its question is missing, and more for
each of its tokens."""


def rate(config: ModelConfig) -> float:
  """The learning rate: 0.005 up to a width of 128, where it was measured; above in inverse
  proportion."""
  return 0.005 * min(1.0, 128 / config.hidden_size)


def begun(name: str, leaf: np.ndarray, draw: np.random.Generator) -> np.ndarray:
  """a uniform, b zero, as `models.lora` begins them."""
  if name == 'b':
    return leaf
  return (draw.uniform(-1, 1, leaf.shape) * leaf.shape[-2] ** -0.5).astype(np.float32)


def home_of(params: PyTree):
  """The device that the parameters lie on, the first of several."""
  leaf = jax.tree.leaves(params)[0]
  known = leaf.devices() if isinstance(leaf, jax.Array) else jax.devices()
  return min(known, key=lambda device: device.id)


def laps_of(
  lessons: Sequence[Lesson], drawn: Sequence[Sequence[Said]], shape: Shape
) -> tuple[list[Lap], Lap]:
  """Lessons beside each draw of anchors, and apart from them the replayed ones where there is no
  room left for those."""
  lap = lambda chosen, anchors: Lap(chosen, arrange(chosen, anchors, *shape))
  new = [lesson for lesson in lessons if not lesson.replay]
  old = [lesson for lesson in lessons if lesson.replay]
  apart, beside = ([lap(chosen, said) for said in drawn] for chosen in (new, [*new, *old]))
  parts = lambda laps: sum(len(lap.parts) for lap in laps)
  return (beside, lap([], [])) if parts(beside) == parts(apart) else (apart, lap(old, []))


def work(found: tuple[list[Lap], Lap]) -> int:
  """Parts that are looked at."""
  laps, kept = found
  return sum(len(lap.parts) for lap in (*laps, kept))


class Student:
  """config: with two adapters (see `Programs`); params: the policy's, of which 'decoder' is used;
  anchors: prompts with the reference's own answers. Only `learn` takes part in learning; everything
  that it needs to know is in its arguments."""

  def __init__(
    self,
    config: ModelConfig,
    params: PyTree,
    codec: Codec,
    anchors: Sequence[Said],
    options: Options | None = None,
  ):
    if not anchors:
      raise ConfigError('a student needs anchors: prompts with answers that shall stay likely')
    self.options = options or Options()
    self.heed: Callable[[], None] = lambda: None  # called before each step; it may raise
    self.anchors = tuple(anchors)
    self.device = home_of(params)
    self.weights = self._here({'decoder': params['decoder']})
    losses = make_losses(self.options.pair, self.options.single)
    self.lr = self.options.lr or rate(config)
    self.programs = Programs(config, losses, self.lr)
    self.rewriter = Rewriter(self.programs, codec, self.options.context, self.options.attempts)
    self.rehearsal = Rehearsal(
      self.programs, self.rewriter, codec, anchors, self.options.context, self.options.rows
    )
    self.nothing = self.programs.nothing()

  @property
  def settings_sha(self) -> str:
    """Of what decides, beside arguments, weights and code, which bits `learn` returns."""
    parts = self.options, self.lr, self.anchors, jax.__version__, self.device.device_kind
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

  def _here(self, tree: PyTree) -> PyTree:
    """Arrays that lie elsewhere, or anywhere, would be other arguments to a compiled program."""
    return jax.device_put(tree, self.device)

  def fresh(self, rng_seed: int, like: State | None = None) -> State:
    """A state that changes nothing yet; like: whose second moments it takes over."""
    draw = np.random.default_rng(rng_seed)
    adapter = jax.tree.map_with_path(lambda path, x: begun(path[-1].key, x, draw), self.nothing)
    opt = dict(count=np.int32(0), nu=self.nothing)
    if like is not None:
      opt |= {name: like['opt'][name] for name in ('count', 'nu')}
    return {'adapter': adapter, 'opt': opt}

  def learn(
    self,
    state: State,
    base: PyTree | None,
    lessons: Sequence[Lesson],
    seed: int,
    shared: bool = False,
  ) -> Outcome:
    """base: the adapter beneath, None for none; shared: everyone gets the result, so its budget is
    smaller; lessons that are anchors are beside every step. The same arguments give the same bits.
    """
    beneath, adapter = self._here((self.nothing if base is None else base, state['adapter']))
    policy = self.weights, beneath, adapter
    held = [lesson.better for lesson in lessons if lesson.anchor]
    lessons = self._resolve(policy, [one for one in lessons if not one.anchor], seed)
    budget = self.options.shared if shared else self.options.personal
    drawn = [[*held, *said] for said in self._drawn(seed)]
    said = [said for lesson in lessons for said in (lesson.better, lesson.worse) if said]
    known = fitting([*said, *itertools.chain(*drawn)], self.options.rows, self.options.context)
    laps = min((laps_of(lessons, drawn, shape) for shape in known), key=work)
    study = Study(self.programs, self.options, policy, *laps)
    opt, nothing = self._here((state['opt'], self.nothing))
    return study.learn(state, opt, budget, nothing, self.heed)

  def rehearse(
    self, before: State, after: State, base: PyTree | None, lessons: Sequence[Lesson], seed: int
  ) -> str:
    """Why what `learn` made of `before` may not be served, in words for its user; '' where it
    may."""
    beneath = self.nothing if base is None else base
    beneath, old, new = self._here((beneath, before['adapter'], after['adapter']))
    tried = Tried(beneath, old, new, lessons, seed)
    return self.rehearsal.verdicts(self.weights, [tried], self.heed)[0]

  def _drawn(self, seed: int) -> list[list[Said]]:
    """The anchors of an update, as many beside its lessons as go with a step: others each time, so
    that none is learned by heart."""
    count = min(self.options.anchors, len(self.anchors))
    drawn, beside = random.Random(seed).sample(self.anchors, count), self.options.beside
    return [drawn[i : i + beside] for i in range(0, count, beside)]

  def _resolve(self, policy, lessons: Sequence[Lesson], seed: int) -> list[Lesson]:
    """Lessons with critiques turned into what they teach, without those that cannot be taught
    elsewhere than where they were said."""
    stand = {one: self._stands(policy, one) for lesson in lessons if (one := lesson.alone)}
    fits = lambda said: len(said.prompt) + len(said.answer) <= self.options.context
    return [
      lesson
      if lesson.critique is None
      else resolved(lesson, *self._rewritten(policy, lesson, lesson.critique, seed))
      for lesson in lessons
      if lesson.own or (fits(lesson.better) and (not lesson.alone or stand[lesson.alone]))
    ]

  def _stands(self, policy, alone: Alone) -> bool:
    """Whether an answer that was served in a context is about as likely without it."""
    gain = self._gain(policy, alone.said, alone.prompt)
    return gain is not None and float(gain.sum()) > -STANDS - PER_TOKEN * len(gain)

  def _rewritten(self, policy, lesson: Lesson, critique: Critique, seed: int):
    better = self.rewriter.better(policy, lesson, critique, seed)
    return better, None if better else self._gain(policy, lesson.better, critique.prompt)

  def _gain(self, policy, said: Said, prompt: tuple[int, ...]) -> np.ndarray | None:
    """What a critique in the prompt adds to the log-probability of each token of the answer; None
    where it does not fit."""
    if not prompt or len(prompt) + len(said.answer) > self.options.context:
      return None
    texts = [said, said._replace(prompt=prompt)]
    shape = fitting(texts, self.options.rows, self.options.context)[0]
    part = arrange([], texts, *shape).parts[0]
    states = self.programs.look(*policy, np.float32(1), part)
    seen = jax.device_get(self.programs.peek(*policy, part, states, states, states))
    without, within = (seen.logp[i][part.rows.target[i]] for i in (0, 1))
    return within - without

  def warm_up(self, progress: Callable[[str], None] | None = None) -> None:
    """Compiles every program; `progress` hears of each."""
    tell, programs = progress or (lambda text: None), self.programs
    state, known = self.fresh(0), shapes(self.options.rows, self.options.context)
    nothing, adapter, opt = self._here((self.nothing, state['adapter'], state['opt']))
    policy, gradient = (self.weights, nothing, adapter), nothing
    for number, shape in enumerate(known, 1):
      part, which = empty(*shape), f'{number}/{len(known)}'
      tell(f'what the model says, {which}')
      states = programs.look(*policy, np.float32(0), part)
      programs.peek(*policy, part, states, states, states)
      tell(f'what a lesson changes, {which}')
      gradient, _ = programs.pull(*policy, part, states, states, nothing)
    after, _ = programs.push(adapter, opt, gradient)
    programs.between(adapter, after, np.float32(1))
    tell('rewriting')
    self.rewriter.attempts(policy, [[0]], 0, 0)
    tell('rehearsing')
    self.rehearsal.warm_up(self.weights, nothing, adapter)
