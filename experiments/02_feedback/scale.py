"""What does it cost that there are many events? python experiments/02_feedback/scale.py

Stores of 1,000, 100,000 and 1,000,000 events are made, and everything is asked of them that a page,
a vote, the learner, a probe or the administrator's tab asks. Appends to scale.csv the milliseconds
(median) of each, and of opening the store: the first time, which brings it to this version, again,
and after an unclean end.
"""

import argparse
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

from echo import EchoEngine
from synthetic import build, user_of
from tables import append
from talk import chat, edit, feedback

from rft_jax.engine.metrics import Metrics
from rft_jax.feedback.records import GLOBAL, Batch, of_user
from rft_jax.feedback.store import Store

REPEATS, PATIENCE_MS = 15, 1000.0
Ask = Callable[[], object]


def took(ask: Ask) -> float:
  start = time.perf_counter()
  ask()
  return 1000 * (time.perf_counter() - start)


def typical(ask: Ask) -> float:
  """The median, of fewer where one takes long."""
  found = [took(ask)]
  while len(found) < REPEATS and sum(found) < PATIENCE_MS:
    found.append(took(ask))
  return statistics.median(found)


def asked(store: Store) -> Iterator[tuple[str, Ask]]:
  """What is read, by who asks."""
  ledger, versions, samples, user = store.ledger, store.versions, store.samples, user_of(1)
  engine, metrics = EchoEngine(), Metrics()
  yield 'status: pending', ledger.backlog
  yield 'status: training', ledger.is_training
  yield 'metrics: page', lambda: metrics.page(store, engine)
  yield 'drawer: receipts', lambda: store.events.of_author(user)
  yield 'page: conversations', lambda: store.chats.of_user(user)
  yield 'request: local user', lambda: store.users.named('local')
  yield 'sweep: pending', ledger.pending
  yield 'sweep: taken back', ledger.taken_back
  yield 'sweep: scopes', store.db.news.moved
  yield 'learner: claimed batches', ledger.recover
  yield 'learner: lineage', lambda: versions.lineage(GLOBAL, 6)
  yield 'ramp: votes', lambda: samples.votes((7, 6), 0)
  yield 'admin: latency', samples.latency
  yield 'admin: satisfaction', samples.satisfaction
  yield 'admin: versions', lambda: [versions.size(one) for one in versions.all(GLOBAL, 200)]
  yield 'admin: users', lambda: store.people.most_active(200)


def written(store: Store) -> Iterator[tuple[str, Ask]]:
  """What is written, each until it is durable; the fsync is in all of them."""
  user = user_of(1)
  answers = iter([chat(store, user, f'Fresh {i}?') for i in range(4 * REPEATS)])
  vote = lambda: store.events.add(feedback(next(answers), shown_ms=2000), user).result()
  correct = lambda: store.events.add(edit(next(answers), 'Other words.'), user).result()
  yield 'vote: thumb', vote
  yield 'vote: edit', correct
  yield 'answer: stored', lambda: chat(store, user, 'One more?')
  yield 'sweep: expire', lambda: store.events.expire().result()
  for who, scope in (('personal', of_user(user)), ('global', GLOBAL)):
    claimed: list[Batch] = []
    yield f'learner: claim {who}', lambda s=scope, c=claimed: claim(store, s, c)
    yield f'learner: served {who}', lambda s=scope: store.versions.served(s, 10**6).result()
    batch = store.ledger.claim(scope, 8, 6).result()
    assert batch
    yield (
      f'learner: apply {who}',
      once(lambda b=batch: store.ledger.apply(b, 'v', 's', {}).result()),
    )


def claim(store: Store, scope: str, claimed: list[Batch]):
  """Gives the last one up, so that it can be claimed again."""
  if claimed:
    store.ledger.abandon(claimed.pop(), 'measured').result()
  batch = store.ledger.claim(scope, 8, 6).result()
  assert batch
  claimed.append(batch)


def once(ask: Ask) -> Ask:
  left = [ask]
  return lambda: left.pop()() if left else time.sleep(0)


def measure(folder: Path, events: int) -> Iterator[tuple[str, float]]:
  path = folder / 'store.db'
  yield 'made', took(lambda: build(path, events))
  for name in ('open: first', 'open: again', 'open: after a crash'):
    if name.endswith('crash'):
      path.with_name('store.db.lock').write_text('1')
    start = time.perf_counter()
    store = Store(path)
    yield name, 1000 * (time.perf_counter() - start)
    store.close()
  store = Store(path)
  for name, ask in (*asked(store),):
    yield name, typical(ask)
  for name, ask in written(store):
    yield name, (took(ask) if 'apply' in name else typical(ask))
    if 'served' in name:  # What was claimed to be measured is given up.
      for batch in store.ledger.recover():
        store.ledger.abandon(batch, 'measured').result()
  store.close()
  yield 'file: MB', path.stat().st_size / 1e6


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--events', default='1000,100000,1000000')
  parser.add_argument('--note', default='')
  parser.add_argument('--folder', help='where the stores are made')
  options = parser.parse_args()
  about = {'cores': os.cpu_count(), 'python': platform.python_version()}
  about |= {'sqlite': sqlite3.sqlite_version, 'note': options.note}
  for events in map(int, options.events.split(',')):
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
      for name, ms in measure(Path(folder), events):
        row = {'events': events, 'asked': name, 'ms': f'{ms:.3f}'}
        row |= {'load': f'{os.getloadavg()[0]:.1f}', **about}
        print(f'{events:>9,} {name:28} {ms:10.3f}', flush=True)
        append(HERE / 'scale.csv', row)


if __name__ == '__main__':
  main()
