"""What has changed for whom since somebody looked last: told by triggers of the connection that
writes, which live in this process alone, so that no one has to search the tables for changes."""

import json
import sqlite3
import threading
from collections import Counter

TOLD = """
CREATE TEMP TABLE told (user_id TEXT NOT NULL, name TEXT NOT NULL);
CREATE TEMP TRIGGER tell_gate AFTER INSERT ON event_gate WHEN NEW.scope != 'global'
BEGIN INSERT INTO told SELECT user_id, id FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_verdict AFTER UPDATE ON event_gate WHEN NEW.scope != 'global'
  AND (NEW.state != OLD.state OR NEW.reasons_json != OLD.reasons_json)
BEGIN INSERT INTO told SELECT user_id, id FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_replaced AFTER INSERT ON replaced
BEGIN INSERT INTO told SELECT user_id, id FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_applied AFTER INSERT ON applied WHEN NEW.scope != 'global'
BEGIN INSERT INTO told SELECT user_id, id FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_undone AFTER DELETE ON applied WHEN OLD.scope != 'global'
BEGIN INSERT INTO told SELECT user_id, id FROM feedback_event WHERE seq = OLD.event_seq; END;
CREATE TEMP TRIGGER tell_item AFTER INSERT ON train_item WHEN NEW.role = 'new'
BEGIN INSERT INTO told SELECT user_id, id FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_batch AFTER UPDATE OF status ON train_batch WHEN NEW.scope != 'global'
BEGIN
  INSERT INTO told SELECT e.user_id, e.id
    FROM train_item i JOIN feedback_event e ON e.seq = i.event_seq
    WHERE i.batch_id = NEW.id AND i.role = 'new';
END;
CREATE TEMP TRIGGER tell_served AFTER UPDATE OF first_served_us ON model_version
  WHEN NEW.scope != 'global' AND NEW.first_served_us IS NOT OLD.first_served_us
BEGIN
  INSERT INTO told SELECT e.user_id, e.id
    FROM applied a JOIN feedback_event e ON e.seq = a.event_seq
    WHERE a.scope = NEW.scope AND a.version = NEW.version;
END;
CREATE TEMP TRIGGER tell_target AFTER UPDATE ON pending_target
BEGIN INSERT INTO told VALUES (NEW.user_id, NEW.id); END;
CREATE TEMP TRIGGER tell_scope AFTER UPDATE OF live_version ON scope_state
BEGIN INSERT INTO told VALUES ('', NEW.scope); END;
"""
HEARD = 'SELECT json_group_array(json_array(user_id, name)) FROM told'
MOST = 1000  # receipts of a user that are remembered between two looks


class News:
  """Receipts that changed, of the users whom somebody `watch`es, and scopes whose live version did.

  They lie in a table of the connection, so what is undone is not told; it is emptied after each
  commit: a call of Python for each of them would wait as often for its turn among the threads.
  """

  def __init__(self, connection: sqlite3.Connection):
    self.connection, self.lock = connection, threading.Lock()
    self.watched: Counter[str] = Counter()
    self.receipts: dict[str, dict[str, None]] = {}  # by user, in order
    self.scopes: set[str] = set()
    self.commits = 0
    connection.execute('PRAGMA temp_store=MEMORY')
    connection.executescript(TOLD)

  def durable(self):
    """A transaction was committed."""
    told = json.loads(self.connection.execute(HEARD).fetchone()[0])
    if told:
      self.connection.execute('DELETE FROM told')
    with self.lock:
      self.commits += 1
      for user_id, name in told:
        if not user_id:  # It is a scope.
          self.scopes.add(name)
        elif user_id in self.watched:  # Whoever begins after this reads what is durable.
          self.note(user_id, name)

  def note(self, user_id: str, name: str):
    known = self.receipts.setdefault(user_id, {})
    known.pop(name, None)
    known[name] = None
    if len(known) > MOST:
      del known[next(iter(known))]

  def watch(self, user_id: str):
    with self.lock:
      self.watched[user_id] += 1

  def leave(self, user_id: str):
    with self.lock:
      self.watched[user_id] -= 1
      if not self.watched[user_id]:
        del self.watched[user_id]
        self.receipts.pop(user_id, None)

  def changed(self, most: int) -> list[tuple[str, str]]:
    """(user, receipt) of up to so many changes, each told once; the rest stay for the next look,
    which begins with somebody else."""
    found: list[tuple[str, str]] = []
    with self.lock:
      while self.receipts and len(found) < most:
        user_id = next(iter(self.receipts))
        names = list(self.receipts.pop(user_id))
        some = most - len(found)
        found += [(user_id, name) for name in names[:some]]
        if len(names) > some:
          self.receipts[user_id] = dict.fromkeys(names[some:])
    return found

  def moved(self) -> set[str]:
    """Scopes whose live version changed since the last call."""
    with self.lock:
      found, self.scopes = self.scopes, set()
    return found
