"""`python -m rft_jax.main --config=configs/quickstart.py [--workdir=...] [--config.rl.steps=200 ...]`.

From a config file to the mode that runs it. Whatever is wrong with the input ends in one line on stderr and exit status 1.
"""
import importlib
import os
import pkgutil
import re
import sys
import time

from absl import app, flags, logging
from ml_collections import config_flags

from rft_jax import modes
from rft_jax.infra import launch
from rft_jax.registry import ConfigError, nearest

CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'A file of configs/, perhaps with a variant: configs/quickstart.py:smoke.')
WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Where the run keeps its files (default runs/<config>); the same again resumes it.')
STARTED = 'RFT_JAX_STARTED'


def main(argv: list[str]) -> None:
  if CONFIG.value is None:
    raise ConfigError('no --config given: name a file of configs/, such as --config=configs/quickstart.py')
  known = [m.name for m in pkgutil.iter_modules(modes.__path__) if m.name not in ('session', 'stage', 'report')]
  if CONFIG.value.mode not in known:
    raise ConfigError(f'mode={CONFIG.value.mode!r}: {nearest(CONFIG.value.mode, known)}')
  logging.set_verbosity(logging.ERROR if logging.get_verbosity() == logging.INFO else logging.get_verbosity())
  launch.prepare_jax()
  mode = importlib.import_module(f'rft_jax.modes.{CONFIG.value.mode}')
  mode.run(CONFIG.value, WORKDIR.value or default_workdir(), float(os.environ[STARTED]))


def default_workdir() -> str:
  """runs/quickstart for configs/quickstart.py, runs/quickstart-smoke for its variant."""
  path = config_flags.get_config_filename(flags.FLAGS['config'])
  spec = next((a.split('=', 1)[1] for a in sys.argv if a.startswith('--config=')), path)
  return os.path.join('runs', re.sub(r'\.py:?', '-', os.path.basename(spec)).strip('-').replace(':', '-'))


def guarded(function):
  """Turns errors that a user can mend into one line and exit status 1; others keep their traceback."""
  def call(*args):
    try:
      return function(*args)
    except (ConfigError, flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
      if os.environ.get('RFT_JAX_TRACEBACK'):
        raise
      reason = ' '.join(str(error).split())
      sys.exit(f'{type(error).__name__}: {reason}')
  return call


if __name__ == '__main__':
  os.environ.setdefault(STARTED, str(time.time()))
  os.environ.setdefault('TRANSFORMERS_NO_ADVISORY_WARNINGS', '1')
  launch.prepare_process()
  app.run(guarded(main), flags_parser=guarded(app.parse_flags_with_usage))
