"""What people want of everyone's model: read as a list for administrators, and filed once for
events that are older than the rules by which people agree."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from rft_jax.feedback import ballots, contexts, gates, rows, voting
from rft_jax.feedback.database import Database
from rft_jax.feedback.gates import Rules, Vote
from rft_jax.feedback.records import GLOBAL, Agreement, Event, Supporter
from rft_jax.feedback.schema import Feedback
from rft_jax.feedback.wishes import wish

AUTHORS = 50  # of a wish that a page shows
AT_ONCE = 200  # events that one transaction files
LOOKED = 5  # wishes that are looked at again at once: votes wait meanwhile
PAGE = """
SELECT * FROM wish w WHERE (:state IS NULL OR state = :state) AND (:before IS NULL OR id < :before)
  AND EXISTS (SELECT 1 FROM supporter s WHERE s.wish_id = w.id) ORDER BY id DESC LIMIT :limit
"""
SEVERAL = """
SELECT id FROM wish WHERE state = 'held' AND waiting > 1 AND id > ? ORDER BY id LIMIT ?
"""
GIVEN = f"""
SELECT e.*, u.display, g.state, g.reasons_json, s.form, s.raises, s.lowers FROM supporter s
CROSS JOIN feedback_event e ON e.seq = s.event_seq CROSS JOIN user u ON u.id = e.user_id
CROSS JOIN event_gate g ON g.event_seq = e.seq AND g.scope = '{GLOBAL}'
WHERE s.wish_id = ? ORDER BY s.created_us, s.user_id LIMIT {AUTHORS}
"""
AUTHORED = 'SELECT count(*) FROM supporter WHERE wish_id = ?'
TAUGHT = f"""
SELECT max(a.version) FROM supporter s CROSS JOIN applied a ON a.event_seq = s.event_seq
WHERE s.wish_id = ? AND a.scope = '{GLOBAL}'
"""


class Agreements:
  def __init__(self, db: Database, clock: Callable[[], int], rules: Rules):
    self.db, self.clock, self.rules = db, clock, rules
    self.looked = 0  # the id of the wish that was looked at last

  def page(
    self, state: str | None = None, before: int | None = None, limit: int = 50
  ) -> list[Agreement]:
    """Wishes, the newest first: those of a `state` (held, accepted, quarantined, rejected) or all.
    before: the `cursor` of the last row of the page before."""
    found = self.db.read(PAGE, {'state': state, 'before': before, 'limit': limit})
    return [self.shown(row) for row in found]

  def get(self, wish_id: int) -> Agreement | None:
    found = self.db.read('SELECT * FROM wish WHERE id = ?', wish_id)
    return self.shown(found[0]) if found else None

  def counts(self) -> dict[str, int]:
    """Wishes by state."""
    query = 'SELECT state, count(*) FROM wish GROUP BY state'
    return {row[0]: row[1] for row in self.db.read(query)}

  def shown(self, row: sqlite3.Row) -> Agreement:
    reader, now, rules = self.db.reader, self.clock(), self.rules
    given = reader.execute(GIVEN, (row['id'],)).fetchall()
    standing = ballots.supporters(reader, row['id'], now, rules)
    votes = [one.vote for one in standing]
    against = ballots.against(reader, row['intent'], standing, now, rules)
    newest = max(given, key=lambda one: one['seq'])
    system, turns = contexts.read_before(reader, newest['message_id'])
    return Agreement(
      **{name: row[name] for name in ('id', 'intent', 'direction', 'kind', 'state')},
      reasons=(row['reason'],) if row['reason'] else (),
      system=system,
      question=turns[-1][1] if turns else '',
      answer=content(reader, newest['message_id']),
      other=content(reader, newest['other_message_id']),
      text=written(newest),
      authors=tuple(authors(reader, given, now, rules)),
      people=len(gates.independent(votes, now, rules)),
      against=len(gates.independent(against, now, rules)),
      needed=gates.needed(ballots.crowd(reader, votes, now, rules)(), rules),
      **{name: row[name] for name in ('first_us', 'last_us', 'accepted_us')},
      applied_version=reader.execute(TAUGHT, (row['id'],)).fetchone()[0],
      n_authors=reader.execute(AUTHORED, (row['id'],)).fetchone()[0],
    )

  def seqs(self, wish_id: int) -> list[int]:
    """The events that stand for a wish."""
    query = 'SELECT event_seq FROM supporter WHERE wish_id = ? ORDER BY event_seq'
    return [row[0] for row in self.db.read(query, wish_id)]

  def look_again(self) -> Future[int]:
    """Some of what several people wait for, in turn; how many. Time alone may decide: accounts grow
    older, and people fall silent or change their mind."""
    return self.db.write('look_again', self.look_at_some)

  def look_at_some(self, connection: sqlite3.Connection) -> int:
    found = connection.execute(SEVERAL, (self.looked, LOOKED)).fetchall()
    for (wish_id,) in found:
      voting.look_again(connection, wish_id, self.clock(), self.rules)
    self.looked = found[-1][0] if len(found) == LOOKED else 0
    return len(found)

  def file(self) -> int:
    """Files events of a store of before by what they want; how many. Goes on where it ended."""
    done = 0
    while count := self.db.write('file', self.file_some).result():
      done += count
    return done

  def file_some(self, connection: sqlite3.Connection) -> int:
    query = f'SELECT event_seq FROM unfiled ORDER BY event_seq LIMIT {AT_ONCE}'
    seqs = [row[0] for row in connection.execute(query).fetchall()]
    for seq in seqs:
      refile(connection, seq, self.clock(), self.rules)
      connection.execute('DELETE FROM unfiled WHERE event_seq = ?', (seq,))
    return len(seqs)


def content(connection: sqlite3.Connection, message_id: str | None) -> str:
  query = 'SELECT content FROM message WHERE id = ?'
  found = connection.execute(query, (message_id,)).fetchone()
  return found[0] if found else ''


def written(row: sqlite3.Row) -> str:
  """What somebody wrote in an edit or a critique."""
  value = json.loads(row['value_json'])
  words = (value.get('content', ''), value.get('text', ''), *json.loads(row['tags_json']))
  return ' '.join(filter(None, words))


def authors(
  connection: sqlite3.Connection, given: Sequence[sqlite3.Row], now_us: int, rules: Rules
) -> list[Supporter]:
  votes = ballots.votes_of(connection, [row['seq'] for row in given], now_us, rules)
  people = gates.independent(votes, now_us, rules)
  letters = {vote.event.seq: number for number, one in enumerate(people) for vote in one}
  shared = {number: len({vote.user.id for vote in one}) > 1 for number, one in enumerate(people)}
  return [
    author(
      row, vote, f'#{number + 1}' if shared[number := letters[row['seq']]] else '', now_us, rules
    )
    for row, vote in zip(given, votes, strict=True)
  ]


def author(row: sqlite3.Row, vote: Vote, origin: str, now_us: int, rules: Rules) -> Supporter:
  user = vote.user
  return Supporter(
    user_id=user.id,
    display=row['display'],
    trust=user.trust,
    young=now_us - user.created_us < rules.young_us,
    origin=origin,
    event_id=row['id'],
    seq=row['seq'],
    state=row['state'],
    reasons=tuple(json.loads(row['reasons_json'])),
    text=written(row),
    given_us=row['recv_us'],
  )


def refile(connection: sqlite3.Connection, seq: int, now_us: int, rules: Rules):
  """Gives an event of before its key, and counts it anew where it waits for others to agree or has
  not been learned yet."""
  row = connection.execute('SELECT * FROM feedback_event WHERE seq = ?', (seq,)).fetchone()
  found = rows.event(row)
  if not found.value:  # Its author was erased.
    return
  answer, other = (content(connection, m) for m in (found.message_id, found.other_message_id))
  wanted = wish(payload(found), answer, other, shaped(connection, found))
  query = 'UPDATE feedback_event SET intent = ?, direction = ? WHERE seq = ?'
  connection.execute(query, (ballots.asked(connection, found.message_id), wanted.direction, seq))
  voting.recount(connection, seq, wanted, shaped(connection, found), now_us, rules)


def payload(event: Event) -> Feedback:
  return Feedback(event.id, event.message_id, event.kind, event.value, event.comment, event.tags)


def shaped(connection: sqlite3.Connection, event: Event) -> bool:
  """Whether an adapter of its author's own shaped what an event is about."""
  query = 'SELECT max(personal_version) FROM generation WHERE message_id IN (?, ?)'
  return bool(connection.execute(query, (event.message_id, event.other_message_id)).fetchone()[0])
