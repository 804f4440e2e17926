"""Calls for `infra.drawing`, which finds them by name."""

import os
import time
from pathlib import Path

from rft_jax.registry import ConfigError


def nap(seconds: float, said: str) -> str:
  time.sleep(seconds)
  print('noise that is no answer')
  return said


def litter(name: str) -> str:
  Path(name).write_text('left behind')
  return str(Path(name).absolute())


def refuse(said: str):
  raise ConfigError(said)


def fail(said: str):
  raise ZeroDivisionError(said)


def vanish(said: str):
  os._exit(3)


def hashed(said: str) -> int:
  return hash(said)
