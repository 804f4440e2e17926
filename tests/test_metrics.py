"""Laws of what a run reports."""

import io
import json
import sys
import types

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from rft_jax.infra import curve, progress
from rft_jax.infra.metrics import Metrics
from rft_jax.infra.progress import Clock, Progress
from rft_jax.registry import ConfigError


def lines(path) -> list[dict]:
  refuse = lambda word: pytest.fail(f'{word} is not JSON')
  return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def scalars(directory) -> list[tuple[int, str, float]]:
  """(step, tag, value) from event files: records of u64 length, u32 crc, data, u32 crc."""
  found = []
  for file in sorted(directory.iterdir()):
    blob = file.read_bytes()
    while blob:
      size = int.from_bytes(blob[:8], 'little')
      event, blob = Event.FromString(blob[12 : 12 + size]), blob[16 + size :]
      found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
  return found


@pytest.fixture(autouse=True)
def no_wandb(monkeypatch):
  for name in ('WANDB_API_KEY', 'WANDB_MODE'):
    monkeypatch.delenv(name, raising=False)


def test_a_line_per_call_with_sorted_keys_is_readable_at_once(tmp_path):
  metrics = Metrics(tmp_path, 'run', tensorboard=False)
  metrics.log(np.int32(1), {'b/y': np.float32(0.5), 'a/x': 2}, stage='rl')
  [line] = lines(tmp_path / 'metrics.jsonl')
  assert list(line.items()) == [('step', 1), ('stage', 'rl'), ('a/x', 2.0), ('b/y', 0.5)]


def test_what_is_not_finite_is_null_and_not_drawn(tmp_path):
  with Metrics(tmp_path, 'run') as metrics:
    metrics.log(1, {'a/nan': float('nan'), 'a/inf': float('inf'), 'a/x': 0.5})
    metrics.samples(1, [{'reward': float('nan')}])
  assert lines(tmp_path / 'metrics.jsonl') == [
    {'step': 1, 'stage': '', 'a/inf': None, 'a/nan': None, 'a/x': 0.5}
  ]
  assert lines(tmp_path / 'samples.jsonl')[0]['reward'] is None
  assert scalars(tmp_path / 'tensorboard') == [(1, 'a/x', 0.5)]


def test_each_step_is_there_once_after_a_resume(tmp_path):
  with Metrics(tmp_path, 'run', tensorboard=False) as metrics:
    for step in range(1, 6):
      metrics.log(step, {'a/x': step})
      metrics.samples(step, [{'text': 'old'}] * 2)
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 6, "sta')
  with Metrics(tmp_path, 'run', tensorboard=False, resume_step=3) as metrics:
    metrics.log(4, {'a/x': -4})
    metrics.samples(4, [{'text': 'new'}])
  assert [(r['step'], r['a/x']) for r in lines(tmp_path / 'metrics.jsonl')] == [
    (1, 1),
    (2, 2),
    (3, 3),
    (4, -4),
  ]
  assert [r['text'] for r in lines(tmp_path / 'samples.jsonl')] == ['old'] * 6 + ['new']


def test_a_torn_line_is_dropped_and_the_rest_is_kept(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 9, "stage": ""}\n{"step": 10')
  with Metrics(tmp_path, 'run', tensorboard=False) as metrics:
    metrics.log(10, {})
  assert [record['step'] for record in lines(tmp_path / 'metrics.jsonl')] == [9, 10]


def test_summaries_merge_and_survive_a_reopening(tmp_path):
  with Metrics(tmp_path, 'run', tensorboard=False) as metrics:
    metrics.summary({'a': np.float32(0.5), 'b': 1})
  with Metrics(tmp_path, 'run', tensorboard=False) as metrics:
    metrics.summary({'b': 2, 'c': np.arange(2)})
  assert json.loads((tmp_path / 'summary.json').read_text()) == {'a': 0.5, 'b': 2, 'c': [0, 1]}
  assert not list(tmp_path.glob('*.tmp'))


def fake_wandb(calls: list) -> types.ModuleType:
  def init(**options):
    calls.append(options)
    return types.SimpleNamespace(
      id='abc',
      log=lambda values, step: calls.append((step, values)),
      summary={},
      finish=lambda: calls.append('finish'),
    )

  module = types.ModuleType('wandb')
  vars(module)['init'] = init
  return module


def test_wandb_is_used_only_where_configured_and_resumes_its_run(tmp_path, monkeypatch):
  calls = []
  monkeypatch.setitem(sys.modules, 'wandb', fake_wandb(calls))
  Metrics(tmp_path, 'run', tensorboard=False).close()
  monkeypatch.setenv('WANDB_MODE', 'offline')
  Metrics(tmp_path, 'run', tensorboard=False, wandb='off').close()
  assert calls == []
  for _ in range(2):
    with Metrics(tmp_path, 'run', tensorboard=False, config={'a': 1}) as metrics:
      metrics.log(1, {'a/x': 0.5, 'a/nan': float('nan')})
  assert [c['id'] for c in calls if isinstance(c, dict)] == [None, 'abc']
  assert calls[1:3] == [(1, {'a/x': 0.5}), 'finish']


def test_a_wandb_that_fails_does_not_stop_the_run(tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, 'wandb', types.SimpleNamespace(init=lambda **_: 1 / 0))
  monkeypatch.setenv('WANDB_API_KEY', 'x')
  with Metrics(tmp_path, 'run', tensorboard=False) as metrics:
    metrics.log(1, {'a/x': 1})
  assert 'going on without wandb' in capsys.readouterr().err
  assert len(lines(tmp_path / 'metrics.jsonl')) == 1


def test_bad_settings_are_config_errors(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(ConfigError, match='choose another --workdir'):
    Metrics(tmp_path / 'file' / 'run', 'run')
  with pytest.raises(ConfigError, match="wandb='on' must be one of auto, off"):
    Metrics(tmp_path, 'run', wandb='on')


def test_the_clock_counts_every_moment_once():
  now = [0.0]
  clock = Clock(lambda: now[0])
  now[0] = 1.0
  with clock('rollout'):
    now[0] = 3.0
    with clock('reward'):
      now[0] = 7.0
    now[0] = 8.0
  with pytest.raises(KeyError), clock('rollout'):
    now[0] = 18.0
    raise KeyError
  assert clock.take() == {'other': 1.0, 'rollout': 13.0, 'reward': 4.0}
  now[0] = 20.0
  assert clock.take() == {'other': 2.0}


def test_a_log_gets_a_line_now_and_then_and_the_last_state(monkeypatch):
  now, log = [0.0], io.StringIO()
  monkeypatch.setattr(sys, 'stderr', log)
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  bar = Progress(100, initial=10, description='rl', every=10)
  for step in range(11, 41):
    now[0] += 1.0
    bar.update(step, {'reward': 0.51234, 'tokens/s': 12345.6})
  bar.close()
  shown = log.getvalue().splitlines()
  assert [line.split()[1].split('/')[0] for line in shown] == ['11', '21', '31', '40']
  assert shown[-1].endswith('[00:30<01:00,  1.00step/s, reward=0.512, tokens/s=12.3k]')


def test_a_terminal_gets_a_bar(monkeypatch):
  screen = io.StringIO()
  screen.isatty = lambda: True
  monkeypatch.setattr(sys, 'stderr', screen)
  bar = Progress(4, initial=1, description='rl')
  bar.update(4, {'reward': 0.25})
  bar.close()
  assert '4/4' in screen.getvalue() and 'reward=0.25' in screen.getvalue()


def test_a_curve_shows_the_values_of_its_stage(tmp_path):
  with Metrics(tmp_path, 'run', tensorboard=False) as metrics:
    for step, stage in ((1, 'sft'), (2, 'rl'), (3, 'rl')):
      metrics.log(step, {'a/x': step, 'a/y': float('nan') if step == 2 else 1}, stage)
  file = tmp_path / 'metrics.jsonl'
  assert curve.read(file, 'rl') == {'a/x': [(2, 2.0), (3, 3.0)], 'a/y': [(3, 1.0)]}
  curve.draw(file, tmp_path / 'curve.png', ['a/x', 'a/y', 'a/z'], 'title', 'rl')
  assert (tmp_path / 'curve.png').read_bytes().startswith(b'\x89PNG')
  with pytest.raises(ConfigError, match="did you mean 'a/x'"):
    curve.draw(file, tmp_path / 'curve.png', ['a/xx'], 'title')
