"""Law: whatever is killed and when, each feedback is in the weights once, and the weights are those
of a learner that nobody disturbed."""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import scholar
from folding import SCOPE
from scholar import School

from rft_jax.feedback.records import GLOBAL
from rft_jax.learning.fold import rebuild
from rft_jax.learning.shelf import digest

EVENTS = 5
POINTS = ['step', 'tmp', 'rename', 'apply:after', 'swap', 'canary:after', 'publish:before']
RARE = ['claim:before', 'claim:after', 'apply:before', 'canary:before', 'publish:after']
RARE += ['served:before', 'add_feedback:after']


@pytest.fixture(scope='module')
def processes():
  """Each child is forked from a process that has no threads, only the imports, which take long."""
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload(['rft_jax.learning.fold', 'rft_jax.learning.learner', 'pytest'])
  return context


def become(root: Path, events: int, point: str, said: Path):
  os.environ['RFT_FAULT'] = point
  with open(said, 'a') as sys.stdout:
    scholar.run(root, events)
    sys.stdout.flush()


class Run:
  """The program in a process of its own."""

  def __init__(self, context, root: Path, point: str = '', events: int = EVENTS):
    root.mkdir(exist_ok=True, parents=True)
    self.said = root / 'said'
    self.process = context.Process(target=become, args=(root, events, point, self.said))
    self.process.start()

  def finish(self) -> list[str]:
    """The ids that were acknowledged by all runs so far."""
    self.process.join(60)
    assert self.process.exitcode in (0, -signal.SIGKILL), self.process.exitcode
    lines = self.said.read_text().splitlines(True) if self.said.exists() else []
    return [line.split()[1] for line in lines if line.endswith('\n') and line.startswith('ack')]


def outcome(root: Path) -> list:
  """Version and bits of both scopes, after checking that they are the fold of the ledger, and that
  the ledger has every event once."""
  school = School(root)
  events = [row[0] for row in school.store.db.read('SELECT seq FROM feedback_event')]
  found = []
  for scope in (GLOBAL, SCOPE):
    query = 'SELECT event_seq FROM applied WHERE scope = ?'
    assert sorted(row[0] for row in school.store.db.read(query, scope)) == sorted(events)
    again = rebuild(school.store, school.student, scholar.told, scope)
    assert scholar.packed(again) == school.bits(scope)
    found += [school.store.versions.state(scope).live_version, school.bits(scope)]
  assert not list((root / 'adapters').rglob('*.tmp'))
  school.close()
  return found


@pytest.fixture(scope='module')
def undisturbed(processes, tmp_path_factory) -> list:
  root = tmp_path_factory.mktemp('whole')
  assert len(Run(processes, root).finish()) == EVENTS
  return outcome(root)


@pytest.mark.parametrize(
  'point', [*POINTS, *(pytest.param(rare, marks=pytest.mark.slow) for rare in RARE)]
)
def test_death_at_any_point_leads_to_the_same_weights(point, processes, tmp_path, undisturbed):
  run = Run(processes, tmp_path, point)
  run.finish()
  assert run.process.exitcode == -signal.SIGKILL, 'the point was never reached'
  Run(processes, tmp_path).finish()
  assert outcome(tmp_path) == undisturbed


@pytest.mark.parametrize('harm', ['torn', 'missing', 'foreign'])
def test_a_candidate_that_is_not_whole_is_made_again(harm, processes, tmp_path, undisturbed):
  Run(processes, tmp_path, 'rename').finish()
  files = next((tmp_path / 'adapters').glob('*/v1'))
  match harm:
    case 'torn':
      data = (files / 'opt.safetensors').read_bytes()
      (files / 'opt.safetensors').write_bytes(data[:-4] + b'torn')
    case 'missing':
      (files / 'adapter.safetensors').unlink()
    case 'foreign':
      data = (files / 'opt.safetensors').read_bytes()[:-4] + b'sure'
      manifest = json.loads((files / 'manifest.json').read_text()) | {'batch_id': 'another'}
      manifest['sha256']['opt.safetensors'] = digest(data)
      (files / 'opt.safetensors').write_bytes(data)
      (files / 'manifest.json').write_text(json.dumps(manifest))
  Run(processes, tmp_path).finish()
  assert outcome(tmp_path) == undisturbed


def kill_at_random(processes, root: Path, rounds: int, events: int, seed: int):
  noise = random.Random(seed)
  for _ in range(rounds):
    run = Run(processes, root, events=events)
    time.sleep(noise.uniform(0.05, 0.4))
    run.process.kill()
    run.finish()
  acknowledged = Run(processes, root, events=events).finish()
  school = School(root)
  kept = [row[0] for row in school.store.db.read('SELECT id FROM feedback_event')]
  school.close()
  assert set(acknowledged) <= set(kept) and len(kept) == len(set(kept)) == events


def test_random_kills_lose_nothing_and_learn_nothing_twice(processes, tmp_path):
  kill_at_random(processes, tmp_path / 'killed', 4, 10, seed=0)
  Run(processes, tmp_path / 'whole', events=10).finish()
  assert outcome(tmp_path / 'killed') == outcome(tmp_path / 'whole')


@pytest.mark.slow
def test_200_random_kills_lose_nothing_and_learn_nothing_twice(processes, tmp_path):
  for block in range(20):
    killed, whole = tmp_path / f'killed{block}', tmp_path / f'whole{block}'
    kill_at_random(processes, killed, 10, 60, seed=block)
    Run(processes, whole, events=60).finish()
    assert outcome(killed) == outcome(whole)
