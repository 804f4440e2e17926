"""Every preset on the smallest task, five seeds at once; writes results.csv and curves.csv.

python experiments/01_algorithms/sweep.py [--seeds=5] [--workers=2] [PRESET ...]

Named presets replace their rows and leave the others.
"""

import argparse
import concurrent.futures
import csv
import multiprocessing
import os
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]


def main():
  from rft_jax.algorithms.presets import PRESETS

  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('presets', nargs='*')
  parser.add_argument('--seeds', type=int, default=5)
  parser.add_argument('--workers', type=int, default=os.cpu_count())
  options = parser.parse_args()
  wanted = options.presets or list(PRESETS)
  results, curves = (
    {k: v for k, v in read(name).items() if k in PRESETS} for name in ('results', 'curves')
  )
  spawn = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(options.workers, spawn) as pool:
    jobs = {pool.submit(run, preset, options.seeds): preset for preset in wanted}
    for job in concurrent.futures.as_completed(jobs):
      preset = jobs[job]
      results[preset], curves[preset] = job.result()
      print(results[preset][0], flush=True)
  for name, rows in (('results', results), ('curves', curves)):
    write(name, [row for preset in PRESETS for row in rows.get(preset, [])])


def run(preset: str, seeds: int):
  """The row of a preset, and those of its curve."""
  import learning

  out = learning.learn(preset, seeds)
  curve = [
    dict(preset=preset, step=step, seed=seed, accuracy=round(value, 4))
    for step, values in zip(out['steps'], out['accuracy'], strict=True)
    for seed, value in enumerate(values)
  ]
  first, last = out['accuracy'][0], out['accuracy'][-1]
  row = dict(
    preset=preset,
    seeds=seeds,
    steps=out['steps'][-1],
    before=round(statistics.mean(first), 3),
    after=round(statistics.mean(last), 3),
    standard_error=round(statistics.stdev(last) / seeds**0.5, 3),
    worst=round(min(last), 3),
    ms_per_step=round(1e3 * out['step_s'], 1),
    seconds=round(out['total_s'], 1),
  )
  return [row], curve


def read(name: str) -> dict[str, list[dict]]:
  rows = {}
  if (HERE / f'{name}.csv').exists():
    with open(HERE / f'{name}.csv') as file:
      for row in csv.DictReader(file):
        rows.setdefault(row['preset'], []).append(row)
  return rows


def write(name: str, rows: list[dict]):
  with open(HERE / f'{name}.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  main()
