"""The administrator's lists come in parts, however many users and versions there are."""

import pytest
from served import Served, ask, until, vote

from rft_jax.serve import admin


@pytest.fixture
def served(tmp_path, monkeypatch):
  monkeypatch.setattr(admin, 'ROWS', 3)
  with Served(tmp_path) as served:
    until(lambda: served.store.users.named('local'))
    yield served


def parts(served, path, **which):
  """All rows, and how many came at a time."""
  rows, sizes, more = [], [], True
  while more:
    answer = served.client.get(path, params={'offset': len(rows), **which}).json()
    rows += answer['data']
    sizes.append(len(answer['data']))
    more = answer['has_more']
  return rows, sizes


def test_users_come_by_what_they_said_each_once(served):
  clients = [served.browser() for _ in range(6)]
  for number, client in enumerate(clients):
    client.get('/')
    for _ in range(number):
      vote(client, ask(client).json()['rft']['message_id'])
  clients[5].delete('/v1/me')
  rows, sizes = parts(served, '/admin/users')
  assert sizes == [3, 3] and len({row['user_id'] for row in rows}) == 6
  assert [row['n_events'] for row in rows] == [4, 3, 2, 1, 0, 0]


def test_versions_come_newest_first_and_the_start_last(served):
  served.learner.learning = True
  rft = ask(served.client).json()['rft']
  scope = None
  for number in range(1, 5):
    receipt = vote(served.client, rft['message_id'], value={'label': number % 2 > 0}).json()
    scope = receipt['scope']
    until(lambda n=number: served.store.versions.state(scope).live_version == n)
  rows, sizes = parts(served, '/admin/versions', scope=scope)
  assert [row['version'] for row in rows] == [4, 3, 2, 1, 0] and sizes == [3, 2]
  assert [row['n_events'] for row in rows] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize('offset', ['-1', 'x', '1.5', '²', '9' * 30])
@pytest.mark.parametrize('path', ['/admin/users', '/admin/versions'])
def test_an_offset_is_a_number(path, offset, served):
  answer = served.client.get(path, params={'offset': offset})
  assert answer.status_code in (400, 422) and 'offset' in answer.json()['error']['message']
