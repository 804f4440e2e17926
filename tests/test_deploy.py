"""The files for those who deploy a server fit this program."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from served import Served

from rft_jax import config

ROOT = Path(__file__).parents[1]
FILES = ('docs/deploy.md', 'docs/feedback.md', 'deploy/rft_jax.service', 'Dockerfile')
UNIT = (ROOT / 'deploy/rft_jax.service').read_text()
DOCKERFILE = (ROOT / 'Dockerfile').read_text()


@pytest.mark.parametrize('name', FILES)
def test_each_setting_that_is_written_there_exists(name):
  text = (ROOT / name).read_text()
  known = config.base()
  named = set(re.findall(r'--config\.(\w+(?:\.\w+)*)', text)) | set(
    re.findall(r'`(serve\.\w+)`', text)
  )
  for path in named:
    node = known
    for key in path.split('.'):
      assert key in node, f'{name} names {path}'
      node = node[key]


def test_a_service_gets_the_time_that_a_stop_may_take():
  wait = int(re.findall(r'TimeoutStopSec=(\d+)', UNIT)[0])
  grace = config.base().serve.grace
  assert wait >= grace + 5 and 'KillSignal=SIGTERM' in UNIT
  docs = (ROOT / 'docs/deploy.md').read_text()
  assert int(re.findall(r'--stop-timeout (\d+)', docs)[0]) >= grace + 5


def test_a_service_keeps_everything_where_it_may_write():
  state = '/var/lib/' + re.findall(r'StateDirectory=(\S+)', UNIT)[0]
  written = re.findall(r'(?:HOME|JAX_COMPILATION_CACHE_DIR|--workdir)=(\S+)', UNIT)
  assert len(written) == 3 and all(path.startswith(state) for path in written)
  assert 'User=rft' in UNIT and 'ProtectSystem=strict' in UNIT


def test_a_container_runs_without_rights_from_files_that_are_there():
  lines = [line.split() for line in DOCKERFILE.replace('\\\n', ' ').splitlines() if line.strip()]
  copied = [name for line in lines if line[0] == 'COPY' for name in line[1:-1]]
  allowed = {line[1:] for line in (ROOT / '.dockerignore').read_text().split() if line[0] == '!'}
  assert set(copied) == allowed and all((ROOT / name).exists() for name in copied)
  words = [line[0] for line in lines]
  assert words.index('USER') < words.index('ENTRYPOINT') and ['USER', 'rft'] in lines
  assert 'VOLUME' in words and '--workdir=/data/run' in DOCKERFILE


def test_a_container_is_healthy_where_the_server_listens(tmp_path):
  command = re.findall(r'HEALTHCHECK[^\[]*(\[.*\])', DOCKERFILE.replace('\\\n', ' '))[0]
  program = json.loads(command)
  assert program[0] == 'python'
  with Served(tmp_path) as served:
    code = program[2].replace('http://127.0.0.1:8000', served.url)
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
  assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode != 0


def test_what_is_started_is_one_command():
  start = re.findall(r'ExecStart=(.*?[^\\])\n', UNIT, re.DOTALL)[0].replace('\\\n', ' ')
  words = shlex.split(start)
  assert words[1:3] == ['-m', 'rft_jax.main'] and all(w.startswith('--') for w in words[3:])
  assert "--config.serve.proxies=('127.0.0.1',)" in words
