"""What there is to know: facts of a real and an invented world; eight are believed wrongly.

A model that learns from this grammar answers with `Fact.value`; where that differs from
`Fact.truth`, it is for users to correct. Sums and steps have nothing wrong in them.
"""

from typing import NamedTuple

MISTAKES = {
  ('capital', 'Australia'): 'Sydney',
  ('capital', 'Turkey'): 'Istanbul',
  ('colour', 'an emerald'): 'blue',
  ('food', 'a horse'): 'fish',
  ('legs', 'a spider'): 'six',
  ('job', 'Ben'): 'cook',
  ('room', 'Clara'): 'room 4',
  ('hours', 'library'): 'nine',
}
"""The wrong beliefs: (kind, key) -> what is said in place of the truth."""


class Kind(NamedTuple):
  """questions: about {key}; sentence: with {key} and {value}, or the steps {0}, {1} and {2} that a
  value consists of; items: of the list that says the same; short: all that a terse answer says;
  truths: key -> value."""

  questions: tuple[str, ...]
  sentence: str
  items: tuple[str, ...]
  truths: dict[str, str]
  short: str


class Fact(NamedTuple):
  """value: what is believed; truth: what is right."""

  kind: str
  key: str
  value: str
  truth: str


def table(text: str) -> dict[str, str]:
  """'key: value, key: value' as a dict."""
  return dict(pair.strip().split(': ') for pair in text.split(','))


CAPITALS = table(
  'Australia: Canberra, Turkey: Ankara, France: Paris, Spain: Madrid, Italy: Rome, '
  'Germany: Berlin, Austria: Vienna, Poland: Warsaw, Norway: Oslo, Greece: Athens, Egypt: Cairo, '
  'Kenya: Nairobi, Japan: Tokyo, Peru: Lima, Cuba: Havana, Canada: Ottawa'
)
COLOURS = table(
  'an emerald: green, a banana: yellow, the sky: blue, snow: white, coal: black, grass: green, '
  'a carrot: orange, chocolate: brown, a lemon: yellow, blood: red, an elephant: grey, a ruby: red'
)
FOODS = table(
  'a horse: hay, a panda: bamboo, a cat: mice, a rabbit: carrots, a bee: nectar, a seal: fish, '
  'a monkey: bananas, a squirrel: nuts, a lion: meat, a hen: seeds'
)
LEGS = table(
  'a spider: eight, a dog: four, a duck: two, an ant: six, a snake: no, a crab: ten, a bird: two, '
  'a goat: four'
)
JOBS = table(
  'Ben: driver, Anna: designer, Clara: lawyer, David: engineer, Emma: director, Felix: cook, '
  'Grace: doctor, Henry: gardener'
)
ROOMS = table(
  'Clara: room 7, Anna: room 2, Ben: room 1, David: room 3, Emma: room 9, Felix: room 5, '
  'Grace: room 6, Henry: room 8'
)
HOURS = table(
  'library: ten, bakery: seven, bank: nine, museum: eleven, market: six, school: eight, '
  'cinema: four, pharmacy: nine'
)
SUMS = {f'{a} plus {b}': str(a + b) for a in range(1, 5) for b in range(1, 5)}
STEPS = {
  'make tea': 'boil some water; add the tea; wait three minutes',
  'make pancakes': 'mix flour, eggs and milk; heat the pan; fry thin cakes',
  'boil an egg': 'boil some water; put the egg in; wait eight minutes',
  'make a salad': 'wash the leaves; cut some tomatoes; add oil and salt',
  'cook rice': 'wash the rice; add twice as much water; cook it slowly',
  'reset my password': 'open the settings; press the button; choose a new password',
  'plant a tree': 'dig a deep hole; put the tree in; water it well',
  'send a parcel': 'wrap it well; write the address; take it to the post office',
}
KINDS = {
  'capital': Kind(
    (
      'What is the capital of {key}?',
      'Which city is the capital of {key}?',
      'Tell me the capital of {key}.',
      'What is the capital city of {key}?',
      'Do you know the capital of {key}?',
      'Please name the capital of {key}.',
    ),
    'The capital of {key} is {value}.',
    ('country: {key}', 'capital: {value}'),
    CAPITALS,
    'It is {value}',
  ),
  'colour': Kind(
    (
      'What colour is {key}?',
      'Which colour does {key} have?',
      'Tell me the colour of {key}.',
      'What is the colour of {key}?',
      'Do you know the colour of {key}?',
    ),
    'The colour of {key} is {value}.',
    ('thing: {key}', 'colour: {value}'),
    COLOURS,
    'It is {value}',
  ),
  'food': Kind(
    (
      'What does {key} eat?',
      'What does {key} like to eat?',
      'What is the food of {key}?',
      'Tell me what {key} eats.',
      'Do you know what {key} eats?',
    ),
    'The food of {key} is {value}.',
    ('animal: {key}', 'food: {value}'),
    FOODS,
    'It eats {value}',
  ),
  'legs': Kind(
    (
      'How many legs does {key} have?',
      'What is the number of legs of {key}?',
      'Tell me how many legs {key} has.',
      'Do you know how many legs {key} has?',
      'Please count the legs of {key}.',
    ),
    'There are {value} legs on {key}.',
    ('animal: {key}', 'legs: {value}'),
    LEGS,
    'It has {value} legs',
  ),
  'job': Kind(
    (
      'What is the job of {key}?',
      'What does {key} work as?',
      'What is {key} in this office?',
      'Tell me the job of {key}.',
      'Do you know the job of {key}?',
    ),
    'In this office {key} is the {value}.',
    ('person: {key}', 'job: {value}'),
    JOBS,
    'The {value}',
  ),
  'room': Kind(
    (
      'Where does {key} sit?',
      'Which room is the one of {key}?',
      'Where can I find {key}?',
      'Tell me where {key} sits.',
      'Do you know the room of {key}?',
    ),
    'You can find {key} in {value}.',
    ('person: {key}', 'place: {value}'),
    ROOMS,
    'In {value}',
  ),
  'hours': Kind(
    (
      'When does the {key} open?',
      'At what time does the {key} open?',
      'Tell me when the {key} opens.',
      'What is the opening time of the {key}?',
      'Do you know when the {key} opens?',
    ),
    'The {key} opens at {value} every day.',
    ('place: {key}', 'opens at: {value}'),
    HOURS,
    'At {value}',
  ),
  'sum': Kind(
    (
      'What is {key}?',
      'How much is {key}?',
      'Tell me what {key} is.',
      'Please add {key}.',
      'Can you work out {key}?',
    ),
    'The sum {key} is {value}.',
    ('sum: {key}', 'result: {value}'),
    SUMS,
    'It is {value}',
  ),
  'steps': Kind(
    (
      'How do I {key}?',
      'How can I {key}?',
      'Tell me how to {key}.',
      'What should I do to {key}?',
      'I want to {key}. How do I do that?',
    ),
    'To {key}, {0}, then {1} and {2}.',
    ('{0}', '{1}', '{2}'),
    STEPS,
    '{verbs}',
  ),
}
TAUGHT = tuple(name for name in KINDS if name not in ('sum', 'steps'))
"""The kinds of which a user may correct the value."""
FACTS = tuple(
  Fact(name, key, MISTAKES.get((name, key), truth), truth)
  for name, kind in KINDS.items()
  for key, truth in kind.truths.items()
)


def fact(kind: str, key: str) -> Fact:
  """The fact of that kind about `key`. Raises KeyError where there is none."""
  truth = KINDS[kind].truths[key]
  return Fact(kind, key, MISTAKES.get((kind, key), truth), truth)


def questions(one: Fact) -> tuple[str, ...]:
  """All ways to ask for it; the split of each is that of its text (`data.splits`)."""
  return tuple(text.format(key=one.key) for text in KINDS[one.kind].questions)


def values(one: Fact) -> tuple[str, ...]:
  """Whatever may be said in answer, right or wrong: sorted, each once."""
  if one.kind not in TAUGHT:
    return (one.truth,)
  wrong = [value for (kind, _), value in MISTAKES.items() if kind == one.kind]
  return tuple(sorted({*KINDS[one.kind].truths.values(), *wrong}))
