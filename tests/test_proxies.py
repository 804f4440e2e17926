"""Behind proxies: who counts as whom, who is an administrator, and that streams stream."""

import asyncio
import contextlib
import socket
import urllib.parse

import pytest
from fronts import caddy, caddy_of_docs, free_port, nginx, nginx_of_docs
from served import Served, ask, vote

from rft_jax.feedback.store import Store
from rft_jax.registry import ConfigError
from rft_jax.serve.auth import make_key
from rft_jax.serve.lifecycle import Lifecycle
from rft_jax.serve.limits import Rates
from rft_jax.serve.proxies import LOCAL, Proxies, check_proxies, is_foreign
from rft_jax.serve.server import listen

HERE = ('127.0.0.1',)


def port_of(served) -> int:
  return urllib.parse.urlsplit(served.url).port or 0


def origins(served) -> list[str | None]:
  return [row['origin'] for row in served.store.db.read('SELECT origin FROM feedback_event')]


def visitor(served, **headers):
  client = served.browser(**headers)
  assert client.get('/').status_code == 200
  return client


def scopes(client) -> list[str]:
  response = client.get('/v1/me')
  return response.json()['scopes'] if response.status_code == 200 else []


PASSED_ON = (
  {'X-Forwarded-For': '203.0.113.7'},
  {'X-Forwarded-For': '127.0.0.1'},
  {'X-Forwarded-Proto': 'https'},
  {'X-Forwarded-Host': 'localhost'},
  {'Forwarded': 'for=127.0.0.1'},
  {'X-Real-IP': '127.0.0.1'},
  {'Via': '1.1 proxy'},
  {'CF-Connecting-IP': '127.0.0.1'},
  {'X-Forwarded': 'for=127.0.0.1'},
  {'X-Original-Forwarded-For': '127.0.0.1'},
  {'Fly-Client-IP': '127.0.0.1'},
  {'CF-Ray': '230b030023ae2822-SJC'},
  {'X-Amzn-Trace-Id': 'Root=1-67891233-abcdef012345678912345678'},
  {'Host': 'chat.example.org'},
  {'Host': 'localhost.example.org'},
  {'Host': '[::1'},
  {'Host': '127.0.0.1@chat.example.org'},
  {'Host': '127.0.0.1.example.org:8000'},
)


@pytest.mark.parametrize('proxies', [(), HERE, ('0.0.0.0/0',)])
def test_what_a_proxy_passes_on_is_never_an_administrator(tmp_path, proxies):
  with Served(tmp_path, proxies=proxies) as served:
    for headers in PASSED_ON:
      client = served.browser(**headers)
      assert scopes(client) == []
      cookie = client.get('/').headers['set-cookie'].partition(';')[0]
      client = served.browser(**headers, Cookie=cookie)
      assert scopes(client) == ['chat', 'feedback']
      assert client.get('/admin/users').status_code == 403


def test_a_machine_that_is_a_trusted_proxy_has_no_nameless_administrator(tmp_path):
  with Served(tmp_path, proxies=HERE) as served:
    assert scopes(served.client) == []
    key = make_key(served.store, served.store.users.create().result(5).id, ('admin', 'chat'))
    client = served.browser(Authorization=f'Bearer {key}', **{'X-Forwarded-For': '203.0.113.7'})
    assert scopes(client) == ['admin', 'chat']


def test_only_trusted_proxies_say_where_a_visitor_is(tmp_path):
  for proxies, known in ((HERE, 2), ((), 0), (('10.0.0.0/8',), 0)):
    folder = tmp_path / str(known) / str(len(proxies))
    folder.mkdir(parents=True)
    with Served(folder, proxies=proxies) as served:
      for address in ('203.0.113.7', '203.0.113.9', '198.51.100.1'):
        client = visitor(served, **{'X-Forwarded-For': f'192.0.2.1, {address}'})
        vote(client, ask(client).json()['rft']['message_id'])
      assert len(set(origins(served)) - {None}) == known, 'two blocks of addresses'


def test_an_address_that_a_client_made_up_is_not_believed(tmp_path):
  with Served(tmp_path, proxies=('127.0.0.1', '10.0.0.0/8')) as served:
    for made_up in ('', '192.0.2.77, ', '192.0.2.78, 10.9.9.9, '):
      chain = f'{made_up}203.0.113.7:5{len(made_up)}, 10.0.0.2:80'
      client = visitor(served, **{'X-Forwarded-For': chain})
      vote(client, ask(client).json()['rft']['message_id'])
    assert len(set(origins(served))) == 1 and None not in origins(served)


def test_an_address_is_the_same_on_a_socket_of_ipv6(tmp_path):
  """Proxies that listen on :: say ::ffff:203.0.113.7 of a visitor by IPv4."""
  with Served(tmp_path, proxies=HERE) as served:
    for address in ('203.0.113.7', '::ffff:203.0.113.8', '::ffff:198.51.100.1', '2001:db8::1'):
      client = visitor(served, **{'X-Forwarded-For': address})
      vote(client, ask(client).json()['rft']['message_id'])
    a, b, c, d = origins(served)
    assert a == b and len({a, c, d}) == 3


@pytest.mark.parametrize('peer', ['127.0.0.1', '::ffff:127.0.0.1', '::ffff:7f00:1'])
def test_a_trusted_proxy_is_known_on_a_socket_of_ipv6(peer):
  seen = []

  async def app(scope, receive, send):
    seen.append((scope['client'][0], scope[LOCAL]))

  for proxies, found in ((HERE, ('203.0.113.7', False)), ((), ('127.0.0.1', False))):
    headers = [(b'x-forwarded-for', b'192.0.2.1'), (b'x-forwarded-for', b'203.0.113.7')]
    scope = {'type': 'http', 'client': (peer, 1), 'headers': headers, 'path': '/'}
    asyncio.run(Proxies(app, proxies)({**scope, 'http_version': '1.1'}, None, None))
    assert seen.pop() == found


@pytest.mark.parametrize(
  'origin, host, foreign',
  [
    ('https://chat.example.org', 'chat.example.org:443', False),
    ('http://chat.example.org', 'chat.example.org:80', False),
    ('https://chat.example.org', 'CHAT.example.org', False),
    ('https://chat.example.org', 'chat.example.org.', False),
    ('http://[::1]:8000', '[::1]:8000', False),
    ('https://chat.example.org', 'chat.example.org:80', True),
    ('https://chat.example.org:8443', 'chat.example.org', True),
    ('https://chat.example.org.evil.example', 'chat.example.org', True),
    ('http://[', 'chat.example.org', True),
    ('http://chat.example.org:x', 'chat.example.org', True),
    ('null', '', True),
    ('', '', True),
    ('file://', '', True),
  ],
)
def test_which_page_is_one_of_this_server(origin, host, foreign):
  assert is_foreign(origin, host) is foreign


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason='this machine has no IPv6')
def test_all_addresses_are_those_of_both_kinds(tmp_path):
  with contextlib.closing(Store(tmp_path / 'store.db')) as store:
    make_key(store, store.users.create().result(5).id, ('admin',))
    with listen(store, '::', 0) as listening:
      for host in ('127.0.0.1', '::1'):
        socket.create_connection((host, listening.getsockname()[1]), 5).close()


def test_an_origin_that_is_none_is_refused(tmp_path):
  with Served(tmp_path) as served:
    assert served.client.get('/v1/me', headers={'Origin': 'http://['}).status_code == 403


def test_new_visitors_are_counted_by_their_own_address(tmp_path):
  rates = Rates(visits_per_minute=2)
  with Served(tmp_path, proxies=HERE, rates=rates) as served:
    look = lambda host: served.browser(**{'X-Forwarded-For': host}).get('/').status_code
    assert [look('203.0.113.7') for _ in range(3)] == [200, 200, 429]
    assert look('203.0.113.8') == 200
    assert [look(f'2001:db8:1:2::{n}') for n in range(3)] == [200, 200, 429]
    assert look('2001:db8:1:3::1') == 200


def test_cookies_are_secure_behind_tls_and_pages_of_the_proxys_name_are_not_foreign(tmp_path):
  with Served(tmp_path, proxies=HERE) as served:
    front = {'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'chat.example.org'}
    client = served.browser(**front)
    for scheme in ('https', 'HTTPS', 'https, http'):
      front['X-Forwarded-Proto'] = scheme
      assert 'Secure' in served.browser(**front).get('/').headers['set-cookie']
    client.get('/')
    cookie = f'rft_user={client.cookies["rft_user"]}'
    mine = served.browser(**front, Cookie=cookie, Origin='https://chat.example.org')
    assert mine.get('/v1/me').status_code == 200
    other = served.browser(**front, Cookie=cookie, Origin='https://evil.example')
    assert other.get('/v1/me').json()['error']['code'] == 'foreign_origin'
  (tmp_path / 'alone').mkdir()
  with Served(tmp_path / 'alone') as served:
    cookie = served.browser(**{'X-Forwarded-Proto': 'https'}).get('/').headers['set-cookie']
    assert 'Secure' not in cookie


def test_a_server_answers_to_its_names_only(tmp_path):
  with Served(tmp_path, hosts=('chat.example.org', '*.example.net')) as served:
    status = lambda host, path='/': served.browser(Host=host).get(path).status_code
    for same in ('chat.example.org', 'CHAT.example.org:8443', 'chat.example.org.'):
      assert status(same) == 200
    assert status('a.example.net') == 200
    for other in ('example.org', 'evil.example', 'example.net', 'xexample.net', '127.0.0.1', ''):
      assert status(other) in (400, 421)
    assert status('127.0.0.1', '/healthz') == status('10.0.0.3', '/readyz') == 200
    error = served.browser(Host='evil.example').get('/v1/me').json()['error']
    assert error['code'] == 'unknown_host' and 'serve.hosts' in error['message']


def test_an_unnamed_proxy_is_told_of_once(tmp_path, caplog):
  with Served(tmp_path) as served:
    for _ in range(3):
      served.browser(**{'X-Forwarded-For': '203.0.113.7'}).get('/healthz')
  told = [r for r in caplog.records if 'serve.proxies' in r.getMessage()]
  assert len(told) == 1 and '127.0.0.1' in told[0].getMessage()


@pytest.mark.parametrize('wrong', ['proxy.example.org', '10.0.0.0/99', '*', '', '10.0.0.1/8'])
def test_a_proxy_is_an_address_or_a_network(wrong):
  assert check_proxies(('127.0.0.1', '10.0.0.0/8', 'fd00::/8'))
  with pytest.raises(ConfigError, match=r'serve\.proxies'):
    check_proxies((wrong,))


@pytest.mark.parametrize('front', [nginx, caddy], ids=['nginx', 'caddy'])
def test_the_files_of_the_docs_work(tmp_path, front):
  port, written = free_port(), {nginx: nginx_of_docs, caddy: caddy_of_docs}[front]
  with Served(tmp_path, proxies=HERE) as served:
    with front(tmp_path, written(port_of(served), port), port) as url:
      served.url = url
      assert scopes(served.browser()) == []
      client = visitor(served)
      rft = ask(client).json()['rft']
      own = {'Origin': url}
      body = {'model': 'rft', 'messages': [{'role': 'user', 'content': 'on'}]}
      assert client.post('/v1/chat/completions', json=body, headers=own).status_code == 200
      assert vote(client, rft['message_id']).status_code == 201
      served.engine.pause()
      with client.stream('POST', '/v1/chat/completions', json={**body, 'stream': True}) as stream:
        pieces = stream.iter_text()
        assert 'assistant' in next(pieces), 'the first piece comes while the answer is not over'
        served.engine.resume()
        assert '[DONE]' in ''.join(pieces)


def test_a_front_that_says_nothing_of_itself_makes_nobody_an_administrator(tmp_path):
  port = free_port()
  with Served(tmp_path) as served:
    inner = f'proxy_pass http://127.0.0.1:{port_of(served)};'
    bare = f'server {{ listen 127.0.0.1:{port}; location / {{ {inner} }} }}'
    assert 'admin' in scopes(served.client)
    with nginx(tmp_path, bare, port) as url:
      served.url = url
      client = served.browser()
      assert scopes(client) == []
      assert 'proxy' in client.get('/v1/me').json()['error']['message']
      client.get('/')
      assert scopes(client) == ['chat', 'feedback']


def test_the_server_of_the_program_believes_nobody_by_default(tmp_path, monkeypatch):
  """uvicorn itself would believe whoever comes from this machine."""
  monkeypatch.setenv('FORWARDED_ALLOW_IPS', '*')
  with (
    contextlib.closing(Store(tmp_path / 'store.db')) as store,
    socket.create_server(('127.0.0.1', 0)) as listening,
  ):
    life = Lifecycle(store, listening, lambda tell: contextlib.nullcontext(), 1.0, print)
    assert life.server.config.proxy_headers is False
