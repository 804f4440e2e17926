"""Times rft_jax and its peers in turn and writes results.csv: ours, TRL, Tunix, ours, TRL, Tunix,
...

python experiments/03_speed/compare.py --peers=/path/to/venv/bin/python [--rounds=5] [--hidden=256
...]

The peers' environment holds requirements.txt. Nothing else may run meanwhile. What is unknown here
goes to the scripts.
"""

import argparse
import csv
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--peers', required=True, help='the Python that has the peers')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--out', default=str(HERE / 'results.csv'))
  options, workload = parser.parse_known_args()
  commands = dict(
    rft_jax=(sys.executable, 'ours.py'),
    trl=(options.peers, 'trl_steps.py'),
    tunix=(options.peers, 'tunix_steps.py'),
  )
  rows = [
    run(*command, workload) | dict(round=i)
    for i in range(options.rounds)
    for command in commands.values()
  ]
  fields = list(dict.fromkeys(key for row in rows for key in row))
  with open(
    options.out, 'a' if (exists := pathlib.Path(options.out).exists()) else 'w', newline=''
  ) as file:
    writer = csv.DictWriter(file, fields)
    if not exists:
      writer.writeheader()
    writer.writerows(rows)
  report(rows, commands)


def run(python, script, workload):
  out = subprocess.run([python, str(HERE / script), *workload], capture_output=True, text=True)
  lines = [line for line in out.stdout.splitlines() if line.startswith('{"system"')]
  if not lines:
    sys.exit(f'{script} failed: {out.stderr[-2000:]}')
  print(lines[-1], flush=True)
  return json.loads(lines[-1])


def report(rows, systems):
  speeds = {
    name: [r['completion_tokens_per_s'] for r in rows if r['system'] == name] for name in systems
  }
  for name, values in speeds.items():
    ratios = [a / b for a, b in zip(speeds['rft_jax'], values, strict=True)]
    print(
      f'{name:8} median {statistics.median(values):7.0f} tokens/s; rft_jax is '
      f'{statistics.median(ratios):.2f}x as fast, rounds {min(ratios):.2f} to {max(ratios):.2f}'
    )


if __name__ == '__main__':
  main()
