"""An application's key: its end users are users of their own, by the names that it gives them."""

import concurrent.futures

import pytest
from served import Served, ask, until, vote

from rft_jax.serve.auth import make_key
from rft_jax.serve.limits import Rates


@pytest.fixture
def served(tmp_path):
  with Served(tmp_path) as served:
    yield served


def application(served, scopes=('chat', 'feedback', 'users'), **headers):
  """A client with a key of an application, and its owner."""
  owner = served.store.users.create('app').result(5).id
  key = make_key(served.store, owner, scopes)
  return served.browser(Authorization=f'Bearer {key}', **headers), owner


def of(client, name) -> str:
  """The id of the user whom a name means."""
  return client.get('/v1/me', headers={'X-RFT-User': name}).json()['user_id']


def test_each_name_is_a_user_and_no_name_is_the_owner(served):
  client, owner = application(served)
  for name in ('ann', 'bob', 'ann'):
    assert ask(client, user=name).status_code == 200
    assert of(client, name) != owner
  assert of(client, 'ann') != of(client, 'bob')
  assert client.get('/v1/me').json()['user_id'] == owner
  assert all(served.store.users.get(of(client, name)).keyed for name in ('ann', 'bob'))
  talks = lambda **h: client.get('/v1/conversations', headers=h).json()['data']
  assert [len(talks(**{'X-RFT-User': name})) for name in ('ann', 'bob')] == [2, 1]
  assert talks() == []


def test_the_header_names_them_for_every_route(served):
  client, _ = application(served)
  headers = {'X-RFT-User': 'ann'}
  unknown = client.get('/v1/me', headers=headers)
  assert unknown.status_code == 404 and 'asked nothing' in unknown.json()['error']['message']
  body = {'model': 'rft', 'messages': [{'role': 'user', 'content': 'hello'}]}
  send = lambda **more: client.post('/v1/chat/completions', json={**body, **more}, headers=headers)
  assert send().status_code == send(user='whatever').status_code == 200
  assert len(client.get('/v1/conversations', headers=headers).json()['data']) == 2


def test_a_setting_names_the_header(tmp_path):
  with Served(tmp_path, user_header='X-OpenWebUI-User-Id') as served:
    client, owner = application(served, **{'X-OpenWebUI-User-Id': 'u-17'})
    ask(client)
    assert client.get('/v1/me').json()['user_id'] != owner


def test_without_the_scope_a_name_means_nobody(served):
  client, owner = application(served, ('chat', 'feedback'))
  message = ask(client, user='ann').json()['rft']['message_id']
  assert served.store.chats.owner(message) == owner
  refused = client.get('/v1/me', headers={'X-RFT-User': 'ann'})
  assert refused.status_code == 403 and 'scope users' in refused.json()['error']['message']


def test_they_may_chat_and_judge_and_nothing_else(served):
  client, _ = application(served, ('chat', 'feedback', 'admin', 'users'))
  ask(client, user='ann')
  headers = {'X-RFT-User': 'ann'}
  assert client.get('/v1/me', headers=headers).json()['scopes'] == ['chat', 'feedback']
  assert client.get('/admin/users', headers=headers).status_code == 403
  assert client.get('/admin/users').status_code == 200


def test_a_name_means_nobody_elses_user(served):
  one, _ = application(served)
  two, _ = application(served)
  ask(one, user='ann')
  ask(two, user='ann')
  assert of(one, 'ann') != of(two, 'ann')


def test_what_they_say_counts_as_theirs(served):
  client, _ = application(served)
  given = {}
  for name in ('ann', 'bob'):
    rft = ask(client, user=name).json()['rft']
    given[name] = rft
    by_token = vote(client, rft['message_id'], feedback_token=rft['feedback_token'])
    assert by_token.json()['scope'] == f'u:{of(client, name)}'
  client.headers['X-RFT-User'] = 'ann'
  assert vote(client, given['ann']['message_id']).status_code == 201
  assert vote(client, given['bob']['message_id']).status_code == 403


def test_an_application_may_not_use_a_token_of_another_ones_user(served):
  one, _ = application(served)
  two, _ = application(served)
  rft = ask(one, user='ann').json()['rft']
  assert vote(two, rft['message_id'], feedback_token=rft['feedback_token']).status_code == 403


def test_each_has_limits_of_their_own(tmp_path):
  with Served(tmp_path, rates=Rates(chat_per_minute=2)) as served:
    client, _ = application(served)
    codes = [ask(client, user=name).status_code for name in ('ann', 'ann', 'ann', 'bob')]
    assert codes == [200, 200, 429, 200]


def test_blocking_the_owner_blocks_them_and_blocking_one_only_this_one(served):
  client, owner = application(served)
  ask(client, user='ann')
  ask(client, user='bob')
  served.store.users.set_state(of(client, 'ann'), 'blocked', 'me').result(5)
  assert [ask(client, user=name).status_code for name in ('ann', 'bob')] == [403, 200]
  served.store.users.set_state(owner, 'blocked', 'me').result(5)
  assert ask(client, user='bob').status_code == 403


def test_who_is_erased_and_comes_again_is_somebody_new(served):
  client, _ = application(served)
  ask(client, 'my diary', user='ann')
  before, headers = of(client, 'ann'), {'X-RFT-User': 'ann'}
  assert client.delete('/v1/me', headers=headers).status_code == 200
  names = [row['name'] for row in served.store.db.read('SELECT name FROM end_user')]
  assert names == [] and client.get('/v1/me', headers=headers).status_code == 404
  ask(client, user='ann')
  assert of(client, 'ann') != before


@pytest.mark.parametrize('name', [7, ['ann'], 'x' * 513])
def test_a_name_is_a_short_text(served, name):
  client, _ = application(served)
  assert ask(client, user=name).status_code == 400
  assert ask(client, user=None).status_code == ask(client, user='').status_code == 200


@pytest.mark.parametrize('name', ['Zoë', '李', 'ann b', 'a=b;c'])
def test_a_name_is_the_same_in_a_body_and_in_a_header(served, name):
  client, _ = application(served)
  user = served.store.chats.owner(ask(client, user=f' {name} ').json()['rft']['message_id'])
  header = {b'X-RFT-User': name.encode()}
  assert client.get('/v1/me', headers=header).json()['user_id'] == user


def test_a_blank_name_is_none(served):
  client, owner = application(served)
  assert served.store.chats.owner(ask(client, user='  ').json()['rft']['message_id']) == owner


def test_nobody_is_made_a_user_by_a_key_that_may_not_ask(served):
  weak, _ = application(served, ('feedback', 'users'))
  blocked, owner = application(served)
  rft = ask(blocked, user='ann').json()['rft']
  served.store.users.set_state(owner, 'blocked', 'me').result(5)
  for client in (weak, blocked):
    client.headers['X-RFT-User'] = 'sneak'
    assert ask(client).status_code == 403
  names = [row['name'] for row in served.store.db.read('SELECT name FROM end_user')]
  assert names == ['ann']
  nobody = served.browser(Host='chat.example.org')
  token = rft['feedback_token']
  assert vote(nobody, rft['message_id'], feedback_token=token).status_code == 403


def test_what_comes_for_somebody_who_was_erased_meanwhile_is_not_kept(served):
  client, _ = application(served)
  ask(client, user='ann')
  user, asked = of(client, 'ann'), len(served.engine.requests)
  served.engine.pause()
  with concurrent.futures.ThreadPoolExecutor() as pool:
    answer = pool.submit(ask, client, 'my diary', user='ann')
    until(lambda: len(served.store.chats.of_user(user)) == 2)
    served.store.users.erase(user, user).result(5)
    served.engine.resume()
    answer.result(10)
  assert len(served.engine.requests) == asked + 1
  kept = [row['content'] for row in served.store.db.read('SELECT content FROM message')]
  assert set(kept) == {''}
