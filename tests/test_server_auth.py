"""Who may do what: keys, cookies, tokens, foreign pages, other users, and how often."""

import time

import pytest
from served import Served, ask, vote

from rft_jax.feedback.ids import uuid7
from rft_jax.registry import UserError
from rft_jax.serve import auth, pages
from rft_jax.serve.auth import make_key
from rft_jax.serve.limits import Limits, Rates


@pytest.fixture
def served(tmp_path, monkeypatch):
  web = tmp_path / 'web'
  web.mkdir()
  (web / 'index.html').write_text('<p>page</p>')
  monkeypatch.setattr(pages, 'WEB', web)
  with Served(tmp_path) as served:
    yield served


def keyed(served, *scopes, user=''):
  """A client with a key, and the key."""
  user = user or served.store.users.create().result(5).id
  key = make_key(served.store, user, scopes)
  return served.browser(Authorization=f'Bearer {key}'), key


def visitor(served):
  client = served.browser()
  client.get('/')
  return client


def test_on_this_machine_without_keys_everything_is_allowed(served):
  assert served.client.get('/v1/me').json()['scopes'] == ['admin', 'chat', 'feedback']
  assert served.client.get('/admin/users').status_code == 200
  stranger = served.browser(Host='evil.example')
  assert stranger.get('/v1/me').status_code == 401, 'a foreign name that resolves to this machine'


def test_with_a_first_key_a_nameless_caller_may_nothing(served):
  client, _ = keyed(served, 'chat')
  response = served.client.get('/v1/me')
  assert response.status_code == 401 and response.headers['www-authenticate'] == 'Bearer'
  assert client.get('/v1/me').json()['scopes'] == ['chat']


def test_a_key_opens_only_its_scopes(served):
  admin, _ = keyed(served, 'admin')
  chat, _ = keyed(served, 'chat')
  feedback, _ = keyed(served, 'feedback')
  status = lambda client, path: client.get(path).status_code
  assert [status(c, '/admin/users') for c in (admin, chat, feedback)] == [200, 403, 403]
  assert [status(c, '/v1/me') for c in (admin, chat, feedback)] == [403, 200, 403]
  assert [status(c, '/v1/feedback') for c in (admin, chat, feedback)] == [403, 403, 200]


def test_a_wrong_or_revoked_key_is_refused(served):
  client, key = keyed(served, 'chat')
  name, _, secret = key.partition('.')
  wrongs = (f'{name}.', f'{name}.{secret[:-1]}!', f'{name}x.{secret}', 'rft-sk-', 'sk-x', key[:-1])
  for wrong in wrongs:
    assert served.browser(Authorization=f'Bearer {wrong}').get('/v1/me').status_code == 401
  assert client.get('/v1/me').status_code == 200
  served.store.users.revoke_key(name.removeprefix('rft-sk-'), 'me').result(5)
  assert client.get('/v1/me').status_code == 401
  assert served.client.get('/v1/me').status_code == 401, 'revoking the last key opens nothing'


def test_only_the_hash_of_a_key_is_kept(served, tmp_path):
  _, key = keyed(served, 'chat')
  served.store.backup(tmp_path / 'copy.db')
  assert key.partition('.')[2].encode() not in (tmp_path / 'copy.db').read_bytes()
  assert len(key.partition('.')[2]) == 43
  with pytest.raises(UserError, match='no scopes'):
    make_key(served.store, 'x', ('root',))


def test_each_browser_is_a_user_of_its_own(served):
  keyed(served, 'admin')
  one, two = visitor(served), visitor(served)
  cookie = one.get('/').headers.get('set-cookie')
  assert cookie is None, 'a known visitor keeps the cookie'
  assert 'HttpOnly' in served.browser().get('/').headers['set-cookie']
  ids = [c.get('/v1/me').json()['user_id'] for c in (one, two)]
  assert len(set(ids)) == 2 and one.get('/v1/me').json()['scopes'] == ['chat', 'feedback']
  assert one.get('/admin/users').status_code == 403


def test_a_forged_cookie_is_nobody(served):
  keyed(served, 'admin')
  one, two = visitor(served), visitor(served)
  user, mac = one.cookies['rft_user'].split('.')
  other = two.cookies['rft_user'].split('.')[0]
  for forged in (f'{other}.{mac}', user, f'{user}.', f'{user}.{mac[:-1]}%C3%A9', "x' OR 1"):
    client = served.browser(Cookie=f'rft_user={forged}')
    assert client.get('/v1/me').status_code == 401


def test_pages_of_other_sites_are_refused(served):
  client = visitor(served)
  message_id = ask(client).json()['rft']['message_id']
  body = {'id': uuid7(), 'target': {'message_id': message_id}, 'kind': 'binary'}
  body['value'] = {'label': True}
  foreign = (
    {'Origin': 'https://evil.example'},
    {'Origin': 'null'},
    {'Sec-Fetch-Site': 'cross-site'},
  )
  for headers in foreign:
    response = client.post('/v1/feedback', json=body, headers=headers)
    assert response.status_code == 403 and response.json()['error']['code'] == 'foreign_origin'
  assert client.post('/v1/feedback', json=body, headers={'Origin': served.url}).status_code == 201
  preflight = client.options('/v1/feedback', headers={'Origin': 'https://evil.example'})
  assert preflight.status_code == 405
  assert 'access-control-allow-origin' not in preflight.headers


def test_nobody_reads_or_judges_what_is_anothers(served):
  keyed(served, 'admin')
  mine, theirs = visitor(served), visitor(served)
  rft = ask(mine).json()['rft']
  given = vote(mine, rft['message_id']).json()
  assert vote(theirs, rft['message_id']).status_code == 403
  place = {'parent_message_id': rft['message_id']}
  assert ask(theirs, metadata=place).status_code == 403
  for path in (f'/v1/conversations/{rft["conversation_id"]}', f'/v1/feedback/{given["id"]}'):
    assert theirs.get(path).status_code == 403
    assert theirs.delete(path).status_code == 403
    assert mine.get(path).status_code == 200
  assert theirs.get(f'/v1/feedback/{given["id"]}/events').status_code == 403
  assert theirs.get('/v1/feedback').json()['data'] == []
  assert theirs.get('/v1/conversations').json()['data'] == []


def test_a_token_speaks_for_one_answer_of_one_user(served, monkeypatch):
  keyed(served, 'admin')
  mine, theirs = visitor(served), visitor(served)
  one, two = (ask(mine).json()['rft'] for _ in range(2))
  token = one['feedback_token']
  nobody = served.browser()
  assert vote(nobody, one['message_id']).status_code == 401
  given = vote(nobody, one['message_id'], feedback_token=token)
  assert given.status_code == 201
  assert given.json()['scope'] == f'u:{mine.get("/v1/me").json()["user_id"]}'
  assert vote(nobody, two['message_id'], feedback_token=token).status_code == 403
  assert vote(theirs, one['message_id'], feedback_token=token).status_code == 403
  user, end, mac = token.split('.')
  for wrong in (f'{user}.{int(end) + 1}.{mac}', f'{user}.{end}.', 'x', f'{user}.x.{mac}'):
    assert vote(nobody, one['message_id'], feedback_token=wrong).status_code == 403
  later = time.time() + auth.TOKEN_SECONDS + 5
  monkeypatch.setattr(auth.time, 'time', lambda: later)
  late = vote(nobody, one['message_id'], feedback_token=token)
  assert late.status_code == 403 and late.json()['error']['code'] == 'expired_token'


def test_a_blocked_user_may_not_call(served):
  client = visitor(served)
  user = client.get('/v1/me').json()['user_id']
  served.store.users.set_state(user, 'blocked', 'me').result(5)
  assert client.get('/v1/me').status_code == 403 and ask(client).status_code == 403


def test_a_user_can_be_forgotten(served):
  keyed(served, 'admin')
  client = visitor(served)
  vote(client, ask(client, 'my diary').json()['rft']['message_id'])
  assert client.delete('/v1/me').json()['deleted']
  client.cookies.clear()
  assert client.get('/v1/me').status_code == 401
  words = [row['content'] for row in served.store.db.read('SELECT content FROM message')]
  assert words == ['', '']


def test_the_local_user_can_be_forgotten_and_begins_anew(served):
  before = served.client.get('/v1/me').json()['user_id']
  ask(served.client)
  served.client.delete('/v1/me')
  assert served.client.get('/v1/me').json()['user_id'] != before
  assert served.client.get('/v1/conversations').json()['data'] == []
  assert vote(served.client, ask(served.client).json()['rft']['message_id']).status_code == 201


def test_an_idempotency_key_must_be_the_id(served):
  message_id = ask(served.client).json()['rft']['message_id']
  body = {
    'id': uuid7(),
    'target': {'message_id': message_id},
    'kind': 'binary',
    'value': {'label': True},
  }
  post = lambda key: (
    served.client.post('/v1/feedback', json=body, headers={'Idempotency-Key': key}).status_code
  )
  assert [post(uuid7()), post(body['id'])] == [400, 201]


def test_too_much_is_answered_with_when_to_come_back(tmp_path):
  with Served(tmp_path, rates=Rates(2, 2, 500, 30, 4)) as served:
    ids = [ask(served.client).json()['rft']['message_id'] for _ in range(2)]
    response = ask(served.client)
    assert response.status_code == 429 and 1 <= int(response.headers['retry-after']) <= 30
    codes = [vote(served.client, ids[0]).status_code for _ in range(3)]
    assert codes == [201, 201, 429]


def test_a_bucket_fills_evenly():
  now = [0.0]
  limits = Limits(Rates(feedback_per_minute=30, feedback_per_day=40), lambda: now[0])

  def given(seconds):
    """How many pass at a time."""
    now[0] = seconds
    for count in range(1000):
      try:
        limits.take('feedback', 'me')
      except auth.ApiError as error:
        return count, error.retry_after

  assert given(0) == (30, 2)
  assert given(3) == (1, 1)
  assert given(1000)[0] == 9, 'the day has its own bucket'
  limits.take('feedback', 'you')


def test_four_requests_at_a_time(served):
  limits = Limits(Rates())
  for _ in range(4):
    limits.enter('me')
  with pytest.raises(auth.ApiError) as error:
    limits.enter('me')
  assert error.value.status == 429
  limits.leave('me')
  limits.enter('me')
  limits.enter('you')
