"""Simulated users teach a served model over HTTP; writes a CSV per experiment.

python experiments/02_feedback/run.py [--workdir=runs/feedback_online] [--seeds=2] [NAME ...]

Trains the model into the workdir where it is not there yet. Each experiment has a server of its own
that begins with nothing learned. Attacks are a table of their own: `attacks.py`.
"""

import argparse
import csv
import functools
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import crowds
import histories
import streams
import teaching
from host import Host, hosted
from users import Critic, Editor, Pairer, Rater, User

Rows = Iterator[dict]
NOBODY = 999  # a quorum that is never reached: only personal adapters learn


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('names', nargs='*')
  parser.add_argument('--workdir', default='runs/feedback_online')
  parser.add_argument('--seeds', type=int, default=2)
  options = parser.parse_args()
  known = experiments(options.workdir, options.seeds)
  for name in options.names or known:
    began = time.time()
    write(HERE / f'{name}.csv', known[name]())
    print(f'{name}: {time.time() - began:.0f} s', flush=True)


def experiments(workdir: str, seeds: int) -> dict[str, Callable[[], Rows]]:
  """Experiment by name; each yields the rows of its file."""
  alone = functools.partial(served, workdir)
  return dict(
    reflection=alone(lambda host: teaching.reflection(host.url, seeds)),
    robustness=alone(lambda host: teaching.robustness(host.url, seeds)),
    retention=alone(lambda host: teaching.retention(host.url, 2 * seeds)),
    repeats=alone(lambda host: histories.repeats(host.url)),
    turns=alone(lambda host: histories.turns(host.url)),
    together=alone(lambda host: teaching.together(host.url, 30)),
    latency=alone(lambda host: teaching.latency(host.url, 25)),
    streams=alone(lambda host: streams.streams(host.url, teaching.once(host.url), seconds=10)),
    everyone=alone(lambda host: crowds.everyone(host, 8), quorum=3),
    forgetting=alone(lambda host: crowds.forgetting(host.url, teachers(), 200, 50)),
  )


def served(workdir: str, rows: Callable[[Host], Rows], quorum: int = NOBODY) -> Callable[[], Rows]:
  def run():
    with hosted(workdir, quorum=quorum) as host:
      yield from rows(host)

  return run


def teachers() -> list[User]:
  """Five users; 200 events of each are a thousand."""
  return [User('plain'), Rater('lower'), Pairer('terse'), Editor('friendly'), Critic('bullets')]


def write(path: pathlib.Path, rows: Iterable[dict]):
  """Each row as soon as there is one."""
  with open(path, 'w', newline='') as file:
    writer = None
    for row in rows:
      shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
      if writer is None:
        writer = csv.DictWriter(file, shown)
        writer.writeheader()
      writer.writerow(shown)
      file.flush()


if __name__ == '__main__':
  main()
