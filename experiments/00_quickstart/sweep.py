"""Runs the quickstart for several seeds, each in a process of its own; writes results.csv and
curves.csv.

python experiments/00_quickstart/sweep.py [--seeds=5]

Each seed starts with an empty compilation cache; the last one is repeated with the cache that it
left.
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
  'eval/accuracy/before': 'accuracy_before',
  'eval/accuracy/after': 'accuracy_after',
  'task/thinking/before': 'sampled_thinking_before',
  'task/thinking/after': 'sampled_thinking_after',
  'steps': 'steps',
  'time/first_update_s': 'first_update_s',
  'time/total_s': 'total_s',
  'throughput/completion_tokens_per_s': 'completion_tokens_per_s',
}


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--seeds', type=int, default=5)
  seeds = list(range(parser.parse_args().seeds))
  rows, curves = [], []
  with tempfile.TemporaryDirectory() as folder:
    for seed, cache in [(s, f'cold{s}') for s in seeds] + [(seeds[-1], f'cold{seeds[-1]}')]:
      kind = 'warm' if os.path.exists(f'{folder}/{cache}') else 'cold'
      rows.append(
        dict(seed=seed, cache=kind) | run(seed, f'{folder}/{cache}', f'{folder}/{kind}{seed}')
      )
      print(rows[-1], flush=True)
      if kind == 'cold':
        curves += curve(seed, f'{folder}/{kind}{seed}')
  write('results.csv', rows)
  write('curves.csv', curves)


def write(name, rows):
  with open(HERE / name, 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)


def curve(seed, workdir):
  """Reward and thinking share of the samples at each step of the RL stage, counted from 1."""
  with open(f'{workdir}/metrics.jsonl') as file:
    lines = [json.loads(line) for line in file]
  steps = [line for line in lines if line['stage'] == 'rl' and 'reward/mean' in line]
  return [
    dict(
      seed=seed,
      step=i + 1,
      reward=round(line['reward/mean'], 4),
      thinking=round(line['task/thinking'], 4),
    )
    for i, line in enumerate(steps)
  ]


def run(seed, cache, workdir):
  subprocess.run(
    [
      sys.executable,
      '-m',
      'rft_jax.main',
      '--config=configs/quickstart.py',
      f'--workdir={workdir}',
      f'--config.seed={seed}',
    ],
    check=True,
    cwd=HERE.parents[1],
    env=os.environ | dict(XDG_CACHE_HOME=cache),
  )
  summary = json.loads((pathlib.Path(workdir) / 'summary.json').read_text())
  return {name: round(summary[key], 3) for key, name in COLUMNS.items()}


if __name__ == '__main__':
  main()
