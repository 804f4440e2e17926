"""Fresh servers one after another in this process, for rows of a table: the model is loaded once,
time is simulated, and every row begins with people who have been there for two days.

It is what mode=serve runs, over real HTTP, without limits of requests per minute.
"""

import contextlib
import functools
import pathlib
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from guest import Guest
from host import open_gates

DAY_US = 86_400_000_000


class Clock:
  """The time that the server believes in: leaps forward when it is told to."""

  def __init__(self):
    self.ahead_us = 0

  def __call__(self) -> int:
    return time.time_ns() // 1000 + self.ahead_us

  def leap(self, days: float):
    self.ahead_us += int(days * DAY_US)


class Arena(NamedTuple):
  """One server; `honest` and `attackers` have keys of their own."""

  url: str
  store: Any
  clock: Clock
  honest: list[Guest]
  attackers: list[Guest]

  def visitor(self, address: str = '') -> Guest:
    """Somebody new, without a key."""
    return Guest(self.url, address=address)

  def teach_alone(self, guests: list[Guest], frozen: bool = True):
    """Their own adapters learn nothing (which takes most of the time); everyone's may still."""
    for guest in guests:
      scope = f'u:{guest.call("GET", "/v1/me")["user_id"]}'
      self.store.versions.freeze(scope, frozen, 'arena').result()

  def rest(self):
    """Until nothing is left that anybody's adapter or everyone's could learn."""
    quiet = 0
    while quiet < 4:
      quiet = 0 if self.busy() else quiet + 1
      time.sleep(0.1)

  def busy(self) -> bool:
    waiting = [one.scope for one in self.store.ledger.pending()]
    alive = [scope for scope in waiting if not self.store.versions.state(scope).frozen]
    trial = any(v.status == 'canary' for v in self.store.versions.all('global'))
    return bool(alive) or self.store.ledger.is_training() or trial

  def served(self) -> list[int]:
    """The versions of everyone's model that anybody has been answered by."""
    return sorted(v.version for v in self.store.versions.all('global') if v.published_us)

  def refused(self) -> int:
    """How many candidates did not pass the canary."""
    query = (
      "SELECT count(DISTINCT version) FROM canary_result WHERE scope = 'global' AND NOT passed"
    )
    return self.store.db.read(query)[0][0]


class Ground:
  """The model and what every row shares; `row` opens a server for one of them. Raises ConfigError
  for a model that was trained with another config: it would answer in other words."""

  def __init__(self, workdir: str):
    self.clock = simulated()
    from rft_jax.infra.launch import prepare_jax

    prepare_jax()
    from configs import feedback_online
    from rft_jax.config import RESUMABLE
    from rft_jax.infra.workdir import open_workdir
    from rft_jax.modes import serve

    self.config = feedback_online.get_config()
    open_workdir(workdir, self.config.copy_and_resolve_references().to_dict(), RESUMABLE)
    self.model = serve.open_served(self.config, workdir)
    self.anchors = pathlib.Path(workdir) / 'anchors.json'

  @contextlib.contextmanager
  def row(self, honest: int, attackers: int, gates: str = 'on', quorum: int = 3) -> Iterator[Arena]:
    from rft_jax.feedback.gates import Rules
    from rft_jax.feedback.store import Store
    from rft_jax.serve.classroom import opened
    from rft_jax.serve.material import find

    material, rules = find('smalltalk'), Rules(quorum=quorum)
    with contextlib.ExitStack() as stack:
      if gates == 'off':
        rules, material = stack.enter_context(opened_gates()), material._replace(probes=())
      stack.enter_context(hurried())
      folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
      if self.anchors.exists():
        shutil.copy(self.anchors, folder)
      store = stack.enter_context(contextlib.closing(Store(folder / 'store.db', rules, self.clock)))
      keys = accounts(store, honest + attackers)
      self.clock.leap(2)
      tell = lambda text: None
      service = stack.enter_context(opened(store, self.model, self.config.serve, material, tell))
      if not self.anchors.exists():
        shutil.copy(folder / 'anchors.json', self.anchors)
      url = stack.enter_context(listening(service))
      guests = [Guest(url, key) for key in keys]
      yield Arena(url, store, self.clock, guests[attackers:], guests[:attackers])


def simulated() -> Clock:
  """A clock in place of the machine's, for all that is imported after this."""
  from rft_jax.feedback import ids

  late = 'rft_jax.feedback.store', 'rft_jax.serve.judging'
  assert not set(late) & set(sys.modules), 'they have imported the true clock'
  ids.now_us = clock = Clock()
  return clock


@contextlib.contextmanager
def opened_gates() -> Iterator[Any]:
  from rft_jax.serve import classroom

  before = classroom.Teaching, classroom.Canary
  try:
    yield open_gates()
  finally:
    classroom.Teaching, classroom.Canary = before


@contextlib.contextmanager
def hurried() -> Iterator[None]:
  """The learner waits a little less for more votes: a row is a matter of seconds."""
  from rft_jax.serve import classroom

  before = classroom.LearnerOptions
  classroom.LearnerOptions = functools.partial(before, debounce=0.05, gather=0.3)
  try:
    yield
  finally:
    classroom.LearnerOptions = before


def accounts(store: Any, count: int) -> list[str]:
  """The keys of so many users."""
  from rft_jax.serve.auth import SCOPES, make_key

  make_key(store, store.users.create('admin').result().id, SCOPES)
  users = [store.users.create(f'user {i}').result().id for i in range(count)]
  return [make_key(store, user, ('chat', 'feedback')) for user in users]


@contextlib.contextmanager
def listening(service: Any) -> Iterator[str]:
  """Serves on a free port, and believes the addresses that visitors are said to have."""
  import uvicorn

  from rft_jax.serve.limits import Limits, Rates
  from rft_jax.serve.server import create_app

  service.limits = Limits(Rates(10**6, 10**6, 10**6, 10**6, 64))
  options: dict[str, Any] = dict(proxy_headers=True, forwarded_allow_ips='127.0.0.1')
  server = uvicorn.Server(uvicorn.Config(create_app(service), log_level='warning', **options))
  with socket.socket() as port:
    port.bind(('127.0.0.1', 0))
    thread = threading.Thread(target=lambda: server.run([port]), daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f'http://127.0.0.1:{port.getsockname()[1]}'
    service.stopping.set()
    server.should_exit = True
    thread.join(30)


def until(done: Callable[[], bool]):
  while not done():
    time.sleep(0.02)
