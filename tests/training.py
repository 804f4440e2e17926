"""What the tests of whole runs share: a tiny config, a run that dies, what a run left."""

import json
import time

import jax

from rft_jax import config as defaults
from rft_jax.infra.checkpoint import Checkpoints
from rft_jax.modes import train
from rft_jax.modes.session import checkpoint_directory, open_session
from rft_jax.modes.split import Split, make_stage
from rft_jax.modes.stage import FromData, Fused
from rft_jax.tasks.cups import ALPHABET

CUPS = 'cups(cups=3, swaps=1)'
SUM = (
  'reasoning_gym(dataset="basic_arithmetic", lines=1, '
  'options={"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})'
)
SIZES = dict(prompts=4, group=2, max_prompt=5, max_new=6)


class Killed(Exception):
  """The end of a run that a test asked for."""


def tiny(**stages):
  """A config with these stages, each a dict of settings, in one device's reach."""
  c = defaults.base()
  c.tokenizer = f'characters(alphabet="{ALPHABET}")'
  c.model.update(
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    initializer_range=0.3,
  )
  c.parallel.devices = 1
  c.checkpoint.every = 1
  c.log.update(tensorboard=False, wandb='off')
  c.scoring.workers = 0
  c.stages = tuple(stages)
  for name, settings in stages.items():
    c[name] = defaults.stage(
      settings.pop('task', CUPS),
      settings.pop('preset'),
      **SIZES | dict(steps=3, evaluate=dict(prompts=4)) | settings,
    )
  return c


def run(config, workdir) -> dict:
  return train.run(config, str(workdir), time.time())


def run_until(config, workdir, steps: int, monkeypatch) -> bool:
  """Runs until so many more steps are done, then dies; whether it got there."""
  left = [steps]

  def dying(advance):
    def call(*args):
      if left[0] == 0:
        raise Killed
      left[0] -= 1
      return advance(*args)

    return call

  with monkeypatch.context() as patch:
    for kind in (FromData, Fused, Split):
      patch.setattr(kind, 'advance', dying(kind.advance))
    try:
      run(config, workdir)
    except Killed:
      return True
  return False


def saved(config, workdir) -> tuple[int, dict, dict]:
  """The latest checkpoint of the last stage: its step, its state on the host, its place."""
  session, index = open_session(config), len(config.stages) - 1
  name = config.stages[index]
  stage = make_stage(config[name], index, session, session.tasks[name], None)
  abstract = jax.eval_shape(stage.state, session.params(), 0)
  with Checkpoints(checkpoint_directory(str(workdir))) as checkpoints:
    step, arrays, place = checkpoints.restore(None, {'state': abstract})
  place['facts'] = {k: v for k, v in place['facts'].items() if timeless(k)}
  return step, jax.device_get(arrays['state']), place


def timeless(key: str) -> bool:
  return not key.startswith(('time/', 'throughput/', 'speeds'))


def records(workdir, name: str = 'metrics.jsonl') -> list[dict]:
  """Its lines, without what depends on the clock."""
  lines = (workdir / name).read_text().splitlines()
  return [{k: v for k, v in json.loads(line).items() if timeless(k)} for line in lines]
