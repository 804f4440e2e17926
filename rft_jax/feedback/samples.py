"""A ring of measurements for the plots, and the record of who did what."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from rft_jax.feedback import rows
from rft_jax.feedback.database import Database

SATISFACTION = """
SELECT * FROM (SELECT * FROM satisfaction ORDER BY version DESC, arm LIMIT ?) ORDER BY t_us
"""
VOTES = """
SELECT e.user_id, e.global_version AS version, json_extract(e.value_json, '$.label') AS up
FROM feedback_current e WHERE e.kind = 'binary' AND e.recv_us >= ?
  AND e.global_version IN (?, ?) ORDER BY e.seq
"""
LATENCY = """
SELECT v.first_served_us AS t_us, (v.first_served_us - e.recv_us) / 1000.0 AS ms, a.scope
FROM applied a JOIN feedback_event e ON e.seq = a.event_seq
JOIN model_version v ON v.scope = a.scope AND v.version = a.version
WHERE v.first_served_us IS NOT NULL ORDER BY a.event_seq DESC LIMIT ?
"""


class Sample(NamedTuple):
  t_us: int
  value: float
  labels: dict[str, Any]


class Samples:
  def __init__(self, db: Database, clock: Callable[[], int]):
    self.db, self.clock = db, clock

  def add(self, name: str, value: float, **labels: Any) -> Future[int]:
    """Keeps one measurement; only the last 20000 stay."""
    row = {
      'name': name,
      'value': value,
      'labels_json': json.dumps(labels),
      'created_us': self.clock(),
    }
    return self.db.write('sample', lambda connection: rows.insert(connection, 'metric_sample', row))

  def series(self, name: str, limit: int = 2000) -> list[Sample]:
    """The last `limit` of a name, oldest first."""
    query = 'SELECT * FROM metric_sample WHERE name = ? ORDER BY seq DESC LIMIT ?'
    found = self.db.read(query, name, limit)
    return [
      Sample(row['created_us'], row['value'], json.loads(row['labels_json']))
      for row in reversed(found)
    ]

  def satisfaction(self, limit: int = 500) -> list[dict[str, Any]]:
    """Thumbs up out of n by global version and arm (base: no adapters), of the newest versions;
    t_us: of the first thumb."""
    return [dict(row) for row in self.db.read(SATISFACTION, limit)]

  def votes(self, versions: tuple[int, int], since_us: int) -> list[tuple[str, int, bool]]:
    """(user, global version, whether up) of the thumbs on two global versions, in order."""
    found = self.db.read(VOTES, since_us, *versions)
    return [(row['user_id'], row['version'], bool(row['up'])) for row in found]

  def latency(self, limit: int = 2000) -> list[dict[str, Any]]:
    """Milliseconds from a feedback to the first answer with it, oldest first, with the scope."""
    found = self.db.read(LATENCY, limit)
    return sorted((dict(row) for row in found), key=lambda row: row['t_us'])

  def audit(self, limit: int = 200) -> list[dict[str, Any]]:
    """The last actions, newest first."""
    return [
      dict(row) for row in self.db.read('SELECT * FROM audit ORDER BY seq DESC LIMIT ?', limit)
    ]
