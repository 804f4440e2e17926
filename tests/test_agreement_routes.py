"""The routes by which an administrator sees, and decides, what teaches everyone."""

import pytest
from served import Taught, until
from talk import chat, edit, payload

from rft_jax.feedback.gates import Rules
from rft_jax.feedback.schema import validate
from rft_jax.serve.auth import make_key


@pytest.fixture
def served(tmp_path):
  with Taught(tmp_path, Rules(shown_ms=0)) as served:
    yield served


def want(served, question, answer, name='Ada'):
  """One user's correction; its receipt."""
  user = served.store.users.create(name).result(5).id
  given = edit(chat(served.store, user, question), answer)
  return served.store.events.add(given, user).result(5)


def listed(served, **query):
  response = served.client.get('/admin/agreements', params=query)
  assert response.status_code == 200, response.text
  return response.json()


def order(served, what, **body):
  return served.client.post(f'/admin/agreements/{what}', json=body)


def test_what_waits_is_listed_with_its_authors(served):
  want(served, 'Who feeds the cat?', 'Miriam.', 'Ada')
  want(served, 'who feeds the cat', '“Miriam”', 'Bob')
  found = listed(served)
  (row,) = found['data']
  assert row['question'].casefold().startswith('who feeds the cat')
  assert sorted(one['display'] for one in row['authors']) == ['Ada', 'Bob']
  assert (row['state'], row['kind'], row['needed']) == ('held', 'edit', 3)
  assert found['counts'] == {'held': 1, 'accepted': 0, 'quarantined': 0, 'rejected': 0}


def test_pages_hold_every_row_once(served):
  for n in range(7):
    want(served, f'Question {n}?', f'Answer {n}.')
  seen, before = [], {}
  while True:
    found = listed(served, state='held', limit=3, **before)
    seen += [row['question'] for row in found['data']]
    if found['next'] is None:
      break
    before = {'before': found['next']}
  assert seen == [f'Question {n}?' for n in reversed(range(7))]


def test_a_released_wish_is_learned_and_a_rejected_one_stays_with_its_author(served):
  want(served, 'Who feeds the cat?', 'Miriam.')
  want(served, 'Who feeds the dog?', 'Nobody.')
  dog, cat = listed(served)['data']
  assert order(served, 'reject', id=dog['id'], reason='not true').status_code == 200
  assert order(served, 'release', id=cat['id']).status_code == 200
  until(lambda: served.engine.live == 1)
  said = {row['question']: row for row in listed(served)['data']}
  assert said['Who feeds the cat?']['state'] == 'accepted'
  assert said['Who feeds the cat?']['applied_version'] == 1
  assert said['Who feeds the dog?']['state'] == 'rejected'
  assert 'not true' in said['Who feeds the dog?']['reasons'][0]
  assert listed(served, state='rejected')['data'][0]['id'] == dog['id']


def test_votes_can_be_named_instead_of_a_wish(served):
  receipt = want(served, 'Who feeds the cat?', 'Miriam.')
  body = {'event_ids': [receipt.id], 'reason': 'spam'}
  assert order(served, 'quarantine', **body).json() == {'events': 1}
  assert listed(served, state='quarantined')['data'][0]['authors'][0]['event_id'] == receipt.id


def test_the_better_of_two_answers_is_named(served):
  user = served.store.users.create().result(5).id
  a = chat(served.store, user, 'Hello?', 'Go away.')
  question = served.store.chats.path(a)[0]
  b = chat(served.store, user, 'Hello?', 'Good morning!')
  move = 'UPDATE message SET parent_id = ?, conversation_id = ? WHERE id = ?'
  values = (question.id, question.conversation_id, b)
  served.store.db.write('move', lambda c: c.execute(move, values)).result(5)
  given = validate(payload(a, 'preference', {'outcome': 'b', 'a': a, 'b': b}))
  served.store.events.add(given, user).result(5)
  (row,) = listed(served)['data']
  assert (row['answer'], row['other']) == ('Go away.', 'Good morning!')
  assert row['better'] == 'Good morning!'


@pytest.mark.parametrize(
  ('what', 'body', 'status'),
  [
    ('release', {}, 400),
    ('release', {'id': 1, 'event_ids': []}, 400),
    ('release', {'id': 99}, 404),
    ('release', {'id': 'x'}, 400),
    ('release', {'id': True}, 400),
    ('reject', {'id': 1}, 400),
    ('reject', {'id': 1, 'reason': ''}, 400),
    ('quarantine', {'id': 1, 'reason': 5}, 400),
    ('quarantine', {'event_ids': ['x'], 'reason': 'r'}, 400),
    ('reject', {'id': 1, 'reason': 'r', 'more': 1}, 400),
  ],
)
def test_what_is_no_order_is_refused_and_changes_nothing(served, what, body, status):
  want(served, 'Who feeds the cat?', 'Miriam.')
  response = order(served, what, **body)
  assert response.status_code == status, response.text
  assert listed(served)['counts']['held'] == 1


@pytest.mark.parametrize(
  'query',
  [
    'agreements?state=new',
    'agreements?before=x',
    'agreements?limit=0',
    'users?limit=501',
    'users?limit=1.5',
    'users?limit=5&before=-1.x',
    'users?limit=5&visitors=2',
  ],
)
def test_what_is_no_page_is_refused(served, query):
  response = served.client.get(f'/admin/{query}')
  assert response.status_code == 400, response.text
  assert response.json()['error']['message']


def test_only_administrators_see_and_decide(served):
  user = served.store.users.create('me').result(5).id
  key = make_key(served.store, user, ('chat', 'feedback'))
  client = served.browser(authorization=f'Bearer {key}')
  assert client.get('/admin/agreements').status_code == 403
  for what in ('release', 'reject', 'quarantine'):
    assert client.post(f'/admin/agreements/{what}', json={'id': 1}).status_code == 403


def test_of_two_administrators_the_second_hears_what_the_first_has_decided(served):
  want(served, 'Who feeds the cat?', 'Miriam.')
  (row,) = listed(served)['data']
  assert order(served, 'quarantine', id=row['id'], reason='spam', state='held').status_code == 200
  late = order(served, 'release', id=row['id'], state='held')
  assert late.status_code == 409 and 'quarantined now' in late.json()['error']['message']
  assert listed(served)['data'][0]['state'] == 'quarantined'
  assert order(served, 'release', id=row['id'], state='quarantined').status_code == 200
  assert order(served, 'reject', id=row['id'], reason='x', state='lost').status_code == 400


def test_of_many_authors_some_are_listed_and_all_are_counted(served):
  for n in range(60):
    want(served, 'Who feeds the cat?', 'Miriam.', f'Person {n}')
  (row,) = listed(served)['data']
  assert len(row['authors']) == 50 and row['n_authors'] == 60
