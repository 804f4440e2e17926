"""What one transaction does with a vote for everyone: filed by what it wants, counted, accepted."""

import sqlite3
from collections.abc import Sequence

from rft_jax.feedback import gates, rows
from rft_jax.feedback.ballots import (
  FEW,
  STANDING,
  about,
  against,
  cast,
  crowd,
  of_many,
  opponents,
  read_user,
  supporters,
  unopposed,
)
from rft_jax.feedback.gates import Rules, Verdict, Vote
from rft_jax.feedback.records import GLOBAL, User
from rft_jax.feedback.schema import canonical
from rft_jax.feedback.verdicts import learn_of
from rft_jax.feedback.wishes import Wish

SHAPED = 'personal: your own adapter shaped this answer, so this teaches it alone'
NEUTRAL = 'neutral: it asks for nothing that others could agree on'
REPEATED = 'repeated: you have said so, and each person counts once'
AGREED = 'agreed: another account of the same person, or another spelling, teaches it'
WAITS = 'waits again: too few of those who agreed still stand for it'
SAID = f"""
SELECT 1 FROM supporter s
CROSS JOIN event_gate g ON g.event_seq = s.event_seq AND g.scope = '{GLOBAL}'
CROSS JOIN feedback_event e ON e.seq = s.event_seq
WHERE s.wish_id = ? AND s.created_us = ? AND s.user_id = ? AND ({STANDING}
  OR EXISTS (SELECT 1 FROM applied a WHERE a.event_seq = e.seq AND a.scope = g.scope))
"""
DECIDE = f"""UPDATE event_gate SET state = ?, reasons_json = ?, decided_us = ?
  WHERE event_seq = ? AND scope = '{GLOBAL}'"""


ENOUGH = 'UPDATE wish SET enough = ? WHERE id = ?'
STAFFED = f"""UPDATE wish SET enough = 0, state = 'accepted', reason = '{gates.STAFF}',
  accepted_us = coalesce(accepted_us, ?) WHERE id = ? AND state IN ('held', 'accepted')"""
LEAVES = f"""UPDATE wish SET waiting = waiting - 1
  WHERE id = (SELECT wish_id FROM supporter WHERE event_seq = ?)
  AND (SELECT state FROM event_gate WHERE event_seq = ? AND scope = '{GLOBAL}') = 'held'"""
RETRY = 8  # an eighth more votes than there were when a wish was looked at last


def heard(connection: sqlite3.Connection, user_id: str, origin: str | None, at_us: int):
  """Notes when and from where somebody spoke. In the crowd they count where they spoke first: else
  who moves to where others are would make it smaller."""
  query = """UPDATE user SET spoke_us = max(spoke_us, ?), origin = coalesce(origin, ?)
    WHERE id = ?"""
  connection.execute(query, (at_us, origin, user_id))
  if origin:
    query = 'INSERT OR REPLACE INTO user_origin VALUES (?, ?, ?)'
    connection.execute(query, (user_id, origin, at_us))


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
  barred = None
  if not user.staff and rules.quorum > 1:
    barred = bar_of(connection, event, user, wanted, shaped)
  found = gates.shared(verdict, user, rules, barred)
  put_gate(connection, seq, GLOBAL, found, now_us)
  if found.state in ('held', 'ok'):
    wish_id = wish_of(connection, event)
    file(connection, event, wish_id, user, wanted)
    contradict(connection, event, user, wanted, now_us, rules)
    if user.staff:
      connection.execute(STAFFED, (now_us, wish_id))
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
  connection: sqlite3.Connection, event: sqlite3.Row, user: User, wanted: Wish, shaped: bool
) -> tuple[str, str] | None:
  """The state and the reason of an event that cannot teach everyone, whoever agrees."""
  if shaped and event['kind'] != 'edit':
    return 'rejected', SHAPED
  if ':neutral:' in wanted.direction:
    return 'rejected', NEUTRAL
  query = 'SELECT * FROM wish WHERE intent = ? AND direction = ?'
  wish = connection.execute(query, (event['intent'], event['direction'])).fetchone()
  if not wish:
    return None
  if wish['state'] in ('quarantined', 'rejected'):
    return wish['state'], wish['reason']
  if connection.execute(SAID, (wish['id'], user.created_us, user.id)).fetchone():
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
  teaching = gates.chosen(new, forms, rules.quorum)
  if free:
    theirs = {forms[vote.event.seq] for vote in votes if vote.user.staff}
    teaching = [v for v in waiting if not theirs or forms[v.event.seq] in theirs]
  accept(connection, wish, teaching, waiting, gates.STAFF if staff else 'quorum', now_us)
  tell(0 if free else max(rules.quorum, len(people)))
  if wish['state'] == 'held' and not free:
    for vote in teaching:
      learn_of(connection, vote.user.id, wish['intent'], right=True)
    for vote in against(connection, wish['intent'], standing, now_us, rules):
      learn_of(connection, vote.user.id, wish['intent'], right=False)


def look_again(connection: sqlite3.Connection, wish_id: int, now_us: int, rules: Rules):
  """`weigh` without a new vote."""
  connection.execute(ENOUGH, (0, wish_id))
  weigh(connection, wish_id, now_us, rules)


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
  for side in sides:
    found = opponents(connection, event['intent'], side, now_us, rules, FEW)
    votes = [cast(row) for row in found if row['taught'] and row['user_id'] != user.id]
    if of_many(connection, votes, now_us, rules):
      return learn_of(connection, user.id, event['intent'], right=False)


def unsettle(connection: sqlite3.Connection, seq: int, now_us: int, rules: Rules):
  """An event no longer counts: what was accepted with it and is not learned yet may have to wait
  again."""
  connection.execute(LEAVES, (seq, seq))
  query = 'SELECT w.* FROM supporter s JOIN wish w ON w.id = s.wish_id WHERE s.event_seq = ?'
  wish = connection.execute(query, (seq,)).fetchone()
  if not wish or wish['state'] != 'accepted' or wish['reason'] != 'quorum':
    return
  votes = [one.vote for one in supporters(connection, wish['id'], now_us, rules)]
  if gates.quorum(votes, now_us, rules, crowd(connection, votes, now_us, rules)):
    return
  hold_again(connection, [vote.event.seq for vote in votes], now_us)


def withdraw(connection: sqlite3.Connection, seq: int, reason: str, now_us: int, rules: Rules):
  """An event that will teach nobody any more leaves those who agree."""
  connection.execute(LEAVES, (seq, seq))
  connection.execute(DECIDE, ('rejected', canonical([reason]), now_us, seq))
  unsettle(connection, seq, now_us, rules)


def hold_again(connection: sqlite3.Connection, seqs: Sequence[int], now_us: int):
  """What is accepted and not learned yet waits for people again."""
  for seq in seqs:
    query = f"""UPDATE event_gate SET state = 'held', reasons_json = ?, decided_us = ?
      WHERE event_seq = ? AND scope = '{GLOBAL}' AND state = 'ok' AND NOT EXISTS
        (SELECT 1 FROM applied a WHERE a.event_seq = event_gate.event_seq
          AND a.scope = event_gate.scope)"""
    connection.execute(query, (canonical([WAITS]), now_us, seq))
    query = """UPDATE wish SET state = 'held', waiting = waiting + 1, enough = 0 WHERE id =
      (SELECT wish_id FROM supporter WHERE event_seq = ?) AND state IN ('held', 'accepted')"""
    connection.execute(query, (seq,))
