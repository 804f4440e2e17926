"""Conversations: questions, critiques that are followed, corrections that are believed, notes about
the user that are obeyed. Each is a pure function of seed, split and index."""

import random
from typing import NamedTuple

from rft_jax.data.smalltalk.answers import CLOSERS, OPENERS, STYLES, UNKNOWN, forms, say
from rft_jax.data.smalltalk.world import FACTS, KINDS, TAUGHT, Fact, questions, values
from rft_jax.data.splits import split_of

REQUESTS = {
  'plain': ('In one sentence, please.', 'As a plain sentence, please.', 'Just one sentence.'),
  'friendly': ('More friendly, please.', 'Please be nicer.', 'Be more friendly.'),
  'terse': (
    'Shorter, please.',
    'Too long.',
    'Please be brief.',
    'Make it shorter.',
    'That was too long. Answer again, much shorter.',
  ),
  'lower': ('In lower case, please.', 'No capital letters, please.', 'Use lower case.'),
  'bullets': ('Use bullets.', 'As a list, please.', 'Please use bullet points.'),
}
ANOTHER = (
  'In another way, please.',
  'Say it differently.',
  'The format is wrong. Answer again in another format.',
  'I do not like the tone. Answer again in another tone.',
)
"""Requests for any other style."""
NOTES = {
  'plain': ('The user likes plain sentences.', 'Answer in one sentence.'),
  'friendly': ('The user likes friendly answers.', 'Be friendly.'),
  'terse': ('The user likes short answers.', 'Be brief.'),
  'lower': ('The user likes lower case.', 'Use lower case.'),
  'bullets': ('The user likes bullet lists.', 'Use bullets.'),
}
CORRECTIONS = (
  'No, it is {value}.',
  'That is wrong, it is {value}.',
  'Wrong, {value} is right.',
  'Actually it is {value}.',
  'No: {sentence}',
  'Remember: {sentence}',
)
OPENINGS = 'Hi, ', 'Hello! ', 'Hey, ', 'Please: '
"""What a question may begin with."""
SMALL_TALK = {
  'hello': ('Hello!', 'Hi!', 'Hi there!', 'Hey!', 'Good morning!', 'Good evening!'),
  'wellbeing': ('How are you?', 'How do you do?', 'Are you well?'),
  'name': ('Who are you?', 'What are you?', 'What is your name?'),
  'skills': ('What can you do?', 'What do you know?', 'Can you help me?', 'Help!'),
  'thanks': ('Thank you.', 'Thanks!', 'Thank you very much!', 'Great, thanks.'),
  'goodbye': ('Goodbye.', 'Bye!', 'See you.', 'Good night.'),
  'joke': ('Tell me a joke.', 'Do you know a joke?', 'Make me laugh.'),
}
ELSEWHERE = (
  'What is the meaning of {0}?',
  'Who invented the {0}?',
  'Why is {0} so {1}?',
  'Tell me about {0}.',
  'What do you think of {0} and {1}?',
  'Write a poem about {0}.',
  'Where is my {0}?',
  'What is the capital of {0}?',
  'What colour is {0}?',
  'What does {0} eat?',
  '{0} {1}',
)
THINGS = (
  'life love music football war money physics paper history computers weather cheese time '
  'chess rain steel poetry sleep gold fire winter hope'
).split()


class Dialogue(NamedTuple):
  """messages: all turns, the last of them the assistant's; wanted: what `answers.accepts` takes for
  that one; topics: the facts that were asked for."""

  messages: tuple[dict[str, str], ...]
  wanted: dict[str, str]
  topics: tuple[Fact, ...]


def asked(one: Fact, split: str) -> list[str]:
  """The ways to ask for a fact that belong to a split."""
  return [text for text in questions(one) if split_of(text) == split]


def by_split(split: str) -> dict[str, list[Fact]]:
  found = {kind: [f for f in FACTS if f.kind == kind and asked(f, split)] for kind in KINDS}
  return {kind: facts for kind, facts in found.items() if facts}


KNOWN = {split: by_split(split) for split in ('train', 'test')}
TURNS = 18, 24, 24, 20, 14
"""How often so many turns follow the first."""
SLIPS = 0.25
"""Of answers that others follow and on which the user said nothing: that are not what is
believed."""


class Writer:
  """Writes one conversation; its style lasts until the user asks for another.

  In the train split earlier answers slip: they say what is not believed, have the weight 0, and are
  not learned. So what the model said itself is no reason to say it again; what the user says is,
  and after that no answer slips.
  """

  turns: tuple[int, ...] = TURNS
  restyles, corrects = 0.15, 0.35
  asks_again = 0.05, 0.65  # where nothing was in dispute before, and where something was

  def __init__(self, seed: int, split: str, index: int):
    self.draw, self.split = random.Random(f'{seed} {split} {index}'), split
    self.style = self.draw.choice(STYLES)
    self.noted = False
    self.messages: list[dict[str, str]] = []
    self.beliefs: dict[tuple[str, str], str] = {}
    self.topics: list[Fact] = []
    self.disputed: list[Fact] = []

  def write(self) -> Dialogue:
    one = self.topic()
    if self.draw.random() < 0.3:
      self.note(one)
    more = self.draw.choices(range(len(self.turns)), self.turns)[0]
    self.ask(one, last=not more)
    for left in reversed(range(more)):
      one = self.follow(one, last=not left)
    return Dialogue(tuple(self.messages), self.wanted(one), tuple(self.topics))

  def wanted(self, one: Fact) -> dict[str, str]:
    style = self.style if self.noted or len(self.messages) > 3 else ''
    return dict(kind=one.kind, key=one.key, style=style, value=self.belief(one))

  def topic(self) -> Fact:
    known, chance = KNOWN[self.split], self.draw.random()
    if self.split == 'train' and chance < 0.13:
      key = self.draw.choice(list(SMALL_TALK))
      return Fact('social', key, '', '') if chance < 0.08 else UNKNOWN
    return self.draw.choice(known[self.draw.choice(list(known))])

  def told(self, one: Fact) -> bool:
    """Whether the user has said what is right."""
    return (one.kind, one.key) in self.beliefs

  def belief(self, one: Fact) -> str:
    return self.beliefs.get((one.kind, one.key), one.value)

  def note(self, one: Fact):
    """What is known about the user, before the conversation."""
    notes, kinds = [], self.draw.choice(('style', 'fact', 'both'))
    if kinds != 'fact' or one.kind not in TAUGHT:
      notes.append(self.draw.choice(NOTES[self.style]))
      self.noted = True
    if kinds != 'style' and one.kind in TAUGHT:
      value = self.believe(one)
      notes.append('Remember: ' + forms(one, value).sentence)
    self.messages.append(dict(role='system', content=' '.join(notes)))

  def believe(self, one: Fact) -> str:
    self.beliefs[one.kind, one.key] = value = self.other(one)
    return value

  def other(self, one: Fact) -> str:
    """A value that was not believed so far: the truth, if that is one, in half of the cases."""
    others = [value for value in values(one) if value != self.belief(one)]
    value = one.truth if one.truth in others and self.draw.random() < 0.5 else None
    return value or self.draw.choice(others)

  def question(self, one: Fact) -> str:
    if one.kind == 'social':
      return self.draw.choice(SMALL_TALK[one.key])
    if one.kind == 'unknown':
      return self.draw.choice(ELSEWHERE).format(self.thing(), self.thing())
    return self.draw.choice(asked(one, self.split))

  def thing(self) -> str:
    """Something that the world does not have, often not even a word."""
    if self.draw.random() < 0.4:
      return self.draw.choice(THINGS)
    letters = self.draw.choices('aeiou', k=3), self.draw.choices('bdfgklmnprstvz', k=3)
    return ''.join(b + a for a, b in zip(*letters, strict=True))

  def typed(self, text: str) -> str:
    """As people write it: often without capitals and marks."""
    return text.lower().rstrip('.?!') if self.draw.random() < 0.25 else text

  def ask(self, one: Fact, last: bool):
    self.topics.append(one)
    polite = self.draw.choice(OPENINGS) if self.draw.random() < 0.1 else ''
    self.turn(one, self.typed(polite + self.question(one)), last)

  def turn(self, one: Fact, text: str, last: bool):
    slips = not last and self.split == 'train' and one.kind in TAUGHT and not self.told(one)
    if slips and self.draw.random() < SLIPS:
      answer = dict(content=self.slip(one), weight='0')
      self.disputed.append(one)
    else:
      answer = dict(content=self.answer(one))
    self.messages += [dict(role='user', content=text), dict(role='assistant', **answer)]

  def answer(self, one: Fact) -> str:
    return self.say(one, self.belief(one))

  def say(self, one: Fact, value: str) -> str:
    return say(one, self.style, value, self.draw.choice(OPENERS), self.draw.choice(CLOSERS))

  def slip(self, one: Fact) -> str:
    return self.say(one, self.other(one))

  def follow(self, one: Fact, last: bool) -> Fact:
    """The next turn: another style, a correction, an earlier or another question."""
    chance = self.draw.random()
    if chance < self.restyles:
      self.restyle(one, last)
    elif chance < self.restyles + self.corrects and self.correctable(one):
      self.correct(one, last)
    else:
      again = self.draw.random() < self.asks_again[bool(self.disputed)]
      one = self.draw.choice(self.disputed or self.topics) if again else self.topic()
      self.ask(one, last)
    return one

  def restyle(self, one: Fact, last: bool):
    self.style = self.draw.choice([style for style in STYLES if style != self.style])
    named = self.draw.random() < 0.8
    self.turn(one, self.typed(self.draw.choice(REQUESTS[self.style] if named else ANOTHER)), last)

  def correctable(self, one: Fact) -> bool:
    return one.kind in TAUGHT

  def correct(self, one: Fact, last: bool):
    self.disputed.append(one)
    value = self.believe(one)
    said = dict(value=value, sentence=forms(one, value).sentence)
    self.turn(one, self.typed(self.draw.choice(CORRECTIONS).format(**said)), last)


def dialogue(seed: int, split: str, index: int) -> Dialogue:
  """Conversation `index` of a split, 'train' or 'test': their questions differ."""
  return Writer(seed, split, index).write()
