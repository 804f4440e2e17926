"""How long until everybody is served, when many vote at the same moment?

python experiments/02_feedback/rush.py --workdir=runs/feedback_online [--before=TREE]
TREE: the files of another commit (git worktree add), measured in turn with these. Writes rush.csv.
"""

import argparse
import collections
import pathlib
import statistics
import sys
import threading
from collections.abc import Iterator

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from guest import PATIENCE, Guest
from host import ROOT, Host, hosted
from run import NOBODY, write
from users import KINDS

from rft_jax.data.smalltalk.answers import STYLES

CROWDS = 1, 4, 8, 24


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', default='runs/feedback_online')
  parser.add_argument('--before', type=pathlib.Path)
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--passes', type=int, default=2)
  parser.add_argument('--crowds', default=','.join(map(str, CROWDS)))
  options = parser.parse_args()
  trees = dict(before=options.before, after=ROOT) if options.before else dict(after=ROOT)
  crowds = [int(count) for count in options.crowds.split(',')]
  write(HERE / 'rush.csv', compared(options, trees, crowds))


def compared(options: argparse.Namespace, trees: dict, crowds: list[int]) -> Iterator[dict]:
  """A row for each crowd and tree; `times`: how much sooner than in the first tree."""
  for count in crowds:
    took = collections.defaultdict(list)
    for number in range(options.passes):  # So that what else the machine does meets both.
      for name, tree in trees.items():
        with hosted(options.workdir, count, tree=tree, quorum=NOBODY) as host:
          took[name] += rushes(host, count, options.rounds, number)
    first = figures(next(iter(took.values())))
    for name, values in took.items():
      found = figures(values)
      yield (
        dict(users=count, tree=name, votes=len(values))
        | found
        | dict(times=first['p50_s'] / found['p50_s'])
      )


def rushes(host: Host, count: int, rounds: int, seed: int) -> list[float]:
  """Seconds of each vote until it is served; everybody votes once a round, at the same moment."""
  guests = [Guest(host.url, key) for key in host.users[:count]]
  makers = list(KINDS.values())
  users = [makers[i % len(makers)](STYLES[i % len(STYLES)], seed) for i in range(count)]
  found: list[float] = []
  for _ in range(rounds):
    receipts = vote(guests, users)
    found += [settled(guest, receipt) for guest, receipt in receipts]
  for guest in guests:
    guest.close()
  return found


def vote(guests: list[Guest], users: list) -> list[tuple[Guest, dict]]:
  """Everybody asks, and once all have read their answers, everybody votes."""
  barrier, receipts = threading.Barrier(len(guests)), {}

  def one(index: int):
    guest, user = guests[index], users[index]
    topic = user.draw.choice(user.topics())
    answers = guest.ask(user.question(topic), user.answers)
    reaction = user.react(answers, topic)
    barrier.wait(PATIENCE)
    receipts[index] = guest.judge(answers[0], reaction.kind, reaction.value, **reaction.more)

  threads = [threading.Thread(target=one, args=(i,)) for i in range(len(guests))]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return [(guests[i], receipts[i]) for i in sorted(receipts)]


def settled(guest: Guest, receipt: dict) -> float:
  """By the server's clock: one question at a time, so that asking does not slow it down."""
  return guest.settled(receipt, pause=0.2)['latency_ms']['total'] / 1000


def figures(seconds: list[float]) -> dict[str, float]:
  cuts = statistics.quantiles(seconds, n=100, method='inclusive')
  return dict(p50_s=cuts[49], p95_s=cuts[94], most_s=max(seconds))


if __name__ == '__main__':
  main()
