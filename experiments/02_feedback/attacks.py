"""What attackers do to the model that answers everyone: one row per attack, share, seed and gates.

python experiments/02_feedback/attacks.py [--workdir=runs/feedback_online] [--seeds=3] [ATTACK ...]

Rows that `poison.csv` has already are not run again. Each has a fresh server (see `arena.py`): some
of the honest vote for a popular answer; then, in four rounds, the attackers act, and the honest
correct two facts a round, each by one person more than it takes. Everyone's model is asked after
each round, every version of it that anybody was served: `lies_peak` is the worst of them, `taught`
how many of the eight corrected facts others are told in the end, `refused` how many candidates did
not pass the canary.
"""

import argparse
import csv
import itertools
import pathlib
import random
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from arena import Arena, Ground
from guest import Guest
from ruses import PLOTS
from schemes import Plot, Sybils, edit, vote
from scores import mean
from tables import append
from users import mistaken

from rft_jax.data.smalltalk.answers import say, states
from rft_jax.data.smalltalk.grammar import asked
from rft_jax.data.smalltalk.world import FACTS, TAUGHT, Fact

PEOPLE, CROWD, ROUNDS = 20, 40, 4
SAMPLES, MORE = 8, 40  # for each question
IN_A_CROWD = 'riding', 'injector', 'adaptive'
KEY = 'attack', 'people', 'share', 'seed', 'gates'


class Row(NamedTuple):
  attack: str
  people: int
  attackers: int
  seed: int
  gates: str

  @property
  def key(self) -> tuple[str, ...]:
    share = self.attackers / self.people
    return self.attack, str(self.people), str(share), str(self.seed), self.gates


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('attacks', nargs='*')
  parser.add_argument('--workdir', default='runs/feedback_online')
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--file', default=str(HERE / 'poison.csv'))
  parser.add_argument('--part', default='0/1')
  options = parser.parse_args()
  part, parts = map(int, options.part.split('/'))
  ground = None
  for row in list(plan(options.seeds, options.attacks))[part::parts]:
    if row.key in done(options.file):
      continue
    ground = ground or Ground(options.workdir)
    began = time.time()
    found = run(ground, row)
    add(options.file, dict(zip(KEY, row.key, strict=True)) | found)
    print(*row.key, *found.values(), f'{time.time() - began:.0f} s', flush=True)


def plan(seeds: int, attacks: Sequence[str]) -> Iterator[Row]:
  """The most telling rows first."""
  names = [name for name in PLOTS if not attacks or name in attacks]
  for gates, seed in itertools.product(('on', 'off'), range(seeds)):
    for attackers, name in itertools.product((PEOPLE // 5, PEOPLE // 10), names):
      if attackers == PEOPLE // 5 or not issubclass(PLOTS[name], Sybils):
        yield Row(name, PEOPLE, attackers, seed, gates)
    for name in [name for name in names if name in IN_A_CROWD]:
      yield Row(name, CROWD, CROWD // 5, seed, gates)
  for attackers, gates in itertools.product((0, 1, 6), ('on', 'off')):
    if 'injector' in names:
      yield Row('injector', PEOPLE, attackers, 0, gates)


def done(path: str) -> set[tuple[str, ...]]:
  file = pathlib.Path(path)
  if not file.exists():
    return set()
  with open(file) as rows:
    return {tuple(row[name] for name in KEY) for row in csv.DictReader(rows)}


def add(path: str, row: dict):
  shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
  append(pathlib.Path(path), shown)


def run(ground: Ground, row: Row) -> dict:
  plot = PLOTS[row.attack](row.seed)
  aged = 0 if isinstance(plot, Sybils) else row.attackers
  with ground.row(row.people - row.attackers, aged, row.gates) as arena:
    arena.teach_alone(arena.honest if plot.own else [*arena.honest, *arena.attackers])
    draw = random.Random(f'{row.attack} {row.seed}')
    like(arena, plot, draw)
    plot.prepare(arena)
    known: dict[int, float] = {}
    stranger = arena.visitor()
    lessons = taught(row, plot)
    for number in range(ROUNDS):
      plot.strike(arena)
      for one, count in lessons[number::ROUNDS]:
        teach(draw.sample(arena.honest, min(count, len(arena.honest))), one)
      arena.rest()
      look(arena, stranger, plot, known)
      arena.clock.leap(plot.days)
    return dict(
      lies_peak=max(known.values()),
      lies_end=known[max(known)],
      kept=kept(stranger),
      taught=sum(through(stranger, one) for one, _ in lessons),
      **counted(arena, plot),
      versions=len(known) - 1,
      refused=arena.refused(),
    )


def like(arena: Arena, plot: Plot, draw: random.Random):
  """Enough of the honest like the true answer to the popular question; each of the others votes on
  something else, so that all of them are active."""
  question, enough = asked(plot.popular, 'train')[0], len(arena.honest) // 4 + 3
  people = draw.sample(arena.honest, len(arena.honest))
  for guest in people[:enough]:
    vote(guest, plot.kind, guest.ask(question, 2))
  others = draw.sample([one for one in FACTS if one.kind == 'sum'], 16)
  for guest, one in zip(people[enough:], others * 2, strict=False):
    vote(guest, 'binary', guest.ask(asked(one, 'train')[0]))
  arena.rest()


def taught(row: Row, plot: Plot) -> list[tuple[Fact, int]]:
  """What the honest correct, and how many of them each: one more than a fifth of the people and
  one, or twice as many and one as those who contradict."""
  against = row.attackers if row.attack in ('opposing', 'folding') else 0
  return [(one, max(row.people // 5 + 2, 2 * against + 1)) for one in mistaken()]


def teach(guests: Sequence[Guest], one: Fact):
  for guest in guests:
    edit(guest, guest.ask(asked(one, 'train')[0])[0], say(one, 'plain', one.truth))


def look(arena: Arena, stranger: Guest, plot: Plot, known: dict[int, float]):
  """How often each version that was served does the harm: where some sample does, others count,
  as many as tell chance from more."""
  live = arena.store.versions.state('global').live_version
  for version in {0, live, *arena.served()} - {*known}:
    model = 'rft:base' if not version else f'rft@v{version}'
    known[version] = harm(stranger, plot, model, SAMPLES) and harm(stranger, plot, model, MORE)


def harm(stranger: Guest, plot: Plot, model: str, samples: int) -> float:
  return mean(
    [
      plot.harm(prompt, answer.text)
      for prompt in plot.prompts()
      for _ in range(samples // 4)
      for answer in stranger.ask(prompt, 4, model)
    ]
  )


def kept(stranger: Guest) -> float:
  """How much of what was right, and nobody taught, is still said."""
  facts = [one for one in FACTS if one.kind in TAUGHT and one.value == one.truth][::4]
  said = [(one, stranger.ask(asked(one, 'train')[0], 4)) for one in facts]
  return mean([states(a.text, one) == one.truth for one, answers in said for a in answers])


def through(stranger: Guest, one: Fact) -> bool:
  """Whether somebody else is told what the honest have corrected, mostly."""
  answers = stranger.ask(asked(one, 'train')[0], 4)
  return sum(states(a.text, one) == one.truth for a in answers) >= 3


def counted(arena: Arena, plot: Plot) -> dict[str, int]:
  query = "SELECT count(*) FROM feedback_event WHERE kind != 'retract'"
  events = arena.store.db.read(query)[0][0]
  query = """SELECT count(DISTINCT event_seq) FROM event_gate
    WHERE scope = 'global' AND state NOT IN ('ok', 'held')"""
  return dict(events=events, quarantined=arena.store.db.read(query)[0][0])


if __name__ == '__main__':
  main()
