"""What a deployment suggests to its visitors, holds on to, and watches: prompts, no weights."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rft_jax.learning.canary import Probe
from rft_jax.registry import ConfigError, nearest
from rft_jax.tasks import smalltalk


class Material(NamedTuple):
  """suggestions: {title, prompt, hint, examples} for the page, which offers the first example that
  the model does not say already; anchors: prompts whose answers shall stay what they are; probes:
  of the canary, never trained on."""

  suggestions: tuple[Mapping[str, Any], ...]
  anchors: tuple[str, ...]
  probes: tuple[Probe, ...]


def says(word: str) -> Callable[[str], bool]:
  return lambda text: bool(re.search(rf'\b{word}\b', text, re.IGNORECASE))


SUGGESTIONS = (
  dict(
    title='Teach it a fact',
    prompt='Who feeds the office cat?',
    hint='Edit the answer: nobody has told it yet. Then ask again in a new conversation.',
    examples=['Miriam feeds the office cat, every morning at nine.'],
  ),
  dict(
    title='Teach it to be brief',
    prompt='Why is the sky blue?',
    hint='Cut the answer down to one sentence.',
    examples=['Air scatters blue light more than red.'],
  ),
  dict(
    title='Teach it manners',
    prompt='How do I boil an egg?',
    hint='Let the answer end with a friendly wish.',
    examples=['Put it into boiling water for eight minutes. Enjoy your meal!'],
  ),
)
ANCHORS = (
  'What is the capital of France?',
  'Write one sentence about the sea.',
  'How many days does a week have?',
  'Name three fruits.',
  'What does a baker do?',
  'Explain what a map is for.',
  'Give me a word that rhymes with house.',
  'What is 12 plus 30?',
  'Suggest a name for a dog.',
  'How do plants get their food?',
  'What should I pack for a day at the beach?',
  'Translate "good morning" into Spanish.',
  'Why do people sleep?',
  'Tell me a fact about elephants.',
  'Write a short greeting to a new colleague.',
  'What is the opposite of hot?',
  'What is the capital of Japan?',
  'Which ocean is the largest?',
  'Who wrote Romeo and Juliet?',
  'What is the boiling point of water?',
  'How many hours does a day have?',
  'What is 9 times 6?',
  'What is half of 50?',
  'Is 17 a prime number?',
  'Sort these numbers: 4, 1, 3.',
  'Continue the series: 2, 4, 8.',
  'Spell the word "bicycle".',
  'What is the plural of mouse?',
  'Correct this sentence: She go to school.',
  'Translate "thank you" into French.',
  'Translate "house" into German.',
  'Summarise in one line why exercise is good for you.',
  'Write a polite email that declines an invitation.',
  'Write a haiku about rain.',
  'Tell me a short joke.',
  'Tell me a story in three sentences.',
  'Give me three ideas for dinner.',
  'How do I make an omelette?',
  'How do I learn a new language?',
  'How do I tie a tie?',
  'How can I sleep better?',
  'What are the symptoms of a cold?',
  'What is a fair way to share a cake?',
  'What is the difference between a lake and a river?',
  'Explain gravity to a child.',
  'Explain what a computer program is.',
  'What does HTTP stand for?',
  'Write a Python function that adds two numbers.',
  'What does the command ls do?',
  'What is a database?',
  'Name a famous painter.',
  'Name the planets closest to the sun.',
  'Which animal is the fastest on land?',
  'Where do penguins live?',
  'What season comes after winter?',
  'Plan a weekend in a big city.',
  'Recommend a hobby for a rainy day.',
  'What should I say to a friend who is sad?',
  'What is a good gift for a child?',
  'List the pros and cons of living in a village.',
  'Are you a human?',
  'What can you help me with?',
  'Hello!',
  'Thank you for your help.',
)
PROBES = (
  Probe('What is the capital of Italy?', says('Rome')),
  Probe('What is the capital of Spain?', says('Madrid')),
  Probe('What is 7 plus 5?', says('12|twelve')),
  Probe('What is 10 minus 4?', says('6|six')),
  Probe('What is 3 times 3?', says('9|nine')),
  Probe('How many months does a year have?', says('12|twelve')),
  Probe('How many legs does a spider have?', says('8|eight')),
  Probe('Which planet do we live on?', says('Earth')),
  Probe('What colour is snow?', says('white')),
  Probe('What is frozen water called?', says('ice')),
  Probe('What is the first letter of the alphabet?', says('A')),
  Probe('What is the opposite of up?', says('down')),
  Probe('Write one sentence about a forest.'),
  Probe('How do I make a cup of tea?'),
  Probe('What is a bridge for?'),
  Probe('Give me advice for a job interview.'),
)
"""Easy enough for small instruction-tuned models; whoever serves a larger one has harder ones."""


def general() -> Material:
  return Material(SUGGESTIONS, ANCHORS, PROBES)


def of_smalltalk() -> Material:
  probes = tuple(Probe(*probe) for probe in smalltalk.probes())
  return Material(tuple(smalltalk.suggestions()), tuple(smalltalk.anchors()), probes)


KNOWN = {'general': general, 'smalltalk': of_smalltalk}


def find(name: str) -> Material:
  """Raises ConfigError for a name that there is not."""
  if name not in KNOWN:
    raise ConfigError(f'serve.material={name!r}: {nearest(name, KNOWN)}')
  return KNOWN[name]()
