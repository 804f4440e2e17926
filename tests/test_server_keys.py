"""API keys: made and ended by administrators while the server runs, by mode `keys` while not."""

import re

import pytest
from program import Program
from served import Served

from rft_jax.feedback.store import Store
from rft_jax.registry import UserError
from rft_jax.serve.server import listen

ALL = ['chat', 'feedback', 'admin']


@pytest.fixture
def served(tmp_path):
  with Served(tmp_path / 'serve') as served:
    yield served


def make(client, name='me', scopes=ALL, **more):
  return client.post('/admin/keys', json={'name': name, 'scopes': scopes, **more})


def test_the_first_key_closes_the_server_and_opens_it_to_its_holder(served):
  made = make(served.client)
  assert made.status_code == 201 and made.json()['scopes'] == ALL
  assert served.client.get('/v1/me').status_code == 401
  admin = served.browser(Authorization=f'Bearer {made.json()["key"]}')
  assert admin.get('/v1/me').json()['user_id'] == made.json()['user_id']
  second = make(admin, 'you', ['chat'], staff=True).json()
  assert second['staff'] and make(admin, 'you', ['chat'], staff=True).status_code == 201
  holders = [(key['name'], key['scopes']) for key in admin.get('/admin/keys').json()['data']]
  assert holders == [('me', ALL), ('you', ['chat']), ('you', ['chat'])]
  assert 'key' not in admin.get('/admin/keys').json()['data'][0]
  you = served.browser(Authorization=f'Bearer {second["key"]}')
  assert [you.get(path).status_code for path in ('/v1/me', '/admin/keys')] == [200, 403]
  for _ in range(2):
    assert admin.delete(f'/admin/keys/{second["id"]}').json() == {
      'id': second['id'],
      'revoked': True,
    }
  assert you.get('/v1/me').status_code == 401
  assert admin.get('/admin/keys').json()['data'][1]['revoked_us']


@pytest.mark.parametrize(
  'change, says',
  [
    ({'name': ''}, 'name must have 1 to 100'),
    ({'name': 'local'}, 'choose another'),
    ({'scopes': []}, 'a list of one or more'),
    ({'scopes': 'admin'}, 'a list of one or more'),
    ({'scopes': ['admin', 'root']}, "'root'. are no scopes"),
    ({'scopes': ['chat']}, 'first key needs the scope admin'),
    ({'staff': 'yes'}, 'staff must be true or false'),
    ({'admin': True}, 'unknown field'),
  ],
)
def test_a_key_that_makes_no_sense_is_refused(served, change, says):
  refused = make(served.client, **{'name': 'me', 'scopes': ALL, **change})
  assert refused.status_code == 400 and re.search(says, refused.json()['error']['message'])
  assert not served.store.users.has_keys()


def test_a_name_is_one_user(served):
  admin = served.browser(Authorization=f'Bearer {make(served.client).json()["key"]}')
  assert make(admin, 'me', staff=True).status_code == 400
  assert admin.delete('/admin/keys/nothing').status_code == 404


@pytest.fixture(scope='module')
def program(tmp_path_factory):
  with Program(tmp_path_factory.mktemp('keys')) as program:
    yield program


def test_mode_keys_makes_lists_and_ends_keys_of_a_stopped_server(program, tmp_path):
  call = lambda *more: program(program.config, f'--workdir={tmp_path}', '--config.mode=keys', *more)
  status, text, _ = call()
  assert status == 0 and 'no keys' in text
  status, key, _ = call('--config.key.name=me', '--config.key.scopes=chat,feedback,admin')
  assert status == 0 and re.fullmatch(r'rft-sk-\w{16}\.[\w-]{43}', key.strip())
  with Served(tmp_path / 'serve') as served:
    client = served.browser(Authorization=f'Bearer {key.strip()}')
    assert client.get('/admin/users').status_code == 200
    said = program.refuses(program.config, f'--workdir={tmp_path}', '--config.mode=keys')
    assert re.search('locked by process .*stop that one first', said)
  key_id = key.split('.')[0].removeprefix('rft-sk-')
  _, text, _ = call()
  assert re.search(f'{key_id} +valid +me +chat feedback admin', text)
  status, text, _ = call(f'--config.key.revoke={key_id}')
  assert status == 0 and 'is revoked' in text
  said = program.refuses(
    program.config, f'--workdir={tmp_path}', '--config.mode=keys', '--config.key.revoke=abc'
  )
  assert 'abc' in said
  assert Store(tmp_path / 'serve' / 'store.db').users.keys()[0].revoked_us


def test_serving_beyond_this_machine_needs_a_key(served):
  with pytest.raises(UserError, match='make an API key first, by --config'):
    listen(served.service.store, '0.0.0.0', 0)


def test_an_address_that_is_taken_is_said_before_anything_is_compiled(served):
  with listen(served.service.store, '127.0.0.1', 0) as listening:
    port = listening.getsockname()[1]
    with pytest.raises(UserError, match=f'serve.port={port} cannot be listened on'):
      listen(served.service.store, '127.0.0.1', port)
