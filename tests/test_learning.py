"""Every preset learns: from the committed probe, by the same programs that a run compiles."""

import sys
import time
from pathlib import Path

import pytest
from training import records

from configs import reward_model
from rft_jax.algorithms.presets import PRESETS, UNSUPERVISED
from rft_jax.modes import train

sys.path.insert(0, str(Path(__file__).parents[1] / 'experiments/01_algorithms'))
import learning

FAST = 'sft', 'dpo', 'reward_model'
LOWER = dict(passk=0.5) | dict.fromkeys(UNSUPERVISED, 0.87)
"""passk maximises the best of a group; label-free rewards start at about .8."""


def slow_unless_fast(preset):
  return preset if preset in FAST else pytest.param(preset, marks=pytest.mark.slow)


@pytest.mark.parametrize('preset', map(slow_unless_fast, PRESETS))
def test_a_preset_solves_its_probe(preset):
  (before, *_), after = (
    learning.learn(preset, seeds=2, every=1000)['accuracy'][i] for i in (0, -1)
  )
  assert sum(after) / len(after) >= LOWER.get(preset, 0.9), (before, after)


@pytest.mark.slow
def test_a_reward_model_ranks_held_out_pairs_and_teaches_the_policy(tmp_path):
  c = reward_model.get_config()
  c.parallel.devices = 1
  facts = train.run(c, str(tmp_path), time.time())
  lines = records(tmp_path)
  ranked = [line for line in lines if 'eval/preference_accuracy' in line][-1]
  assert ranked['stage'] == 'judge' and ranked['eval/preference_accuracy'] >= 0.95
  true = [line['reward/true'] for line in lines if 'reward/true' in line]
  assert sum(true[-5:]) / 5 > sum(true[:5]) / 5 + 0.2
  assert facts['eval/accuracy/after'] > max(0.95, facts['eval/accuracy/before'] + 0.1)
