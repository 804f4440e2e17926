"""Rows are looked at in worker processes, and what is known of them is kept, come what may."""

import functools
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile

import pytest
from talking import talking

import rft_jax
from rft_jax.data import fitting
from rft_jax.data.recorded import encode
from rft_jax.infra.drawing import Drawers
from rft_jax.infra.launch import cache_folder
from rft_jax.tasks import dataset, make_task

SPEC = "dataset(source='a.jsonl', test='a.jsonl', response='r', bad='skip')"
BAD = sum(1 + i % 11 > 8 for i in range(40))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  with open('a.jsonl', 'w') as file:
    for i in range(40):
      file.write(json.dumps(dict(prompt='x' * (1 + i % 11), r='y')) + '\n')


def checked(tokenizer=None):
  tokenizer = tokenizer or talking()
  check = functools.partial(
    encode, kinds=('prompts',), tokenizer=tokenizer, max_prompt=8, max_new=8
  )
  task = make_task(SPEC, tokenizer).fitting(dict(train=check, test=check))
  return task.skipped(), [task.example('train', i).place for i in range(task.size('train'))]


def at_once(monkeypatch):
  """Help is sought from the beginning."""
  for name, value in dict(cores=lambda: 2, CHUNK=5, PATIENCE=0, WORTH=-1).items():
    monkeypatch.setattr(fitting, name, value)
  monkeypatch.setattr(fitting, 'known_file', lambda key, encode: None)


@pytest.mark.slow
def test_worker_processes_find_the_same(monkeypatch):
  alone = checked()
  assert alone[0] == BAD
  at_once(monkeypatch)
  started = []
  monkeypatch.setattr(fitting, 'faults', lambda encode, examples: pytest.fail('not here'))
  monkeypatch.setattr(fitting, 'Drawers', lambda count: started.append(count) or Drawers(count))
  assert checked() == alone and started


class Local(type(talking())):
  def __reduce__(self):
    raise TypeError('a tokenizer of this notebook')


def test_what_no_other_process_can_have_is_looked_at_here(monkeypatch):
  alone = checked()
  at_once(monkeypatch)
  tokenizer = talking()
  tokenizer.__class__ = Local
  with pytest.raises(TypeError):
    pickle.dumps(tokenizer)
  assert checked(tokenizer) == alone


@pytest.mark.slow
def test_what_a_process_that_died_should_have_done_is_done_here(monkeypatch):
  alone = checked()
  at_once(monkeypatch)

  class Dead(Drawers):
    def __init__(self, count):
      super().__init__(count, dict(PYTHONHOME='/nowhere'))

  monkeypatch.setattr(fitting, 'Drawers', Dead)
  assert checked() == alone


SCRIPT = """
import sys
print('begins')
sys.path[:0] = {paths!r}
import test_data_fitting as t
from rft_jax.data import fitting
for name, value in dict(cores=lambda: 2, CHUNK=5, PATIENCE=0, WORTH=-1).items():
  setattr(fitting, name, value)
print(t.checked()[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize('by', ['file', 'pipe'])
def test_a_script_without_a_guard_is_run_once(by):
  paths = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(rft_jax.__file__))]
  script = SCRIPT.format(paths=paths)
  pathlib.Path('script.py').write_text(script)
  command = [sys.executable, '-' if by == 'pipe' else 'script.py']
  given = script if by == 'pipe' else ''
  out = subprocess.run(command, input=given, capture_output=True, text=True, timeout=200)
  assert out.stdout.split() == ['begins', str(BAD)], out.stderr


@pytest.mark.parametrize('damage', ['', '[]', '{"bad": [1]}', '{"bad": [["x", "", ""]]}', '{"bad"'])
def test_what_is_kept_of_rows_is_made_anew_where_it_is_damaged(damage):
  found = checked()
  kept = list((cache_folder() / 'rows').iterdir())
  assert kept
  for file in kept:
    file.write_text(damage)
  assert checked() == found


def test_what_is_kept_holds_for_the_rows_that_were_looked_at(monkeypatch):
  """A library that reads an answer otherwise leaves out other rows of the same bytes."""
  whole = checked()
  with open('a.jsonl') as file:
    second = json.loads(file.readlines()[1])['prompt']
  keeps = dataset.checked

  def stricter(tokenizer, columns, example, *rest):
    if example.prompt == second:
      raise dataset.BadRow('nothing to compare')
    return keeps(tokenizer, columns, example, *rest)

  monkeypatch.setattr(dataset, 'checked', stricter)
  skipped, places = checked()
  assert set(places) < set(whole[1]) and skipped + len(places) == 40


def test_a_user_without_a_folder_has_a_cache_all_the_same(monkeypatch):
  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
  assert cache_folder().is_relative_to(tempfile.gettempdir())


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch):
  alone = checked()
  monkeypatch.setenv('XDG_CACHE_HOME', os.path.abspath('a.jsonl'))
  assert checked() == alone
