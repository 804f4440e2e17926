"""Who stands for what, read from the store as votes that can be counted."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rft_jax.feedback import contexts, gates, rows
from rft_jax.feedback.gates import Cast, Rules, Vote
from rft_jax.feedback.records import GLOBAL, User
from rft_jax.feedback.sameness import context

VOTERS = 500  # looked at on each side, the oldest accounts first: a vote must not take long
FEW = 64  # of them, where two are enough
STANDING = """g.state IN ('held', 'ok')
  AND NOT EXISTS (SELECT 1 FROM replaced r WHERE r.event_seq = e.seq)"""
CAST = """
SELECT e.seq, e.user_id, e.recv_us, e.origin, u.staff, u.trust_a, u.trust_b, u.state,
  u.share_global, u.created_us, u.keyed, g.state = 'ok' AS taught,
  (SELECT group_concat(o.origin) FROM user_origin o
    WHERE o.user_id = e.user_id AND o.last_us > :since) AS origins
"""
JOINED = f"""
CROSS JOIN feedback_event e ON e.seq = s.event_seq CROSS JOIN user u ON u.id = e.user_id
CROSS JOIN event_gate g ON g.event_seq = e.seq AND g.scope = '{GLOBAL}'
"""
SUPPORTERS = f"""{CAST}, s.form, s.raises, s.lowers FROM supporter s {JOINED}
WHERE s.wish_id = :wish AND {STANDING} ORDER BY s.created_us, s.user_id LIMIT {VOTERS}
"""
OPPONENTS = f"""{CAST}, '' AS form, '' AS raises, '' AS lowers FROM
  (SELECT * FROM stance WHERE intent = :intent AND answer = :answer AND sign = :sign
    ORDER BY created_us, user_id LIMIT :most) s {JOINED}
WHERE {STANDING}
"""
GIVEN = f"""{CAST} FROM feedback_event s
CROSS JOIN feedback_event e ON e.seq = s.seq CROSS JOIN user u ON u.id = e.user_id
CROSS JOIN event_gate g ON g.event_seq = e.seq AND g.scope = '{GLOBAL}' WHERE s.seq = :seq
"""
ACTIVE = """
SELECT count(DISTINCT CASE WHEN keyed OR origin IS NULL THEN id ELSE origin END) FROM user
WHERE spoke_us > ? AND created_us <= ? AND state = 'active' AND deleted_us IS NULL
"""


class Standing(NamedTuple):
  """A vote that counts, with what its wish says of which answers; taught: it was accepted."""

  vote: Vote
  taught: bool
  form: str
  about: tuple[tuple[str, int], ...]


def asked(connection: sqlite3.Connection, message_id: str) -> str:
  """The intent of an answer: all that the model read before it."""
  return context(*contexts.read_before(connection, message_id))


def read_user(connection: sqlite3.Connection, user_id: str) -> User:
  return rows.user(connection.execute('SELECT * FROM user WHERE id = ?', (user_id,)).fetchone())


def about(raises: str, lowers: str) -> tuple[tuple[str, int], ...]:
  """(answer, 1 or -1) of the two columns of a supporter."""
  return *((one, 1) for one in raises.split()), *((one, -1) for one in lowers.split())


def supporters(
  connection: sqlite3.Connection, wish_id: int, now_us: int, rules: Rules
) -> list[Standing]:
  values = {'wish': wish_id, 'since': now_us - rules.active_us}
  return counted(connection.execute(SUPPORTERS, values), rules)


def counted(found: Iterable[sqlite3.Row], rules: Rules) -> list[Standing]:
  """Without those whose authors may not, or will not, teach everyone any more."""
  standing = []
  for row in found:
    vote, taught = cast(row), bool(row['taught'])
    user = vote.user
    willing = user.share_global and user.state == 'active' and user.trust >= rules.mute_below
    if taught or willing:
      standing.append(Standing(vote, taught, row['form'], about(row['raises'], row['lowers'])))
  return standing


def cast(row: sqlite3.Row) -> Vote:
  """A vote of a row of CAST."""
  user = User(
    row['user_id'],
    '',
    bool(row['staff']),
    row['trust_a'],
    row['trust_b'],
    row['state'],
    bool(row['share_global']),
    row['created_us'],
    keyed=bool(row['keyed']),
  )
  event = Cast(row['seq'], row['user_id'], row['recv_us'], row['origin'])
  return Vote(event, user, frozenset((row['origins'] or '').split(',')) - {''})


def votes_of(
  connection: sqlite3.Connection, seqs: Iterable[int], now_us: int, rules: Rules
) -> list[Vote]:
  """Of events that are for everyone."""
  since = now_us - rules.active_us
  return [
    cast(row)
    for seq in seqs
    for row in connection.execute(GIVEN, {'seq': seq, 'since': since}).fetchall()
  ]


def unopposed(
  connection: sqlite3.Connection,
  intent: str,
  standing: Sequence[Standing],
  now_us: int,
  rules: Rules,
) -> list[Standing]:
  """Without those who want something against which too many are: an answer raised that others want
  lowered, or the other way round."""
  if rules.quorum == 1:
    return list(standing)
  active = crowd(connection, [one.vote for one in standing], now_us, rules)
  lost = set()
  for (answer, sign), votes in by_side(standing).items():
    others = opposed(connection, intent, answer, sign, now_us, rules)
    if others and gates.outweighed(votes, others, now_us, rules, active):
      lost.add((answer, sign))
  return [one for one in standing if one.vote.user.staff or not lost & set(one.about)]


def by_side(standing: Iterable[Standing]) -> dict[tuple[str, int], list[Vote]]:
  sides: dict[tuple[str, int], list[Vote]] = defaultdict(list)
  for one in standing:
    for side in one.about:
      sides[side].append(one.vote)
  return sides


def of_many(
  connection: sqlite3.Connection, votes: Sequence[Vote], now_us: int, rules: Rules
) -> bool:
  """Whether these are of as many people as may teach everyone something: what fewer said besides is
  no measure of anybody."""
  people = gates.grown(gates.independent(votes, now_us, rules), now_us, rules)
  return len(people) >= rules.quorum and len(people) >= gates.needed(
    crowd(connection, votes, now_us, rules)(), rules
  )


def opposed(
  connection: sqlite3.Connection, intent: str, answer: str, sign: int, now_us: int, rules: Rules
) -> list[Vote]:
  found = opponents(connection, intent, (answer, sign), now_us, rules)
  return [one.vote for one in counted(found, rules)]


def opponents(
  connection: sqlite3.Connection,
  intent: str,
  side: tuple[str, int],
  now_us: int,
  rules: Rules,
  most: int = VOTERS,
) -> list[sqlite3.Row]:
  """side: an answer, and 1 or -1 for those whose opponents are wanted."""
  values = {'intent': intent, 'answer': side[0], 'sign': -side[1], 'most': most}
  values['since'] = now_us - rules.active_us
  return connection.execute(OPPONENTS, values).fetchall()


def against(
  connection: sqlite3.Connection,
  intent: str,
  standing: Sequence[Standing],
  now_us: int,
  rules: Rules,
) -> list[Vote]:
  """All who oppose what enough of these stand for, by user, and are not among them."""
  ours = {one.vote.user.id for one in standing}
  sides = {
    side for side, votes in by_side(standing).items() if of_many(connection, votes, now_us, rules)
  }
  found = {
    vote.user.id: vote
    for side in sorted(sides)
    for vote in opposed(connection, intent, *side, now_us, rules)
  }
  return [vote for user_id, vote in found.items() if user_id not in ours]


def crowd(
  connection: sqlite3.Connection, votes: Sequence[Vote], now_us: int, rules: Rules
) -> Callable[[], int]:
  """Asks how many people have spoken in the time of these votes and before them, so that votes
  that drip in do not outlast the others."""
  first = min([now_us, *(vote.event.recv_us for vote in votes)])
  values = (first - rules.active_us, now_us - rules.young_us)
  return lambda: connection.execute(ACTIVE, values).fetchone()[0]
