"""Two processes, each with its own half of every batch, learn what one learns with the whole."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
PROGRAM = """
import json, sys
import jax
address, count, index, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
jax.config.update('jax_num_cpu_devices', 2 // count)
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
if count > 1:
  jax.distributed.initialize(address, count, index)
import numpy as np
from training import tiny
from rft_jax.modes.session import open_session
from rft_jax.modes.split import make_stage

c = tiny(learn=dict(preset=sys.argv[5], group=1))
c.parallel.update(kind='mesh', devices=2)
session = open_session(c)
stage = make_stage(c.learn, 0, session, session.tasks['learn'], None)
state = session.placement.put_state(stage.state(session.params(), 0))
own = [e.prompt for e in stage.stream.examples(0)]
metrics = []
for step in range(3):
  state, found = stage.advance(state, step)
  metrics.append({k: v for k, v in found.items() if k != 'rollout/tokens'})
norm = float(jax.jit(lambda p: sum(abs(x).sum() for x in jax.tree.leaves(p)))(state.params))
with open(out, 'w') as file:
  json.dump(dict(own=own, metrics=metrics, norm=norm), file)
"""


def learned(count: int, preset: str, folder: pathlib.Path) -> list[dict]:
  """What each of so many processes saw."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  outs = [folder / f'{count}-{i}.json' for i in range(count)]
  places = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])
  running = [
    subprocess.Popen(
      [sys.executable, '-c', PROGRAM, address, str(count), str(i), str(outs[i]), preset],
      env=os.environ | dict(PYTHONPATH=places, JAX_PLATFORMS='cpu'),
    )
    for i in range(count)
  ]
  try:
    assert [process.wait(240) for process in running] == [0] * count
  finally:
    for process in running:
      process.kill()
  return [json.loads(out.read_text()) for out in outs]


@pytest.mark.slow
@pytest.mark.parametrize('preset', ['sft', 'dpo'])
def test_two_processes_learn_what_one_does(preset, tmp_path):
  (whole,), halves = (learned(count, preset, tmp_path) for count in (1, 2))
  assert whole['own'] == halves[0]['own'] + halves[1]['own'] and len(whole['own']) == 4
  for half in halves:
    assert abs(half['norm'] / whole['norm'] - 1) < 1e-6
    for one, other in zip(half['metrics'], whole['metrics'], strict=True):
      assert one.keys() == other.keys()
      np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-4, atol=1e-5)
