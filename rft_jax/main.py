"""`python -m rft_jax.main --config=configs/quickstart.py [--workdir=...] [--config.rl.steps=200]`.

From a config file to the mode that runs it. What is wrong with the input ends in one line on stderr
and exit status 1; a traceback means a bug of ours. RFT_JAX_TRACEBACK=1 shows it in either case.
"""

import glob
import importlib
import os
import pkgutil
import re
import sys
import time
import traceback

from absl import app, flags, logging
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from rft_jax import modes
from rft_jax.config import expand
from rft_jax.infra import launch
from rft_jax.registry import ConfigError, UserError, nearest

CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'A file of configs/, perhaps with a variant: configs/quickstart.py:smoke.'
)
WORKDIR = flags.DEFINE_string(
  'workdir',
  None,
  'Where the run keeps its files (default runs/<config>); the same again resumes it.',
)
STARTED = 'RFT_JAX_STARTED'
PARTS = 'session model stage split rules limits report restored fitted'.split()
OPTIONS = 'config', 'workdir', 'help', 'helpfull'


def main(argv: list[str]) -> None:
  config = CONFIG.value
  if argv[1:]:
    raise ConfigError(f'{argv[1]!r} is not an option: options are of the form --name=value')
  if config is None:
    raise ConfigError(
      'no --config given: name a file of configs/, such as --config=configs/quickstart.py'
    )
  known = [m.name for m in pkgutil.iter_modules(modes.__path__) if m.name not in PARTS]
  if config.mode not in known:
    raise ConfigError(f'mode={config.mode!r}: {nearest(config.mode, known)}')
  expand(config)
  launch.prepare_jax()
  mode = importlib.import_module(f'rft_jax.modes.{config.mode}')
  mode.run(config, WORKDIR.value or default_workdir(sys.argv), float(os.environ[STARTED]))


def default_workdir(argv: list[str]) -> str:
  """runs/quickstart for configs/quickstart.py, runs/quickstart-smoke for its variant."""
  name = re.sub(r'\.py:?', '-', os.path.basename(config_spec(argv)))
  return os.path.join('runs', name.strip('-').replace(':', '-'))


def at_home(argument: str) -> str:
  """--name=~/x with the user's own folder for ~, which shells leave alone there."""
  name, equal, value = argument.partition('=')
  return name + equal + os.path.expanduser(value) if name.startswith('-') else argument


def config_spec(argv: list[str]) -> str:
  """What --config is set to, '' if it is not."""
  for argument, following in zip(argv, [*argv[1:], ''], strict=True):
    if match := re.fullmatch(r'--?config(=(.*))?', argument):
      return match[2] if match[1] else following
  return ''


def parse_flags(argv: list[str]) -> list[str]:
  """Sets all flags; returns what is none. Raises ConfigError for what is wrong on the command line
  or in the config file."""
  argv = [at_home(argument) for argument in argv]
  spec = config_spec(argv)
  path = spec.split(':')[0]
  if spec and not os.path.isfile(path):
    raise ConfigError(
      f'--config={spec}: there is no file {path!r}: ' + nearest(path, glob.glob('configs/*.py'))
    )
  logging.set_verbosity(logging.ERROR)  # what libraries say; --verbosity changes it
  try:
    rest = flags.FLAGS(argv)
  except SystemExit:  # absl has printed the help that was asked for, and calls that a failure
    sys.exit(0)
  except (AttributeError, KeyError) as error:
    check_overrides(argv, spec)
    raise ConfigError(f'--config={spec}: {explain(error, path)}') from error
  except flags.UnrecognizedFlagError as error:
    name = error.flagname
    raise ConfigError(f'no option --{name}: {nearest(name, OPTIONS)}') from error
  except Exception as error:
    raise ConfigError(explain(error, path)) from error
  if spec and not isinstance(CONFIG.value, ConfigDict):
    raise ConfigError(f'{path}: get_config returned {CONFIG.value!r}, it must return a ConfigDict')
  return rest


def check_overrides(argv: list[str], spec: str) -> None:
  """Raises ConfigError for a --config.key=value whose key the config does not have."""
  for argument in argv:
    if match := re.match(r'--?(?:no)?config\.([^=]+)', argument):
      node = config_flags.ConfigFileFlagParser('config').parse(spec)
      for key in match[1].split('.'):
        if not isinstance(node, ConfigDict) or key not in node:
          raise ConfigError(
            f'{argument}: there is no setting {key!r}: '
            + (nearest(key, node) if isinstance(node, ConfigDict) else f'{node!r} is a value')
          )
        node = node[key]


def explain(error: BaseException, path: str) -> str:
  """The reason for `error`, and the line of the config file at `path` where it arose, if any."""
  inner: BaseException | None = error
  while inner and (isinstance(inner, flags.Error) or str(inner).startswith('Error whilst parsing')):
    inner = inner.__cause__ or inner.__context__
  frames = traceback.extract_tb(inner.__traceback__) if inner else []
  lines = [frame.lineno for frame in frames if frame.filename == path]
  if not lines:
    kind = '; the config has another kind of value there' if 'flag --config.' in str(error) else ''
    return f'{error}{kind}'
  kind = '' if isinstance(inner, UserError) else f'{type(inner).__name__}: '
  return f'{path}:{lines[-1]}: {kind}{inner}'


def guarded(function):
  """Turns errors that a person can mend into one line and exit status 1; bugs keep a traceback."""

  def call(*args):
    try:
      return function(*args)
    except (UserError, OSError) as error:
      if os.environ.get('RFT_JAX_TRACEBACK'):
        raise
      sys.exit(f'{type(error).__name__}: {" ".join(str(error).split())}')
    except KeyboardInterrupt:
      sys.exit('interrupted: the same command goes on from the last checkpoint')

  return call


if __name__ == '__main__':
  os.environ.setdefault(STARTED, str(time.time()))
  os.environ.setdefault('TRANSFORMERS_NO_ADVISORY_WARNINGS', '1')
  launch.prepare_process()
  app.run(guarded(main), flags_parser=guarded(parse_flags))
