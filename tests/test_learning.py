"""Every preset learns: from the committed probe, by the same programs that a run compiles."""

import sys
from pathlib import Path

import pytest

from rft_jax.algorithms.presets import PRESETS, UNSUPERVISED

sys.path.insert(0, str(Path(__file__).parents[1] / 'experiments/01_algorithms'))
import learning

FAST = 'dapo', 'kto', 'gkd', 'gigpo', 'reward_model'
LOWER = dict(passk=0.5) | dict.fromkeys(UNSUPERVISED, 0.87)
"""passk maximises the best of a group; label-free rewards start at about .8."""


def slow_unless_fast(preset):
  return preset if preset in FAST else pytest.param(preset, marks=pytest.mark.slow)


@pytest.mark.parametrize('preset', map(slow_unless_fast, PRESETS))
def test_a_preset_solves_its_probe(preset):
  (before, *_), after = (learning.learn(preset, seeds=2, every=200)['accuracy'][i] for i in (0, -1))
  assert sum(after) / len(after) >= LOWER.get(preset, 0.9), (before, after)
