"""How versions descend from each other, and what the ledger must forget when some are undone."""

import json
import sqlite3
from collections.abc import Collection
from typing import NamedTuple

from rft_jax.feedback import rows
from rft_jax.feedback.batches import add_items
from rft_jax.feedback.ledger import LedgerError, count_applied, ensure_scope, set_live
from rft_jax.feedback.records import GLOBAL, Batch
from rft_jax.feedback.verdicts import disown

LINEAGE = """
WITH RECURSIVE line AS (
  SELECT * FROM model_version WHERE scope = :scope AND version = :version
  UNION ALL SELECT v.* FROM model_version v JOIN line ON v.scope = line.scope
    AND v.version = line.parent LIMIT :limit
)
SELECT version, batch_id FROM line ORDER BY version
"""
DESCENDANTS = """
WITH RECURSIVE line AS (
  SELECT * FROM model_version WHERE scope = :scope AND parent = :version
  UNION ALL SELECT v.* FROM model_version v JOIN line ON v.scope = line.scope
    AND v.parent = line.version
)
SELECT version FROM line WHERE status != 'rolled_back' ORDER BY version
"""


def roll_back(
  connection: sqlite3.Connection,
  scope: str,
  version: int,
  reason: str,
  quarantine: bool,
  now_us: int,
  blame: bool = True,
) -> list[int]:
  """Makes an ancestor live again; the versions that this undoes. blame: whoever wanted what is
  quarantined is trusted less. LedgerError for another one."""
  ensure_scope(connection, scope)
  check_ancestor(connection, scope, version)
  values = {'scope': scope, 'version': version}
  undone = [row['version'] for row in connection.execute(DESCENDANTS, values).fetchall()]
  for one in undone:
    undo(connection, scope, one, reason, quarantine, now_us, blame)
  let_go(connection, scope, f'rolled back: {reason}', now_us)
  set_live(connection, scope, version, now_us)
  recount(connection, scope)
  return undone


def check_ancestor(connection: sqlite3.Connection, scope: str, version: int):
  live = live_version(connection, scope)
  values = {'scope': scope, 'version': live, 'limit': -1}
  line = connection.execute(LINEAGE, values).fetchall()
  if version not in {0, *(row['version'] for row in line)}:
    raise LedgerError(f'version {version} of {scope} is not an ancestor of the live one, {live}')


def live_version(connection: sqlite3.Connection, scope: str) -> int:
  query = 'SELECT live_version FROM scope_state WHERE scope = ?'
  return connection.execute(query, (scope,)).fetchone()[0]


def undo(
  connection: sqlite3.Connection,
  scope: str,
  version: int,
  reason: str,
  quarantine: bool,
  now_us: int,
  blame: bool,
):
  """Takes one version out of the ledger."""
  if quarantine:
    query = """UPDATE event_gate SET state = 'rolled_back', reasons_json = ?, decided_us = ?
      WHERE scope = ? AND event_seq IN
        (SELECT event_seq FROM applied WHERE scope = event_gate.scope AND version = ?)"""
    reasons = json.dumps([f'rolled back: {reason}'])
    connection.execute(query, (reasons, now_us, scope, version))
    if scope == GLOBAL:
      query = 'SELECT event_seq FROM applied WHERE scope = ? AND version = ?'
      found = connection.execute(query, (scope, version)).fetchall()
      seqs = [row['event_seq'] for row in found]
      disown(connection, seqs, 'quarantined', f'rolled back: {reason}', blame)
  connection.execute('DELETE FROM applied WHERE scope = ? AND version = ?', (scope, version))
  query = "UPDATE model_version SET status = 'rolled_back' WHERE scope = ? AND version = ?"
  connection.execute(query, (scope, version))


def let_go(connection: sqlite3.Connection, scope: str, reason: str, now_us: int):
  """Gives up what a scope is learning right now."""
  query = """UPDATE train_batch SET status = 'abandoned', done_us = ?, reason = ?
    WHERE scope = ? AND status = 'claimed'"""
  connection.execute(query, (now_us, reason, scope))


def bar(
  connection: sqlite3.Connection, scope: str, seqs: Collection[int], reason: str, now_us: int
):
  """Keeps events from teaching a scope again."""
  query = """UPDATE event_gate SET state = 'rolled_back', reasons_json = ?, decided_us = ?
    WHERE event_seq = ? AND scope = ?"""
  connection.executemany(query, [(json.dumps([reason]), now_us, seq, scope) for seq in seqs])


def recount(connection: sqlite3.Connection, scope: str):
  query = 'UPDATE scope_state SET n_events = ? WHERE scope = ?'
  connection.execute(query, (count_applied(connection, scope), scope))


class Rebuilt(NamedTuple):
  """A batch of a rebuilt line, with its files, and the id of the batch that it stands for."""

  batch: Batch
  path: str
  sha256: str
  origin: str


def add_rebuilt(connection: sqlite3.Connection, rebuilt: Rebuilt):
  """Writes a version of a rebuilt line into the ledger. Times are those of the version that learned
  the batch first, so that a latency stays a fact."""
  batch = rebuilt.batch
  copy_batch(connection, batch, rebuilt.origin)
  query = """INSERT INTO model_version SELECT scope, ?, ?, ?, ?, ?, 'retired', metrics_json,
    created_us, published_us, first_served_us FROM model_version WHERE batch_id = ?"""
  files = (rebuilt.path, rebuilt.sha256)
  values = (batch.version, batch.parent_version, batch.id, *files, rebuilt.origin)
  connection.execute(query, values)
  query = """INSERT INTO applied SELECT event_seq, ?, ? FROM train_item
    WHERE batch_id = ? AND role = 'new'"""
  connection.execute(query, (batch.scope, batch.version, batch.id))


def copy_batch(connection: sqlite3.Connection, batch: Batch, origin: str):
  names = ('id', 'scope', 'parent_version', 'version', 'rng_seed', 'config_sha', 'claimed_us')
  row = {name: getattr(batch, name) for name in (*names, 'base_version', 'attempt')}
  row |= {'status': 'applied', 'done_us': batch.claimed_us, 'reason': 'rebuilt'}
  query = 'SELECT held_json FROM train_batch WHERE id = ?'
  row['held_json'] = connection.execute(query, (origin,)).fetchone()[0]
  rows.insert(connection, 'train_batch', row)
  add_items(
    connection, batch.id, [(i.event.seq, i.role, i.weight, i.text_only) for i in batch.items]
  )
