"""What one transaction does with a vote for everyone: filed by what it wants, counted, accepted."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rft_jax.feedback import gates, rows
from rft_jax.feedback.gates import Cast, Rules, Verdict, Vote
from rft_jax.feedback.records import GLOBAL, User
from rft_jax.feedback.sameness import context
from rft_jax.feedback.schema import canonical
from rft_jax.feedback.wishes import Wish

VOTERS = (
  500  # that are looked at on each side, the oldest accounts first: a vote must not take long
)
SHAPED = 'personal: your own adapter shaped this answer, so this teaches it alone'
NEUTRAL = 'neutral: it asks for nothing that others could agree on'
REPEATED = 'repeated: you have said so, and each person counts once'
AGREED = 'agreed: another account of the same person, or another spelling, teaches it'
WAITS = 'waits again: too few of those who agreed still stand for it'
PATH = """
WITH RECURSIVE path AS (
  SELECT id, parent_id, role, content, 0 AS depth FROM message WHERE id = ?
  UNION ALL SELECT m.id, m.parent_id, m.role, m.content, depth + 1
    FROM message m JOIN path ON m.id = path.parent_id
)
SELECT role, content FROM path ORDER BY depth DESC
"""
SYSTEM = """SELECT c.system_prompt FROM message m JOIN conversation c ON c.id = m.conversation_id
  WHERE m.id = ?"""
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
OPPONENTS = f"""{CAST}, '' AS form, '' AS raises, '' AS lowers FROM stance s {JOINED}
WHERE s.intent = :intent AND s.answer = :answer AND s.sign = :sign AND {STANDING}
ORDER BY s.created_us, s.user_id LIMIT {VOTERS}
"""
GIVEN = f"""{CAST} FROM feedback_event s
CROSS JOIN feedback_event e ON e.seq = s.seq CROSS JOIN user u ON u.id = e.user_id
CROSS JOIN event_gate g ON g.event_seq = e.seq AND g.scope = '{GLOBAL}' WHERE s.seq = :seq
"""
SAID = f"""
SELECT 1 FROM supporter s
CROSS JOIN event_gate g ON g.event_seq = s.event_seq AND g.scope = '{GLOBAL}'
CROSS JOIN feedback_event e ON e.seq = s.event_seq
WHERE s.wish_id = ? AND s.created_us = ? AND s.user_id = ? AND ({STANDING}
  OR EXISTS (SELECT 1 FROM applied a WHERE a.event_seq = e.seq AND a.scope = g.scope))
"""
ACTIVE = """
SELECT count(DISTINCT CASE WHEN keyed OR origin IS NULL THEN id ELSE origin END) FROM user
WHERE spoke_us > ? AND created_us <= ? AND state = 'active'
"""
DECIDE = f"""UPDATE event_gate SET state = ?, reasons_json = ?, decided_us = ?
  WHERE event_seq = ? AND scope = '{GLOBAL}'"""


ENOUGH = 'UPDATE wish SET enough = ? WHERE id = ?'
RETRY = 8  # an eighth more votes than there were when a wish was looked at last


class Standing(NamedTuple):
  """A vote that counts, with what its wish says of which answers; taught: it was accepted."""

  vote: Vote
  taught: bool
  form: str
  about: tuple[tuple[str, int], ...]


def asked(connection: sqlite3.Connection, message_id: str) -> str:
  """The intent of an answer: its whole context, as it is stored."""
  system = connection.execute(SYSTEM, (message_id,)).fetchone()
  *turns, _ = connection.execute(PATH, (message_id,)).fetchall()
  return context(system[0] if system else '', [tuple(turn) for turn in turns])


def heard(connection: sqlite3.Connection, user_id: str, origin: str | None, at_us: int):
  """Notes when and from where somebody spoke."""
  query = """UPDATE user SET spoke_us = max(spoke_us, ?), origin = coalesce(?, origin)
    WHERE id = ?"""
  connection.execute(query, (at_us, origin, user_id))
  if origin:
    query = 'INSERT OR REPLACE INTO user_origin VALUES (?, ?, ?)'
    connection.execute(query, (user_id, origin, at_us))


def read_user(connection: sqlite3.Connection, user_id: str) -> User:
  return rows.user(connection.execute('SELECT * FROM user WHERE id = ?', (user_id,)).fetchone())


def put_gate(connection: sqlite3.Connection, seq: int, scope: str, verdict: Verdict, now_us: int):
  row = {
    'event_seq': seq,
    'scope': scope,
    'state': verdict.state,
    'reasons_json': canonical(verdict.reasons),
    'weight': verdict.weight,
    'decided_us': now_us,
  }
  rows.insert(connection, 'event_gate', row)


def consider(
  connection: sqlite3.Connection,
  seq: int,
  wanted: Wish,
  verdict: Verdict,
  shaped: bool,
  now_us: int,
  rules: Rules,
):
  """May an event teach everyone, now or once others agree? Writes its gate, and what it sets free.
  shaped: an adapter of its author's own shaped what was voted on."""
  event = connection.execute('SELECT * FROM feedback_event WHERE seq = ?', (seq,)).fetchone()
  user = read_user(connection, event['user_id'])
  wish_id = wish_of(connection, event)
  barred = None
  if not user.staff and rules.quorum > 1:
    barred = bar_of(connection, event, wish_id, user, wanted, shaped)
  found = gates.shared(verdict, user, rules, barred)
  put_gate(connection, seq, GLOBAL, found, now_us)
  if found.state in ('held', 'ok'):
    file(connection, event, wish_id, user, wanted)
    contradict(connection, event, user, wanted, now_us, rules)
    if user.staff:
      connection.execute(ENOUGH, (0, wish_id))
    weigh(connection, wish_id, now_us, rules)


def recount(
  connection: sqlite3.Connection, seq: int, wanted: Wish, shaped: bool, now_us: int, rules: Rules
):
  """`consider` for an event of before these rules: one that has taught everyone stays as it is, one
  that waits or was to be learned is decided anew."""
  query = f"""SELECT e.*, g.weight FROM feedback_event e
    JOIN event_gate g ON g.event_seq = e.seq AND g.scope = '{GLOBAL}'
    WHERE e.seq = ? AND {STANDING}"""
  event = connection.execute(query, (seq,)).fetchone()
  if not event:
    return
  query = f"SELECT 1 FROM applied WHERE event_seq = ? AND scope = '{GLOBAL}'"
  if connection.execute(query, (seq,)).fetchone():
    user, wish_id = read_user(connection, event['user_id']), wish_of(connection, event)
    file(connection, event, wish_id, user, wanted)
    query = "UPDATE wish SET state = 'accepted', reason = 'quorum', accepted_us = ? WHERE id = ?"
    connection.execute(query, (event['durable_us'], wish_id))
    return
  query = f"DELETE FROM event_gate WHERE event_seq = ? AND scope = '{GLOBAL}'"
  connection.execute(query, (seq,))
  verdict = Verdict('ok', (), event['weight'])
  consider(connection, seq, wanted, verdict, shaped, now_us, rules)


def wish_of(connection: sqlite3.Connection, event: sqlite3.Row) -> int:
  """The id of the wish that an event is for, which may be a new one."""
  query = """INSERT INTO wish (intent, direction, kind, state, reason, first_us, last_us)
    VALUES (?, ?, ?, 'held', '', ?, ?)
    ON CONFLICT (intent, direction) DO UPDATE SET last_us = max(last_us, excluded.last_us)
    RETURNING id"""
  times = (event['recv_us'], event['recv_us'])
  values = (event['intent'], event['direction'], event['kind'], *times)
  return connection.execute(query, values).fetchone()[0]


def bar_of(
  connection: sqlite3.Connection,
  event: sqlite3.Row,
  wish_id: int,
  user: User,
  wanted: Wish,
  shaped: bool,
) -> tuple[str, str] | None:
  """The state and the reason of an event that cannot teach everyone, whoever agrees."""
  if shaped and event['kind'] != 'edit':
    return 'rejected', SHAPED
  if ':neutral:' in wanted.direction:
    return 'rejected', NEUTRAL
  wish = connection.execute('SELECT state, reason FROM wish WHERE id = ?', (wish_id,)).fetchone()
  if wish['state'] in ('quarantined', 'rejected'):
    return wish['state'], wish['reason']
  if connection.execute(SAID, (wish_id, user.created_us, user.id)).fetchone():
    return 'rejected', REPEATED
  return None


def file(
  connection: sqlite3.Connection, event: sqlite3.Row, wish_id: int, user: User, wanted: Wish
):
  """Keeps who stands for what, the newest event of each user."""
  sides = ' '.join(wanted.raises), ' '.join(wanted.lowers)
  query = 'INSERT OR REPLACE INTO supporter VALUES (?, ?, ?, ?, ?, ?, ?)'
  values = (wish_id, user.created_us, user.id, event['seq'], wanted.form, *sides)
  connection.execute(query, values)
  connection.execute('UPDATE wish SET waiting = waiting + 1 WHERE id = ?', (wish_id,))
  for answer, sign in about(*sides):
    query = 'INSERT OR REPLACE INTO stance VALUES (?, ?, ?, ?, ?, ?)'
    values = (event['intent'], answer, sign, user.created_us, user.id, event['seq'])
    connection.execute(query, values)


def about(raises: str, lowers: str) -> tuple[tuple[str, int], ...]:
  """(answer, 1 or -1) of the two columns of a supporter."""
  return *((one, 1) for one in raises.split()), *((one, -1) for one in lowers.split())


def weigh(connection: sqlite3.Connection, wish_id: int, now_us: int, rules: Rules):
  """Sets free what enough people agree on. Once that was, as many new ones are needed to teach it
  again: one more is no other opinion. Where that did not suffice, it is looked at again once there
  are some more, so that a vote takes no longer on what everybody votes on."""
  wish = connection.execute('SELECT * FROM wish WHERE id = ?', (wish_id,)).fetchone()
  if wish['state'] in ('quarantined', 'rejected') or wish['waiting'] < wish['enough']:
    return
  standing = supporters(connection, wish_id, now_us, rules)
  tell = lambda enough: connection.execute(ENOUGH, (enough, wish_id))
  tell(wish['waiting'] + wish['waiting'] // RETRY)
  standing = unopposed(connection, wish['intent'], standing, now_us, rules)
  waiting = [s.vote for s in standing if not s.taught]
  votes = [s.vote for s in standing]
  if not waiting or not gates.quorum(votes, now_us, rules, crowd(connection, votes, now_us, rules)):
    return
  staff = any(vote.user.staff for vote in votes)
  free = staff or rules.quorum == 1
  taught = {s.vote.event.seq for s in standing if s.taught}
  people = gates.independent(votes, now_us, rules)
  new = [person for person in people if not {vote.event.seq for vote in person} & taught]
  if not free and len(new) < rules.quorum:
    return
  forms = {s.vote.event.seq: s.form for s in standing}
  teaching = waiting if free else gates.chosen(new, forms, rules.quorum)
  accept(connection, wish, teaching, waiting, gates.STAFF if staff else 'quorum', now_us)
  tell(0 if free else max(rules.quorum, len(people)))
  if wish['state'] == 'held' and not free:
    for vote in teaching:
      learn_of(connection, vote.user.id, wish['intent'], right=True)
    for vote in against(connection, wish['intent'], standing, now_us, rules):
      learn_of(connection, vote.user.id, wish['intent'], right=False)


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
  sides: dict[tuple[str, int], list[Vote]] = defaultdict(list)
  for one in standing:
    for side in one.about:
      sides[side].append(one.vote)
  active = crowd(connection, [one.vote for one in standing], now_us, rules)
  lost = set()
  for (answer, sign), votes in sides.items():
    others = opposed(connection, intent, answer, sign, now_us, rules)
    if others and gates.outweighed(votes, others, now_us, rules, active):
      lost.add((answer, sign))
  return [one for one in standing if one.vote.user.staff or not lost & set(one.about)]


def opposed(
  connection: sqlite3.Connection, intent: str, answer: str, sign: int, now_us: int, rules: Rules
) -> list[Vote]:
  found = opponents(connection, intent, answer, sign, now_us, rules)
  return [one.vote for one in counted(found, rules)]


def opponents(
  connection: sqlite3.Connection, intent: str, answer: str, sign: int, now_us: int, rules: Rules
) -> list[sqlite3.Row]:
  values = {'intent': intent, 'answer': answer, 'sign': -sign, 'since': now_us - rules.active_us}
  return connection.execute(OPPONENTS, values).fetchall()


def against(
  connection: sqlite3.Connection,
  intent: str,
  standing: Sequence[Standing],
  now_us: int,
  rules: Rules,
) -> list[Vote]:
  """All who oppose any of these, by user, and are not among them."""
  ours = {one.vote.user.id for one in standing}
  sides = {side for one in standing for side in one.about}
  found = {
    vote.user.id: vote
    for side in sorted(sides)
    for vote in opposed(connection, intent, *side, now_us, rules)
  }
  return [vote for user_id, vote in found.items() if user_id not in ours]


def crowd(connection: sqlite3.Connection, votes: Sequence[Vote], now_us: int, rules: Rules):
  """Asks how many people have spoken in the time of these votes and before them, so that votes
  that drip in do not outlast the others."""
  first = min([now_us, *(vote.event.recv_us for vote in votes)])
  values = (first - rules.active_us, now_us - rules.young_us)
  return lambda: connection.execute(ACTIVE, values).fetchone()[0]


def accept(
  connection: sqlite3.Connection,
  wish: sqlite3.Row,
  teaching: Sequence[Vote],
  waiting: Sequence[Vote],
  reason: str,
  now_us: int,
):
  chosen = {vote.event.seq for vote in teaching}
  for vote in waiting:
    state, why = ('ok', reason) if vote.event.seq in chosen else ('held', AGREED)
    connection.execute(DECIDE, (state, canonical([why]), now_us, vote.event.seq))
  query = """UPDATE wish SET state = 'accepted', reason = ?, waiting = waiting - ?,
    accepted_us = coalesce(accepted_us, ?) WHERE id = ?"""
  connection.execute(query, (reason, len(chosen), now_us, wish['id']))


def contradict(
  connection: sqlite3.Connection,
  event: sqlite3.Row,
  user: User,
  wanted: Wish,
  now_us: int,
  rules: Rules,
):
  """Who speaks against what others have agreed on is trusted less, until more agree with them."""
  sides = about(' '.join(wanted.raises), ' '.join(wanted.lowers))
  for answer, sign in sides:
    found = opponents(connection, event['intent'], answer, sign, now_us, rules)
    votes = [cast(row) for row in found if row['taught'] and row['user_id'] != user.id]
    if len(gates.independent(votes, now_us, rules)) >= 2:
      return learn_of(connection, user.id, event['intent'], right=False)


def learn_of(connection: sqlite3.Connection, user_id: str, intent: str, right: bool):
  """Evidence for or against trust in somebody, once for a context: the last word counts."""
  query = 'SELECT right FROM evidence WHERE user_id = ? AND intent = ?'
  before = connection.execute(query, (user_id, intent)).fetchone()
  if before and bool(before['right']) == right:
    return
  query = 'INSERT OR REPLACE INTO evidence VALUES (?, ?, ?)'
  connection.execute(query, (user_id, intent, int(right)))
  up, down = (1, -1 if before else 0) if right else (-1 if before else 0, 1)
  query = 'UPDATE user SET trust_a = trust_a + ?, trust_b = trust_b + ? WHERE id = ?'
  connection.execute(query, (up, down, user_id))


def disown(connection: sqlite3.Connection, seqs: Sequence[int], state: str, reason: str):
  """What these events want is not for everyone: whoever said so is trusted less, and a wish that
  nobody else stands for ends as `state`."""
  for seq in seqs:
    query = """SELECT e.user_id, e.intent, s.wish_id, u.staff FROM supporter s
      CROSS JOIN feedback_event e ON e.seq = s.event_seq CROSS JOIN user u ON u.id = e.user_id
      WHERE s.event_seq = ?"""
    found = connection.execute(query, (seq,)).fetchone()
    if not found:
      continue
    values = {'wish': found['wish_id'], 'since': 0}
    if not connection.execute(SUPPORTERS, values).fetchone():
      query = "UPDATE wish SET state = ?, reason = ? WHERE id = ? AND state != 'rejected'"
      connection.execute(query, (state, reason, found['wish_id']))
    if not found['staff']:
      learn_of(connection, found['user_id'], found['intent'], right=False)


def unsettle(connection: sqlite3.Connection, seq: int, now_us: int, rules: Rules):
  """An event no longer counts: what was accepted with it and is not learned yet may have to wait
  again."""
  query = 'SELECT w.* FROM supporter s JOIN wish w ON w.id = s.wish_id WHERE s.event_seq = ?'
  wish = connection.execute(query, (seq,)).fetchone()
  if not wish or wish['state'] != 'accepted' or wish['reason'] != 'quorum':
    return
  votes = [one.vote for one in supporters(connection, wish['id'], now_us, rules)]
  if gates.quorum(votes, now_us, rules, crowd(connection, votes, now_us, rules)):
    return
  hold_again(connection, [vote.event.seq for vote in votes], now_us)


def hold_again(connection: sqlite3.Connection, seqs: Sequence[int], now_us: int):
  """What is accepted and not learned yet waits for people again."""
  for seq in seqs:
    query = f"""UPDATE event_gate SET state = 'held', reasons_json = ?, decided_us = ?
      WHERE event_seq = ? AND scope = '{GLOBAL}' AND state = 'ok' AND NOT EXISTS
        (SELECT 1 FROM applied a WHERE a.event_seq = event_gate.event_seq
          AND a.scope = event_gate.scope)"""
    connection.execute(query, (canonical([WAITS]), now_us, seq))
    query = """UPDATE wish SET waiting = waiting + 1, enough = 0 WHERE id =
      (SELECT wish_id FROM supporter WHERE event_seq = ?)"""
    connection.execute(query, (seq,))


def decide(
  connection: sqlite3.Connection, seqs: Sequence[int], state: str, reason: str, now_us: int
) -> list[int]:
  """An administrator's word on what these events want; the seqs of all that want the same."""
  found: set[int] = set()
  for seq in seqs:
    query = (
      'SELECT w.id FROM wish w JOIN feedback_event e USING (intent, direction) WHERE e.seq = ?'
    )
    for (wish_id,) in connection.execute(query, (seq,)).fetchall():
      query = """UPDATE wish SET state = :state, reason = :reason, accepted_us = CASE :state
        WHEN 'accepted' THEN coalesce(accepted_us, :now) ELSE accepted_us END WHERE id = :wish"""
      values = {'state': state, 'reason': reason, 'now': now_us, 'wish': wish_id}
      connection.execute(query, values)
      query = 'SELECT event_seq FROM supporter WHERE wish_id = ?'
      found |= {row[0] for row in connection.execute(query, (wish_id,)).fetchall()}
  return sorted(found | set(seqs))


def settled(connection: sqlite3.Connection, seq: int) -> bool:
  """Whether an event was replaced, or is not to be learned by anybody any more."""
  query = """SELECT 1 FROM replaced WHERE event_seq = :seq UNION ALL
    SELECT 1 FROM feedback_event e JOIN user u ON u.id = e.user_id
    WHERE e.seq = :seq AND u.deleted_us IS NOT NULL"""
  return bool(connection.execute(query, {'seq': seq}).fetchone())
