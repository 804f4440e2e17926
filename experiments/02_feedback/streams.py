"""How smooth is reading while the model learns? Gaps between the pieces of streamed answers."""

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator

from guest import Guest

Rows = Iterator[dict]
PROMPT = 'How do I make tea?'


class Reader(threading.Thread):
  """A guest who reads one streamed answer after the other until `end`."""

  def __init__(self, url: str, end: threading.Event):
    super().__init__(daemon=True)
    self.guest, self.end = Guest(url), end
    self.gaps: list[float] = []  # ms between pieces of one answer
    self.tokens = 0

  def run(self):
    body = dict(model='rft', messages=[dict(role='user', content=PROMPT)], stream=True)
    body |= dict(stream_options=dict(include_usage=True))
    while not self.end.is_set():
      self.read(body)

  def read(self, body: dict):
    last = 0.0
    with self.guest.client.stream('POST', '/v1/chat/completions', json=body) as response:
      response.raise_for_status()
      for line in response.iter_lines():
        if not line.startswith('data: {'):
          continue
        now, piece = time.perf_counter(), json.loads(line[6:])
        if usage := piece.get('usage'):
          self.tokens += usage['completion_tokens']
        if not any(choice['delta'].get('content') for choice in piece['choices']):
          continue
        if last:
          self.gaps.append(1000 * (now - last))
        last = now


def streams(
  url: str, teach: Callable[[], object], counts: tuple[int, ...] = (1, 4, 8), seconds: float = 20
) -> Rows:
  """So many readers at once; first nobody teaches, then somebody does without a break.

  teach: gives one piece of feedback and waits until it is served.
  """
  for count in counts:
    for phase in ('idle', 'learning'):
      learned, began = 0, time.perf_counter()
      end = threading.Event()
      readers = [Reader(url, end) for _ in range(count)]
      for reader in readers:
        reader.start()
      while time.perf_counter() - began < seconds:
        if phase == 'learning':
          teach()
          learned += 1
        else:
          time.sleep(0.1)
      took = time.perf_counter() - began
      end.set()
      for reader in readers:
        reader.join()
      cuts = statistics.quantiles([g for r in readers for g in r.gaps], n=100, method='inclusive')
      tokens = sum(reader.tokens for reader in readers) / took
      yield dict(
        readers=count,
        phase=phase,
        learned=learned,
        tokens_s=tokens,
        gap_p50_ms=cuts[49],
        gap_p95_ms=cuts[94],
        gap_p99_ms=cuts[98],
      )
