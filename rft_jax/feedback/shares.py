"""Whose events are in a batch of everyone's model, and how many: nobody's are most of it."""

import json
import sqlite3
from collections import Counter
from collections.abc import Hashable, Sequence

from rft_jax.feedback import gates
from rft_jax.feedback.ballots import votes_of
from rft_jax.feedback.gates import RELEASED, STAFF, Rules
from rft_jax.feedback.voting import hold_again

Owners = dict[int, Hashable]
"""Who gave an event, by seq: one value for accounts that may be one person, None where nobody else
is needed."""


def vouched(row: sqlite3.Row) -> bool:
  """Whether staff want it, or an administrator released it."""
  return (json.loads(row['reasons_json']) or [''])[0].split(':')[0] in (STAFF, RELEASED)


def owners(
  connection: sqlite3.Connection, found: Sequence[sqlite3.Row], now_us: int, rules: Rules
) -> Owners:
  seqs = [row['seq'] for row in found if not vouched(row)]
  votes = votes_of(connection, seqs, now_us, rules)
  people = gates.independent(votes, now_us, rules)
  named = {vote.event.seq: number for number, person in enumerate(people) for vote in person}
  return {row['seq']: named.get(row['seq']) for row in found}


def chosen(
  connection: sqlite3.Connection,
  found: Sequence[sqlite3.Row],
  limit: int,
  now_us: int,
  rules: Rules,
) -> list[sqlite3.Row]:
  """Of what waits for everyone, oldest first: whole wishes as far as `limit` goes, but at least
  one. What fewer people want than must agree waits for others. What was refused before is tried
  alone, behind all that was not."""
  owner = owners(connection, found, now_us, rules)
  batch: list[sqlite3.Row] = []
  single: Counter[str] = Counter()  # events that need nobody else, by user
  for wish in sorted(wishes(found, owner, rules), key=lambda one: one[0]['tries'] or 0):
    if batch and wish[0]['tries']:
      break
    given = {owner[row['seq']]: row for row in reversed(wish)}
    alone = None in given or rules.quorum == 1
    if not alone and len(given) < rules.quorum:
      hold_again(connection, [row['seq'] for row in wish], now_us)
      continue
    if alone and single[wish[0]['user_id']] >= gates.influence(limit, rules):
      continue
    unit = wish if alone else sorted(given.values(), key=lambda row: row['seq'])
    some = unit[: room(len(unit), limit - len(batch), not batch, rules)]
    if some and fair([owner[row['seq']] for row in (*batch, *some)], rules):
      batch += some
      single.update(row['user_id'] for row in some if alone)
    if batch and wish[0]['tries']:
      break
  return sorted(batch, key=lambda row: row['seq'])


def wishes(found: Sequence[sqlite3.Row], owner: Owners, rules: Rules) -> list[list[sqlite3.Row]]:
  """The events by what they want; one that needs nobody else is alone."""
  units: dict[Hashable, list[sqlite3.Row]] = {}
  for row in found:
    alone = owner[row['seq']] is None or rules.quorum == 1
    key = row['seq'] if alone else (row['intent'], row['direction'])
    units.setdefault(key, []).append(row)
  return list(units.values())


def room(size: int, left: int, first: bool, rules: Rules) -> int:
  """How many of a wish's events to take where `left` fit, so that neither they nor the rest are of
  too few people."""
  if size <= left or size == 1:
    return size if left > 0 else 0
  least = min(rules.quorum, size)
  take = min(left, size - least) if size - left < least else left
  return take if take >= least else least if first else 0


def fair(owners: Sequence[Hashable], rules: Rules) -> bool:
  """Whether a batch of these people's events is of enough people, with nobody above their share."""
  return gates.fair([owner for owner in owners if owner is not None], rules)


def repeated(
  connection: sqlite3.Connection,
  new: Sequence[int],
  pool: Sequence[Sequence[sqlite3.Row]],
  count: int,
  now_us: int,
  rules: Rules,
) -> list[sqlite3.Row]:
  """Up to `count` learned events beside the `new` ones, in turn of each part of the pool, of those
  wishes and people first that have least in the batch, as many as leave it fair: five who agree
  would else take the place of four other things that are forgotten meanwhile."""
  found = [event(connection, seq) for seq in new]
  owner = owners(connection, [*found, *(row for part in pool for row in part)], now_us, rules)
  said = {(owner[row['seq']], row['intent'], row['direction']) for row in found}
  has = Counter(owner[seq] for seq in new)
  wished = Counter((row['intent'], row['direction']) for row in found)
  left = [list(part) for part in pool]
  taken: list[sqlite3.Row] = []
  whole = 0
  while len(taken) < count and any(left):
    part = left[len(taken) % len(left)] or max(left, key=len)
    least = lambda row: (wished[row['intent'], row['direction']], has[owner[row['seq']]])
    row = min(part, key=least)
    part.remove(row)
    key = (owner[row['seq']], row['intent'], row['direction'])
    if key in said:
      continue
    said.add(key)
    has[owner[row['seq']]] += 1
    wished[row['intent'], row['direction']] += 1
    taken.append(row)
    if fair([owner[seq] for seq in (*new, *(one['seq'] for one in taken))], rules):
      whole = len(taken)
  return taken[:whole]


def event(connection: sqlite3.Connection, seq: int) -> sqlite3.Row:
  query = """SELECT e.*, g.weight, g.reasons_json FROM feedback_event e
    JOIN event_gate g ON g.event_seq = e.seq AND g.scope = 'global' WHERE e.seq = ?"""
  return connection.execute(query, (seq,)).fetchone()
