"""A ring of measurements for the plots, and the record of who did what."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from rft_jax.feedback import rows
from rft_jax.feedback.database import Database

SATISFACTION = """
SELECT e.global_version AS version, min(e.recv_us) AS t_us, count(*) AS n,
  sum(json_extract(e.value_json, '$.label')) AS up,
  CASE WHEN g.adapter_user IS NULL AND g.global_version = 0 THEN 'base' ELSE 'rft' END AS arm
FROM feedback_current e JOIN generation g ON g.message_id = e.message_id
WHERE e.kind = 'binary' GROUP BY version, arm ORDER BY t_us
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

  def satisfaction(self) -> list[dict[str, Any]]:
    """Thumbs up out of n by global version and arm (base: no adapters)."""
    return [dict(row) for row in self.db.read(SATISFACTION)]

  def audit(self, limit: int = 200) -> list[dict[str, Any]]:
    """The last actions, newest first."""
    return [
      dict(row) for row in self.db.read('SELECT * FROM audit ORDER BY seq DESC LIMIT ?', limit)
    ]
