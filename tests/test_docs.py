"""The documents say what the code does."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_of_algorithms_is_current():
  """Else run `python docs/algorithms.py`."""
  written = (ROOT / 'docs/algorithms.md').read_text()
  assert runpy.run_path(str(ROOT / 'docs/algorithms.py'))['text']() == written
