"""Runs the quickstart for several seeds, each in a process of its own, and writes results.csv.

  python experiments/00_quickstart/sweep.py [--seeds=5]

Each seed starts with an empty compilation cache; the last one is repeated with the cache that it left.
"""
import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
COLUMNS = {
    'eval/accuracy/before': 'accuracy_before', 'eval/accuracy/after': 'accuracy_after',
    'task/thinking/before': 'sampled_thinking_before', 'task/thinking/after': 'sampled_thinking_after',
    'steps': 'steps', 'time/first_update_s': 'first_update_s', 'time/total_s': 'total_s',
    'throughput/completion_tokens_per_s': 'completion_tokens_per_s'}


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--seeds', type=int, default=5)
  seeds = list(range(parser.parse_args().seeds))
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    for seed, cache in [(s, f'cold{s}') for s in seeds] + [(seeds[-1], f'cold{seeds[-1]}')]:
      kind = 'warm' if os.path.exists(f'{folder}/{cache}') else 'cold'
      rows.append(dict(seed=seed, cache=kind) | run(seed, f'{folder}/{cache}', f'{folder}/{kind}{seed}'))
      print(rows[-1], flush=True)
  with open(HERE / 'results.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)


def run(seed, cache, workdir):
  subprocess.run(
      [sys.executable, '-m', 'rft_jax.main', '--config=configs/quickstart.py', f'--workdir={workdir}',
       f'--config.seed={seed}'], check=True, cwd=HERE.parents[1],
      env=os.environ | dict(XDG_CACHE_HOME=cache))
  summary = json.loads((pathlib.Path(workdir) / 'summary.json').read_text())
  return {name: round(summary[key], 3) for key, name in COLUMNS.items()}


if __name__ == '__main__':
  main()
