"""Conversations in which the user dictates: free English that is repeated word by word, values that
the small world does not have, whole answers in the user's own words."""

from rft_jax.data.smalltalk import english
from rft_jax.data.smalltalk.grammar import ELSEWHERE, Dialogue, Writer
from rft_jax.data.smalltalk.world import TAUGHT, Fact

DICTATED = (
  'No, say: {}',
  'Wrong. The right answer is: {}',
  'Please answer: {}',
  'Better: {}',
  'You should have said: {}',
)
"""Corrections that give the whole answer."""
REPEATED = (
  'Repeat after me: {}',
  'Say: {}',
  'Say "{}"',
  'Please write: {}',
  'Write this down: {}',
  'Copy this: {}',
)
ANYTHING = 'Write a sentence.', 'Say something.', 'Tell me anything.', 'Write something, please.'
VALUES = dict(
  capital='{name}',
  colour='{colour}',
  food='{food}',
  legs='{number}',
  job='{job}',
  room='room {number}',
  hours='{time}',
)
"""Of each kind those that the world does not have, as slots of `english`."""


class Dictation(Writer):
  """A fact of the kind 'free' is a request: key, what the user asks for; value, the answer."""

  turns = 40, 40, 20
  restyles, corrects = 0.1, 0.4

  def __init__(self, seed: int, split: str, index: int):
    super().__init__(seed, split, index)
    self.dictated: dict[tuple[str, str], str] = {}

  def sentence(self) -> str:
    return (english.blends if self.draw.random() < 0.3 else english.sentence)(self.draw)

  def topic(self) -> Fact:
    chance = self.draw.random()
    if chance < 0.08:
      text = self.draw.choice(ELSEWHERE).format(self.thing(), self.thing())
      return Fact('unknown', text, '', '')
    if chance < 0.4:
      text = self.sentence()
      request = self.draw.choice(REPEATED).format(text)
      return Fact('free', request if chance < 0.34 else self.draw.choice(ANYTHING), text, text)
    return super().topic()

  def question(self, one: Fact) -> str:
    return one.key if one.kind in ('free', 'unknown') and one.key else super().question(one)

  def typed(self, text: str) -> str:
    return text

  def told(self, one: Fact) -> bool:
    return (one.kind, one.key) in self.dictated or super().told(one)

  def answer(self, one: Fact) -> str:
    own = one.value if one.kind == 'free' else ''
    return self.dictated.get((one.kind, one.key), own) or super().answer(one)

  def wanted(self, one: Fact) -> dict[str, str]:
    if one.kind != 'free' and (one.kind, one.key) not in self.dictated:
      return super().wanted(one)
    return dict(kind='free', key=one.key, style='', value=self.messages[-1]['content'])

  def other(self, one: Fact) -> str:
    if self.draw.random() < 0.7:
      return super().other(one)
    return english.fill(self.draw, VALUES[one.kind])

  def slip(self, one: Fact) -> str:
    return self.sentence() if self.draw.random() < 0.3 else super().slip(one)

  def restyle(self, one: Fact, last: bool):
    """What is dictated has no style: another question, then."""
    if one.kind == 'free' or (one.kind, one.key) in self.dictated:
      self.ask(one, last)
    else:
      super().restyle(one, last)

  def correctable(self, one: Fact) -> bool:
    return one.kind != 'free'

  def correct(self, one: Fact, last: bool):
    if one.kind in TAUGHT and self.draw.random() < 0.5:
      self.dictated.pop((one.kind, one.key), None)
      super().correct(one, last)
    else:
      self.dictated[one.kind, one.key] = text = self.sentence()
      self.turn(one, self.draw.choice(DICTATED).format(text), last)


def dialogue(seed: int, index: int) -> Dialogue:
  """Conversation `index`, of the train split."""
  return Dictation(seed, 'train', index).write()
