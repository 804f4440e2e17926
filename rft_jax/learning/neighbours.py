"""Questions near to those of a batch, and what a candidate does to the answers to them.

Pure: texts in, findings out. Which words tell things apart is counted, not listed: those that few
questions have.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rft_jax.engine.protocol import ChatMessage
from rft_jax.feedback.sameness import fingerprint

WORD = re.compile(r'\w+')
HALF = 0.5


class Wish(NamedTuple):
  """What a batch teaches about one question: `asked` with all that was said before it, and the text
  that shall be said, '' where it was a vote."""

  asked: tuple[ChatMessage, ...]
  text: str = ''

  @property
  def question(self) -> str:
    return self.asked[-1].content


class Neighbour(NamedTuple):
  """A question that nobody voted on. `name`: by which an administrator finds it."""

  question: str
  name: str


class Change(NamedTuple):
  """Another answer than before."""

  neighbour: Neighbour
  before: str
  after: str


class Words:
  """How much each word tells, from the questions that there are: the fewer have it, the more."""

  def __init__(self, questions: Iterable[str]):
    counts, self.questions = Counter[str](), 1
    for question in questions:
      counts.update(words(question))
      self.questions += 1
    self.counts = counts

  def weight(self, found: Iterable[str]) -> float:
    return sum(math.log(self.questions / min(self.questions, 1 + self.counts[w])) for w in found)

  def shared(self, a: set[str], b: set[str]) -> float:
    """0 to 1: how much of the smaller one is in the other."""
    return self.weight(a & b) / (min(self.weight(a), self.weight(b)) or 1.0)


def words(text: str) -> set[str]:
  return set(WORD.findall(text.casefold()))


def nearest(
  wishes: Sequence[Wish], pool: Sequence[Neighbour], each: int, most: int
) -> list[Neighbour]:
  """The `each` nearest of the pool to every question, without those that were voted on."""
  scale = Words(one.question for one in pool)
  seen = {fingerprint(wish.question) for wish in wishes}
  found: list[Neighbour] = []
  for question in dict.fromkeys(wish.question for wish in wishes):
    own = words(question)
    near = lambda one, own=own: scale.weight(own & words(one.question))
    for one in sorted(pool, key=near, reverse=True)[: each + len(found)]:
      key = fingerprint(one.question)
      if key not in seen and len(found) < most:
        seen.add(key)
        found.append(one)
  return found


def strayed(
  wishes: Sequence[tuple[Wish, str]], changes: Sequence[Change], scale: Words
) -> list[Change]:
  """The changes that are harm: the answer was about another thing than any of the questions, and
  no longer says what it said. wishes: with the answers before."""
  things = [words(f'{wish.question} {answer}') for wish, answer in wishes]
  apart = lambda one: all(
    scale.shared(words(f'{one.neighbour.question} {one.before}'), thing) < HALF for thing in things
  )
  return [one for one in changes if lost(one, scale) and apart(one)]


def lost(change: Change, scale: Words) -> bool:
  """Whether most of what the answer told beyond the question is gone."""
  told = words(change.before) - words(change.neighbour.question)
  told = told or words(change.before)
  return scale.weight(told & words(change.after)) < HALF * scale.weight(told)


def garbled(texts: Sequence[str], before: str, after: str, question: str) -> bool:
  """Whether the answer to a question that was corrected, to one of `texts`, is neither the one
  before nor a corrected one: nothing of what was new in these, and mostly words of neither."""
  if fingerprint(after) in map(fingerprint, (before, *texts)):
    return False
  corrected = set[str]().union(*map(words, texts))
  strange = words(after) - corrected - words(before) - words(question)
  new = corrected - words(before)
  return not new & words(after) and len(strange) >= HALF * len(words(after))


def changed(
  neighbours: Sequence[Neighbour], before: Sequence[str], after: Sequence[str]
) -> list[Change]:
  """The answers that say something else, however they are typed."""
  rows = map(Change, neighbours, before, after)
  return [one for one in rows if fingerprint(one.before) != fingerprint(one.after)]
