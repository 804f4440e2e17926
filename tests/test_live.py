"""One stream tells a page what changes: all of it, nothing of others, and no more than that."""

import contextlib
import json
import sqlite3
import threading
import time

import httpx
import pytest
from served import Served, ask, until, vote
from test_lifecycle import Host

from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import of_user
from rft_jax.serve import live
from rft_jax.serve.auth import make_key


@pytest.fixture
def served(tmp_path):
  with Served(tmp_path) as served:
    yield served


class Page(threading.Thread):
  """Hears what /v1/live tells until it is left or sent away."""

  def __init__(self, client: httpx.Client, follow: str = ''):
    super().__init__(daemon=True)
    self.client, self.follow = client, follow
    self.heard: list[dict] = []
    self.left = threading.Event()
    self.start()
    until(lambda: self.heard)

  def run(self):
    with contextlib.suppress(httpx.TransportError):  # It is cut off.
      self.listen()

  def listen(self):
    with self.client.stream('GET', f'/v1/live?follow={self.follow}') as response:
      self.headers = response.headers
      for line in response.iter_lines():
        if line.startswith('data: '):
          self.heard.append(json.loads(line[6:]))
        if self.left.is_set():
          return

  def leave(self):
    self.left.set()
    self.join(5)

  def receipts(self, name: str = '') -> list[str]:
    found = [one for heard in self.heard for one in heard.get('receipts', ())]
    return [one['status'] for one in found if name in ('', one['id'])]

  @property
  def status(self) -> dict:
    return [heard['status'] for heard in self.heard if 'status' in heard][-1]


def visitor(served: Served) -> httpx.Client:
  client = served.browser()
  client.get('/')
  return client


def test_a_page_hears_at_once_how_the_server_is_and_then_what_changes(served):
  client = visitor(served)
  page = Page(served.browser(cookie=cookie(client)))
  assert page.heard[0] == {'status': client.get('/v1/status').json()}
  assert page.headers['content-type'].startswith('text/event-stream')
  assert page.headers['x-accel-buffering'] == 'no'
  assert 'no-store' in page.headers['cache-control']
  served.learner.learning = True
  receipt = vote(client, ask(client).json()['rft']['message_id']).json()
  until(lambda: 'served' in page.receipts(receipt['id']))
  until(lambda: page.status['version']['personal'] == 1)
  client.delete(f'/v1/feedback/{receipt["id"]}')
  until(lambda: 'retracted' in page.receipts(receipt['id']))
  until(lambda: {} in page.heard)  # The line holds.


def cookie(client: httpx.Client) -> str:
  return '; '.join(f'{name}={value}' for name, value in client.cookies.items())


def test_a_page_that_comes_back_hears_what_it_missed_of_what_it_follows(served):
  client = visitor(served)
  given = [vote(client, ask(client).json()['rft']['message_id']).json() for _ in range(2)]
  client.delete(f'/v1/feedback/{given[0]["id"]}')
  stranger = visitor(served)
  theirs = vote(stranger, ask(stranger).json()['rft']['message_id']).json()
  names = ','.join([*(one['id'] for one in given), theirs['id'], uuid7()])
  page = Page(served.browser(cookie=cookie(client)), names)
  found = {one['id']: one['status'] for one in page.heard[0]['receipts']}
  assert found == {given[0]['id']: 'retracted', given[1]['id']: 'queued'}


@pytest.mark.parametrize(
  'follow',
  ['x', f'{uuid7()},1', ','.join([uuid7()] * 101)],
  ids=['none', 'one of two is none', 'too many'],  # Those of workers must be the same.
)
def test_what_a_page_may_follow_is_checked(follow, served):
  assert served.client.get(f'/v1/live?follow={follow}').status_code in (400, 422)


def test_nobody_hears_of_the_votes_of_others(served):
  one, other = visitor(served), visitor(served)
  page, pages = Page(served.browser(cookie=cookie(one))), [Page(other), Page(other)]
  receipt = vote(one, ask(one).json()['rft']['message_id']).json()
  until(lambda: page.receipts(receipt['id']))
  served.store.events.quarantine([receipt['seq']], 'a test', 'a test').result(5)
  until(lambda: page.receipts(receipt['id'])[-1] == 'quarantined')
  assert not [name for other in pages for name in other.receipts()]


def test_a_key_that_may_not_give_feedback_hears_no_receipts(served):
  user = served.store.users.create().result(5).id
  chats, votes = (
    make_key(served.store, user, scopes) for scopes in (('chat',), ('chat', 'feedback'))
  )
  deaf, page = (Page(served.browser(authorization=f'Bearer {key}')) for key in (chats, votes))
  client = served.browser(authorization=f'Bearer {votes}')
  receipt = vote(client, ask(client).json()['rft']['message_id']).json()
  until(lambda: page.receipts(receipt['id']))
  assert not deaf.receipts()


def test_without_a_name_there_is_no_news_and_a_name_that_ends_ends_them(served):
  user = served.store.users.create().result(5).id
  key = make_key(served.store, user, ('chat', 'feedback'))
  assert served.browser().get('/v1/live').status_code == 401
  assert served.browser(authorization='Bearer rft-sk-x.y').get('/v1/live').status_code == 401
  page = Page(served.browser(authorization=f'Bearer {key}'))
  served.store.users.set_state(user, 'blocked', 'a test').result(5)
  page.join(5)
  assert not page.is_alive()


def test_a_page_that_leaves_leaves_nothing(served):
  client = visitor(served)
  pages = [Page(served.browser(cookie=cookie(client))) for _ in range(5)]
  assert sum(map(len, served.service.live.pages.values())) == 5
  for page in pages[:3]:
    page.leave()
  until(lambda: sum(map(len, served.service.live.pages.values())) == 2)
  served.hang_up()
  for page in pages[3:]:
    page.join(5)
  until(lambda: not served.service.live.pages)
  news = served.store.db.news
  vote(client, ask(client).json()['rft']['message_id'])
  assert not news.watched and not news.receipts


@pytest.mark.parametrize('turns', range(6))
def test_a_page_that_is_told_something_while_it_leaves_leaves_nothing(turns, served):
  page = Page(visitor(served))
  loop, pages = served.loop, served.service.live.pages

  def wake(left: int):
    if left:
      return loop.call_soon(wake, left - 1)
    for theirs in pages.values():
      for one in theirs:
        one.woken.set()

  served.hang_up()
  loop.call_soon_threadsafe(wake, turns)
  page.join(5)
  until(lambda: not pages, 3)


def test_one_user_cannot_open_pages_without_end(served, monkeypatch):
  monkeypatch.setattr(live, 'PAGES', 3)
  client = visitor(served)
  pages = [Page(served.browser(cookie=cookie(client))) for _ in range(3)]
  refused = client.get('/v1/live')
  assert refused.status_code == 429 and refused.headers['retry-after']
  pages[0].leave()
  until(lambda: sum(map(len, served.service.live.pages.values())) == 2)
  Page(served.browser(cookie=cookie(client)))


def test_what_happens_often_is_told_seldom_and_the_last_word_is_right(served):
  client = visitor(served)
  page, quiet = Page(served.browser(cookie=cookie(client))), Page(visitor(served))
  message_id, start = ask(client).json()['rft']['message_id'], time.monotonic()
  given = [vote(client, message_id).json()['id'] for _ in range(60)]
  until(lambda: page.receipts(given[-1]))
  until(lambda: page.receipts(given[0])[-1] == 'superseded')
  looks = 2 + (time.monotonic() - start) / live.LOOK_SECONDS
  assert len([heard for heard in page.heard if heard]) <= looks
  told = [heard for heard in quiet.heard if heard]
  assert len(told) <= 2 + (time.monotonic() - start) / live.LOAD_SECONDS
  until(lambda: served.service.live.status('')['pending_events'] == 1)


def test_all_pages_together_ask_the_store_once(served, monkeypatch):
  asked = []
  backlog = served.store.ledger.backlog
  monkeypatch.setattr(served.store.ledger, 'backlog', lambda: asked.append(1) or backlog())
  pages = [Page(visitor(served)) for _ in range(8)]
  asked.clear()
  looks = []
  look = served.service.live.look
  monkeypatch.setattr(served.service.live, 'look', lambda: looks.append(1) or look())
  commits = served.store.db.news.commits
  served.store.users.create().result(5)
  until(lambda: len(looks) > 5)
  assert len(asked) <= served.store.db.news.commits - commits < len(pages)


def test_one_user_with_much_news_keeps_nobody_else_waiting(served):
  news = served.store.db.news
  for user_id in 'loud', 'quiet':
    news.watch(user_id)
  for number in range(150):
    news.note('loud', f'first {number}')
  news.note('quiet', 'one')
  assert len(news.changed(100)) == 100
  for number in range(150):
    news.note('loud', f'second {number}')
  assert ('quiet', 'one') in news.changed(100)
  rest = [name for _, name in news.changed(1000)]
  assert len(rest) == len(set(rest)) == 101 and not news.changed(1)


def test_a_store_that_cannot_be_read_sends_pages_away_and_they_come_again(served, monkeypatch):
  page = Page(visitor(served))
  with monkeypatch.context() as patch:
    patch.setattr(served.service.live, 'look', lambda: (_ for _ in ()).throw(sqlite3.Error('torn')))
    page.join(5)
    assert not page.is_alive()
  page = Page(visitor(served))
  served.engine.live = 3
  until(lambda: page.status['version']['global'] == 3)


def test_open_pages_do_not_hold_a_server_up(tmp_path):
  with Host(tmp_path, grace=5) as host:
    host.ready()
    page = Page(host.client)
    status, seconds = host.end()
    page.join(5)
    assert status == 0 and seconds < 2 and not page.is_alive()


def test_scopes_whose_version_moved_are_told_to_the_learner_once(served):
  client = visitor(served)
  served.learner.learning = True
  served.store.db.news.moved()
  receipt = vote(client, ask(client).json()['rft']['message_id']).json()
  user = served.store.events.receipt(receipt['id']).user_id
  until(lambda: served.store.versions.state(of_user(user)).live_version == 1)
  assert served.store.db.news.moved() == {of_user(user)}
  assert not served.store.db.news.moved()
