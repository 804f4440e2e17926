"""Does a server that runs for long stay as it is?

python experiments/02_feedback/soak.py --minutes 30

Users of every kind chat and give feedback without an end; new ones come all the time. Writes
soak.csv: twice a minute the server's memory, the files of its store, threads, open files, and the
adapters on the device.
"""

import argparse
import csv
import os
import pathlib
import random
import re
import threading
import time

from guest import Guest
from host import Host, hosted
from users import KINDS

from rft_jax.data.smalltalk.answers import STYLES

HERE = pathlib.Path(__file__).parent
EVERY = 30.0  # seconds
STAY = 20  # turns, until somebody new comes


def live(host: Host, number: int, end: threading.Event, turns: list[int]):
  """One user after the other."""
  draw = random.Random(number)
  while not end.is_set():
    guest, kind = Guest(host.url), draw.choice(list(KINDS))
    user = KINDS[kind](draw.choice(STYLES), draw.randrange(1000))
    for _ in range(STAY):
      if end.is_set():
        break
      user.turn(guest)
      turns[number] += 1
      end.wait(draw.uniform(0.5, 1.5))
    guest.close()


def measure(host: Host, watch: Guest) -> dict:
  status = pathlib.Path(f'/proc/{host.pid}/status').read_text()
  number = lambda name: int(re.findall(rf'{name}:\s+(\d+)', status)[0])
  size = lambda name: os.path.getsize(pathlib.Path(host.folder) / name) / 2**20
  metrics = watch.client.get('/metrics').text
  kept = re.findall(r'rft_adapter_rows\{state="kept"\} (\S+)', metrics)
  return dict(
    rss_mib=number('VmRSS') / 1024,
    threads=number('Threads'),
    files=len(os.listdir(f'/proc/{host.pid}/fd')),
    store_mib=size('store.db'),
    wal_mib=size('store.db-wal'),
    adapters=float(kept[0]) if kept else None,
  )


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', default='runs/feedback_online')
  parser.add_argument('--minutes', type=float, default=30)
  parser.add_argument('--users', type=int, default=4)
  given = parser.parse_args()
  end, turns = threading.Event(), [0] * given.users
  with hosted(given.workdir) as host, open(HERE / 'soak.csv', 'w', newline='') as file:
    watch, began = Guest(host.url, host.admin), time.time()
    people = [
      threading.Thread(target=live, args=(host, i, end, turns), daemon=True)
      for i in range(given.users)
    ]
    for one in people:
      one.start()
    writer = None
    while time.time() < began + 60 * given.minutes:
      time.sleep(EVERY)
      row = dict(minutes=(time.time() - began) / 60, turns=sum(turns)) | measure(host, watch)
      row |= dict(alive=sum(one.is_alive() for one in people))
      shown = {k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()}
      print(shown, flush=True)
      if writer is None:
        writer = csv.DictWriter(file, shown)
        writer.writeheader()
      writer.writerow(shown)
      file.flush()
    end.set()
    for one in people:
      one.join()


if __name__ == '__main__':
  main()
