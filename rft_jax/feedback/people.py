"""The users of a store as its administrator lists them: who says most comes first."""

from typing import Any, NamedTuple

from rft_jax.feedback import rows
from rft_jax.feedback.database import Database
from rft_jax.feedback.records import User

MOST_ACTIVE = """
SELECT u.*, a.events AS n_events, coalesce(s.live_version, 0) AS live
FROM (SELECT * FROM author ORDER BY events DESC, user_id DESC LIMIT ? OFFSET ?) a
CROSS JOIN user u ON u.id = a.user_id LEFT JOIN scope_state s ON s.scope = 'u:' || u.id
ORDER BY a.events DESC, a.user_id DESC
"""


class Person(NamedTuple):
  """`version`: of the personal adapter that is live."""

  user: User
  events: int
  version: int


class People:
  def __init__(self, db: Database):
    self.db = db

  def most_active(self, limit: int = 200, offset: int = 0) -> list[Person]:
    """Who is not erased, by the number of their events; the newest first among equals."""
    return [person(dict(row)) for row in self.db.read(MOST_ACTIVE, limit, offset)]


def person(row: dict[str, Any]) -> Person:
  events, version = row.pop('n_events'), row.pop('live')
  return Person(rows.user(row), events, version)
