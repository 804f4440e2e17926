"""Law 9 while a run goes on, and the commands of the README."""

import re
import shutil
import subprocess
import sys

import pytest
from program import ROOT, Program


@pytest.fixture(scope='module')
def program(tmp_path_factory):
  with Program(tmp_path_factory.mktemp('cli')) as program:
    yield program


def test_a_workdir_that_cannot_be_written_is_one_line(program, tmp_path):
  (tmp_path / 'file').write_text('')
  said = program.refuses(program.config, f'--workdir={tmp_path}/file/run')
  assert re.search('cannot write to workdir .*file/run.*choose another --workdir', said)


def test_evaluating_without_a_checkpoint_is_one_line(program, tmp_path):
  said = program.refuses(program.config, f'--workdir={tmp_path}', '--config.mode=evaluate')
  assert re.search('no complete checkpoint in .*: train first', said)


@pytest.mark.parametrize(
  'how, message',
  [
    ('raise', "raised ValueError: 'no idea'.*must return a finite number"),
    ('hang', 'took longer than 0.5 s: raise scoring.timeout'),
    ('nan', 'returned nan'),
  ],
)
def test_a_bad_verifier_is_one_line_with_the_completion(program, tmp_path, how, message):
  said = program.refuses(
    program.config,
    f"--config.rl.task=mine.task(how='{how}')",
    "--config.stages=('rl',)",
    '--config.scoring.workers=1',
    '--config.scoring.timeout=0.5',
    f'--workdir={tmp_path}',
  )
  assert re.search(f"the verifier of '.*{message}", said), said


@pytest.fixture(scope='module')
def trained(program, tmp_path_factory):
  """A finished run of two steps."""
  workdir = tmp_path_factory.mktemp('trained') / 'run'
  assert program(*only_warmup(program, workdir))[0] == 0
  return workdir


def only_warmup(program, workdir) -> list[str]:
  return [program.config, "--config.stages=('warmup',)", f'--workdir={workdir}']


def test_another_config_in_the_same_workdir_is_one_line_with_what_differs(program, trained):
  said = program.refuses(*only_warmup(program, trained), '--config.warmup.prompts=8')
  assert re.search('warmup.prompts 4 -> 8; use another --workdir, or restore', said)


def test_a_corrupt_checkpoint_is_one_line_that_says_what_to_delete(program, trained, tmp_path):
  shutil.copytree(trained, tmp_path / 'run')
  for file in (tmp_path / 'run/checkpoints/2/state').rglob('*'):
    if file.is_file():
      file.write_bytes(file.read_bytes()[:10])
  said = program.refuses(*only_warmup(program, tmp_path / 'run'))
  assert re.search(
    'checkpoint of step 2 cannot be read .*: delete .*/2 to resume from step 1', said
  )
  shutil.rmtree(tmp_path / 'run/checkpoints/2')
  assert program(*only_warmup(program, tmp_path / 'run'))[0] == 0


def test_a_loss_that_is_no_number_names_the_step_and_spares_the_checkpoints(program, tmp_path):
  arguments = [*only_warmup(program, tmp_path), '--config.warmup.optimizer.lr=1e38']
  assert re.search(
    '(loss/total|update/grad_norm) is (nan|inf) at step 2 .*: lower warmup.optimizer.lr',
    program.refuses(*arguments),
  )
  status, text, errors = program(*arguments, '--config.mode=evaluate')
  assert status == 0 and text.startswith('step 1'), errors


def test_a_task_of_ones_own_trains_by_the_name_of_its_module(program, tmp_path):
  status, text, errors = program(
    program.config, '--config.rl.task=mine.task', "--config.stages=('rl',)", f'--workdir={tmp_path}'
  )
  assert status == 0 and 'eval/accuracy' in text, errors


def readme_commands() -> list[tuple[str, str]]:
  """The shell lines of the README, each with the marker of its block."""
  blocks = re.findall(
    r'(?:<!-- (\w+) -->\n)?```sh\n(.*?)```', (ROOT / 'README.md').read_text(), re.S
  )
  return [(marker, line) for marker, block in blocks for line in block.splitlines()]


def test_every_command_of_the_readme_is_run_by_ci_or_by_the_test_below():
  ci, setup = (ROOT / '.ci/run').read_text(), (ROOT / 'setup.py').read_text()
  for marker, line in readme_commands():
    extra = re.match(r"pip install '\.\[(\w+)\]'", line)
    assert (
      f'command_of {marker})' in ci
      if marker
      else f"'{extra[1]}': [" in setup
      if extra
      else line.startswith('.venv/bin/python -m rft_jax.main ')
    ), line


@pytest.mark.slow
def test_the_programs_of_the_readme_run(tmp_path):
  lines = [line for marker, line in readme_commands() if not marker and 'rft_jax.main' in line]
  for line in lines:
    assert '--workdir=runs/' in line
    line = line.replace('.venv/bin/python', sys.executable).replace('=runs/', f'={tmp_path}/')
    assert not subprocess.run(line, shell=True, cwd=ROOT, timeout=300).returncode
  assert lines


def test_a_bug_keeps_its_traceback(program, tmp_path):
  config = program.write(
    'bug', 'import rft_jax.modes.train as t; t.open_session = lambda c: {}["x"]'
  )
  status, _, errors = program(config, f'--workdir={tmp_path}')
  assert status == 1 and 'Traceback' in errors and "KeyError: 'x'" in errors
