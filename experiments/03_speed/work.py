"""The work that every system does, its command line, and the line of JSON that it prints."""

import argparse
import itertools
import json
import statistics
import time

VOCAB, FIRST_DIGIT, LAST_DIGIT = 128, 19, 28
"""Printable ASCII from token 3 on; a completion's reward is its number of digits."""


def arguments():
  """A step: prompts x group completions of a Qwen3-shaped model (4 heads, 2 kv heads, MLP 3x), all
  of full length."""
  parser = argparse.ArgumentParser(description=__doc__)
  sizes = dict(hidden=256, layers=4, prompts=8, group=8, prompt=32, completion=64, steps=8)
  for name, default in sizes.items():
    parser.add_argument(f'--{name}', type=int, default=default)
  parser.add_argument(
    '--devices', type=int, default=0, help='CPU devices of ours; 0 = one per core'
  )
  return parser.parse_args()


class Stopwatch:
  """Call `lap` at the same point of every step."""

  def __init__(self):
    self.start, self.laps = time.perf_counter(), []

  def lap(self):
    self.laps.append(time.perf_counter())

  def report(self, system: str, args, parameters: int, **extra):
    """Prints the median step, leaving out the first two, which compile and warm up."""
    seconds = [b - a for a, b in itertools.pairwise(self.laps[1:])]
    median = statistics.median(seconds)
    tokens = args.prompts * args.group * args.completion
    print(
      json.dumps(
        dict(
          system=system,
          parameters=parameters,
          seconds_per_step=round(median, 4),
          completion_tokens_per_s=round(tokens / median),
          fastest=round(min(seconds), 4),
          slowest=round(max(seconds), 4),
          first_step_s=round(self.laps[0] - self.start, 2),
          **vars(args),
          **extra,
        )
      )
    )
