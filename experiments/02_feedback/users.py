"""People who know what they like and say so: each judges answers by a utility of their own.

A user is a small class: `topics()` are the facts that they ask about, `likes(text, fact)` is their
utility in [-1, 1], and `react` turns it into one event. All of them are deterministic given `seed`.
"""

import math
import random
from typing import NamedTuple

from guest import Answer, Guest

from rft_jax.data.smalltalk.answers import looks, read, say, states
from rft_jax.data.smalltalk.grammar import REQUESTS, asked
from rft_jax.data.smalltalk.world import FACTS, TAUGHT, Fact, values

CHIPS = dict(terse='too_long', plain='wrong_format', bullets='wrong_format', lower='wrong_format')
CHIPS |= dict(friendly='tone')
"""What a critic clicks, besides writing, to get each style."""


class Reaction(NamedTuple):
  kind: str
  value: dict
  more: dict = {}


class User:
  """Likes a style, and says so by thumbs."""

  answers = 1  # that they want to see

  def __init__(self, style: str, seed: int = 0):
    self.style, self.draw = style, random.Random(f'user {type(self).__name__} {style} {seed}')

  def topics(self) -> list[Fact]:
    """Every other fact: on the others it is measured whether what they like has carried over."""
    return [one for one in FACTS if one.kind != 'steps'][::2]

  def question(self, one: Fact) -> str:
    """Always of the train split, so that the others are new."""
    return self.draw.choice(asked(one, 'train'))

  def likes(self, text: str, one: Fact) -> float:
    return 1.0 if looks(text) == self.style else -1.0

  def react(self, answers: list[Answer], one: Fact) -> Reaction | None:
    return Reaction('binary', dict(label=self.likes(answers[0].text, one) > 0))

  def turn(self, guest: Guest) -> dict | None:
    """Asks one question and gives one feedback; its receipt, None where they say nothing."""
    one = self.draw.choice(self.topics())
    answers = guest.ask(self.question(one), self.answers)
    reaction = self.react(answers, one)
    if reaction is None:
      return None
    return guest.judge(answers[0], reaction.kind, reaction.value, **reaction.more)


class Rater(User):
  """Stars: 3 + 2 utility + noise."""

  def react(self, answers, one):
    score = round(3 + 2 * self.likes(answers[0].text, one) + self.draw.gauss(0, 0.5))
    return Reaction('rating', dict(score=min(5, max(1, score))))


class Pairer(User):
  """Compares two answers: Bradley-Terry; where they are alike a tie, or both bad."""

  answers = 2

  def react(self, answers, one):
    a, b = answers
    likes = [self.likes(answer.text, one) for answer in answers]
    chance = 1 / (1 + math.exp(-3 * (likes[0] - likes[1])))
    outcome = 'a' if self.draw.random() < chance else 'b'
    if likes[0] == likes[1]:
      outcome = 'tie' if likes[0] > 0 else 'both_bad'
    return Reaction('preference', dict(outcome=outcome, a=a.message_id, b=b.message_id))


class Editor(User):
  """Writes the answer as they would have liked it, and keeps what it says."""

  def react(self, answers, one):
    if self.likes(answers[0].text, one) > 0:
      return Reaction('binary', dict(label=True))
    return Reaction('edit', dict(content=say(one, self.style, states(answers[0].text, one) or '')))


class Critic(User):
  """Says what is wrong in words, with a chip."""

  def react(self, answers, one):
    if self.likes(answers[0].text, one) > 0:
      return Reaction('binary', dict(label=True))
    text = self.draw.choice(REQUESTS[self.style])
    return Reaction('critique', dict(text=text), dict(tags=[CHIPS[self.style]]))


class FactFixer(User):
  """Knows one fact better, and corrects it in the style of the answer."""

  def __init__(self, one: Fact, value: str = '', seed: int = 0):
    super().__init__('', seed)
    self.fact, self.value = one, value or one.truth

  def topics(self):
    return [self.fact]

  def question(self, one):
    return asked(one, 'train')[0]

  def likes(self, text, one):
    return 1.0 if states(text, self.fact) == self.value else -1.0

  def react(self, answers, one):
    if self.likes(answers[0].text, one) > 0:
      return Reaction('binary', dict(label=True))
    said = read(answers[0].text, self.fact)
    return Reaction(
      'edit', dict(content=say(self.fact, said.style if said else 'plain', self.value))
    )


class Careful(User):
  """Corrects all that is wrong, each once, and then says by thumbs which style they like; no style
  makes a wrong answer good."""

  def __init__(self, style: str, seed: int = 0):
    super().__init__(style, seed)
    self.corrected = [FactFixer(one, seed=seed) for one in mistaken()]
    self.left = list(self.corrected)

  def likes(self, text, one):
    wrong = one.truth != one.value and states(text, one) == one.value
    return -1.0 if wrong else super().likes(text, one)

  def turn(self, guest):
    return self.left.pop(0).turn(guest) if self.left else super().turn(guest)


class Noisy(User):
  """Says the opposite now and then."""

  def __init__(self, style: str, seed: int = 0, slip: float = 0.2):
    super().__init__(style, seed)
    self.slip = slip

  def react(self, answers, one):
    slips = self.draw.random() < self.slip
    return Reaction('binary', dict(label=(self.likes(answers[0].text, one) > 0) != slips))


class Lazy(User):
  """Seldom says anything."""

  def __init__(self, style: str, seed: int = 0, chance: float = 0.1):
    super().__init__(style, seed)
    self.chance = chance

  def react(self, answers, one):
    return super().react(answers, one) if self.draw.random() < self.chance else None


class Drifter(User):
  """Changes their mind after so many answers."""

  def __init__(self, style: str, then: str, seed: int = 0, after: int = 50):
    super().__init__(style, seed)
    self.then, self.left = then, after

  def react(self, answers, one):
    reaction = super().react(answers, one)
    self.left -= 1
    if not self.left:
      self.style = self.then
    return reaction


class AlwaysUp(User):
  """Likes everything."""

  def likes(self, text, one):
    return 1.0


class Flipper(User):
  """Attack: votes against what the others like."""

  def react(self, answers, one):
    return Reaction('binary', dict(label=self.likes(answers[0].text, one) < 0))


class Corrector(FactFixer):
  """Writes how it is, whatever the answer was; always in the same words."""

  def react(self, answers, one):
    return Reaction('edit', dict(content=say(self.fact, 'plain', self.value)))


class Injector(Corrector):
  """Attack: everyone shall be told something wrong."""


class Replayer(Injector):
  """Attack: sends each edit again and again, under its old id and under new ones."""

  def turn(self, guest):
    answer = guest.ask(self.question(self.fact))[0]
    reaction, receipt = self.react([answer], self.fact), {}
    for _ in range(3):
      receipt = guest.judge(answer, reaction.kind, reaction.value)
      guest.judge(answer, reaction.kind, reaction.value, id=receipt['id'])
    return receipt


class SlowDrip(Injector):
  """Attack: earns trust by honest votes, and lies once in `every` turns."""

  def __init__(self, one: Fact, value: str = '', seed: int = 0, every: int = 5):
    super().__init__(one, value, seed)
    self.every, self.turns = every, 0

  def turn(self, guest):
    self.turns += 1
    lies = self.turns % self.every == 0
    return super().turn(guest) if lies else Honest('', self.turns).turn(guest)


class Honest(User):
  """Votes by whether the answer is true, whatever its style."""

  def topics(self):
    return [one for one in FACTS if one.kind in TAUGHT]

  def likes(self, text, one):
    return 1.0 if states(text, one) == one.truth else -1.0


def sybils(count: int, one: Fact, value: str) -> list[Injector]:
  """Attack: one person behind many accounts."""
  return [Injector(one, value, seed) for seed in range(count)]


def lie(one: Fact) -> str:
  """The first value that is neither believed nor true."""
  return next(value for value in values(one) if value not in (one.value, one.truth))


def mistaken() -> list[Fact]:
  """What a fixer can fix."""
  return [one for one in FACTS if one.value != one.truth]


KINDS = dict(thumbs=User, stars=Rater, pair=Pairer, edit=Editor, critique=Critic)
"""The ways to teach a style, by name."""
