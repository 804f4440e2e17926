"""A server's process: it answers at once, says what it waits for, and ends in order and in time."""

import json
import random
import re
import signal
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from hosted_process import Host
from served import Served, ask, events, until, vote

from rft_jax.feedback.database import StoreUnavailable
from rft_jax.serve import bodies, readiness


def streamed(host: Host, words: int) -> list:
  """The events of an answer of so many words, to the end of the connection."""
  said = [{'role': 'user', 'content': 'word ' * words}]
  body = {'model': 'rft', 'stream': True, 'max_tokens': 4000, 'messages': said}
  with httpx.Client(base_url=host.url, timeout=30) as client:
    with client.stream('POST', '/v1/chat/completions', json=body) as response:
      return events(''.join(response.iter_text()))


def test_a_server_that_starts_answers_at_once_and_says_what_it_waits_for(tmp_path):
  with Host(tmp_path, start=0.8) as host:
    health, ready = host.client.get('/healthz'), host.client.get('/readyz')
    assert health.json() == {'status': 'ok'}
    assert ready.status_code == 503 and 'compiling' in ready.json()['waits_for'][0]
    early = host.client.get('/v1/models')
    assert early.status_code == 503 and early.headers['retry-after']
    assert early.json()['error']['code'] == 'starting'
    assert host.client.head('/healthz').status_code == 200
    host.ready()
    assert host.client.get('/readyz').json()['waits_for'] == []
    assert ask(host.client).status_code == 200


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_order_and_answers_are_finished(number, tmp_path):
  with Host(tmp_path, grace=2.4) as host, ThreadPoolExecutor() as pool:
    host.ready()
    short, long = (pool.submit(streamed, host, words) for words in (10, 4000))
    receipt = vote(host.client, ask(host.client).json()['rft']['message_id']).json()
    time.sleep(0.3)
    status, seconds = host.end(number)
    assert status == 0 and 1 < seconds < 2.4 and not host.unclean
    assert short.result()[-1] == '[DONE]', 'there was time for it'
    assert long.result()[-1]['error']['code'] == 'stopping'
    assert [host.line(), host.line()] == ['the learner has ended', 'ended']
    assert host.told.read_text() == ''
  with sqlite3.connect(tmp_path / 'store.db') as store:
    query = 'SELECT finish_reason FROM generation ORDER BY rowid'
    assert sorted(row[0] for row in store.execute(query)) == ['error', 'stop', 'stop']
    assert store.execute('SELECT id FROM feedback_event').fetchall() == [(receipt['id'],)]


@pytest.mark.parametrize('after', [0.0, 0.4])
def test_a_signal_ends_a_start_too(after, tmp_path):
  with Host(tmp_path, start=8.0) as host:
    time.sleep(after)
    status, seconds = host.end()
    assert status == 0 and seconds < 3 and not host.unclean
    assert host.told.read_text() == ''


def test_a_start_that_cannot_be_ended_is_left_behind_in_time(tmp_path):
  with Host(tmp_path, grace=1, start=100.0) as host:
    status, seconds = host.end()
    assert status == 0 and seconds < 2.5 and not host.unclean


def test_a_start_that_fails_ends_with_the_reason(tmp_path):
  (tmp_path / 'secret').touch()
  with Host(tmp_path) as host:
    assert host.process.wait(10) == 1 and not host.unclean
    assert re.search('UserError: .*secret is damaged', host.told.read_text())


def test_a_second_signal_ends_at_once(tmp_path):
  with Host(tmp_path, grace=20) as host, ThreadPoolExecutor() as pool:
    host.ready()
    cut = pool.submit(streamed, host, 4000)
    time.sleep(0.3)
    host.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    status, seconds = host.end(signal.SIGTERM)
    assert status == 128 + signal.SIGTERM and seconds < 1
    with pytest.raises(httpx.HTTPError):
      cut.result()


def raw(url: str) -> socket.socket:
  address = urlsplit(url)
  return socket.create_connection((address.hostname, address.port), timeout=20)


HALF = (
  b'POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n'
  b'Content-Length: 200\r\n\r\n{"model": "rft", '
)
BROKEN = {
  'a body without its end': HALF,
  'a chunk without its end': HALF.replace(b'Content-Length: 200', b'Transfer-Encoding: chunked'),
  'no body': HALF.split(b'{')[0],
  'half a head': HALF[:40],
  'nothing': b'',
  'half a form': HALF.replace(b'/v1/chat/completions', b'/v1/feedback'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_a_client_that_leaves_in_the_middle_of_a_request_is_no_error(name, tmp_path, caplog):
  with Served(tmp_path) as served:
    for how in ('close', 'reset'):
      with raw(served.url) as connection:
        connection.sendall(BROKEN[name])
        time.sleep(0.05)
        if how == 'reset':
          connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    time.sleep(0.1)
    assert served.client.get('/healthz').status_code == 200
  assert not [record for record in caplog.records if record.exc_info or record.levelname == 'ERROR']


def test_a_body_that_never_ends_is_refused_in_time(tmp_path, monkeypatch):
  monkeypatch.setattr(bodies, 'BODY_SECONDS', 0.2)
  with Served(tmp_path) as served, raw(served.url) as connection:
    connection.sendall(HALF)
    assert connection.recv(100).startswith(b'HTTP/1.1 408')


def test_a_body_that_never_ends_does_not_keep_a_server_from_ending(tmp_path):
  with Host(tmp_path, grace=1) as host, raw(host.url) as connection:
    host.ready()
    connection.sendall(HALF)
    time.sleep(0.1)
    status, seconds = host.end()
    assert status == 0 and seconds < 1.5 and host.told.read_text() == ''


def test_a_receipt_that_is_followed_does_not_hold_a_server_up(tmp_path):
  (tmp_path / 'idle').touch()
  with Host(tmp_path, grace=5) as host, ThreadPoolExecutor() as pool:
    host.ready()
    waiting = vote(host.client, ask(host.client).json()['rft']['message_id']).json()
    path = f'/v1/feedback/{waiting["id"]}/events'
    follow = pool.submit(host.client.get, path)
    time.sleep(0.3)
    status, seconds = host.end()
    assert status == 0 and seconds < 2 and 'queued' in follow.result().text


PATHS = ['/', '/healthz', '/readyz', '/metrics', '/web/index.html', '/web/nothing', '/nothing']


@pytest.mark.parametrize('path', PATHS)
def test_what_is_no_call_of_the_api_has_a_head(path, tmp_path):
  with Served(tmp_path) as served:
    got, head = served.client.get(path), served.client.head(path)
    assert (head.status_code, head.text) == (got.status_code, '')
    assert head.headers['content-type'] == got.headers['content-type']


def test_the_head_of_the_page_makes_no_user(tmp_path):
  with Served(tmp_path) as served:
    until(lambda: served.store.users.named('local'))
    users = len(served.store.users.all())
    assert 'set-cookie' not in served.client.head('/').headers
    assert len(served.store.users.all()) == users


def limit(store, pages: int):
  store.db.write('limit', lambda c: c.execute(f'PRAGMA max_page_count = {pages}').fetchall())


def test_readiness_does_not_flap_while_the_disk_is_full(tmp_path, monkeypatch):
  monkeypatch.setattr(readiness, 'PROOF_SECONDS', 0.05)
  monkeypatch.setattr(readiness, 'CALM_SECONDS', 0.5)
  with Served(tmp_path) as served:
    assert served.client.get('/readyz').json()['waits_for'] == []
    limit(served.store, 1)
    with pytest.raises(StoreUnavailable):
      for _ in range(50):
        served.store.users.create('x' * 500).result(5)
    seen = set()
    for _ in range(100):
      served.store.events.expire().result(5)  # An empty write succeeds all the same.
      answer = served.client.get('/readyz')
      seen.add((answer.status_code, 'full' in json.dumps(answer.json()['waits_for'])))
      time.sleep(0.01)
    assert seen == {(503, True)}
    limit(served.store, 10**6)
    until(lambda: served.client.get('/readyz').status_code == 200, 5)


def test_readiness_waits_for_room_beyond_the_store(tmp_path, monkeypatch):
  monkeypatch.setattr(readiness, 'PROOF_SECONDS', 0.05)
  monkeypatch.setattr(readiness, 'CALM_SECONDS', 0.1)
  full = OSError(28, 'No space left on device')
  with Served(tmp_path) as served, monkeypatch.context() as patched:
    patched.setattr(readiness, 'make_room', lambda path: (_ for _ in ()).throw(full))
    served.service.readiness.note('it cannot write')
    time.sleep(0.5)
    assert 'No space left' in served.client.get('/readyz').text
    patched.undo()
    until(lambda: served.client.get('/readyz').status_code == 200, 10)
    assert not (tmp_path / 'room').exists()


@pytest.mark.slow
def test_50_signals_at_random_moments_under_load(tmp_path):
  noise = random.Random(0)
  acknowledged: set[str] = set()
  for round in range(50):
    with Host(tmp_path, grace=3, start=noise.choice([0.0, 0.3])) as host:
      done = threading.Event()
      threads = [threading.Thread(target=press, args=(host, acknowledged, done)) for _ in range(4)]
      for thread in threads:
        thread.start()
      time.sleep(noise.uniform(0, 1.2))
      status, seconds = host.end(noise.choice([signal.SIGTERM, signal.SIGINT]))
      done.set()
      for thread in threads:
        thread.join()
      assert status == 0 and seconds < 4 and not host.unclean, round
      assert 'Traceback' not in host.told.read_text()
  with sqlite3.connect(tmp_path / 'store.db') as store:
    kept = [row[0] for row in store.execute('SELECT id FROM feedback_event')]
    assert len(acknowledged) > 50 and acknowledged <= set(kept) and len(kept) == len(set(kept))
    assert store.execute('PRAGMA integrity_check').fetchone()[0] == 'ok'


def press(host: Host, acknowledged: set[str], done: threading.Event):
  """Asks and votes until the server is gone."""
  with httpx.Client(base_url=host.url, timeout=10) as client:
    while not done.is_set():
      try:
        answer = ask(client)
        if answer.status_code == 200:
          said = vote(client, answer.json()['rft']['message_id'])
          if said.status_code == 201:
            acknowledged.add(said.json()['id'])
      except httpx.HTTPError:
        time.sleep(0.02)
