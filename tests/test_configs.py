"""Every config builds, says how to run it and what to expect, and leaves a whole run."""

import importlib.util
import json
import re
import time
from pathlib import Path

import pytest
from matplotlib.image import imread

from rft_jax import config as defaults
from rft_jax.infra.checkpoint import Checkpoints
from rft_jax.modes import train
from rft_jax.modes.limits import check_sizes
from rft_jax.registry import ConfigError

FILES = sorted((Path(__file__).parents[1] / 'configs').glob('*.py'))
SLOW = pytest.mark.slow
SMOKE = (
  'quickstart',
  'sft',
  'ppo',
  'reward_model',
  pytest.param('feedback_online', marks=SLOW),
  pytest.param('grpo_countdown', marks=SLOW),
  pytest.param('probe', marks=SLOW),
  pytest.param('sft_qwen', marks=SLOW),
  pytest.param('grpo_gsm8k', marks=SLOW),
  pytest.param('lora_grpo_qwen', marks=SLOW),
  pytest.param('dpo_llama', marks=SLOW),
  pytest.param('rm_qwen', marks=SLOW),
  pytest.param('ppo_gemma', marks=SLOW),
  pytest.param('cpt_text', marks=SLOW),
)


def load(path: Path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


every_file = pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)


@every_file
@pytest.mark.parametrize('variant', ['', 'smoke'])
def test_every_config_builds_and_passes_its_own_check(path, variant):
  config = load(path).get_config(variant)
  defaults.check(config)
  assert config.stages


@every_file
def test_an_unknown_variant_is_refused_and_the_known_ones_named(path):
  with pytest.raises(ConfigError, match=r"'smokey'.*did you mean 'smoke'"):
    load(path).get_config('smokey')


@every_file
def test_the_docstring_has_the_command_the_expected_result_and_the_cost(path):
  text = ' '.join(load(path).__doc__.split())
  assert f'python -m rft_jax.main --config=configs/{path.name}' in text
  assert re.search(r'arXiv:\d{4}\.\d{4,5}|Expected:', text)
  assert re.search(r'cores?, .*minutes|TPU|GPU', text)


@every_file
def test_what_is_said_to_run_on_eight_chips_can_be_cut_into_eight(path):
  module = load(path)
  if 'v5e-8' in ' '.join(module.__doc__.split()):
    config = module.get_config()
    assert config.parallel.kind == 'mesh' and config.parallel.fsdp == 0
    for name in config.stages:
      check_sizes(config[name], shards=8)


@every_file
def test_a_smoke_run_is_the_same_experiment_made_small(path):
  full, smoke = (load(path).get_config(variant) for variant in ('', 'smoke'))
  assert full.stages == smoke.stages and (full.model == smoke.model or full.model.path)
  for name in full.stages:
    assert full[name].task == smoke[name].task or full.model.path
    assert full[name].algorithm == smoke[name].algorithm
    assert smoke[name].steps <= 2 and smoke[name].prompts * smoke[name].group <= 32


def test_every_file_has_a_smoke_run_here():
  names = [case if isinstance(case, str) else case.values[0] for case in SMOKE]
  assert sorted(names) == [path.stem for path in FILES]


@pytest.mark.parametrize('name', SMOKE)
def test_a_smoke_run_leaves_a_whole_run(tmp_path, name):
  config = load(FILES[0].with_name(f'{name}.py')).get_config('smoke')
  config.parallel.devices = 1
  train.run(config, str(tmp_path), time.time())
  assert json.loads((tmp_path / 'config.json').read_text())['stages'] == list(config.stages)
  check_summary(json.loads((tmp_path / 'summary.json').read_text()), config)
  lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  check_metrics(lines, config)
  samples = [json.loads(line) for line in (tmp_path / 'samples.jsonl').read_text().splitlines()]
  assert bool(samples) == any('eval/accuracy' in line for line in lines)
  assert all({'step', 'stage', 'prompt', 'completion', 'reward'} <= set(s) for s in samples)
  assert imread(tmp_path / 'curve.png').std() > 0
  with Checkpoints(tmp_path / 'checkpoints', 3) as checkpoints:
    assert checkpoints.latest() == sum(config[stage].steps for stage in config.stages)


JUDGED = 'eval/accuracy', 'eval/preference_accuracy', 'eval/nll'


def check_summary(summary, config):
  judged = [key for key in JUDGED if f'{key}/after' in summary]
  assert judged
  for when in ('before', 'after'):
    assert summary[f'{judged[0]}/{when}'] >= 0
    assert len(summary[f'samples/{when}']) == config.log.samples * (judged[0] == JUDGED[0])
  assert 0 < summary['time/first_update_s'] < summary['time/total_s']
  assert summary['throughput/completion_tokens_per_s'] > 0


def check_metrics(lines, config):
  """Every step of every stage once, each with where its wall time went."""
  steps = [line for line in lines if 'loss/total' in line]
  assert [line['step'] for line in steps] == list(range(1, len(steps) + 1))
  assert [line['stage'] for line in steps] == [
    n for n in config.stages for _ in range(config[n].steps)
  ]
  for line in steps:
    spent = {key: value for key, value in line.items() if key.startswith('time/')}
    assert len(spent) >= 2 and min(spent.values()) >= 0
    assert {'time/other_s'} < set(spent)
