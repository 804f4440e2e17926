"""Mode serve as a user starts it: it trains, serves, learns, stops, and remembers."""

import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest
from served import until

ROOT = Path(__file__).parents[1]


class Process:
  """`python -m rft_jax.main` with the smallest chat model there is, until the end of the block."""

  def __init__(self, workdir: Path, *more: str):
    command = [sys.executable, '-m', 'rft_jax.main']
    command += ['--config=configs/feedback_online.py:smoke', f'--workdir={workdir}', *more]
    self.told = workdir.with_suffix('.err')
    self.process = subprocess.Popen(
      [*command, '--config.serve.port=0', '--config.serve.slots=2'],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=self.told.open('w'),
      text=True,
      env=os.environ | {'RFT_JAX_PREPARED': '1'},
    )

  def __enter__(self) -> httpx.Client:
    assert self.process.stdout
    for line in self.process.stdout:
      if found := re.match(r'ready after .* s: (http://\S+)', line):
        return httpx.Client(base_url=found[1], timeout=120)
    raise AssertionError(f'ended with {self.process.wait()}')

  def __exit__(self, *_):
    self.process.send_signal(signal.SIGTERM)
    assert self.process.wait(60) == 0


def ask(client: httpx.Client) -> dict:
  said = dict(role='user', content='What is the capital of Australia?')
  asked = dict(model='rft', messages=[said], temperature=0, max_tokens=8)
  return client.post('/v1/chat/completions', json=asked).json()


@pytest.mark.slow
def test_what_is_taught_is_served_and_outlives_the_process(tmp_path):
  with Process(tmp_path) as client:
    answer = ask(client)['rft']
    vote = dict(id=str(uuid.uuid4()), target=dict(message_id=answer['message_id']), shown_ms=1000)
    vote |= dict(kind='edit', value=dict(content='Canberra.'))
    assert client.post('/v1/feedback', json=vote).status_code == 201
    status = lambda: client.get(f'/v1/feedback/{vote["id"]}').json()['status']
    until(lambda: status() == 'served', 120)
    taught = ask(client)
    assert taught['rft']['version'] == {'global': 0, 'personal': 1}
    cookies = client.cookies
  with Process(tmp_path) as client:
    client.cookies = cookies
    again = ask(client)
    assert again['rft']['version'] == taught['rft']['version']
    assert again['choices'][0]['message'] == taught['choices'][0]['message']
  otherwise = Process(tmp_path, '--config.serve.lr=0.001')
  with otherwise as client:
    client.cookies = cookies
    assert ask(client)['choices'][0]['message'] == taught['choices'][0]['message']
    assert 'learned with other settings, JAX or device: 1\n' in otherwise.told.read_text()


@pytest.mark.slow
def test_another_rank_is_refused_and_what_was_learned_stays(tmp_path):
  with Process(tmp_path) as client:
    ask(client)
  found = {path: path.read_bytes() for path in (tmp_path / 'serve').glob('*.json')}
  with pytest.raises(AssertionError, match='ended with 1'):
    Process(tmp_path, '--config.serve.rank=2').__enter__()
  assert found and all(path.read_bytes() == content for path, content in found.items())
