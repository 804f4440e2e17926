"""How long until a vote is durable and acknowledged? python experiments/02_feedback/ack.py

A server in a process of its own, with the real store and without a model, gets votes of many users
over kept connections at fixed rates with random gaps. A latency is from when the vote was due to
the last byte of its 201, so it holds whatever queued up. A bare write and fsync of one page in the
same folder is measured before each rate. Appends to ack.csv.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import platform
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

from echo import EchoEngine, EchoLearner
from served import GENEROUS
from tables import append
from talk import answered, payload

from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import Conversation, Message
from rft_jax.feedback.store import Store
from rft_jax.serve.auth import COOKIE, Auth, load_secret
from rft_jax.serve.lifecycle import Lifecycle
from rft_jax.serve.server import listen
from rft_jax.serve.service import Options, Service

USERS = 50
CONNECTIONS = 64


def serve(folder: Path, port: int) -> None:
  store, engine = Store(folder / 'store.db'), EchoEngine()
  options = Options(rates=GENEROUS, backups=0)
  service = Service(store, engine, EchoLearner(store, engine), options)
  make = lambda tell: contextlib.nullcontext(service)
  Lifecycle(store, listen(store, '127.0.0.1', port), make, 20.0, lambda url: None).run()


def requests(folder: Path, count: int) -> list[bytes]:
  """Votes on as many answers, made in the store, as the bytes that are sent."""
  store = Store(folder / 'store.db')
  auth = Auth(store, load_secret(folder / 'secret'))
  users = [store.users.create().result().id for _ in range(USERS)]
  found = []
  for number in range(count):
    user = users[number % USERS]
    message_id, done = answer(store, user, f'Question {number}?')
    if number % 500 == 499:
      done.result()
    label = {'label': number % 3 > 0}
    body = json.dumps(payload(message_id, value=label, shown_ms=2000)).encode()
    head = (
      f'POST /v1/feedback HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {COOKIE}={auth.cookie(user)}\r\n'
      f'Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n'
    )
    found.append(head.encode() + body)
  store.close()
  return found


def answer(store: Store, user_id: str, prompt: str) -> tuple[str, Future[None]]:
  """An answer to vote on, and when it is durable."""
  conversation = Conversation(uuid7(), user_id, prompt)
  question = Message(uuid7(), conversation.id, None, 'user', prompt)
  reply = Message(uuid7(), conversation.id, question.id, 'assistant', 'Hi there, how are you?')
  done = store.chats.add([question, reply], [answered(reply.id)], conversation)
  return reply.id, done


async def send(votes: list[bytes], port: int, rate: float) -> list[float]:
  """Milliseconds of each, at `rate` votes a second on average."""
  free: asyncio.LifoQueue = asyncio.LifoQueue()
  for _ in range(CONNECTIONS):
    free.put_nowait(await asyncio.open_connection('127.0.0.1', port))

  async def post(vote: bytes, due: float) -> float:
    await asyncio.sleep(due - time.perf_counter())
    reader, writer = await free.get()
    writer.write(vote)
    head = await reader.readuntil(b'\r\n\r\n')
    assert head.startswith(b'HTTP/1.1 201'), head
    length = int(head.lower().split(b'content-length: ')[1].split(b'\r\n')[0])
    await reader.readexactly(length)
    late = time.perf_counter() - due
    free.put_nowait((reader, writer))
    return 1000 * late

  gaps = random.Random(0)
  due, work = time.perf_counter() + 0.5, []
  for vote in votes:
    due += gaps.expovariate(rate)
    work.append(post(vote, due))
  return await asyncio.gather(*work)


def bare_fsync(folder: Path, count: int = 200) -> list[float]:
  """Milliseconds to make one more page of a file durable."""
  found = []
  with open(folder / 'bare', 'wb', buffering=0) as file:
    for _ in range(count):
      start = time.perf_counter()
      file.write(os.urandom(4096))
      os.fsync(file.fileno())
      found.append(1000 * (time.perf_counter() - start))
      time.sleep(0.005)
  return found


def quantiles(values: list[float]) -> tuple[float, float, float]:
  cuts = statistics.quantiles(values, n=100, method='inclusive')
  return cuts[49], cuts[94], cuts[98]


def measure(rate: float, seconds: float, folder: Path) -> dict:
  bare = quantiles(bare_fsync(folder))
  votes = requests(folder, int(rate * seconds))
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  server = subprocess.Popen([sys.executable, __file__, '--serve', str(folder), str(port)])
  try:
    wait_for(port)
    took = quantiles(asyncio.run(send(votes, port, rate)))
  finally:
    server.terminate()
    server.wait()
  names = [f'{what}_p{q}_ms' for what in ('ack', 'fsync') for q in (50, 95, 99)]
  figures = dict(zip(names, (f'{x:.1f}' for x in (*took, *bare)), strict=True))
  return {'rate': rate, 'votes': len(votes), **figures, 'load': f'{os.getloadavg()[0]:.1f}'}


def wait_for(port: int) -> None:
  for _ in range(200):
    try:
      connection = http.client.HTTPConnection('127.0.0.1', port)
      connection.request('GET', '/readyz')
      if connection.getresponse().status == 200:
        return
    except ConnectionError:
      time.sleep(0.1)
  raise SystemExit('the server did not start')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--serve', nargs=2, metavar=('FOLDER', 'PORT'))
  parser.add_argument('--rates', default='10,50,200')
  parser.add_argument('--seconds', type=float, default=15)
  parser.add_argument('--note', default='')
  parser.add_argument('--folder', help='where the store is made; it names the disk')
  options = parser.parse_args()
  if options.serve:
    return serve(Path(options.serve[0]), int(options.serve[1]))
  names = ('fastapi', 'starlette', 'uvicorn')
  versions = ' '.join([f'python {platform.python_version()}', f'sqlite {sqlite3.sqlite_version}']
                      + [f'{name} {version(name)}' for name in names])  # fmt: skip
  for rate in map(float, options.rates.split(',')):
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
      row = measure(rate, options.seconds, Path(folder))
    row |= {'cores': os.cpu_count(), 'versions': versions, 'note': options.note}
    print(row, flush=True)
    append(HERE / 'ack.csv', row)


if __name__ == '__main__':
  main()
