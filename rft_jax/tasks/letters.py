"""The smallest task that has everything: after some letters, answer the one that follows the last.

`'xbqc='` is answered `'d'`, and z by a. It has a verifier in JAX, demonstrations and worse answers,
answers to vote on, plain text, and an environment in several turns, in which the next question ends
with the right answer to the one before; so any algorithm can be tried on it, in seconds.
"""

import hashlib

import jax.numpy as jnp
import numpy as np

from rft_jax.data.splits import redraw
from rft_jax.registry import ConfigError
from rft_jax.tasks.cups import token_id
from rft_jax.types import Array, Environment, Example, Outcome, Task

EQUALS = '='


def make(
  tokenizer,
  *,
  letters: int = 6,
  length: int = 4,
  turns: int = 1,
  mistakes: float = 0.0,
  size: int | None = None,
) -> Task:
  """letters: how many there are, from a on; length: letters of a question; turns: questions in a
  row. mistakes: the share of demonstrations that hesitate (`=`) and guess. size: examples
  of each split, None for no end.

  The reward has two halves, for the right letter and for stopping after it; in several turns all of
  it, their mean, comes with the last. Raises ConfigError for values out of range and for a
  tokenizer that lacks a letter.
  """
  for name, value, low, high in (
    ('letters', letters, 2, 26),
    ('length', length, 2, 1000),
    ('turns', turns, 1, 1000),
    ('mistakes', mistakes, 0, 1),
  ):
    if not low <= value <= high:
      raise ConfigError(f'{name}={value} of task letters must be from {low} to {high}')
  alphabet = [chr(ord('a') + i) for i in range(letters)]
  ids = jnp.array([token_id(tokenizer, letter) for letter in alphabet])
  equals, eos = token_id(tokenizer, EQUALS), tokenizer.eos_token_id

  def example(split: str, index: int) -> Example:
    def draw(attempt):
      digest = hashlib.shake_128(f'{split} {index} {attempt}'.encode()).digest(length + 3)
      return ''.join(alphabet[b % letters] for b in digest[:length]) + EQUALS, digest[length:]

    attempt = redraw(split, lambda attempt: draw(attempt)[0], f'letters(length={length})')
    prompt, (coin, luck, more) = draw(attempt)
    last = alphabet.index(prompt[-2])
    right = (last + 1) % letters
    wrong = (right + 1 + coin % (letters - 1)) % letters
    answer = np.int32(right)
    start = answer if turns == 1 else (answer, np.float32(0), np.int32(0))
    erring = EQUALS + alphabet[more % letters]
    said = erring if luck < 256 * mistakes else alphabet[right]
    return Example(prompt, start, said, alphabet[wrong])

  def first(tokens: Array, target: Array) -> Array:
    """The number of the first letter that was said, -1 for anything else."""
    said = jnp.where(target.any(1), tokens[:, 0], -1)
    matches = said[:, None] == ids
    return jnp.where(matches.any(1), matches.argmax(1), -1).astype(jnp.int32)

  def jit_reward(tokens: Array, target: Array, answer: Array) -> Array:
    """f32[N,2]: half for the right letter, half for ending right after it."""
    right = first(tokens, target) == answer
    ended = (target.sum(1) == 2) & (tokens[:, 1] == eos)
    return 0.5 * jnp.stack([right, right & ended], 1).astype(jnp.float32)

  def jit_answer(tokens: Array, target: Array) -> Array:
    """i32[N]: the letter, -1 where anything else was said besides."""
    ended = (target.sum(1) == 2) & (tokens[:, 1] == eos)
    return jnp.where(ended, first(tokens, target), -1)

  def step(tokens: Array, target: Array, answer) -> Outcome:
    letter, earned, turn = answer
    n, earned = len(tokens), earned + jit_reward(tokens, target, letter).sum(1) / turns
    question = jnp.full((n, length + 1), ids[0]).at[:, -1].set(equals).at[:, -2].set(ids[letter])
    following = (letter + 1) % letters, earned, turn + 1
    reward = jnp.where(turn == turns - 1, earned, 0)
    valid, done = jnp.ones((n, length + 1), bool), jnp.zeros(n, bool)
    return Outcome(question, valid, reward, done, following)

  if turns > 1:
    state = lambda answer: answer[0] + letters * answer[2]
    return Task(example, lambda split: size, environment=Environment(turns, step, state))
  return Task(example, size=lambda split: size, jit_reward=jit_reward, jit_answer=jit_answer)
