"""A process that serves as mode=serve does, with an engine that echoes; also a program.

`python hosting.py FOLDER GRACE START` gets ready in START seconds, in ten steps, on some port. Its
answers come a word at a time, slowly; each vote is learned at once, without weights,
unless FOLDER has a file `idle`.
"""

import contextlib
import sys
import time
from pathlib import Path

from echo import EchoEngine, EchoLearner
from served import GENEROUS

from rft_jax.feedback.store import Store
from rft_jax.serve import server
from rft_jax.serve.lifecycle import Lifecycle
from rft_jax.serve.service import Options, Service

WORD_SECONDS = 0.05


@contextlib.contextmanager
def prepared(store: Store, seconds: float, tell):
  for step in range(10):
    tell(f'compiling {step}/10')
    time.sleep(seconds / 10)
  engine = EchoEngine(64)
  engine.word_s = WORD_SECONDS
  learner = EchoLearner(store, engine)
  learner.learning = not store.db.path.with_name('idle').exists()
  yield Service(store, engine, learner, Options(rates=GENEROUS, ping_seconds=0.5))
  print('the learner has ended', flush=True)


def run(folder: Path, grace: float, seconds: float):
  with (
    contextlib.closing(Store(folder / 'store.db')) as store,
    server.listen(store, '127.0.0.1', 0) as listening,
  ):
    make = lambda tell: prepared(store, seconds, tell)
    life = Lifecycle(store, listening, make, grace, lambda url: print('ready', flush=True))
    print(life.address, flush=True)
    life.run()
  life.end()
  print('ended', flush=True)


if __name__ == '__main__':
  run(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
