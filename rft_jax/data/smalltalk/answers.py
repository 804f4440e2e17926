"""How an answer may look, and what a text says: the ground truth about style and facts.

Five styles are equally good. A plain answer has at least five words, a terse one at most four.
"""

import functools
import re
from typing import NamedTuple

from rft_jax.data.smalltalk.world import KINDS, Fact, values

STYLES = 'plain', 'friendly', 'terse', 'lower', 'bullets'
OPENERS = 'Good question!', 'Happy to help!'
CLOSERS = 'Have a lovely day!', 'Ask me any time!'
TERSE = 4  # words


class Forms(NamedTuple):
  """What an answer says: in a sentence, in a few words, as the items of a list."""

  sentence: str
  short: str
  items: tuple[str, ...]


class Said(NamedTuple):
  style: str
  value: str


UNKNOWN = Fact('unknown', '', '', '')
"""What a question about anything else is answered with."""
SOCIAL = {
  'hello': Forms(
    'Hello, what would you like to know?', 'Hello.', ('hello', 'what would you like to know?')
  ),
  'wellbeing': Forms(
    'I am very well, and how are you?', 'Very well.', ('me: very well', 'and you?')
  ),
  'name': Forms(
    'I am a small model that learns from you.', 'A small model.', ('a small model', 'I learn')
  ),
  'skills': Forms(
    'You can ask me about capitals, colours, animals, people, opening times, sums and recipes.',
    'Small facts and sums.',
    ('capitals and colours', 'animals and people', 'sums and recipes'),
  ),
  'thanks': Forms(
    'You are welcome, and come back soon.', 'Welcome.', ('welcome', 'come back soon')
  ),
  'goodbye': Forms('Goodbye, and see you very soon.', 'Bye.', ('goodbye', 'see you soon')),
  'joke': Forms(
    'A bee called, but nobody could hear more than a hum.',
    'Bees hum.',
    ('a bee called', 'it hummed'),
  ),
}
NOTHING = Forms(
  'I do not know that yet, but you can teach me.', 'No idea.', ('I do not know', 'please teach me')
)


def forms(one: Fact, value: str) -> Forms:
  """What is said about a fact where `value` is believed."""
  if one.kind == 'unknown':
    return NOTHING
  if one.kind == 'social':
    return SOCIAL[one.key]
  kind, steps = KINDS[one.kind], value.split('; ')
  verbs = ', '.join(step.split()[0] for step in steps)
  fill = lambda text: text.format(*steps, key=one.key, value=value, verbs=verbs)
  return Forms(
    capital(fill(kind.sentence)), capital(fill(kind.short)) + '.', tuple(map(fill, kind.items))
  )


def capital(text: str) -> str:
  return text[:1].upper() + text[1:]


def say(one: Fact, style: str, value: str = '', opener: str = '', closer: str = '') -> str:
  """The answer in that style; value: '' for what is believed; opener and closer: of a friendly
  one, '' for the first."""
  form = forms(one, value or one.value)
  if style == 'bullets':
    return '\n'.join(f'- {item}' for item in form.items)
  if style == 'friendly':
    return f'{opener or OPENERS[0]} {form.sentence} {closer or CLOSERS[0]}'
  if style == 'lower':
    return form.sentence.lower().removesuffix('.')
  return form.short if style == 'terse' else form.sentence


@functools.lru_cache(maxsize=4096)
def wordings(one: Fact) -> dict[str, Said]:
  """Every answer of the grammar to a question about the fact, whatever is believed."""
  found = {}
  for value in {*values(one), one.value} if one.kind in KINDS else ('',):
    for style in STYLES:
      for opener in OPENERS if style == 'friendly' else ('',):
        for closer in CLOSERS if style == 'friendly' else ('',):
          found[say(one, style, value, opener, closer)] = Said(style, value)
  return found


def read(text: str, one: Fact) -> Said | None:
  """The style and the value of an answer of the grammar; None for any other text."""
  return wordings(one).get(text)


def looks(text: str) -> str:
  """The style that any text has by its looks; '' for an empty one."""
  lines = text.strip().split('\n')
  if not text.strip():
    return ''
  if len(lines) > 1 and all(line.startswith('- ') for line in lines):
    return 'bullets'
  if text.strip().endswith(CLOSERS):
    return 'friendly'
  if len(text.split()) <= TERSE:
    return 'terse'
  return 'lower' if text == text.lower() else 'plain'


def states(text: str, one: Fact) -> str | None:
  """The only value of the fact's kind that a text names, however it is worded; None where it names
  none or several."""
  rest = re.sub(rf'\b{re.escape(one.key.lower())}\b', ' ', text.lower())
  named = {v for v in values(one) if re.search(rf'(?<!\w){re.escape(v.lower())}(?!\w)', rest)}
  return named.pop() if len(named) == 1 else None


def accepts(completion: str, wanted: dict[str, str]) -> bool:
  """Whether it is an answer of the grammar. wanted: `kind`, `key` of the fact, and the `style` and
  `value` that it must have, '' for any."""
  kind, key = wanted['kind'], wanted['key']
  if kind == 'free':
    return completion == wanted['value']
  truth = KINDS[kind].truths[key] if kind in KINDS else ''
  said = read(completion, Fact(kind, key, wanted['value'] or truth, truth))
  if said is None:
    return False
  return wanted['style'] in ('', said.style) and wanted['value'] in ('', said.value)


def verify(completion: str, example) -> float:
  """1.0 for an answer that `accepts` takes. `example.answer` is what `grammar.wanted` wrote."""
  return float(accepts(completion, example.answer))
