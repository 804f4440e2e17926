"""Answers in words that logic decides: worked out from the question, by trying every case."""

import itertools
import re

SENTENCE = r'(All|No|Some) (\S+) are (not )?(\S+)'
IN_LAW = ('mother-in-law', 'father-in-law')
PARENTS = {'niece': 'aunt', 'nephew': 'uncle'}


def follows(found: dict) -> str | None:
  """Whether a conclusion holds wherever the premises do. Left out where that depends on whether a
  kind may have no members: 'All A are B' may or may not say that there is an A."""
  facts = found['metadata']
  texts = [facts['premise1'], facts['premise2'], facts['conclusion']]
  *premises, conclusion = [found_in(SENTENCE, text) for text in texts]
  kinds = sorted({kind for said in (*premises, conclusion) for kind in (said[1], said[3])})
  readings = {valid(premises, conclusion, kinds, filled) for filled in (False, True)}
  return None if len(readings) > 1 else 'Yes' if readings.pop() else 'No'


def valid(premises: list, conclusion: tuple, kinds: list[str], filled: bool) -> bool:
  """filled: every kind has members."""
  beings = list(itertools.product((False, True), repeat=len(kinds)))
  for chosen in itertools.product((False, True), repeat=len(beings)):
    world = [
      dict(zip(kinds, b, strict=True)) for b, there in zip(beings, chosen, strict=True) if there
    ]
    if filled and not all(any(being[kind] for being in world) for kind in kinds):
      continue
    if all(holds(said, world) for said in premises) and not holds(conclusion, world):
      return False
  return True


def holds(said: tuple, world: list[dict[str, bool]]) -> bool:
  quantifier, subject, negated, predicate = said
  values = [being[predicate] != bool(negated) for being in world if being[subject]]
  return {'All': all(values), 'No': not any(values), 'Some': any(values)}[quantifier]


def roles(found: dict) -> dict | None:
  """Who is what, in the form asked for; left out unless exactly one answer fits."""
  facts = found['metadata']
  people, terms = len(facts['names']), facts['knight_knave_terms']
  fitting = [
    case
    for case in itertools.product((True, False), repeat=people)
    if all(case[i] == true(said, case) for i, said in enumerate(facts['statements']))
  ]
  if len(fitting) != 1:
    return None
  said = [
    f'{name} is {terms["a_knight" if knight else "a_knave"]}'
    for name, knight in zip(facts['names'], fitting[0], strict=True)
  ]
  answer = ', '.join(said[:-1]) + f', and {said[-1]}' if people > 1 else said[0]
  return {'answer': answer}


def true(said: tuple, case: tuple[bool, ...]) -> bool:
  name, *parts = said
  if name in ('telling-truth', 'lying'):
    return case[parts[0]] == (name == 'telling-truth')
  values = [true(part, case) for part in parts]
  return {
    'not': lambda: not values[0],
    'and': lambda: all(values),
    'or': lambda: any(values),
    '->': lambda: not values[0] or values[1],
    '<=>': lambda: values[0] == values[1],
  }[name]()


def same_roles(text: str, problem: dict) -> bool:
  return claims(text) == claims(problem['answer'])


def claims(text: str) -> list[tuple[str, str]]:
  """(name, role), in order; a final full stop, 'a' or 'an' and 'and' make no difference."""
  parts = re.split(r', and |, | and ', text.removesuffix('.'))
  pairs = [found_in(r'(\w+) is an? (\w+)', part) for part in parts]
  return [(name, role.lower()) for name, role in pairs]


def found_in(pattern: str, text: str) -> tuple[str, ...]:
  """The groups of a pattern that is the whole text. Raises ValueError where it is not."""
  match = re.fullmatch(pattern, text, re.S)
  if not match:
    raise ValueError(f'{text[:40]!r} is not of the form {pattern}')
  return match.groups()


def relation(found: dict) -> dict | None:
  """What the first is to the second. The library names what the second is to the first for
  parents-in-law, and takes the other's sex for nieces and nephews."""
  facts = found['metadata']
  stored, person = facts['relationship'], facts['person1']
  if stored not in (*IN_LAW, *PARENTS):
    return {'answer': stored}
  male = person in names(found, 'male_names')
  if male == (person in names(found, 'female_names')):
    return None
  if stored in IN_LAW:
    return {'answer': 'son-in-law' if male else 'daughter-in-law'}
  return {'answer': 'nephew' if male else 'niece'}


def names(found: dict, option: str) -> list[str]:
  from reasoning_gym.graphs.family_relationships import FamilyRelationshipsConfig

  return found['options'].get(option) or getattr(FamilyRelationshipsConfig(), option)


def siblings(found: dict) -> str | None:
  """Left out: a brother of somebody who is not introduced, and colleagues in two circles, whom the
  library counts in one."""
  for pattern in (
    r'(\w+) has \d+ brothers? and she also has (\d+) sisters?. How many sisters does \1\'s brother',
    r'(\w+) has \d+ male friends and she also has (\d+) female friends. They all are friends .* How'
    r' many female friends does \w+, a male friend of \1,',
  ):
    if match := re.match(pattern, found['question'], re.S):
      return str(int(match[2]) + 1)
  return None


def called(found: dict) -> str:
  """The result of the last round, by the rules of the question."""
  cards = list(*found_in(r'.*initial cards ([A-Z]+).*', found['question']))
  result = ''
  for round_ in found['metadata']['rounds']:
    new, gone = round_['add'], round_['remove']
    near = [chr(ord(new) + step) in cards for step in (-2, -1, 1, 2)]
    chi = (near[0] and near[1]) or (near[1] and near[2]) or (near[2] and near[3])
    result = 'Peng' if cards.count(new) >= 2 else 'Chi' if chi else 'Pass'
    cards.append(new)
    cards.remove(gone)
  return result


def letters(found: dict) -> str | None:
  """Left out where it matters whether a capital is the same letter."""
  facts = found['metadata']
  text, letter = ' '.join(facts['span']), facts['target_letter']
  return str(text.count(letter)) if text.count(letter) == text.lower().count(letter) else None


def rewritten(found: dict) -> str | None:
  """Left out where a rule meets the string that it is misapplied to."""
  facts = found['metadata']
  rule = "If the string prefix is 'cb', replace it with 'aa' and delete the last character."
  met = 'cb' in facts['states'] and rule in facts['selected_rules']
  return None if met else found['answer']


def needle(found: dict) -> str | None:
  """Left out where two people fit."""
  (asked,) = found_in(r'Who (.*)\? Reply.*', found['metadata']['question'])
  return found['answer'] if found['question'].count(f' {asked}. ') == 1 else None


def kept(found: dict) -> dict:
  """The numbers that pass, as they are spelled."""
  from fractions import Fraction

  facts = found['metadata']
  bound, (verb, size) = Fraction(facts['filter_value']), facts['operation'].split('_')
  beyond = lambda x: x > bound if size == 'larger' else x < bound
  passing = [n for n in facts['original_numbers'] if beyond(Fraction(n)) == (verb == 'keep')]
  return {'answer': str(passing)}
