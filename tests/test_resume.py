"""Law 6: a run that was interrupted ends exactly as one that was not."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from training import SUM, records, run, run_until, saved, tiny

from rft_jax.evaluators import accuracy
from rft_jax.evaluators.accuracy import Report
from rft_jax.infra.checkpoint import Checkpoints
from rft_jax.infra.progress import Stopped
from rft_jax.modes import train

ROOT = pathlib.Path(__file__).parents[1]
WARMUP = dict(preset='sft', group=1, optimizer=dict(schedule='cosine'))
HOST = dict(task=SUM, preset='grpo', max_prompt=32)


def fused():
  return tiny(warmup=dict(WARMUP), rl=dict(preset='grpo', algorithm=dict(kl='k3')))


def ppo():
  return tiny(ppo=dict(preset='ppo', epochs=2, minibatches=2))


def host(staleness: int, workers: int = 0, stages: tuple[str, ...] = ('rl',)):
  c = tiny(**{name: HOST | dict(staleness=staleness) for name in stages})
  c.tokenizer = 'characters'
  c.scoring.workers = workers
  return c


VARIANTS = {
  'fused': fused,
  'ppo': ppo,
  'host': lambda: host(0),
  'ahead': lambda: host(1, 0, ('rl', 'again')),
  'workers': lambda: host(1, 2),
}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """variant -> the directory of its uninterrupted run, made on first use."""
  done = {}

  def make(variant):
    if variant not in done:
      done[variant] = tmp_path_factory.mktemp(variant)
      run(VARIANTS[variant](), done[variant])
    return done[variant]

  return make


def assert_same_end(config, whole, resumed):
  """Checkpoint, its JSON, metrics and samples are the same, bit for bit and line for line."""
  (step, state, place), (other_step, other_state, other_place) = (
    saved(config, workdir) for workdir in (whole, resumed)
  )
  assert (step, place) == (other_step, other_place)
  jax.tree.map(np.testing.assert_array_equal, state, other_state)
  assert int(state.step) == step == sum(config[name].steps for name in config.stages)
  for name in ('metrics.jsonl', 'samples.jsonl'):
    assert records(whole, name) == records(resumed, name)


@pytest.mark.parametrize(
  'variant, steps',
  [
    ('fused', [0, 1]),
    ('ppo', [2]),
    ('ahead', [1, 2]),
    ('workers', [2]),
    pytest.param('fused', [3], marks=pytest.mark.slow),
    pytest.param('fused', [5], marks=pytest.mark.slow),
    pytest.param('host', [1], marks=pytest.mark.slow),
    pytest.param('ahead', [4], marks=pytest.mark.slow),
  ],
)
def test_a_resumed_run_ends_as_one_that_was_never_interrupted(
  whole, tmp_path, monkeypatch, variant, steps
):
  config = VARIANTS[variant]()
  assert all(run_until(config, tmp_path, n, monkeypatch) for n in steps)
  run(config, tmp_path)
  assert_same_end(config, whole(variant), tmp_path)


@pytest.mark.parametrize(
  'variant, after', [('fused', 2), pytest.param('ahead', 3, marks=pytest.mark.slow)]
)
def test_a_run_that_is_asked_to_end_keeps_every_step(whole, tmp_path, variant, after):
  config, heard = VARIANTS[variant](), []
  config.checkpoint.every = 0

  def watch(text):
    heard.append(text)
    if len(heard) == after + 1:
      raise Stopped

  for _ in range(2):  # The second one is told before its first step.
    with pytest.raises(Stopped):
      train.run(config, str(tmp_path), time.time(), watch)
    after = len(heard)
  steps = Checkpoints(tmp_path / 'checkpoints').steps()
  assert steps[-1] == len(heard) - 2 and heard[-1] == heard[-2]
  run(config, tmp_path)
  assert_same_end(config, whole(variant), tmp_path)


@pytest.mark.parametrize('variant', ['fused', 'ahead'])
def test_steps_after_the_last_checkpoint_are_repeated_exactly(
  whole, tmp_path, monkeypatch, variant
):
  config = VARIANTS[variant]()
  config.checkpoint.every = 2
  assert run_until(config, tmp_path, 2 if variant == 'ahead' else 1, monkeypatch)
  assert run_until(config, tmp_path, 1, monkeypatch)
  config.checkpoint.every = 0
  run(config, tmp_path)
  assert_same_end(config, whole(variant), tmp_path)


@pytest.mark.parametrize('variant', ['fused', 'ahead'])
def test_every_training_step_has_one_line(whole, variant):
  config, workdir = VARIANTS[variant](), whole(variant)
  lines = [(r['stage'], r['step']) for r in records(workdir) if 'loss/total' in r]
  expected = [(name, 3 * i + step) for i, name in enumerate(config.stages) for step in (1, 2, 3)]
  assert lines == expected


def test_a_finished_run_that_is_started_again_changes_nothing(whole, tmp_path):
  config = ppo()
  run(config, tmp_path)
  before = records(tmp_path)
  summary = run(config, tmp_path)
  assert records(tmp_path) == before and summary['steps'] == 3
  assert_same_end(config, whole('ppo'), tmp_path)


def test_a_stage_that_stopped_early_is_not_continued(tmp_path, monkeypatch):
  always = dict(stop='eval/accuracy >= 0', evaluate=dict(every=1, prompts=4))
  config = tiny(warmup=WARMUP | always, rl=dict(preset='grpo', steps=2))
  assert run_until(config, tmp_path, 1, monkeypatch)
  assert run_until(config, tmp_path, 1, monkeypatch)
  run(config, tmp_path)
  lines = [(r['stage'], r['step']) for r in records(tmp_path) if 'loss/total' in r]
  assert lines == [('warmup', 1), ('rl', 2), ('rl', 3)]


def test_the_last_checkpoints_and_the_best_stay(tmp_path, monkeypatch):
  accuracies = [0.9, 0.1, 0.8, 0.8, 0.2, 0.3]
  report = lambda state: Report({'eval/accuracy': accuracies[int(state.step)]}, [])
  monkeypatch.setattr(accuracy, 'make', lambda *args, **kwargs: report)
  config = tiny(rl=dict(preset='grpo', steps=5, evaluate=dict(every=1, prompts=4)))
  config.checkpoint.keep = 2
  run(config, tmp_path)
  with Checkpoints(tmp_path / 'checkpoints', 2, 'eval/accuracy') as checkpoints:
    assert checkpoints.steps() == [3, 4, 5] and checkpoints.best() == 3


CONFIG = """
import sys
sys.path.insert(0, {tests!r})
from test_resume import long as get_config
"""


def long():
  return tiny(rl=dict(preset='grpo', steps=15, algorithm=dict(kl='k3')))


def test_killed_at_any_moment_and_resumed_it_ends_the_same(tmp_path):
  (tmp_path / 'tiny.py').write_text(CONFIG.format(tests=str(ROOT / 'tests')))

  def start(name):
    command = [
      sys.executable,
      '-m',
      'rft_jax.main',
      f'--config={tmp_path}/tiny.py',
      f'--workdir={tmp_path / name}',
    ]
    quick = os.environ | dict(JAX_DISABLE_MOST_OPTIMIZATIONS='1')
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=quick)

  assert start('whole').wait(300) == 0
  first = start('killed')
  metrics = tmp_path / 'killed/metrics.jsonl'
  lines = random.randrange(2, 14)
  while first.poll() is None and (not metrics.exists() or len(metrics.open().readlines()) < lines):
    time.sleep(0.005)
  first.send_signal(signal.SIGKILL)
  assert first.wait() == -signal.SIGKILL
  assert start('killed').wait(300) == 0
  assert_same_end(long(), tmp_path / 'whole', tmp_path / 'killed')
