"""`hosting.py` in a process of its own, for tests that send it signals."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import hosting
import httpx

PROGRAM = Path(hosting.__file__)
PATH = os.pathsep.join(map(str, (PROGRAM.parent.parent, PROGRAM.parent)))


class Host:
  """`with Host(folder, grace, start) as host`: it listens; `client` calls it."""

  def __init__(self, folder: Path, grace: float = 4.0, start: float = 0.0, fault: str = ''):
    folder.mkdir(exist_ok=True, parents=True)
    self.folder, self.told = folder, folder / 'stderr'
    self.process = subprocess.Popen(
      [sys.executable, str(PROGRAM), str(folder), str(grace), str(start)],
      stdout=subprocess.PIPE,
      stderr=self.told.open('a'),
      text=True,
      env={**os.environ, 'PYTHONPATH': PATH, 'RFT_FAULT': fault},
    )

  def __enter__(self) -> 'Host':
    self.url = self.line()
    self.client = httpx.Client(base_url=self.url, timeout=20)
    return self

  def __exit__(self, *_):
    self.client.close()
    if self.process.poll() is None:
      self.process.kill()
    self.process.wait(20)
    with contextlib.suppress(ValueError):
      self.process.stdout.close()

  def line(self) -> str:
    """The next thing that it says; '' where it has died."""
    return self.process.stdout.readline().strip()

  def ready(self) -> 'Host':
    assert self.line() == 'ready', self.told.read_text()
    return self

  def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
    """(exit status, seconds until then)."""
    began = time.monotonic()
    self.process.send_signal(number)
    return self.process.wait(30), time.monotonic() - began

  @property
  def unclean(self) -> bool:
    """Whether the store was left as by a crash."""
    return bool((self.folder / 'store.db.lock').read_text())
