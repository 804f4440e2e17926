"""Texts without regard to how they are typed."""

import unicodedata

# What a fold to compatible characters would turn into other numbers: 10⁵, H₂O, 2½.
KEPT = ('<super>', '<sub>', '<fraction>')


def normalised(text: str, prompt: str = '') -> str | None:
  """A text without regard to case, spacing and a final full stop; None for an empty one."""
  plain = ''.join(map(folded, unicodedata.normalize('NFC', text)))
  return ' '.join(unicodedata.normalize('NFC', plain).casefold().split()).rstrip('. ') or None


def answer(text: str, prompt: str = '') -> str | None:
  return normalised(spoken(text))


def spoken(text: str) -> str:
  """A text without what a model thinks before it answers."""
  return text.rpartition('</think>')[2]


def folded(letter: str) -> str:
  if letter.isascii() or unicodedata.decomposition(letter).startswith(KEPT):
    return letter
  return unicodedata.normalize('NFKC', letter)
