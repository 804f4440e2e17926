"""Does deciding about a vote get slower with what is in the store? python deciding.py

Stores of 1,000 to 1,000,000 events of 2,000 people on 20,000 questions, most of which wait for
others to agree. Then votes are taken in; what is timed is the decision, not the commit: on new
questions, and on the one question that everybody has voted on. Writes deciding.csv.
"""

import csv
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / 'tests')]

from talk import answered, feedback

from rft_jax.feedback import rows
from rft_jax.feedback.gates import Rules
from rft_jax.feedback.ids import now_us, uuid7
from rft_jax.feedback.ingest import Arrival, ingest
from rft_jax.feedback.records import Conversation, Message, User
from rft_jax.feedback.sameness import context, fingerprint, form
from rft_jax.feedback.store import Store

PEOPLE, QUESTIONS, VOTES = 2000, 20_000, 200
SIZES = 1000, 10_000, 100_000, 1_000_000
DAY_US = 86_400_000_000
HOT = 'What does everybody ask?'


def fill(path: Path, events: int) -> list[str]:
  """As many events as rows; the ids of the people."""
  store = Store(path)
  store.close()
  db = sqlite3.connect(path)
  answer, born = 'An answer.', now_us() - 9 * DAY_US
  people = [uuid7() for _ in range(PEOPLE)]
  for one in people:
    rows.insert(db, 'user', vars(User(one, created_us=born)))
  key, shape, now = fingerprint(answer), form(answer), now_us()
  intents = [context('', [('user', HOT)])]
  intents += [context('', [('user', f'Question {n}?')]) for n in range(1, QUESTIONS)]
  message = uuid7()
  direction = f'binary:up:{key}'
  db.executemany(
    "INSERT INTO wish VALUES (?, ?, ?, 'binary', 'held', 0, 0, '', ?, ?, NULL)",
    [(n + 1, intent, direction, now, now) for n, intent in enumerate(intents)],
  )

  def place(n: int) -> tuple[int, str]:
    """Every tenth event is on the question that all ask."""
    number = 0 if n % 10 == 0 else n % QUESTIONS
    return number, people[(n // 10 if n % 10 == 0 else n * 7919) % PEOPLE]

  for first in range(0, events, 50_000):
    some = range(first, min(first + 50_000, events))
    placed = [(n + 1, *place(n)) for n in some]
    db.executemany(
      """INSERT INTO feedback_event VALUES (?, ?, '', ?, ?, NULL, 'binary', '{"label":true}', '',
        '[]', 'api', ?, ?, NULL, ?, ?, NULL, 0, 0)""",
      [(s, f'e{s}', user, message, now, now, intents[q], direction) for s, q, user in placed],
    )
    for scope in ('global', 'own'):
      db.executemany(
        "INSERT INTO event_gate VALUES (?, ?, ?, '[]', 1.0, NULL, ?)",
        [(s, scope, 'held' if q and scope == 'global' else 'ok', now) for s, q, _ in placed],
      )
    db.executemany(
      "INSERT OR REPLACE INTO supporter VALUES (?, ?, ?, ?, ?, ?, '')",
      [(q + 1, born, user, s, shape, key) for s, q, user in placed],
    )
    db.executemany(
      'INSERT OR REPLACE INTO stance VALUES (?, ?, 1, ?, ?, ?)',
      [(intents[q], key, born, user, s) for s, q, user in placed],
    )
  db.execute('UPDATE user SET spoke_us = ?', (now,))
  query = "UPDATE wish SET state = 'accepted', reason = 'quorum', enough = ? WHERE id = 1"
  db.execute(query, (PEOPLE,))
  db.commit()
  db.close()
  return people


def measure(path: Path, people: list[str], hot: bool) -> list[float]:
  """Milliseconds of processor time of each vote."""
  store, taken = Store(path), []
  for number in range(VOTES):
    user = people[number * 31 % PEOPLE]
    conversation = Conversation(uuid7(), user)
    question = HOT if hot else f'A new question {number}?'
    asked = Message(uuid7(), conversation.id, None, 'user', question)
    said = Message(uuid7(), conversation.id, asked.id, 'assistant', 'An answer.')
    store.chats.add([asked, said], [answered(said.id)], conversation).result()
    value = {'label': number % 2 == 0}
    arrival = Arrival(feedback(said.id, 'binary', value), user, 'api', f'block {number}', now_us())

    def decide(connection: sqlite3.Connection, arrival: Arrival = arrival):
      began = time.thread_time()
      ingest(connection, arrival, now_us(), Rules())
      return time.thread_time() - began

    taken.append(1000 * store.db.write('decide', decide).result())
  store.close()
  return taken


def main():
  with open(HERE / 'deciding.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, ['events', 'question', 'p50_ms', 'p99_ms'], lineterminator='\n')
    writer.writeheader()
    for events in SIZES:
      with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'store.db'
        people = fill(path, events)
        for hot in (False, True):
          taken = sorted(measure(path, people, hot))
          row = dict(events=events, question='of all' if hot else 'new')
          row |= dict(p50_ms=statistics.median(taken), p99_ms=taken[int(0.99 * len(taken))])
          writer.writerow(
            {name: v if type(v) is not float else round(v, 3) for name, v in row.items()}
          )
          print(row, flush=True)


if __name__ == '__main__':
  main()
