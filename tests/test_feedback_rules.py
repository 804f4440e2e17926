"""What a feedback must be (schema) and which may teach whom (gates)."""

import json
import math

import pytest
from talk import START_US, feedback, payload

from rft_jax.feedback import gates
from rft_jax.feedback.gates import Rules, Vote
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import Event, User
from rft_jax.feedback.schema import Invalid, canonical, validate

TARGET, OTHER = uuid7(), uuid7()
GOOD = [
  ('binary', {'label': False}),
  ('rating', {'score': 5}),
  ('preference', {'outcome': 'both_bad', 'a': TARGET, 'b': OTHER}),
  ('edit', {'content': 'e\u0301 \u200f\U0001f600'}),
  ('critique', {'text': "'; DROP TABLE user; --"}),
  ('reward', {'reward': -1}),
]
BAD = [
  ('binary', {'label': 'true'}),
  ('binary', {'label': 1}),
  ('binary', {'label': None}),
  ('binary', {}),
  ('binary', {'label': True, 'more': 1}),
  ('rating', {'score': 0}),
  ('rating', {'score': 6}),
  ('rating', {'score': 2.5}),
  ('rating', {'score': True}),
  ('rating', {'score': '5'}),
  ('preference', {'outcome': 'c', 'a': TARGET, 'b': OTHER}),
  ('preference', {'outcome': ['a'], 'a': TARGET, 'b': OTHER}),
  ('preference', {'outcome': 'a', 'a': TARGET, 'b': TARGET}),
  ('preference', {'outcome': 'a', 'a': OTHER, 'b': TARGET}),
  ('preference', {'outcome': 'a', 'a': TARGET}),
  ('edit', {'content': ''}),
  ('edit', {'content': ' \n\t\u3000'}),
  ('edit', {'content': '\u200b\ufeff'}),
  ('edit', {'content': 'x' * 33_000}),
  ('edit', {'content': 'a\0b'}),
  ('edit', {'content': 'a\ud800b'}),
  ('critique', {'text': ' '}),
  ('reward', {'reward': 1.01}),
  ('reward', {'reward': math.nan}),
  ('reward', {'reward': math.inf}),
  ('reward', {'reward': True}),
  ('nothing', {}),
  (['binary'], {'label': True}),
  ('binary', [True]),
]


@pytest.mark.parametrize('kind, value', GOOD)
def test_each_kind_has_its_value(kind, value):
  given = validate(json.loads(json.dumps(payload(TARGET, kind, value))))
  assert given.value == value and given.kind == kind


@pytest.mark.parametrize('kind, value', BAD)
def test_nothing_else_is_a_value(kind, value):
  with pytest.raises(Invalid) as error:
    validate(payload(TARGET, kind, value))
  assert error.value.param


@pytest.mark.parametrize(
  'change',
  [
    {'id': 'x'},
    {'id': TARGET.upper()},
    {'id': None},
    {'target': TARGET},
    {'target': {}},
    {'target': {'message_id': '../../etc/passwd'}},
    {'comment': 3},
    {'tags': 'tone'},
    {'tags': ['x'] * 9},
    {'tags': ['']},
    {'shown_ms': -1},
    {'shown_ms': 1.5},
    {'shown_ms': True},
    {'supersedes': 'x'},
    {'feedback_token': ''},
    {'weight': 10},
  ],
)
def test_every_field_is_checked(change):
  with pytest.raises(Invalid):
    validate({**payload(TARGET), **change})


@pytest.mark.parametrize('body', [None, [], 'x', 3, {}])
def test_a_body_is_an_object_with_its_fields(body):
  with pytest.raises(Invalid):
    validate(body)


def test_the_hash_forgets_the_token_and_the_order_but_nothing_else():
  body = payload(TARGET, 'rating', {'score': 3}, comment='c')
  same = {**dict(reversed(body.items())), 'feedback_token': 'renewed', 'tags': []}
  assert validate(body).sha256() == validate(same).sha256()
  for change in ({'comment': 'd'}, {'shown_ms': 5}, {'value': {'score': 4}}, {'tags': ['x']}):
    assert validate({**body, **change}).sha256() != validate(body).sha256()


def test_canonical_json_is_one_form():
  assert canonical({'b': 1, 'a': 'é'}) == '{"a":"é","b":1}'
  assert str(validate(payload(TARGET, 'reward', {'reward': -0.0})).value['reward']) == '0.0'
  with pytest.raises(ValueError):
    canonical(math.nan)


def judged(kind='binary', value=None, original='An answer.', finish='stop', **more):
  given = feedback(TARGET, kind, value, **more)
  return gates.personal(given, original, finish, Rules())


@pytest.mark.parametrize(
  'verdict, state, reason',
  [
    (judged(), 'ok', None),
    (judged(shown_ms=300), 'ok', None),
    (judged(shown_ms=299), 'quarantined', 'unread'),
    (judged(finish='abort'), 'rejected', 'incomplete'),
    (judged(finish='length'), 'ok', None),
    (judged('edit', {'content': 'An answer.'}), 'rejected', 'unchanged'),
    (judged('edit', {'content': 'x' * 200}), 'ok', None),
    (judged('edit', {'content': 'x' * 201}), 'quarantined', 'swollen'),
    (judged('edit', {'content': 'x' * 400}, 'y' * 100), 'ok', None),
    (judged('edit', {'content': 'x' * 401}, 'y' * 100), 'quarantined', 'swollen'),
  ],
)
def test_plausibility(verdict, state, reason):
  assert verdict.state == state
  assert [r.split(':')[0] for r in verdict.reasons] == ([reason] if reason else [])


@pytest.mark.parametrize(
  'secret',
  [
    'write to ada.lovelace@example.org',
    'AKIA' + 'ABCDEFGH' * 2,
    'sk-' + 'a1' * 12,
    'my password: hunter22',
    '-----BEGIN RSA PRIVATE KEY-----',
    'call +44 20 7946 0958',
    '4111 1111 1111 1111',
  ],
)
def test_secrets_are_quarantined_and_not_repeated(secret):
  for given in (
    ('edit', {'content': secret}, {}),
    ('binary', {'label': True}, {'comment': secret}),
  ):
    verdict = judged(given[0], given[1], **given[2])
    assert verdict.state == 'quarantined' and secret not in ' '.join(verdict.reasons)


@pytest.mark.parametrize(
  'text', ['12 + 30 = 42', 'the password is a secret', '2024-10-11, 10:30', 'a@b']
)
def test_plain_text_holds_no_secret(text):
  assert judged('edit', {'content': text}).state == 'ok'


def test_a_thumbs_down_weighs_half_and_trust_scales_what_is_shared():
  down = judged(value={'label': False})
  assert (judged().weight, down.weight) == (1, 0.5)
  user = User('u', trust_a=3, trust_b=1)
  assert gates.shared(down, user, Rules()).weight == 0.375
  assert gates.shared(down, User('s', staff=True), Rules()).weight == 0.5


def vote(
  seq,
  user='',
  origin=None,
  trust=0.5,
  age_us=10**12,
  staff=False,
  kind='binary',
  keyed=False,
  origins='',
):
  now = START_US
  author = User(
    user or f'user{seq}',
    staff=staff,
    trust_a=4 * trust,
    trust_b=4 - 4 * trust,
    created_us=now - age_us,
    keyed=keyed,
  )
  event = Event(
    seq, str(seq), '', author.id, TARGET, None, kind, {}, '', (), 'api', now, now, None, 'i', 'd',
    origin, 0, 0,
  )  # fmt: skip
  return Vote(event, author, frozenset(origins))


@pytest.mark.parametrize(
  'votes, allowed',
  [
    ([vote(1), vote(2), vote(3)], True),
    ([vote(1), vote(2)], False),
    ([vote(1), vote(2), vote(3, 'user1')], False),
    ([vote(1), vote(2), vote(3, trust=0.4)], False),
    ([vote(1, trust=0.9), vote(2), vote(3, trust=0.3)], True),
    ([vote(1, origin='a'), vote(2, origin='a'), vote(3)], False),
    ([vote(1, origin='a'), vote(2, origin='b'), vote(3)], True),
    ([vote(1, 'x', 'a'), vote(2, 'x', 'b'), vote(3)], False),
    ([vote(n, age_us=5, kind='edit') for n in range(5)], False),
    ([vote(n, age_us=5) for n in range(5)], False),
    ([vote(n, age_us=5, origin=str(n)) for n in range(5)], False),
    ([vote(n, age_us=5) for n in range(5)] + [vote(7), vote(8)], True),
    ([vote(n, origin='a', keyed=True) for n in range(3)], True),
    ([vote(1, 'x', 'a'), vote(2, 'x', 'b'), vote(3, 'y', 'b'), vote(4)], False),
    ([vote(1, origins='ab'), vote(2, origins='bc'), vote(3, origins='cd')], False),
    ([vote(1, staff=True)], True),
  ],
)
def test_quorum(votes, allowed):
  assert gates.quorum(votes, START_US, Rules()) is allowed


@pytest.mark.parametrize(
  'active, needed', [(0, 3), (14, 3), (15, 4), (20, 5), (50, 11), (51, 11), (200, 21)]
)
def test_a_crowd_takes_more_to_agree(active, needed):
  agree = lambda n: gates.quorum([vote(i) for i in range(n)], START_US, Rules(), lambda: active)
  assert agree(needed) and not agree(needed - 1)


def test_a_quorum_of_one_lets_anyone_teach_everyone():
  assert gates.quorum([vote(1, trust=0.1)], START_US, Rules(quorum=1), lambda: 10_000)


def test_words_agree_only_with_the_same_words():
  direction = lambda kind, value, **more: gates.direction(feedback(TARGET, kind, value, **more))
  assert direction('edit', {'content': 'Paris.'}) == direction('edit', {'content': 'paris'})
  assert direction('edit', {'content': 'Paris'}) != direction('edit', {'content': 'Rome'})
  assert direction('critique', {'text': ''}, tags=['tone']) != direction('critique', {'text': 'x'})


def test_only_votes_of_one_kind_on_one_answer_agree():
  given = [
    ('binary', {'label': True}),
    ('binary', {'label': False}),
    ('rating', {'score': 5}),
    ('rating', {'score': 1}),
    ('reward', {'reward': 1}),
    ('critique', {'text': 'wrong'}),
    ('preference', {'outcome': 'a', 'a': TARGET, 'b': OTHER}),
    ('preference', {'outcome': 'b', 'a': TARGET, 'b': OTHER}),
  ]
  found = [gates.direction(feedback(TARGET, *one), text, 'Mice.') for one in given
    for text in ('Meat.', 'Grass.')]  # fmt: skip
  assert len(set(found)) == len(found)


def test_a_choice_is_the_same_whichever_stood_left():
  left = feedback(TARGET, 'preference', {'outcome': 'a', 'a': TARGET, 'b': OTHER})
  right = feedback(TARGET, 'preference', {'outcome': 'b', 'a': TARGET, 'b': OTHER})
  assert gates.direction(left, 'Meat.', 'Mice.') == gates.direction(right, 'mice', 'Meat')
  for outcome in ('tie', 'both_bad'):
    given = feedback(TARGET, 'preference', {'outcome': outcome, 'a': TARGET, 'b': OTHER})
    assert gates.direction(given, 'Meat.', 'Mice.') == gates.direction(given, 'Mice.', 'Meat.')
