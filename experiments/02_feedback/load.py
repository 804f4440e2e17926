"""Does a vote stay quick in a full house? python experiments/02_feedback/load.py

A server with the demo model, in a process of its own. In this one: users who each keep a page open
(/v1/live), readers who stream one answer after the other, and votes on these answers at a fixed
rate with random gaps, each by the user who got it. Appends to load.csv: milliseconds from when a
vote was due to the last byte of its 201, between pieces of an answer, and of /healthz, which waits
for the server's event loop alone; what the pages were told; processor and memory.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from host import Host, hosted
from tables import append

from rft_jax.feedback.ids import uuid7

PROBE_SECONDS = 0.1  # between looks at the loops
THINGS = 'tea bridges rain bread chess ships maps clocks glass honey'.split()
ASKED = 'How do I make {}?', 'Tell me about {}.', 'Who likes {}?', 'Why is there {}?', 'What is {}?'
QUESTIONS = [asked.format(thing) for asked in ASKED for thing in THINGS]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class House:
  """Everybody in it, and what they have seen."""

  def __init__(self, host: Host, seed: int = 0):
    self.host, self.port, self.draw = host, urlsplit(host.url).port, random.Random(seed)
    self.end = asyncio.Event()
    self.unjudged: deque[tuple[str, str]] = deque(maxlen=10_000)  # (message, key)
    self.judged: list[tuple[str, str]] = []
    self.seen: dict[str, list[float]] = {name: [] for name in ('ack', 'gap', 'loop', 'client')}
    self.count = dict.fromkeys(('answers', 'pieces', 'news', 'learned', 'refused'), 0)
    self.pages: set[str] = set()  # keys of those that are open

  async def page(self, key: str):
    """Keeps the stream of news open."""
    async for line in self.stream('GET', '/v1/live', key):
      self.pages.add(key)
      self.count['news'] += 1
      self.count['learned'] += line.count(b'"status":"served"')
    self.pages.discard(key)

  async def reader(self, keys: list[str]):
    """Streams answers one after the other, each as another user."""
    while not self.end.is_set():
      key, last = self.draw.choice(keys), 0.0
      question = [{'role': 'user', 'content': self.draw.choice(QUESTIONS)}]
      body = {'model': 'rft', 'messages': question, 'stream': True}
      name = ''
      async for line in self.stream('POST', '/v1/chat/completions', key, body):
        now = time.perf_counter()
        if b'"rft":' in line:
          name = json.loads(line)['rft'].get('message_id') or name
        if b'"content":' in line:
          self.count['pieces'] += 1
          if last:
            self.seen['gap'].append(1000 * (now - last))
          last = now
      self.count['answers'] += 1
      if name:
        self.unjudged.append((name, key))

  async def stream(
    self, method: str, path: str, key: str, body: dict | None = None
  ) -> AsyncIterator[bytes]:
    """The data of events, until they end or the house closes."""
    reader, writer = await self.connect()
    try:
      writer.write(request(method, path, key, body))
      head = await reader.readuntil(b'\r\n\r\n')
      if b' 200 ' not in head.split(b'\r\n', 1)[0]:
        raise SystemExit(f'{method} {path}: {head!r}')
      while not self.end.is_set():
        line = await reader.readline()
        if line.startswith(b'data: {'):
          yield line[6:]
        elif line in (b'', b'0\r\n') or line.startswith(b'data: [DONE]'):
          return
    finally:
      writer.close()

  async def connect(self) -> Connection:
    """Waits for a server that does not listen yet."""
    while True:
      try:
        return await asyncio.open_connection('127.0.0.1', self.port, limit=1 << 20)
      except ConnectionRefusedError:
        await asyncio.sleep(0.1)

  async def votes(self, rate: float, seconds: float):
    """At `rate` a second on average, for so long."""
    free: list[Connection] = []
    start = due = time.perf_counter()
    under_way: set[asyncio.Task] = set()
    while (due := due + self.draw.expovariate(rate)) < start + seconds:
      await asyncio.sleep(due - time.perf_counter())
      task = asyncio.ensure_future(self.vote(free, due))
      under_way.add(task)
      task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)

  async def vote(self, free: list[Connection], due: float):
    """On an answer that has none yet, or where all have, once more on an old one."""
    one = self.unjudged.popleft() if self.unjudged else self.draw.choice(self.judged)
    self.judged.append(one)
    value, target = {'label': self.draw.random() < 0.7}, {'message_id': one[0]}
    body = {'id': uuid7(), 'target': target, 'kind': 'binary', 'value': value, 'shown_ms': 2000}
    while free and free[-1][0].at_eof():  # The server closes what is idle for long.
      free.pop()[1].close()
    reader, writer = free.pop() if free else await self.connect()
    writer.write(request('POST', '/v1/feedback', one[1], body))
    status, _ = await answer(reader)
    self.seen['ack'].append(1000 * (time.perf_counter() - due))
    self.count['refused'] += status != 201
    free.append((reader, writer))

  async def probe(self):
    """How late the loops are: the server's, and the one that measures."""
    reader, writer = await self.connect()
    while not self.end.is_set():
      start = time.perf_counter()
      await asyncio.sleep(PROBE_SECONDS)
      woken = time.perf_counter()
      self.seen['client'].append(1000 * (woken - start - PROBE_SECONDS))
      writer.write(request('GET', '/healthz', ''))
      await answer(reader)
      self.seen['loop'].append(1000 * (time.perf_counter() - woken))


def request(method: str, path: str, key: str, body: dict | None = None) -> bytes:
  data = json.dumps(body).encode() if body else b''
  lines = [f'{method} {path} HTTP/1.1', 'Host: 127.0.0.1', f'Content-Length: {len(data)}']
  lines += [f'Authorization: Bearer {key}'] if key else []
  lines += ['Content-Type: application/json'] if body else []
  return '\r\n'.join([*lines, '', '']).encode() + data


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
  head = await reader.readuntil(b'\r\n\r\n')
  length = int(head.lower().split(b'content-length: ')[1].split(b'\r\n')[0])
  return int(head.split(b' ', 2)[1]), await reader.readexactly(length)


async def live(house: House, options: argparse.Namespace) -> dict[str, Any]:
  """Everybody comes, and once answers are there, votes begin; what was seen from then on."""
  keys = house.host.users
  tasks = [asyncio.ensure_future(house.page(key)) for key in keys[: options.pages]]
  tasks += [asyncio.ensure_future(house.reader(keys)) for _ in range(options.streams)]
  while len(house.unjudged) < 2 * options.streams or len(house.pages) < options.pages:
    failed = [task for task in tasks if task.done()]
    if failed:
      failed[0].result()
    await asyncio.sleep(0.1)
  tasks.append(asyncio.ensure_future(house.probe()))
  for values in house.seen.values():
    values.clear()
  house.count.update(dict.fromkeys(house.count, 0))
  server, client = psutil.Process(house.host.pid), psutil.Process()
  before, start = [spent(one) for one in (server, client)], time.perf_counter()
  memory = [server.memory_info().rss]
  watch = asyncio.ensure_future(keep_memory(server, memory))
  await house.votes(options.rate, options.seconds)
  took = time.perf_counter() - start
  after, pages = [spent(one) for one in (server, client)], len(house.pages)
  house.end.set()
  watch.cancel()
  for task in tasks:
    task.cancel()
  await asyncio.gather(*tasks, return_exceptions=True)
  cpu = [100 * (b - a) / took for a, b in zip(before, after, strict=True)]
  return figures(house, options, took, pages) | {
    'server_cpu': f'{cpu[0]:.0f}',
    'client_cpu': f'{cpu[1]:.0f}',
    'rss_start_mb': f'{memory[0] / 1e6:.0f}',
    'rss_end_mb': f'{memory[-1] / 1e6:.0f}',
    'rss_max_mb': f'{max(memory) / 1e6:.0f}',
  }


async def keep_memory(server: psutil.Process, found: list[int]):
  while True:
    found.append(server.memory_info().rss)
    await asyncio.sleep(1)


def spent(process: psutil.Process) -> float:
  """Seconds of processors."""
  times = process.cpu_times()
  return times.user + times.system


def figures(house: House, options: argparse.Namespace, took: float, pages: int) -> dict[str, Any]:
  row: dict[str, Any] = {'seconds': f'{took:.0f}', 'pages': pages, 'streams': options.streams}
  row |= {'rate': options.rate, 'votes': len(house.seen['ack'])} | house.count
  row['pieces_s'] = f'{row.pop("pieces") / took:.0f}'
  row['news_s'] = f'{row.pop("news") / took:.0f}'
  for name, values in house.seen.items():
    cuts = statistics.quantiles(values, n=100, method='inclusive')
    row |= {f'{name}_p{q}_ms': f'{cuts[q - 1]:.1f}' for q in (50, 95, 99)}
    row[f'{name}_max_ms'] = f'{max(values):.0f}'
  return row


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', default='runs/feedback_online', help='of the demo model')
  parser.add_argument('--seconds', type=float, default=600)
  parser.add_argument('--pages', type=int, default=200)
  parser.add_argument('--streams', type=int, default=32)
  parser.add_argument('--rate', type=float, default=30)
  parser.add_argument('--note', default='')
  options = parser.parse_args()
  users = max(options.pages, 1)
  with hosted(options.workdir, users=users, slots=options.streams) as host:
    row = asyncio.run(live_in(host, options))
  row |= {'load': f'{os.getloadavg()[0]:.1f}', 'cores': os.cpu_count(), 'note': options.note}
  print(row, flush=True)
  append(HERE / 'load.csv', row)


async def live_in(host: Host, options: argparse.Namespace) -> dict[str, Any]:
  return await live(House(host), options)


if __name__ == '__main__':
  main()
