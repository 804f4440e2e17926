"""The users of the store: accounts, keys, trust, and what it takes to forget someone."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from rft_jax.feedback import rows, voting
from rft_jax.feedback.database import Database
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import ApiKey, User, of_user

ERASED = 'erased: the user is gone'
ERASE = (
  """UPDATE user SET deleted_us = :now, display = '', share_global = 0, origin = NULL
    WHERE id = :user""",
  'DELETE FROM user_origin WHERE user_id = :user',
  'UPDATE api_key SET revoked_us = :now WHERE user_id = :user AND revoked_us IS NULL',
  """UPDATE conversation SET deleted_us = :now, title = '', system_prompt = ''
    WHERE user_id = :user""",
  """DELETE FROM generation WHERE message_id IN (SELECT m.id FROM message m
    JOIN conversation c ON c.id = m.conversation_id WHERE c.user_id = :user)""",
  """UPDATE message SET content = '' WHERE conversation_id IN
    (SELECT id FROM conversation WHERE user_id = :user)""",
  """UPDATE feedback_event SET value_json = '{}', comment = '', tags_json = '[]'
    WHERE user_id = :user""",
  f"""UPDATE event_gate SET state = 'rejected', reasons_json = '["{ERASED}"]'
    WHERE event_seq IN (SELECT seq FROM feedback_event WHERE user_id = :user)""",
  'DELETE FROM pending_target WHERE user_id = :user',
  'DELETE FROM end_user WHERE user_id = :user',
  """UPDATE train_batch SET status = 'abandoned', done_us = :now, reason = 'erased'
    WHERE status = 'claimed' AND id IN (SELECT batch_id FROM train_item
      JOIN feedback_event ON seq = event_seq WHERE user_id = :user)""",
)
AGREED = """SELECT event_seq FROM supporter
  WHERE event_seq IN (SELECT seq FROM feedback_event WHERE user_id = ?)"""
KEYED = """UPDATE user SET keyed = EXISTS
  (SELECT 1 FROM api_key WHERE user_id = user.id AND revoked_us IS NULL) WHERE id = ?"""


class Users:
  def __init__(self, db: Database, clock: Callable[[], int], rules: Rules):
    self.db, self.clock, self.rules = db, clock, rules

  def create(self, display: str = '', staff: bool = False) -> Future[User]:
    user = User(uuid7(), display, staff, created_us=self.clock())

    def create_user(connection: sqlite3.Connection) -> User:
      rows.insert(connection, 'user', vars(user))
      return user

    return self.db.write('create_user', create_user)

  def get(self, user_id: str) -> User | None:
    found = self.db.read('SELECT * FROM user WHERE id = ?', user_id)
    return rows.user(found[0]) if found else None

  def named(self, display: str) -> User | None:
    """The first user of this name who is not erased."""
    query = 'SELECT * FROM user WHERE display = ? AND deleted_us IS NULL ORDER BY id LIMIT 1'
    found = self.db.read(query, display)
    return rows.user(found[0]) if found else None

  def end_user(self, owner_id: str, name: str) -> User | None:
    """Whom the owner of a key calls by this name."""
    query = """SELECT u.* FROM end_user e JOIN user u ON u.id = e.user_id
      WHERE owner_id = ? AND name = ?"""
    found = self.db.read(query, owner_id, name)
    return rows.user(found[0]) if found else None

  def owner(self, user_id: str) -> str | None:
    """The id of the user behind whose key an end user is; None for others."""
    found = self.db.read('SELECT owner_id FROM end_user WHERE user_id = ?', user_id)
    return found[0][0] if found else None

  def add_end_user(self, owner_id: str, name: str) -> Future[None]:
    """A user of their own, if the name is new."""

    def add_end_user(connection: sqlite3.Connection):
      query = 'SELECT 1 FROM end_user WHERE owner_id = ? AND name = ?'
      if not connection.execute(query, (owner_id, name)).fetchone():
        user = User(uuid7(), name, created_us=self.clock(), keyed=True)
        rows.insert(connection, 'user', vars(user))
        rows.insert(connection, 'end_user', dict(owner_id=owner_id, name=name, user_id=user.id))

    return self.db.write('add_end_user', add_end_user)

  def all(self) -> list[User]:
    return [rows.user(row) for row in self.db.read('SELECT * FROM user ORDER BY created_us')]

  def set_state(self, user_id: str, state: str, actor: str) -> Future[None]:
    """`state`: active, muted (teaches only the own adapter) or blocked (may not call)."""

    def set_state(connection: sqlite3.Connection):
      connection.execute('UPDATE user SET state = ? WHERE id = ?', (state, user_id))
      rows.audit(connection, actor, 'user_state', self.clock(), user_id=user_id, state=state)

    return self.db.write('set_state', set_state)

  def share(self, user_id: str, share_global: bool) -> Future[None]:
    """Whether feedback to come may teach everyone. What is agreed on already stays; without it,
    what still waits for others to agree does not count any more."""

    def share(connection: sqlite3.Connection):
      query = 'UPDATE user SET share_global = ? WHERE id = ?'
      connection.execute(query, (int(share_global), user_id))

    return self.db.write('share', share)

  def judge(self, user_id: str, right: float, wrong: float) -> Future[None]:
    """Adds evidence to the Beta posterior of a user's trust."""
    return self.db.write('judge', lambda connection: judge(connection, user_id, right, wrong))

  def add_key(self, key: ApiKey) -> Future[None]:
    values = {**vars(key), 'created_us': self.clock()}

    def add_key(connection: sqlite3.Connection):
      rows.insert(connection, 'api_key', values)
      connection.execute(KEYED, (key.user_id,))
      rows.audit(connection, key.user_id, 'add_key', self.clock(), key=key.id, scopes=key.scopes)

    return self.db.write('add_key', add_key)

  def key(self, key_id: str) -> ApiKey | None:
    found = self.db.read('SELECT * FROM api_key WHERE id = ?', key_id)
    return rows.api_key(found[0]) if found else None

  def keys(self) -> list[ApiKey]:
    """All, also those that were revoked, the oldest first."""
    return [rows.api_key(r) for r in self.db.read('SELECT * FROM api_key ORDER BY created_us, id')]

  def has_keys(self) -> bool:
    """Whether a key was ever made; revoked ones count, so that revoking never opens a server."""
    return bool(self.db.read('SELECT 1 FROM api_key LIMIT 1'))

  def revoke_key(self, key_id: str, actor: str) -> Future[None]:
    def revoke_key(connection: sqlite3.Connection):
      query = 'UPDATE api_key SET revoked_us = coalesce(revoked_us, ?) WHERE id = ?'
      connection.execute(query, (self.clock(), key_id))
      owner = connection.execute('SELECT user_id FROM api_key WHERE id = ?', (key_id,)).fetchone()
      connection.execute(KEYED, tuple(owner or ('',)))
      rows.audit(connection, actor, 'revoke_key', self.clock(), key=key_id)

    return self.db.write('revoke_key', revoke_key)

  def erase(self, user_id: str, actor: str) -> Future[None]:
    """Empties everything that a user wrote or was answered, and ends their adapter.

    Skeletons of events stay, because the ledger of what the weights have seen refers to them.
    """

    def erase(connection: sqlite3.Connection):
      values: dict[str, Any] = {'now': self.clock(), 'user': user_id}
      for (seq,) in connection.execute(AGREED, (user_id,)).fetchall():
        voting.withdraw(connection, seq, ERASED, self.clock(), self.rules)
      for statement in ERASE:
        connection.execute(statement, values)
      query = 'UPDATE scope_state SET live_version = 0, frozen = 1 WHERE scope = ?'
      connection.execute(query, (of_user(user_id),))
      rows.audit(connection, actor, 'erase', self.clock(), user_id=user_id)

    return self.db.write('erase', erase)


def judge(connection: sqlite3.Connection, user_id: str, right: float, wrong: float):
  query = 'UPDATE user SET trust_a = trust_a + ?, trust_b = trust_b + ? WHERE id = ?'
  connection.execute(query, (right, wrong, user_id))
