"""When two texts say the same: pairs in seven scripts, and what holds for any text."""

import itertools
import json
import random
import unicodedata
from pathlib import Path

import pytest

from rft_jax.feedback.sameness import context, fingerprint, folded, form

PAIRS = json.loads((Path(__file__).parent / 'data' / 'agreement_pairs.json').read_text())
SIGNS = '+-*/=<>^%±#$&|~'
TEXTS = sorted({pair[side] for pair in PAIRS for side in 'ab'})


@pytest.mark.parametrize('script', sorted({pair['script'] for pair in PAIRS}))
def test_pairs_are_the_same_or_different_as_people_read_them(script):
  pairs = [pair for pair in PAIRS if pair['script'] == script]
  wrong = [p for p in pairs if (fingerprint(p['a']) == fingerprint(p['b'])) != p['same']]
  assert not wrong and {pair['same'] for pair in pairs} == {True, False}


def test_there_are_enough_pairs():
  assert len(PAIRS) >= 200 and len({pair['script'] for pair in PAIRS}) >= 5


def typed(text: str, noise: random.Random) -> str:
  """The same text as somebody else types it."""
  ways = [
    lambda t: unicodedata.normalize('NFD', t),
    lambda t: unicodedata.normalize('NFC', t),
    lambda t: f'  {t} ',
    lambda t: t.replace(' ', noise.choice(['  ', '\u00a0', '\n', ' \u2009'])),
    lambda t: t.replace("'", '’') if "'" not in (t[:1], t[-1:]) else t,
    lambda t: ''.join(chr(ord(c) + 0xFEE0) if c in 'abcxyz0123456789?!' else c for c in t),
    lambda t: f'\u200b{t}\ufeff',
  ]
  for way in noise.sample(ways, 3):
    text = way(text)
  return text


@pytest.mark.parametrize('seed', range(5))
def test_how_a_text_is_typed_does_not_matter(seed):
  noise = random.Random(seed)
  wrong = [t for t in TEXTS if t.strip() and fingerprint(typed(t, noise)) != fingerprint(t)]
  assert not wrong


@pytest.mark.parametrize('seed', range(5))
def test_signs_and_digits_are_never_folded_away(seed):
  noise = random.Random(seed)
  for _ in range(300):
    left, right = (str(noise.randrange(100)) for _ in range(2))
    one, other = noise.sample([*SIGNS, '.', ',', ' ', ''], 2)
    assert fingerprint(f'{left}{one}{right}') != fingerprint(f'{left}{other}{right}')
    assert fingerprint(f'{one}{left}x') != fingerprint(f'{other}{left}x') or not (
      {one, other} & set(SIGNS)
    )


def test_what_is_folded_stays_folded():
  """So sameness is an equivalence: reflexive, symmetric and transitive."""
  assert [t for t in TEXTS if folded(folded(t)) != folded(t)] == []


def test_a_question_is_not_the_same_after_something_else():
  turns = [('user', 'Hi'), ('assistant', 'Hello'), ('user', 'Why?')]
  found = [
    context('', turns),
    context('', turns[2:]),
    context('Be rude.', turns),
    context('', [turns[0], ('assistant', 'Go away'), turns[2]]),
    context('', [('assistant', 'Hi'), *turns[1:]]),
    context('', [('user', 'Hi\nHello\nWhy?')]),
    context('user', [('user', 'Why?')]),
  ]
  assert len(set(found)) == len(found)
  assert context(' ', [('user', ' why ')]) == context('', [('user', 'Why？')])


def test_a_form_keeps_case_and_punctuation():
  forms = ['Paris.', 'paris.', 'Paris', 'Paris!', '"Paris."', 'Pa\u200bris.']
  assert all(form(a) != form(b) for a, b in itertools.combinations(forms, 2))
  assert form(' cafe\u0301\n') == form('café')
