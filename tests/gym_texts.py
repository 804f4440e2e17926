"""Answers to questions of reasoning-gym in words, lists and moves, worked out from their text."""

import collections
import itertools
import json
import re
from decimal import Decimal

import gym_dates
import numpy as np
from gym_grids import tail
from gym_numbers import ANSWERS, answers, ints


@answers
def ab(q):
  tokens = re.findall(r'^[#AB ]+$', q, re.M)[-1].split()
  for i in range(len(tokens)):
    for j in range(i, 0, -1):  # a new token wanders to the left as far as it can
      left, right = tokens[j - 1 : j + 1] if j < len(tokens) else ('', '')
      if left.endswith('#') and right.startswith('#'):
        tokens[j - 1 : j + 1] = [] if left[0] == right[1] else [right, left]
        return ab(f'{q}\n{" ".join(tokens)}\n')
  return ' '.join(tokens)


@answers
def acre(q):
  seen = [(x.split(', '), state == 'on') for x, state in re.findall(r'^(.*) → (on|off)$', q, re.M)]
  asked = re.search(r'New test case:\n(.*)', q)[1].split(', ')
  dull = {thing for things, lit in seen if not lit for thing in things}
  left = sorted({thing for things, _ in seen for thing in things} | set(asked) - dull)
  cases = (
    set(itertools.compress(left, bits)) - dull
    for bits in itertools.product((0, 1), repeat=len(left))
  )
  fitting = {
    any(thing in case for thing in asked)
    for case in cases
    if all(any(thing in case for thing in things) == lit for things, lit in seen)
  }
  return 'undetermined' if len(fitting) > 1 else 'On' if fitting.pop() else 'off'


@answers
def base_conversion(q):
  source, number, target = re.search(r'base-(\d+) number (\w+) to base-(\d+)', digits(q)).groups()
  return np.base_repr(int(number, int(source)), int(target)).lower()


def digits(question: str) -> str:
  """With every base by its number."""
  names = dict(binary=2, octal=8, hexadecimal=16)
  for name, base in names.items():
    question = question.replace(f'{name} number', f'base-{base} number').replace(
      f'to {name}', f'to base-{base}'
    )
  return question


TURN = (
  r'(?:before at the|bring the|make the|place its|the) (front|right|back|left|bottom) '
  r'(?:is now|side to the|face the|side at the|side is rotated)'
)


@answers
def color_cube_rotation(q):
  at = {side: color for color, side in re.findall(r'- an? (\w+) (\w+) side', q)}
  opposite = dict(front='back', back='front', left='right', right='left')
  for side in re.findall(TURN, q.split('bottom side', 1)[1]):
    path = ['top', side, 'bottom', opposite.get(side)]
    if side == 'bottom':
      path = ['top', 'front', 'bottom', 'back']
    for _ in range(2 if side == 'bottom' else 1):
      at |= dict(zip(path, [at[path[1]], at[path[2]], at[path[3]], at[path[0]]], strict=True))
  return at[re.search(r'color of the (\w+) side', q)[1]].upper()


@answers
def course_schedule(q):
  before = [tuple(ints(pair)) for pair in re.findall(r'\(\d+, \d+\)', q)]
  left = set(itertools.chain(*before))
  while free := {c for c in left if not any(a == c and b in left for a, b in before)}:
    left -= free
  return str(not left)


@answers
def emoji_mystery(q):
  signs = [ord(c) for c in re.search(r'emoji: (\S+)', q)[1][1:]]
  return bytes(c - 0xFE00 if c <= 0xFE0F else c - 0xE0100 + 16 for c in signs).decode()


@answers
def family_relationships(q):
  story, question = q.rsplit('\n\n', 1)
  one, two = re.search(
    r'(?:What is|How is|What relation is) (\w+) (?:related )?to (\w+)', question
  ).groups()
  couples, children = [], {}
  for a, b, rest in re.findall(r'(\w+) is married to (\w+)\.((?: They have [^.]*\.)?)', story):
    couples.append({a, b})
    for child in re.findall(r'[A-Z]\w+', rest.replace('They', '')):
      children[child] = {a, b}
  spouse = lambda x: next((c - {x} for c in couples if x in c), set())
  parents = lambda x: children.get(x, set())
  up = set().union(*map(parents, parents(two))) if parents(two) else set()
  kinds = {
    ('mother', 'father'): one in parents(two),
    ('daughter', 'son'): two in parents(one),
    ('wife', 'husband'): two in spouse(one),
    ('sister', 'brother'): bool(parents(one)) and parents(one) == parents(two),
    ('grandmother', 'grandfather'): one in up,
    ('daughter-in-law', 'son-in-law'): any(two in parents(x) for x in spouse(one)),
  }
  pair = next(kind for kind, fits in kinds.items() if fits)
  return pair[one in MEN]


MEN = set(
  'James John Robert Michael William David Richard Joseph Thomas Charles Peter Daniel Matthew '
  'Christopher Andrew George Edward Benjamin Henry Samuel Alexander Oliver Jack Harry Jacob Noah '
  'Ethan Lucas Mason Logan Sebastian Theodore Owen Liam Aiden Kai Jayden Zion Phoenix Atlas Axel '
  'Ryder Finn'.split()
)


@answers
def isomorphic_strings(q):
  one, two = q.strip().split('\n')[-1].split()
  pairs = set(zip(one, two, strict=True))
  return str(len(pairs) == len(set(one)) == len(set(two)))


@answers
def mahjong_puzzle(q):
  hand = collections.Counter(re.search(r'initial cards (\w+)', q)[1])
  for new, gone in re.findall(r'Add an? (\w) card and remove an? (\w) card', q):
    runs = [{chr(ord(new) + k) for k in (a, a + 1, a + 2)} - {new} for a in (-2, -1, 0)]
    result = (
      'peng' if hand[new] > 1 else 'chi' if any(run <= set(+hand) for run in runs) else 'pass'
    )
    hand.update([new])
    hand.subtract([gone])
  return result


@answers
def needle_haystack(q):
  return re.search(rf'(\S+) {re.escape(re.search("Who (.*)[?] Reply", q)[1])}\. ', q)[1]


@answers
def number_filtering(q):
  verb, size, bound, listed = re.search(
    r'(Keep|Remove) all numbers (\w+) than (\S+) in this list: (\[.*\])', q
  ).groups()
  beyond = lambda x: (
    Decimal(x) > Decimal(bound) if size == 'larger' else Decimal(x) < Decimal(bound)
  )
  return json.dumps([x for x in re.findall(r"'(.*?)'", listed) if beyond(x) == (verb == 'Keep')])


@answers
def number_sorting(q):
  listed = re.search(r'order: (.*)', q)[1].split(', ')
  return json.dumps(sorted(listed, key=Decimal, reverse='descending' in q.split('\n')[0]))


@answers
def ransom_note(q):
  note, magazine = (
    collections.Counter(re.search(rf'{x}: (\w+)', q)[1]) for x in ('note', 'Magazine')
  )
  return str(note <= magazine)


@answers
def self_reference(q):
  said, fits = re.findall(r"Statement \d+: '(.*)'", q), 0
  for case in itertools.product((False, True), repeat=len(said)):
    fits += [holds(text, case) for text in said] == list(case)
  return str(fits)


def holds(text: str, case: tuple) -> bool:
  count = sum(case) if re.search(r'are true|of true', text) else len(case) - sum(case)
  if text.startswith('Either'):
    a, b = ints(text)[:2]
    return case[a - 1] != case[b - 1]
  if 'prime' in text:
    return count in (2, 3, 5, 7)
  if 'composite' in text:
    return count in (4, 6)
  n = ints(text)[0]
  return {'least': count >= n, 'most': count <= n, 'Exac': count == n}[
    re.search('least|most|Exac', text)[0]
  ]


@answers
def spell_backward(q):
  return q.strip().split()[-1][::-1]


@answers
def string_insertion(q):
  inserted = dict(ABCD='A', BCDE='B', CDEA='C', DEAB='D', EABC='E')
  return re.sub('|'.join(inserted), lambda m: m[0] + inserted[m[0]], tail(q, 'pattern: '))


@answers
def string_splitting(q):
  counts = dict(zip('ABC', ints(tail(q, 'Now, you have'))[:3], strict=True)) | dict.fromkeys(
    'XYZ', 0
  )
  return worked(counts, ['A>XXY', 'BB>X', 'CC>Y', 'BC>A', 'XY>Z'])


@answers
def string_synthesis(q):
  counts = dict(zip('ABC', ints(tail(q, 'Now, you have'))[:3], strict=True)) | dict.fromkeys(
    'abcxyz', 0
  )
  return worked(counts, ['ABC>a', 'AB>c', 'BC>b', 'CC>c', 'ac>xy', 'bb>z'])


def worked(counts: dict[str, int], rules: list[str]) -> str:
  """The first rule that applies, again and again; as many of each kind as there are then."""
  have = collections.Counter(counts)
  while rule := next((r for r in rules if collections.Counter(r.split('>')[0]) <= have), None):
    have = have - collections.Counter(rule.split('>')[0]) + collections.Counter(rule.split('>')[1])
  return ' '.join(str(have[name]) for name in counts)


@answers
def syllogism(q):
  said = re.findall(r'(All|No|Some) (\w+) are (not )?(\w+)', q)
  kinds = sorted({word for _, a, _, b in said for word in (a, b)})
  regions = [
    set(itertools.compress(kinds, bits)) for bits in itertools.product((0, 1), repeat=len(kinds))
  ]
  for mask in range(2 ** len(regions)):
    world = [region for i, region in enumerate(regions) if mask >> i & 1]
    truths = [stands(text, world) for text in said]
    if truths == [True, True, False]:
      return 'no'
  return 'yes'


def stands(said: tuple, world: list[set]) -> bool:
  quantity, a, negated, b = said
  found = [(b in region) != bool(negated) for region in world if a in region]
  return all(found) if quantity == 'All' else any(found) if quantity == 'Some' else not any(found)


@answers
def word_sequence_reversal(q):
  return ', '.join(tail(q, 'words: ').split(', ')[::-1])


@answers
def word_sorting(q):
  return ', '.join(sorted(tail(q, 'list: ').split(', '), reverse='in descending order' in q))


__all__ = ['ANSWERS', 'gym_dates']
