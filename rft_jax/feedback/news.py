"""What has changed for whom since somebody looked last: told by triggers of the connection that
writes, which live in this process alone, so that no one has to search the tables for changes."""

import sqlite3
import threading
from collections import Counter

TOLD = """
CREATE TEMP TRIGGER tell_gate AFTER INSERT ON event_gate WHEN NEW.scope != 'global'
BEGIN SELECT tell(user_id, id) FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_verdict AFTER UPDATE ON event_gate WHEN NEW.scope != 'global'
  AND (NEW.state != OLD.state OR NEW.reasons_json != OLD.reasons_json)
BEGIN SELECT tell(user_id, id) FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_replaced AFTER INSERT ON replaced
BEGIN SELECT tell(user_id, id) FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_applied AFTER INSERT ON applied WHEN NEW.scope != 'global'
BEGIN SELECT tell(user_id, id) FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_undone AFTER DELETE ON applied WHEN OLD.scope != 'global'
BEGIN SELECT tell(user_id, id) FROM feedback_event WHERE seq = OLD.event_seq; END;
CREATE TEMP TRIGGER tell_item AFTER INSERT ON train_item WHEN NEW.role = 'new'
BEGIN SELECT tell(user_id, id) FROM feedback_event WHERE seq = NEW.event_seq; END;
CREATE TEMP TRIGGER tell_batch AFTER UPDATE OF status ON train_batch WHEN NEW.scope != 'global'
BEGIN
  SELECT tell(e.user_id, e.id) FROM train_item i JOIN feedback_event e ON e.seq = i.event_seq
    WHERE i.batch_id = NEW.id AND i.role = 'new';
END;
CREATE TEMP TRIGGER tell_served AFTER UPDATE OF first_served_us ON model_version
  WHEN NEW.scope != 'global' AND NEW.first_served_us IS NOT OLD.first_served_us
BEGIN
  SELECT tell(e.user_id, e.id) FROM applied a JOIN feedback_event e ON e.seq = a.event_seq
    WHERE a.scope = NEW.scope AND a.version = NEW.version;
END;
CREATE TEMP TRIGGER tell_target AFTER UPDATE ON pending_target
BEGIN SELECT tell(NEW.user_id, NEW.id); END;
CREATE TEMP TRIGGER tell_scope AFTER UPDATE OF live_version ON scope_state
BEGIN SELECT tell('', NEW.scope); END;
"""
MOST = 1000  # receipts of a user that are remembered between two looks


class News:
  """Receipts that changed, of the users whom somebody `watch`es, and scopes whose live version did.

  `tell` is called within a transaction by the thread that writes; what it heard counts once that is
  durable. An operation that was undone alone may be among it: news say where to look, not what.
  """

  def __init__(self, connection: sqlite3.Connection):
    self.lock = threading.Lock()
    self.watched: Counter[str] = Counter()
    self.heard: list[tuple[str, str]] = []
    self.receipts: dict[str, dict[str, None]] = {}  # by user, in order
    self.scopes: set[str] = set()
    self.commits = 0
    connection.create_function('tell', 2, self.tell)
    connection.executescript(TOLD)

  def tell(self, user_id: str, name: str):
    """A receipt of a user; without a user, a scope."""
    self.heard.append((user_id, name))

  def durable(self):
    """The transaction was committed."""
    with self.lock:
      self.commits += 1
      for user_id, name in self.heard:
        if not user_id:
          self.scopes.add(name)
        elif user_id in self.watched:  # Only now: whoever began since reads what is durable.
          known = self.receipts.setdefault(user_id, {})
          known.pop(name, None)
          known[name] = None
          if len(known) > MOST:
            del known[next(iter(known))]
    self.heard.clear()

  def undone(self):
    self.heard.clear()

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
    """(user, receipt) of up to so many changes, each told once; the rest stay for the next look."""
    found: list[tuple[str, str]] = []
    with self.lock:
      while self.receipts and len(found) < most:
        user_id, names = next(iter(self.receipts.items()))
        some = list(names)[: most - len(found)]
        found += [(user_id, name) for name in some]
        for name in some:
          del names[name]
        if not names:
          del self.receipts[user_id]
    return found

  def moved(self) -> set[str]:
    """Scopes whose live version changed since the last call."""
    with self.lock:
      found, self.scopes = self.scopes, set()
    return found
