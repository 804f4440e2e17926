"""Problems drawn ahead, in processes of their own."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rft_jax.data.stream import Stream
from rft_jax.infra.drawing import Drawers, DrawingError
from rft_jax.registry import ConfigError
from rft_jax.tasks import reasoning_gym
from rft_jax.types import Example, Task

HASHED = ['intermediate_integration', 'isomorphic_strings', 'ransom_note', 'word_ladder']
FROM_OUTSIDE = """
import json, sys
from rft_jax.tasks import reasoning_gym
tasks = {name: reasoning_gym.make(None, dataset=name) for name in sys.argv[1:]}
pairs = [(split, index) for index in (5, 1) for split in ('test', 'train')]
print(json.dumps([tasks[name].example(*pair) for name in tasks for pair in pairs]))
"""
ORPHAN = """
import os, threading, time
from rft_jax.infra.drawing import Drawers
drawers = Drawers(1)
drawers.ahead([('naps:nap', 600, 'never')])
while not drawers.drawers[0].process: time.sleep(0.05)
print(drawers.drawers[0].process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope='module')
def drawers():
  found = Drawers(2)
  found.get(('naps:nap', 0, 'awake'))
  yield found
  found.close()


def python(program, *arguments, seed='random'):
  path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
  environment = os.environ | {'PYTHONPATH': path, 'PYTHONHASHSEED': seed}
  command = [sys.executable, '-c', program, *arguments]
  return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_slow_problem_holds_up_no_other(drawers):
  drawers.ahead([('naps:nap', 3, 'slow'), *(('naps:nap', 0, i) for i in range(20))])
  begun = time.monotonic()
  assert [drawers.get(('naps:nap', 0, i)) for i in range(20)] == list(range(20))
  assert time.monotonic() - begun < 3
  assert drawers.get(('naps:nap', 3, 'slow')) == 'slow'


def test_who_waits_comes_before_what_is_made_ahead(drawers):
  drawers.ahead([('naps:nap', 0.2, f'later {i}') for i in range(50)])
  begun = time.monotonic()
  assert drawers.get(('naps:nap', 0.21, 'now')) == 'now'
  assert drawers.get(('naps:nap', 0.2, 'later 49')) == 'later 49'  # though it is the last in line
  assert time.monotonic() - begun < 2.5


def test_errors_say_over_what(drawers):
  with pytest.raises(ConfigError, match='too few'):
    drawers.get(('naps:refuse', 'too few'))
  with pytest.raises(DrawingError, match=r'gcd 7 cannot be drawn: TypeError'):
    drawers.get(('naps:fail', 'gcd', 7))
  with pytest.raises(DrawingError, match=r'problem 7 cannot be drawn: its process died twice'):
    drawers.get(('naps:vanish', 'problem 7'))
  assert drawers.get(('naps:nap', 0, 'again')) == 'again'


def test_what_a_problem_writes_goes_with_the_drawers():
  once = Drawers(1)
  written = Path(once.get(('naps:litter', 'litter.csv')))
  assert written.exists() and written.parent != Path.cwd()
  once.close()
  assert not written.exists()


def test_a_drawer_that_is_killed_from_outside_is_replaced(drawers):
  for call in ('idle', 'at work'):
    if call == 'at work':
      drawers.ahead([('naps:nap', 0.5, call)])
      time.sleep(0.2)
    for drawer in drawers.drawers:
      if drawer.process:
        drawer.process.kill()
    assert drawers.get(('naps:nap', 0.5, call)) == call


def test_strings_hash_the_same_in_every_drawer(drawers):
  again = Drawers(1)
  assert again.get(('naps:hashed', 'word')) == drawers.get(('naps:hashed', 'word'))
  again.close()


def test_drawers_end_with_the_process_that_started_them():
  parent = python(ORPHAN)
  assert parent.stdout
  drawer = int(parent.stdout.readline())
  parent.kill()
  parent.wait()
  until = time.monotonic() + 10
  while Path(f'/proc/{drawer}').exists() and not zombie(drawer) and time.monotonic() < until:
    time.sleep(0.05)
  assert time.monotonic() < until


def zombie(process: int) -> bool:
  return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'


def test_problems_do_not_depend_on_hashes_or_on_the_order_of_asking():
  other = python(FROM_OUTSIDE, *HASHED, seed='7')
  tasks = [reasoning_gym.make(None, dataset=name) for name in HASHED]
  mine = [task.example(s, i) for task in reversed(tasks) for s in ('test', 'train') for i in (1, 5)]
  theirs = json.loads(other.communicate()[0])
  assert sorted(map(str, json.loads(json.dumps(mine)))) == sorted(map(str, theirs))


def test_a_set_with_too_few_problems_says_which_was_asked_for():
  one = dict(min_disks=3, max_disks=3, min_pegs=3, max_pegs=3)
  few = reasoning_gym.make(None, dataset='tower_of_hanoi', options=one)
  said = [text for split in ('train', 'test') if (text := attempt(few, split))]
  assert said and all("'tower_of_hanoi' has too few" in s and 'problem 3 of' in s for s in said)


def attempt(task, split):
  try:
    task.example(split, 3)
  except ConfigError as error:
    return str(error)


@pytest.mark.parametrize('size', [None, 10])
@pytest.mark.parametrize('part', [(0, 1), (1, 2)])
def test_a_stream_asks_ahead_for_what_its_next_steps_read(size, part):
  asked, read = [], []
  example = lambda split, index: read.append(index) or Example(str(index), index)
  ahead = lambda split, indices: asked.append(indices)
  task = Task(example, size=lambda split: size, ahead=ahead)
  stream = Stream(task, 'train', 4, 0, *part)
  rows = [[e.answer for e in stream.examples(step)] for step in range(6)]
  each = 4 // part[1]
  assert [*itertools.chain(*rows)] == read and all(len(indices) == 8 * each for indices in asked)
  for step, indices in enumerate(asked):
    assert indices[: each * (6 - step)] == [*itertools.chain(*rows[step:])]


def test_a_finite_stream_reads_what_it_read_before():
  task = Task(lambda split, index: Example('', index), size=lambda split: 7)
  stream = Stream(task, 'train', 5, seed=3)
  order = [np.random.default_rng((3, epoch)).permutation(7) for epoch in range(3)]
  read = [e.answer for step in (0, 1, 2, 3) for e in stream.examples(step)]
  assert read == np.concatenate(order)[:20].tolist()
