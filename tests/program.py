"""`python -m rft_jax.main` for tests: fast to start, with a small config and a task of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRESS = re.compile(r'(?:\w+: \d+/\d+ \[|\w+: a step takes )')
CONFIG = """
from training import tiny

def get_config(variant=''):
  c = tiny(warmup=dict(preset='sft', group=1, steps=2), rl=dict(preset='grpo', steps=2))
  {}
  return c
"""
MINE = """
import functools, time
from rft_jax.types import Example, Task

def judge(completion, example, how):
  if how == 'raise':
    raise ValueError('no idea')
  if how == 'hang':
    time.sleep(60)
  return float(how)

def make(tokenizer, *, how='1.0', size=None):
  example = lambda split, index: Example(f'{index % 10}=', None)
  return Task(example, lambda split: size, reward=functools.partial(judge, how=how))
"""


class Program:
  """`python -m rft_jax.main`, in a folder with tiny.py and mine/task.py."""

  def __init__(self, folder: Path):
    self.folder = folder
    (folder / 'mine').mkdir()
    (folder / 'mine/task.py').write_text(MINE)
    (folder / 'mine/empty.py').write_text('')
    self.config = self.write('tiny', '')
    path = os.pathsep.join(map(str, (ROOT, ROOT / 'tests', folder)))
    self.process = subprocess.Popen(
      [sys.executable, ROOT / 'tests/zygote.py'],
      text=True,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      cwd=ROOT,
      env=os.environ
      | dict(PYTHONPATH=path, RFT_JAX_PREPARED='1', JAX_DISABLE_MOST_OPTIMIZATIONS='1'),
    )

  def write(self, name: str, line: str) -> str:
    """A config file that is tiny.py with one more line."""
    (self.folder / f'{name}.py').write_text(CONFIG.format(line))
    return f'--config={self.folder}/{name}.py'

  def __call__(self, *arguments) -> tuple[int, str, str]:
    self.process.stdin.write(json.dumps(arguments) + '\n')
    self.process.stdin.flush()
    return json.loads(self.process.stdout.readline())

  def refuses(self, *arguments) -> str:
    """The one line on stderr, besides progress."""
    status, _, errors = self(*arguments)
    lines = [line for line in errors.splitlines() if not PROGRESS.match(line)]
    assert status == 1 and len(lines) == 1, errors
    return lines[0]

  def __enter__(self) -> 'Program':
    return self

  def __exit__(self, *_):
    self.process.stdin.close()
    self.process.wait()
