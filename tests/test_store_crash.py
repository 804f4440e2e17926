"""Law 11: whatever is killed and when, acknowledged feedback is kept and has its effect once."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import folding
import pytest

from rft_jax.feedback.store import Store

PROGRAM = Path(folding.__file__)
EVENTS = 10
POINTS = [
  'add_feedback:before',
  'add_feedback:after',
  'claim:before',
  'claim:after',
  'step',
  'tmp',
  'rename',
  'apply:before',
  'apply:after',
  'swap',
]


def start(root: Path, point: str = '', events: int = EVENTS) -> subprocess.Popen:
  environment = {**os.environ, 'RFT_FAULT': point, 'PYTHONPATH': str(PROGRAM.parent.parent)}
  command = [sys.executable, str(PROGRAM), str(root), str(events)]
  return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> list[str]:
  """The ids that it acknowledged; -9 or 0 is how it may end."""
  out = process.communicate(timeout=60)[0]
  assert process.returncode in (0, -signal.SIGKILL), process.returncode
  return [line.split()[1] for line in out.splitlines(True) if line.endswith('\n')]


def outcome(root: Path) -> tuple[int, str]:
  """Live version and weights, after checking that ledger and events agree."""
  store = Store(root / 'store.db')
  state = store.versions.state(folding.SCOPE)
  applied = [row[0] for row in store.db.read('SELECT event_seq FROM applied ORDER BY event_seq')]
  events = [row[0] for row in store.db.read('SELECT seq FROM feedback_event ORDER BY seq')]
  assert applied == events
  store.close()
  return state.live_version, folding.weights(root, folding.SCOPE, state.live_version)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory) -> tuple[int, str]:
  root = tmp_path_factory.mktemp('whole')
  assert len(finish(start(root))) == EVENTS
  return outcome(root)


@pytest.mark.parametrize('point', POINTS)
def test_death_at_any_point_leads_to_the_same_weights(point, tmp_path, uninterrupted):
  process = start(tmp_path, point)
  finish(process)
  assert process.returncode == -signal.SIGKILL, 'the point was never reached'
  finish(start(tmp_path))
  assert outcome(tmp_path) == uninterrupted


def test_a_torn_candidate_is_made_again(tmp_path, uninterrupted):
  finish(start(tmp_path, 'rename'))
  manifest = next(tmp_path.glob('u_*/v1/manifest'))
  manifest.write_text('{"batch": "another", "weights": "wrong"}')
  finish(start(tmp_path))
  assert outcome(tmp_path) == uninterrupted


def kill_at_random(root: Path, rounds: int, events: int, seed: int):
  """Kills the program again and again; every acknowledged vote must be there once."""
  noise = random.Random(seed)
  acknowledged: set[str] = set()
  for _ in range(rounds):
    process = start(root, events=events)
    time.sleep(noise.uniform(0.05, 0.35))
    process.kill()
    acknowledged |= set(finish(process))
  finish(start(root, events=events))
  connection = sqlite3.connect(root / 'store.db')
  kept = [row[0] for row in connection.execute('SELECT id FROM feedback_event')]
  connection.close()
  assert acknowledged <= set(kept)
  assert len(kept) == len(set(kept)) == events


def test_acknowledged_feedback_survives_random_kills(tmp_path):
  kill_at_random(tmp_path / 'killed', rounds=5, events=60, seed=0)
  finish(start(tmp_path / 'whole', events=60))
  assert outcome(tmp_path / 'killed') == outcome(tmp_path / 'whole')


@pytest.mark.slow
def test_acknowledged_feedback_survives_200_random_kills(tmp_path):
  for block in range(20):
    killed, whole = tmp_path / f'killed{block}', tmp_path / f'whole{block}'
    kill_at_random(killed, rounds=10, events=200, seed=block)
    finish(start(whole, events=200))
    assert outcome(killed) == outcome(whole)
