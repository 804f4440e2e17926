"""English beyond the small world: sentences of templates, and odd words, numbers and marks.

Nobody asks what they mean. They are repeated and dictated, so that the model can write what its
users write.
"""

import random
import string
from collections.abc import Callable

from rft_jax.data.smalltalk.words import LISTS, SENTENCES

WORDS = sorted({word for words in LISTS.values() for word in words})
VOWELS, CONSONANTS = 'aeiouy', 'bcdfghjklmnpqrstvwxz'
ACCENTED = 'éèüöäñçßåøłîôšžČÉÜА你日🙂€£°–—…“”’'


def sentence(draw: random.Random) -> str:
  """Some sentence, at times without its capital or with another end."""
  text = fill(draw, draw.choice(SENTENCES))
  if draw.random() < 0.94:
    text = text[:1].upper() + text[1:]
  if draw.random() < 0.15:
    text = text.rstrip('.!?') + draw.choice(('', '!', '...', '?', ' :)', ', of course.'))
  return text


def fill(draw: random.Random, template: str) -> str:
  """A template with something else in each {slot}."""
  parts = template.split('{')
  text = parts[0]
  for part in parts[1:]:
    slot, _, rest = part.partition('}')
    text += SLOTS[slot](draw) + rest
  return text


def odd(draw: random.Random) -> str:
  """A text that is no English: letters, digits and marks in any order."""
  letters = string.ascii_letters
  pieces = letters, letters, string.digits, string.punctuation, ACCENTED
  words = draw.randint(1, 4)
  return ' '.join(
    ''.join(draw.choice(draw.choice(pieces)) for _ in range(draw.randint(1, 6)))
    for _ in range(words)
  )


def word(draw: random.Random) -> str:
  """A word that may not exist."""
  syllable = lambda: (
    draw.choice(CONSONANTS)
    + draw.choice(('', '', 'r', 'l', 'h'))
    + draw.choice(VOWELS)
    + draw.choice(('', '', 'n', 's', 't', 'r', 'll', 'm', 'ck'))
  )
  return ''.join(syllable() for _ in range(draw.randint(1, 3)))


def blends(draw: random.Random) -> str:
  """Words that do not exist, each of parts of two that do: so that every part of a word is learned
  apart from the others."""
  return ' '.join(blend(draw) for _ in range(draw.randint(1, 8)))


def blend(draw: random.Random) -> str:
  start, end = draw.choice(WORDS), draw.choice(WORDS)
  return start[: draw.randint(1, len(start))] + end[draw.randrange(len(end)) :]


def name(draw: random.Random) -> str:
  known = draw.choice(('name', 'place'))
  return draw.choice(LISTS[known]) if draw.random() < 0.7 else word(draw).capitalize()


def time(draw: random.Random) -> str:
  hour, minute = draw.randint(0, 23), draw.choice((0, 5, 10, 15, 20, 30, 40, 45, 50, 59))
  forms = (
    f'{hour}:{minute:02}',
    f'{hour:02}:{minute:02}',
    f'{hour % 12 + 1} {draw.choice(("am", "pm", "a.m.", "p.m."))}',
    f'half past {draw.choice(LISTS["count"])}',
    f'quarter to {draw.choice(LISTS["count"])}',
    draw.choice(LISTS['count']),
    draw.choice(('noon', 'midnight', 'dawn', 'sunset')),
  )
  return draw.choice(forms)


def number(draw: random.Random) -> str:
  size = draw.choice((10, 100, 1000, 10_000, 10_000_000))
  value = draw.randrange(size)
  return draw.choice(
    (str(value), f'{value:,}', f'{value / 100:.2f}', f'{value / 10:.1f}', str(value))
  )


def date(draw: random.Random) -> str:
  day, month = draw.randint(1, 28), draw.choice(LISTS['month'])
  year = draw.randint(1850, 2040)
  forms = f'{day} {month}', f'{month} {day}', f'{day} {month} {year}', str(year)
  return draw.choice((*forms, f'{year}-{draw.randint(1, 12):02}-{day:02}'))


def plural(noun: str) -> str:
  if noun.endswith(('s', 'x', 'ch', 'sh')):
    return noun + 'es'
  return noun[:-1] + 'ies' if noun.endswith('y') and noun[-2] not in VOWELS else noun + 's'


def article(draw: random.Random) -> str:
  """'a' or 'an' with a noun, at times with an adjective."""
  noun = draw.choice(LISTS['noun'])
  text = f'{draw.choice(LISTS["adj"])} {noun}' if draw.random() < 0.4 else noun
  return f'{"an" if text[0] in "aeiou" else "a"} {text}'


def listed(kind: str) -> Callable[[random.Random], str]:
  return lambda draw: draw.choice(LISTS[kind])


SLOTS: dict[str, Callable[[random.Random], str]] = {kind: listed(kind) for kind in LISTS}
SLOTS |= dict(name=name, time=time, number=number, date=date, word=word, odd=odd, a=article)
SLOTS |= dict(nouns=lambda draw: plural(draw.choice(LISTS['noun'])))
