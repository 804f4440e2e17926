"""The shell game: a ball lies under one of several cups, pairs of cups swap places, where is it?

`'3:1425='` starts under cup 3, swaps 1 with 4, then 2 with 5. The response is the final cup, at
once (`'3'`) or after the cup of every step in angle brackets (`'<3,3>3'`). Each swap is easy, all
of them in one breath are not.
"""

import hashlib

import jax.numpy as jnp
import numpy as np

from rft_jax.data.splits import redraw
from rft_jax.data.text import encode
from rft_jax.registry import ConfigError
from rft_jax.types import Array, Example, Task

ALPHABET = '0123456789:=<>,'


def make(tokenizer, *, cups: int = 5, swaps: int = 6, think: float = 0.1) -> Task:
  """The task of tracking the ball; demonstrations think with probability `think`.

  Raises ConfigError for values out of range and for a tokenizer that lacks one of the characters.
  """
  check(cups, swaps, think)
  ids = {char: token_id(tokenizer, char) for char in ALPHABET}
  pairs = [(a, b) for a in range(1, cups + 1) for b in range(1, cups + 1) if a != b]

  def example(split: str, index: int) -> Example:
    draw = lambda attempt: problem(f'{split} {index} {attempt}', cups, swaps, pairs)
    attempt = redraw(split, lambda attempt: draw(attempt)[0], f'cups(cups={cups}, swaps={swaps})')
    prompt, path, coin = draw(attempt)
    thought = f'<{",".join(map(str, path))}>' if coin < think else ''
    right, wrong = path[-1], path[-1] % cups + 1
    answer = np.int32(ids[str(right)])
    return Example(prompt, answer, f'{thought}{right}', f'{thought}{wrong}')

  special = tokenizer.all_special_ids
  return Task(example, **judge(ids['<'], ids['>'], tokenizer.eos_token_id, special))


def check(cups: int, swaps: int, think: float):
  """Raises ConfigError for an option out of its range."""
  limits = ('cups', cups, 2, 9), ('swaps', swaps, 1, 1000), ('think', think, 0, 1)
  for name, value, low, high in limits:
    if not low <= value <= high:
      raise ConfigError(f'{name}={value} of task cups must be from {low} to {high}')


def token_id(tokenizer, char: str) -> int:
  """The one token of a character. Raises ConfigError where the tokenizer needs none or several."""
  ids = encode(tokenizer, char)
  if len(ids) != 1:
    raise ConfigError(
      f'the tokenizer turns {char!r} into {len(ids)} tokens, task cups needs one: '
      f"use tokenizer characters(alphabet='{ALPHABET}')"
    )
  return ids[0]


def problem(key: str, cups: int, swaps: int, pairs: list[tuple[int, int]]):
  """What `key` hashes to: the prompt, the ball's cup after each swap, and a number in [0, 1)."""
  bits = int.from_bytes(hashlib.shake_128(key.encode()).digest(16 + swaps), 'little')
  bits, coin = divmod(bits, 1 << 24)
  bits, start = divmod(bits, cups)
  ball, path, steps = start + 1, [], []
  for _ in range(swaps):
    bits, choice = divmod(bits, len(pairs))
    a, b = pairs[choice]
    ball = b if ball == a else a if ball == b else ball
    path.append(ball)
    steps.append(f'{a}{b}')
  return f'{start + 1}:{"".join(steps)}=', path, coin / (1 << 24)


def judge(opening: int, closing: int, eos: int | None, special: list[int]) -> dict:
  """`jit_reward`, `jit_metrics` and `jit_answer` for these token ids."""
  if eos is None:
    raise ConfigError('task cups ends answers with EOS, which this tokenizer lacks: set eos_token')

  def look(tokens: Array, target: Array):
    columns = jnp.arange(tokens.shape[1])
    first, length = jnp.argmax(target, 1), jnp.sum(target, 1)
    at = lambda i: jnp.take_along_axis(tokens, jnp.clip(i, 0)[:, None], 1)[:, 0]
    return columns, first, length, at

  def thinks(tokens: Array, target: Array) -> Array:
    _, first, length, at = look(tokens, target)
    return (length > 0) & (at(first) == opening)

  def jit_reward(tokens: Array, target: Array, answer: Array) -> Array:
    """f32[N]: 1 for exactly `digit EOS` or `< ... > digit EOS` with the right digit, else 0."""
    columns, first, length, at = look(tokens, target)
    end = first + length - 1
    inside = (columns > first[:, None]) & (columns < end[:, None] - 2)
    clean = ~jnp.any(inside & jnp.isin(tokens, jnp.array(special)), 1)
    thought = (length >= 4) & (at(end - 2) == closing) & clean & thinks(tokens, target)
    right = (at(end) == eos) & (at(end - 1) == answer)
    return (right & ((length == 2) | thought)).astype(jnp.float32)

  def jit_metrics(tokens: Array, target: Array, answer: Array) -> dict[str, Array]:
    thinking, reward = thinks(tokens, target), jit_reward(tokens, target, answer)
    return {
      'thinking': thinking.astype(jnp.float32),
      'thought_accuracy': jnp.where(thinking, reward, jnp.nan),
    }

  def jit_answer(tokens: Array, target: Array) -> Array:
    """i32[N]: the token before EOS, -1 where the answer did not end."""
    _, first, length, at = look(tokens, target)
    end = first + length - 1
    return jnp.where((length >= 2) & (at(end) == eos), at(end - 1), -1).astype(jnp.int32)

  return {'jit_reward': jit_reward, 'jit_metrics': jit_metrics, 'jit_answer': jit_answer}
