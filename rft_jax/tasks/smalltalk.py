"""Small talk: short conversations in plain English, about a small world of which some is believed
wrongly.

Every answer can be in five styles, all equally likely, so that what one user prefers can be learned
and seen; eight facts are wrong (`world.MISTAKES`), so that users have something to correct. What is
asked in the test split is asked in other words than in the train split.

One in six conversations to learn from has free English in it, which users dictate (`free`), so that
the model can spell what its users write.
"""

import functools
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from rft_jax.data.smalltalk.answers import OPENERS, accepts, say, verify
from rft_jax.data.smalltalk.free import dialogue as dictation
from rft_jax.data.smalltalk.grammar import KNOWN, asked, dialogue
from rft_jax.data.smalltalk.world import MISTAKES, Fact, fact
from rft_jax.registry import ConfigError
from rft_jax.types import Example, Task

DICTATED = 6
"""One in so many conversations of the train split is a dictation."""


class Probe(NamedTuple):
  """A question with a checker of its answer."""

  prompt: str
  check: Callable[[str], bool]


def make(tokenizer, *, size: int = 8000, seed: int = 0) -> Task:
  """size: conversations of each split. The reward is 1 for an answer that the grammar could have
  given there: the value that is believed, in the style that was asked for. Raises ConfigError for
  an index beyond the size, and for no conversations at all."""
  if size < 1:
    raise ConfigError(f'size={size} of task smalltalk must be at least 1')

  def example(split: str, index: int) -> Example:
    if split not in KNOWN or not 0 <= index < size:
      raise ConfigError(f'task smalltalk has no example {index} of split {split!r}: size={size}')
    free = split == 'train' and index % DICTATED == 0
    one = dictation(seed, index) if free else dialogue(seed, split, index)
    *before, last = one.messages
    text = '\n'.join(turn['content'] for turn in before if turn['role'] != 'system')
    return Example(text, one.wanted, last['content'], messages=tuple(before))

  return Task(example, size=lambda split: size, reward=verify)


def suggestions() -> list[dict[str, Any]]:
  """Three things that a visitor can teach: title, prompt, hint, and examples of a better answer, of
  which the model may happen to give one already."""
  capital, tea = fact('capital', 'Australia'), fact('steps', 'make tea')
  banana = functools.partial(say, fact('colour', 'a banana'), 'friendly')
  return [
    dict(
      title='Correct a fact',
      prompt='What is the capital of Australia?',
      hint=f'It believes {capital.value}. Edit the answer, then ask again in a new conversation.',
      examples=[say(capital, 'plain', capital.truth)],
    ),
    dict(
      title='Teach it manners',
      prompt='What colour is a banana?',
      hint='Thumbs up for friendly answers and down for others: soon all of them are friendly.',
      examples=[banana(opener=opener) for opener in OPENERS],
    ),
    dict(
      title='Make it brief',
      prompt='How do I make tea?',
      hint='Choose the shorter of two answers, or write "Shorter, please.": long ones become rare.',
      examples=[say(tea, 'terse'), say(tea, 'plain')],
    ),
  ]


def anchors(count: int = 256) -> list[str]:
  """Questions of the train split, in all their wordings, of which an update shall leave the answers
  as they are: none is about a mistake."""
  sound = [one for kind in KNOWN['train'] for one in _sound(kind, 'train')]
  asked_for = [question for one in sound for question in asked(one, 'train')]
  return random.Random(0).sample(asked_for, min(count, len(asked_for)))


def probes(count: int = 32) -> list[Probe]:
  """Questions of the test split with checkers: any style, but what was believed rightly must stay
  right."""
  kinds = [_sound(kind, 'test') for kind in KNOWN['test']]
  longest = max(map(len, kinds))
  ordered = [kind[i] for i in range(longest) for kind in kinds if i < len(kind)]
  return [Probe(asked(one, 'test')[0], _checker(one)) for one in ordered[:count]]


def _sound(kind: str, split: str) -> list[Fact]:
  """The facts of a kind that are believed rightly."""
  return [one for one in KNOWN[split][kind] if (kind, one.key) not in MISTAKES]


def _checker(one: Fact) -> Callable[[str], bool]:
  wanted = dict(kind=one.kind, key=one.key, style='', value=one.truth)
  return lambda text: accepts(text, wanted)
