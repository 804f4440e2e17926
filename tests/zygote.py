"""Runs `python -m rft_jax.main` again and again, without the seconds of importing JAX each time.

Reads lists of arguments as JSON lines, answers each with [exit status, stdout, stderr]. Every one
runs in a process of its own, forked before JAX has started any device.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback

from rft_jax.modes import evaluate, train
from rft_jax.tasks import cups, reasoning_gym

IMPORTED = evaluate, train, cups, reasoning_gym


def become(arguments: list[str], files) -> None:
  """Turns this process into `python -m rft_jax.main arguments`; does not return."""
  for number, file in enumerate(files, 1):
    os.dup2(file.fileno(), number)
  sys.argv = ['rft_jax.main', *arguments]
  status = 0
  try:
    runpy.run_module('rft_jax.main', run_name='__main__', alter_sys=True)
  except SystemExit as error:
    status = error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error.code, str):
      print(error.code, file=sys.stderr)
  except BaseException:
    traceback.print_exc()
    status = 1
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)


def answer(arguments: list[str]) -> list:
  with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
    child = os.fork()
    if not child:
      become(arguments, (out, err))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = []
    for file in (out, err):
      file.seek(0)
      texts.append(file.read().decode())
  return [status, *texts]


if __name__ == '__main__':
  for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
