"""Draws from every data set of reasoning-gym and writes down what is found: python survey.py

Compares it with results.csv, prints what differs, and with --write replaces the file, of which
docs/reasoning_gym.py makes its page. For a new version of reasoning-gym: read what is printed, and
the questions of the sets that it names; --draws and names of sets narrow the survey.
"""

import argparse
import csv
import hashlib
import pathlib
import sys
import time
from typing import Any

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from rft_jax.data.gym import problems
from rft_jax.data.gym.checks import CHECKS
from rft_jax.data.splits import split_of
from rft_jax.data.verifiers import verify
from rft_jax.infra.drawing import Drawers

FIELDS = (
  'dataset drawn failed left_out unpaid different held_out hashes order seconds slowest example'
)
TIMES = {'seconds', 'slowest'}
COMPARED = 30  # problems that are drawn again, under other hashes and in another order


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('names', nargs='*')
  parser.add_argument('--draws', type=int, default=1000)
  parser.add_argument('--write', action='store_true')
  options = parser.parse_args()
  unknown, gone = compared()
  print(f'new data sets, without a check: {unknown or "none"}; gone: {gone or "none"}')
  rows = survey(options.names or sorted(CHECKS), options.draws)
  before = {row['dataset']: row for row in read()}
  for row in rows:
    tell(row, before.get(row['dataset'], {}))
  if options.write:
    write(
      sorted((before | {row['dataset']: row for row in rows}).values(), key=lambda r: r['dataset'])
    )


def compared() -> tuple[list[str], list[str]]:
  from reasoning_gym.factory import DATASETS

  known = CHECKS.keys() | problems.UNCHECKABLE.keys()
  return sorted(DATASETS.keys() - known), sorted(known - DATASETS.keys())


def survey(names: list[str], draws: int) -> list[dict[str, str]]:
  usual, other = Drawers(), Drawers(1, {'PYTHONHASHSEED': '1'})
  calls = {name: ('survey:measure', name, draws) for name in names}
  again = {name: ('survey:digests', name, True) for name in names}
  usual.ahead([*calls.values(), *again.values()])
  other.ahead([('survey:digests', name, False) for name in names])
  rows = []
  for name in names:
    row, first = usual.get(calls[name])
    row['hashes'] = 'no' if other.get(('survey:digests', name, False)) == first else 'yes'
    row['order'] = 'no' if usual.get(again[name]) == first else 'yes'
    rows.append({field: str(row[field]) for field in FIELDS.split()})
    print(*rows[-1].values(), flush=True)
  return rows


def measure(name: str, draws: int) -> tuple[dict, list[str]]:
  """What `draws` problems of a set are like, and digests of the first."""
  row: dict[str, Any] = dict(
    dataset=name, drawn=draws, failed=0, left_out=0, unpaid=0, slowest=0.0, example=''
  )
  texts, spent = set(), 0.0
  drawn(name, 0)  # whatever is loaded once
  for number in range(draws):
    begun = time.perf_counter()
    raw, found = drawn(name, number)
    took = time.perf_counter() - begun
    spent, row['slowest'] = spent + took, max(row['slowest'], took)
    row['failed'] += raw is None
    row['left_out'] += raw is not None and found is None
    if raw and found:
      texts.add(problems.identity(name, found))
      row['unpaid'] += not paid(name, raw, found)
      row['example'] = row['example'] or ' / '.join(found['answer'].split('\n'))[:60]
  row['different'] = len(texts)
  row['held_out'] = sum(split_of(text) == 'test' for text in texts)
  row['seconds'], row['slowest'] = f'{spent / draws:.4f}', f'{row["slowest"]:.1f}'
  return row, digests(name, False)


def drawn(name: str, number: int) -> tuple[dict | None, dict | None]:
  """The problem as the library has it, and as it is used."""
  try:
    raw = problems.entry(problems.problems(name, '{}'), number)
  except Exception:
    return None, None
  return raw, problems.settled(name, {}, raw)


def paid(name: str, raw: dict, found: dict) -> bool:
  """Whether the library's own answer is a right one in the form asked for."""
  stated = problems.Stated(problems.facts(name, {}, found))
  return bool(verify(str(raw['answer']), stated, answer_tags=False, max_answer=10**6))


def digests(name: str, backwards: bool) -> list[str]:
  numbers = range(COMPARED)
  found = {
    number: hashlib.blake2b(repr(text(name, number)).encode(), digest_size=8).hexdigest()
    for number in (reversed(numbers) if backwards else numbers)
  }
  return [found[number] for number in numbers]


def text(name: str, number: int):
  found = drawn(name, number)[1]
  return found and (found['question'], found['answer'], problems.facts(name, {}, found))


def tell(row: dict, before: dict):
  """Prints in what a set differs from before."""
  if not before:
    print(f'{row["dataset"]} is new')
    return
  for field in FIELDS.split():
    if field not in TIMES and row[field] != before.get(field):
      print(f'{row["dataset"]}: {field} is {row[field]!r}, was {before.get(field)!r}')


def read() -> list[dict[str, str]]:
  path = HERE / 'results.csv'
  return list(csv.DictReader(path.open(newline=''))) if path.exists() else []


def write(rows: list[dict[str, Any]]):
  with (HERE / 'results.csv').open('w', newline='') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerows([FIELDS.split(), *(row.values() for row in rows)])


if __name__ == '__main__':
  main()
