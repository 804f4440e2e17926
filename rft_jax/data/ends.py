"""How a chat template ends the assistant's turns: found by rendering a conversation of probes.

A template may end the last turn otherwise than those before it, end the conversation as well, or
end nothing at all; the end is what a turn has in common whatever follows, up to its first token
that is a mark.
"""

import functools
import re
from typing import NamedTuple

from rft_jax.data.templates import added_tokens, raw, source
from rft_jax.registry import ConfigError

PROBE = 'qWxZj'
"""A word that no template contains."""
CLOSING = '>])}'


class Ends(NamedTuple):
  """middle, last: the text from the content of an answer to the end of its turn, where more turns
  follow and where none does; '' for none. gap: white space that stands between where an answer is
  asked for and where it begins. marks: added tokens that part turns. mute: an answer that is asked
  for is not begun."""

  middle: str
  last: str
  gap: str
  marks: frozenset[str]
  mute: bool = False


def unlike(text: str) -> str:
  """A word that the text does not contain."""
  word = PROBE
  while word in text:
    word += 'q'
  return word


def ends(tokenizer) -> Ends:
  """Raises ConfigError where there is no template."""
  return _ends(tokenizer, source(tokenizer), tuple(tokenizer.all_special_tokens))


@functools.lru_cache(maxsize=16)
def _ends(tokenizer, template: str, special: tuple[str, ...]) -> Ends:
  known = added_tokens(tokenizer)
  turns = [
    dict(role='user', content=f'{PROBE}a'),
    dict(role='assistant', content=f'{PROBE}b'),
    dict(role='user', content=f'{PROBE}c'),
    dict(role='assistant', content=f'{PROBE}d'),
  ]
  short = raw(tokenizer, turns[:2])
  before, found, tail = short.partition(f'{PROBE}b')
  if not found:
    return Ends('', '', '', frozenset())
  between = _between(tokenizer, turns)
  pieces = _split(between or tail, known)
  marks = frozenset(piece for piece in pieces if piece in known)
  opening = short.partition(f'{PROBE}a')[0]
  asked = raw(tokenizer, turns[:1], ask=True)
  mute = asked == raw(tokenizer, turns[:1]) and asked.rstrip() != before.rstrip()
  middle, last = _pair(tokenizer, between, tail, opening)
  return Ends(middle, last, '' if mute else _gap(asked, before), marks, mute)


def _pair(tokenizer, between: str | None, tail: str, opening: str) -> tuple[str, str]:
  """middle and last. between: what stands between an answer and the next question; tail: what is
  behind the last; opening: what is before the first question."""
  known = added_tokens(tokenizer)
  last = _upto_mark(tail, known)
  if between is None:
    return last, last
  common = _shared(between, tail, known)
  if common.strip():
    end = _upto_mark(common, known)
    return end, end
  return _own(between, opening, known, tokenizer.bos_token), last


def _between(tokenizer, turns) -> str | None:
  """What stands between an answer and the next question; None where there may be no other."""
  try:
    whole = raw(tokenizer, turns)
  except ConfigError:
    return None
  inner = whole.partition(f'{PROBE}b')[2]
  return inner.partition(f'{PROBE}c')[0] if f'{PROBE}c' in inner else None


def _gap(asked: str, before: str) -> str:
  gap = before[len(asked) :] if before.startswith(asked) else ''
  return '' if gap.strip() else gap


def _split(text: str, known: dict[str, int]) -> list[str]:
  """Added tokens and single letters."""
  if not known:
    return list(text)
  longest = sorted(known, key=len, reverse=True)
  parts = re.split(f'({"|".join(map(re.escape, longest))})', text)
  return [x for part in parts for x in ([part] if part in known else part)]


def _shared(a: str, b: str, known: dict[str, int]) -> str:
  """The common beginning of two texts, not in the middle of a word: it ends with one of them, with
  an added token, with white space, or with what closes a mark."""
  left, right = _split(a, known), _split(b, known)
  n = 0
  while n < min(len(left), len(right)) and left[n] == right[n]:
    n += 1
  whole = lambda piece: piece in known or piece.isspace() or piece in CLOSING
  if n < min(len(left), len(right)):
    while n and not whole(left[n - 1]):
      n -= 1
  return ''.join(left[:n])


def _upto_mark(text: str, known: dict[str, int]) -> str:
  """Up to the first added token; without one, all but the white space behind."""
  pieces = _split(text, known)
  first = next((i for i, piece in enumerate(pieces) if piece in known), len(pieces))
  return ''.join(pieces[: first + 1]).rstrip()


def _own(between: str, opening: str, known: dict[str, int], bos: str | None) -> str:
  """The end of an answer before the next question's own beginning; `opening`: what stands before
  the first question."""
  pieces = _split(between, known)
  first = next((i for i, piece in enumerate(pieces) if piece in known), None)
  if first is None:
    starts = (i for i in range(len(between)) if opening.endswith(between[i:].lstrip()))
    clean = (i for i in starts if not i or between[i - 1].isspace() or between[i - 1] in CLOSING)
    return between[: next(clean, 0)].rstrip()
  heads = [piece for piece in _split(opening, known) if piece in known and piece != bos]
  head = pieces[first] in (*heads[:1], bos) or not ''.join(pieces[first + 1 :]).strip()
  return ''.join(pieces[: first + (not head)]).rstrip()
