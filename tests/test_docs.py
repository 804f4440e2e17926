"""The documents say what the code does."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_of_algorithms_is_current():
  """Else run `python docs/algorithms.py`."""
  written = (ROOT / 'docs/algorithms.md').read_text()
  assert runpy.run_path(str(ROOT / 'docs/algorithms.py'))['text']() == written


def test_the_page_of_reasoning_gym_is_current():
  """Else run `python docs/reasoning_gym.py`."""
  written = (ROOT / 'docs/reasoning_gym.md').read_text()
  assert runpy.run_path(str(ROOT / 'docs/reasoning_gym.py'))['text']() == written


def test_what_the_docs_link_to_is_there():
  pages = [ROOT / 'README.md', *ROOT.glob('docs/*.md'), *ROOT.glob('experiments/*/README.md')]
  found = [(page, link) for page in pages for link in re.findall(r'\]\(([^)#]+)', page.read_text())]
  local = [page.parent / link for page, link in found if '://' not in link]
  assert len(local) > 5 and not [str(file) for file in local if not file.exists()]
