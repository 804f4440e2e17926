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
# Who came without a name and said nothing; `me` is never one of them.
SILENT = (
  """(a.events = 0 AND u.display = '' AND u.state = 'active' AND NOT u.staff AND u.id != :me)"""
)
PAGE = f"""
SELECT u.*, a.events AS n_events, coalesce(s.live_version, 0) AS live
FROM author a CROSS JOIN user u ON u.id = a.user_id
LEFT JOIN scope_state s ON s.scope = 'u:' || u.id
WHERE {SILENT} = :visitors AND (a.events, a.user_id) < (:events, :id)
ORDER BY a.events DESC, a.user_id DESC LIMIT :limit
"""
VISITORS = f'SELECT count(*) FROM author a JOIN user u ON u.id = a.user_id WHERE {SILENT}'


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

  def page(
    self, visitors: bool, before: tuple[int, str] | None = None, limit: int = 100, me: str = ''
  ) -> list[Person]:
    """In the same order, after `before` (events, id): the silent `visitors`, or all others."""
    events, user_id = before or (2**62, '')
    values = {'visitors': visitors, 'events': events, 'id': user_id, 'limit': limit, 'me': me}
    return [person(dict(row)) for row in self.db.read(PAGE, values)]

  def visitors(self, me: str = '') -> int:
    return self.db.read(VISITORS, {'me': me})[0][0]


def person(row: dict[str, Any]) -> Person:
  events, version = row.pop('n_events'), row.pop('live')
  return Person(rows.user(row), events, version)
