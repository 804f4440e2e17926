"""Questions near to those of a batch, and what a candidate does to the answers to them.

Pure: texts in, findings out. Which words tell things apart is counted, not listed: those that few
questions have.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rft_jax.engine.protocol import ChatMessage
from rft_jax.feedback.sameness import fingerprint

ASKED = 'message '  # before the id of a user's question, which is its name
WORD = re.compile(r'\w+')
TELLING = 0.9  # of the weight of the word that tells most


class Wish(NamedTuple):
  """What a batch teaches about one question: `asked` with all that was said before it, and the text
  that shall be said, '' where it was a vote. seqs: the events that say so."""

  asked: tuple[ChatMessage, ...]
  text: str = ''
  seqs: tuple[int, ...] = ()

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
  """How much each word tells, from the texts that there are: the fewer have it, the more."""

  def __init__(self, texts: Iterable[str]):
    counts, self.texts = Counter[str](), 1
    for text in texts:
      counts.update(words(text))
      self.texts += 1
    self.counts = counts

  def weight(self, found: Iterable[str]) -> float:
    return sum(math.log(self.texts / min(self.texts, 1 + self.counts[w])) for w in found)

  def key(self, found: set[str]) -> set[str]:
    """Those that tell nearly as much as the one that tells most."""
    most = max((self.weight([w]) for w in found), default=0.0)
    return {w for w in found if self.weight([w]) >= TELLING * most}


def words(text: str) -> set[str]:
  return set(WORD.findall(text.casefold()))


def nearest(
  wishes: Sequence[Wish], pools: Sequence[Sequence[Neighbour]], each: int, most: int
) -> list[Neighbour]:
  """Of each pool the `each` nearest to every question, `most` in all, without what was voted on:
  the nearest of all questions first, so that each of them has some."""
  scale = Words(one.question for pool in pools for one in pool)
  voted = {fingerprint(wish.question) for wish in wishes}
  found: dict[str, Neighbour] = {}
  ranked = [
    ranking(question, pool, scale, voted)[:each]
    for question in dict.fromkeys(wish.question for wish in wishes)
    for pool in pools
  ]
  for row in itertools.zip_longest(*ranked):
    for one in filter(None, row):
      found.setdefault(fingerprint(one.question), one)
  return list(found.values())[:most]


def ranking(
  question: str, pool: Sequence[Neighbour], scale: Words, without: set[str]
) -> list[Neighbour]:
  """The nearest first, each once."""
  own, kept = words(question), dict[str, Neighbour]()
  for one in pool:
    kept.setdefault(fingerprint(one.question), one)
  rest = [one for key, one in kept.items() if key not in without]
  return sorted(rest, key=lambda one: scale.weight(own & words(one.question)), reverse=True)


def strayed(
  wishes: Sequence[tuple[Wish, str]], changes: Sequence[Change], asked: Words, said: Words
) -> list[Change]:
  """The changes that are harm: the answer no longer says what it said, and the question was about
  another thing than those of the batch. wishes: with the answers before; asked, said: what words
  tell in questions and in answers."""

  def apart(change: Change) -> bool:
    return not any(same(wish.question, before, change, asked, said) for wish, before in wishes)

  return [one for one in changes if lost(one, said) and apart(one)]


def same(question: str, before: str, change: Change, asked: Words, said: Words) -> bool:
  """Whether a neighbour asks for the same thing as a question: it names it, and was answered
  alike."""
  near, answer = words(change.neighbour.question), words(change.before)
  named = asked.key(words(question)) & (near | answer)
  return bool(named and said.key(answer - near or answer) & words(before))


def lost(change: Change, said: Words) -> bool:
  """Whether what the answer told beyond the question is gone."""
  told = words(change.before) - words(change.neighbour.question) or words(change.before)
  key = said.key(told)
  return bool(key) and 2 * len(key & words(change.after)) <= len(key)


def garbled(texts: Sequence[str], before: str, after: str, question: str) -> bool:
  """Whether the answer to a question that was corrected, to one of `texts`, is neither the one
  before nor a corrected one: nothing of what was new in these, and mostly words of neither."""
  if fingerprint(after) in map(fingerprint, (before, *texts)):
    return False
  corrected = set[str]().union(*map(words, texts))
  strange = words(after) - corrected - words(before) - words(question)
  new = corrected - words(before)
  return not new & words(after) and 2 * len(strange) >= len(words(after))


def changed(
  neighbours: Sequence[Neighbour], before: Sequence[str], after: Sequence[str]
) -> list[Change]:
  """The answers that say something else, however they are typed."""
  rows = map(Change, neighbours, before, after)
  return [one for one in rows if fingerprint(one.before) != fingerprint(one.after)]
