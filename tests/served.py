"""A server on a free port, in a thread of the test, over real sockets."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import uvicorn
from echo import EchoEngine, EchoLearner
from obedient import ObedientEngine, ObedientLearner
from talk import chat, edit

from rft_jax.feedback.gates import Rules
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.store import Store
from rft_jax.serve.limits import Rates
from rft_jax.serve.server import create_app
from rft_jax.serve.service import Options, Service

GENEROUS = Rates(10**6, 10**6, 10**6, 10**6, 100)


class Served:
  """`with Served(folder) as served:` `served.client` calls it from this machine, without a name."""

  engine_of, learner_of = EchoEngine, EchoLearner

  def __init__(self, folder: Path, rules: Rules | None = None, **options):
    self.store, self.engine = Store(folder / 'store.db', rules), self.engine_of()
    self.learner = self.learner_of(self.store, self.engine)
    given = {'rates': GENEROUS, 'ping_seconds': 0.2, 'backups': 0, **options}
    self.service = Service(self.store, self.engine, self.learner, Options(**given))

  def __enter__(self) -> 'Served':
    app = create_app(self.service)
    config = uvicorn.Config(app, port=0, log_level='error', proxy_headers=False)
    self.server = uvicorn.Server(config)
    self.thread = threading.Thread(target=self.server.run, daemon=True)
    self.thread.start()
    until(lambda: self.server.started)
    listening = self.server.servers[0]
    self.loop, port = listening.get_loop(), listening.sockets[0].getsockname()[1]
    self.url = f'http://127.0.0.1:{port}'
    self.client = self.browser()
    return self

  def __exit__(self, *_):
    self.client.close()
    self.loop.call_soon_threadsafe(self.service.stopping.set)  # As the server's process does.
    self.server.should_exit = True
    self.engine.resume()
    self.thread.join(10)
    self.store.close()

  def hang_up(self):
    """Breaks every connection off, as a network does."""
    break_off = lambda: [c.transport.abort() for c in list(self.server.server_state.connections)]
    self.loop.call_soon_threadsafe(break_off)

  def browser(self, timeout: float = 10, **headers: str) -> httpx.Client:
    """A client of its own, with its own cookies."""
    return httpx.Client(base_url=self.url, headers=headers, timeout=timeout)


class Taught(Served):
  """A server whose answers change when it has learned."""

  engine_of, learner_of = ObedientEngine, ObedientLearner

  def teach_everyone(self, question: str, answer: str) -> int:
    """A correction by staff, learned; the global version that knows it."""
    before = self.engine.live
    staff = self.store.users.create('staff', staff=True).result(5).id
    given = edit(chat(self.store, staff, question), answer)
    receipt = self.store.events.add(given, staff).result(5)
    self.loop.call_soon_threadsafe(self.learner.notify, receipt)
    until(lambda: self.engine.live > before)
    return self.engine.live


def ask(client: httpx.Client, content: str = 'hello', **more) -> httpx.Response:
  body = {'model': 'rft', 'messages': [{'role': 'user', 'content': content}], **more}
  return client.post('/v1/chat/completions', json=body)


def vote(client: httpx.Client, message_id: str, **more) -> httpx.Response:
  body = {
    'id': uuid7(),
    'target': {'message_id': message_id},
    'kind': 'binary',
    'value': {'label': True},
  }
  return client.post('/v1/feedback', json={**body, **more})


def events(text: str) -> list[dict | str]:
  """The data of a stream; what is not JSON as it is."""
  found = [part[6:] for part in text.split('\n\n') if part.startswith('data: ')]
  return [json.loads(part) if part.startswith('{') else part for part in found]


def until(condition: Callable[[], object], seconds: float = 20.0):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, 'it did not happen'
    time.sleep(0.005)
