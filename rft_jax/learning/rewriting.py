"""Critiques become lessons: what the model would have said had it known, and a better answer that
it finds itself. Sources: arXiv:2603.12273 (hindsight), arXiv:2509.25137 (guided rewrites)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.data.stops import stop_table
from rft_jax.engine.codec import Codec
from rft_jax.learning.lessons import Critique, Lesson, Said
from rft_jax.learning.programs import Programs
from rft_jax.objectives import feedback as kinds
from rft_jax.sampling import make_rollout, sampling
from rft_jax.types import Prompts, PyTree

SHORTER = 0.7  # of the length, for what was too long
LIMIT = 5.0  # nats of advantage of a token


class Attempt(NamedTuple):
  """A sampled answer; logp: the mean of its tokens' log-probabilities."""

  ids: tuple[int, ...]
  logp: float


class Rewriter:
  """Samples answers to the critique and to the question alone: a small model may not understand a
  critique, but has other answers."""

  def __init__(self, programs: Programs, codec: Codec, context: int, attempts: int):
    self.codec, self.answer = codec, context // 2
    self.question = context - self.answer
    ends = getattr(codec, 'ends', ())  # Stand-ins for a codec may lack them.
    text = stop_table(codec.tokenizer, programs.config.vocab_size) if ends else None
    self.options = jax.device_get(sampling(codec.stop, text=text))
    rollout = make_rollout(programs.policy.decoder, attempts, self.answer, chunk=self.answer)

    def sample(weights, base, adapter, prompts: Prompts, options, seed):
      params = programs.joined(weights, base, adapter)
      prompts = prompts.replace(adapters=jnp.ones((len(prompts.tokens), 2)))
      return rollout(params, prompts, options, jax.random.key(seed), jnp.int32(0))

    self.sample = jax.jit(sample)

  def better(
    self, policy: tuple[PyTree, ...], lesson: Lesson, critique: Critique, seed: int
  ) -> Said | None:
    """The most certain of the attempts that do what the critique asks for; None without one.
    policy: weights, base and adapter."""
    said = lesson.better
    questions = [q for q in (said.prompt, critique.prompt) if 0 < len(q) <= self.question]
    passing = [
      attempt
      for attempt in self.attempts(policy, questions, lesson.seq, seed)
      if obeys(critique.chip, said.answer, attempt.ids, self.codec)
    ]
    if not passing:
      return None
    best = max(passing, key=lambda attempt: attempt.logp)
    return Said(said.prompt, best.ids, (1.0,) * len(best.ids))

  def attempts(
    self, policy: tuple[PyTree, ...], questions: Sequence[Sequence[int]], seq: int, seed: int
  ) -> list[Attempt]:
    """Those that ended by themselves."""
    if not questions:
      return []
    tokens = np.zeros((2, self.question), np.int32)
    valid = np.zeros(tokens.shape, bool)
    for i in range(2):
      question = questions[i % len(questions)]
      tokens[i, -len(question) :], valid[i, -len(question) :] = question, True
    prompts = Prompts(tokens, valid, np.array([2 * seq, 2 * seq + 1], np.int32))
    e = jax.device_get(self.sample(*policy, prompts, self.options, np.uint32(seed)))
    found = []
    for row in np.flatnonzero(~e.facts['truncated']):
      said = e.target[row]
      ids = tuple(map(int, e.tokens[row, said]))
      found.append(Attempt(ids, float(e.behaviour_logp[row, said].mean())))
    return found


def obeys(chip: str, before: Sequence[int], after: Sequence[int], codec: Codec) -> bool:
  """Whether an answer says something, says something else, and is shorter where it must be."""
  text = codec.text(after).strip()
  other = bool(text) and text != codec.text(before).strip()
  return other and (chip != 'too_long' or len(after) <= SHORTER * len(before))


def resolved(lesson: Lesson, better: Said | None, gain: np.ndarray | None) -> Lesson:
  """What a critique teaches: the better answer above the one before; without one, hindsight.

  gain f32[n]: the log-probability that each token of the answer gains by the critique. A model to
  which the critique makes the answer likelier has not understood it; then the answer is one that
  was not liked, and no more.
  """
  lesson = replace(lesson, critique=None)
  if better is not None:
    return replace(lesson, kind=kinds.EDIT, better=better, worse=lesson.better, value=1.0)
  if gain is None or gain.mean() >= 0:
    return replace(lesson, kind=kinds.THUMB, value=-1.0)
  advantage = np.clip(gain - gain.mean(), -LIMIT, LIMIT)
  advantage /= max(1.0, float(np.abs(advantage).mean()))
  return replace(lesson, advantage=tuple(map(float, advantage)))
