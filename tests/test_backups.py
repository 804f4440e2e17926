"""The server's copies of its store: when they are made, that they are whole, how many stay."""

import re
import sqlite3

import pytest
from served import Served, ask, until
from talk import chat

from rft_jax.feedback.store import Store
from rft_jax.serve.backups import Backups

DAY = 86_400.0


@pytest.fixture
def store(tmp_path):
  store = Store(tmp_path / 'store.db')
  yield store
  store.close()


class Clock:
  now = 1_700_000_000.0

  def __call__(self):
    return self.now


def test_a_copy_is_due_a_day_after_the_last_one_also_after_a_restart(store):
  clock = Clock()
  backups = Backups(store, DAY, 3, clock)
  assert backups.due(), 'there is none yet'
  made = backups.make()
  assert made.name == 'store-20231114T221320Z.db' and backups.last() == clock.now
  clock.now += DAY - 1
  assert not backups.due() and not Backups(store, DAY, 3, clock).due()
  clock.now += 1
  assert backups.due()
  assert not Backups(store, DAY, 0, clock).due(), 'none are wanted'


def test_the_oldest_copies_go(store):
  clock = Clock()
  backups = Backups(store, DAY, 3, clock)
  for _ in range(5):
    clock.now += DAY
    backups.make()
  days = [path.name[6:14] for path in backups.all()]
  assert days == ['20231117', '20231118', '20231119']


def test_a_copy_is_a_store_with_everything_that_was_durable(store, tmp_path):
  user = store.users.create('me').result(5)
  message_id = chat(store, user.id, answer='Hello there')
  copy = Backups(store, DAY, 3).make()
  restored = Store(copy.rename(tmp_path / 'restored.db'))
  assert restored.chats.message(message_id).content == 'Hello there'
  restored.close()


def test_a_copy_that_breaks_off_is_none_and_is_cleared_away(store, monkeypatch):
  backups = Backups(store, DAY, 3)

  def fill_the_disk(path):
    path.write_bytes(b'half')
    raise sqlite3.OperationalError('database or disk is full')

  with monkeypatch.context() as patched:
    patched.setattr(store, 'backup', fill_the_disk)
    with pytest.raises(sqlite3.OperationalError):
      backups.make()
  assert not backups.all() and backups.due()
  backups.make()
  assert [path.name for path in backups.folder.iterdir()] == [backups.all()[0].name]


def test_a_server_makes_copies_and_says_when(tmp_path):
  with Served(tmp_path, backups=2) as served:
    ask(served.client)
    until(served.service.backups.all)
    said = lambda: re.search(r'(?m)^rft_last_backup\w+ (.*)', served.client.get('/metrics').text)
    until(lambda: float(said()[1]) == served.service.backups.last())
