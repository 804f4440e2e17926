"""What every route shares."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rft_jax.engine.metrics import Metrics
from rft_jax.engine.protocol import Engine
from rft_jax.feedback.store import Store
from rft_jax.learning.protocol import Learner
from rft_jax.serve.auth import Auth, load_secret
from rft_jax.serve.backups import Backups
from rft_jax.serve.limits import Limits, Rates
from rft_jax.serve.live import Live
from rft_jax.serve.names import Names
from rft_jax.serve.readiness import Readiness


@dataclass(frozen=True)
class Options:
  """Settings of a server. `suggestions`: {title, prompt, hint, examples} for the page's
  welcome, `examples` being corrections to begin with."""

  model: str = 'rft'  # what the page calls the model
  max_tokens: int = 256  # of an answer that does not say
  most_tokens: int = 4096  # of any answer
  ping_seconds: float = 15.0
  suggestions: tuple[dict[str, Any], ...] = ()
  rates: Rates = field(default_factory=Rates)
  backup_seconds: float = 86_400.0  # between copies of the store
  backups: int = 7  # copies that stay; 0: none are made
  proxies: tuple[str, ...] = ()  # addresses and networks whose X-Forwarded headers are believed
  hosts: tuple[str, ...] = ()  # names that the server answers to; none: any
  models: tuple[str, ...] = ()  # other names that clients may use, see `names.Names`
  user_header: str = 'X-RFT-User'  # names the end user of a request whose key may do so


class Running(Protocol):
  """An answer that is being written."""

  def break_off(self, error: Exception) -> None: ...


class Service:
  def __init__(
    self,
    store: Store,
    engine: Engine,
    learner: Learner,
    options: Options | None = None,
    metrics: Metrics | None = None,
  ):
    """`metrics`: those that engine and learner write into, if they do."""
    self.store, self.engine, self.learner = store, engine, learner
    self.options = options or Options()
    self.metrics = metrics or Metrics()
    self.names = Names(self.options.models)
    self.limits = Limits(self.options.rates)
    self.readiness = Readiness(store, engine)
    self.stopping = asyncio.Event()  # Streams that have no end of their own end then.
    self.live = Live(store, engine, self.readiness, self.stopping)
    self.running: set[Running] = set()
    self.backups = Backups(store, self.options.backup_seconds, self.options.backups)
    secret = load_secret(Path(store.db.path).with_name('secret'))
    self.auth = Auth(store, secret, self.options.user_header)

  def break_off(self, error: Exception):
    """Ends the answers that are being written, with an error for their clients."""
    for answer in list(self.running):
      answer.break_off(error)
