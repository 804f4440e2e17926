"""A server of its own for an experiment, in a process of its own: what mode=serve runs, with limits
that many users behind one address do not meet, and accounts that are two days old.

python experiments/02_feedback/host.py --workdir=runs/feedback_online --folder=/tmp/learned
prints a line of JSON once it is ready: its address, and the API keys of an administrator and users.
"""

import argparse
import contextlib
import functools
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
AGE_US = 2 * 86_400_000_000


class Host(NamedTuple):
  """pid, folder: of the server, and where it keeps what it learns."""

  url: str
  admin: str
  users: list[str]
  pid: int
  folder: str


@contextlib.contextmanager
def hosted(workdir: str, users: int = 8, tree: pathlib.Path = ROOT, **settings) -> Iterator[Host]:
  """Serves the model in `workdir` as if it had learned nothing yet; tree: of the code that serves;
  settings: as of `main`."""
  with tempfile.TemporaryDirectory() as folder:
    given = [f'--{name}={value}' for name, value in settings.items()]
    file = tree / pathlib.Path(__file__).resolve().relative_to(ROOT)
    command = [sys.executable, str(file), f'--workdir={workdir}', f'--folder={folder}']
    log = open(os.path.join(workdir, 'host.log'), 'a')
    process = subprocess.Popen(
      [*command, f'--users={users}', *given], stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
      assert process.stdout
      line = next((line for line in process.stdout if line.startswith('{')), '')
      if not line:
        raise RuntimeError(f'the server did not start: see {log.name}')
      yield Host(**json.loads(line), pid=process.pid, folder=folder)
    finally:
      process.terminate()
      process.wait(60)
      log.close()


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', required=True)
  parser.add_argument('--folder', required=True)
  parser.add_argument('--users', type=int, default=8)
  parser.add_argument('--quorum', type=int, default=3)
  parser.add_argument('--slots', type=int, default=8)
  parser.add_argument('--gates', choices=('on', 'off'), default='on')
  serve(parser.parse_args())


def serve(options):
  from rft_jax.infra.launch import prepare_jax, prepare_process

  prepare_process()
  prepare_jax()
  import uvicorn

  from configs import feedback_online
  from rft_jax.feedback.gates import Rules
  from rft_jax.feedback.store import Store
  from rft_jax.modes import serve, train
  from rft_jax.serve.classroom import opened
  from rft_jax.serve.lifecycle import settle
  from rft_jax.serve.limits import Limits, Rates
  from rft_jax.serve.material import find
  from rft_jax.serve.server import create_app

  config = feedback_online.get_config()
  config.serve.update(quorum=options.quorum, slots=options.slots)
  if not os.path.exists(os.path.join(options.workdir, 'summary.json')):
    train.run(config.copy_and_resolve_references(), options.workdir, time.time())
  folder = pathlib.Path(options.folder)
  keys = accounts(folder, options.users)
  model = serve.open_served(config, options.workdir)
  tell = functools.partial(print, file=sys.stderr)
  rules, material = Rules(quorum=options.quorum), find('smalltalk')
  if options.gates == 'off':
    rules, material = open_gates(), material._replace(probes=())
  with (
    contextlib.closing(Store(folder / 'store.db', rules)) as store,
    opened(store, model, config.serve, material, tell) as service,
  ):
    service.limits = Limits(Rates(10**6, 10**6, 10**6, 10**6, 64))
    with socket.socket() as port:
      port.bind(('127.0.0.1', 0))
      port.listen()
      url = f'http://127.0.0.1:{port.getsockname()[1]}'
      app = uvicorn.Server(uvicorn.Config(create_app(service), log_level='warning'))
      settle()
      print(json.dumps(dict(url=url, **keys)), flush=True)
      app.run([port])


def open_gates():
  """Rules by which anybody teaches everyone, whose adapter may then move as far as one's own."""
  from rft_jax.feedback.gates import Rules
  from rft_jax.learning import study
  from rft_jax.serve import classroom

  classroom.Teaching = functools.partial(study.Options, shared=study.PERSONAL)
  classroom.Canary = lambda *_, **__: None
  return Rules(quorum=1, quorum_trust=0.0, mute_below=0.0, young_us=0, user_share=1.0)


def accounts(folder: pathlib.Path, users: int) -> dict:
  """Keys of people who have been there for two days."""
  from rft_jax.feedback.ids import now_us
  from rft_jax.feedback.store import Store
  from rft_jax.serve.auth import SCOPES, make_key

  store = Store(folder / 'store.db', clock=lambda: now_us() - AGE_US)
  try:
    admin = make_key(store, store.users.create('admin').result().id, SCOPES)
    known = [store.users.create(f'user {i}').result().id for i in range(users)]
    return dict(admin=admin, users=[make_key(store, one, ('chat', 'feedback')) for one in known])
  finally:
    store.close()


if __name__ == '__main__':
  main()
