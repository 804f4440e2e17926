"""A learner whose weights are a hash of everything that they have seen, in order; also a program.

`python folding.py FOLDER EVENTS` gives that many votes and learns from them three at a time;
run again after a kill, it goes on. It prints `ack ID` for each durable vote.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import uuid
from pathlib import Path

from talk import chat, feedback

from rft_jax.feedback import rows
from rft_jax.feedback.records import Batch, User, of_user
from rft_jax.feedback.store import Store
from rft_jax.infra.faults import reach

ME = str(uuid.UUID(int=1))
SCOPE = of_user(ME)


def fold(parent: str, batch: Batch) -> str:
  """The weights after a batch, from those before."""
  seen = [[item.event.id, item.role, item.event.value] for item in batch.items]
  return hashlib.sha256(json.dumps([parent, batch.rng_seed, seen]).encode()).hexdigest()


def folder_of(root: Path, scope: str, version: int) -> Path:
  return root / scope.replace(':', '_') / f'v{version}'


def weights(root: Path, scope: str, version: int) -> str:
  if not version:
    return ''
  return json.loads((folder_of(root, scope, version) / 'manifest').read_text())['weights']


def learn(store: Store, root: Path, batch: Batch):
  """From a claimed batch to a published version, by way of durable files."""
  final = folder_of(root, batch.scope, batch.version)
  if not complete(final, batch):
    parent = weights(root, batch.scope, batch.parent_version)
    reach('step')
    write(final, {'batch': batch.id, 'weights': fold(parent, batch)})
  store.ledger.apply(batch, str(final), weights(root, batch.scope, batch.version), {}).result(5)
  reach('swap')
  store.versions.served(batch.scope, batch.version).result(5)


def complete(final: Path, batch: Batch) -> bool:
  """Whether the files of this very batch are there."""
  manifest = final / 'manifest'
  return manifest.exists() and json.loads(manifest.read_text())['batch'] == batch.id


def write(final: Path, manifest: dict):
  temporary = final.with_suffix('.tmp')
  for stale in (temporary, final):
    shutil.rmtree(stale, ignore_errors=True)
  temporary.mkdir(parents=True)
  with open(temporary / 'manifest', 'w') as file:
    file.write(json.dumps(manifest))
    file.flush()
    os.fsync(file.fileno())
  reach('tmp')
  temporary.rename(final)
  reach('rename')


def run(root: Path, events: int):
  """What is done next depends only on what is durable."""
  store = Store(root / 'store.db')
  for batch in store.ledger.recover():
    learn(store, root, batch)
  if not store.users.get(ME):
    user = User(ME, trust_a=2)
    store.db.write('user', lambda c: rows.insert(c, 'user', vars(user))).result(5)
  while True:
    given = len(store.events.of_author(ME, events))
    waiting = sum(p.events for p in store.ledger.pending() if p.scope == SCOPE)
    if waiting >= 3 or (waiting and given == events):
      batch = store.ledger.claim(SCOPE, 3, replay=2).result(5)
      assert batch
      learn(store, root, batch)
    elif given < events:
      vote(store, given)
    else:
      return store.close()


def vote(store: Store, number: int):
  message_id = str(uuid.UUID(int=1000 + number))
  if not store.chats.message(message_id):
    chat(store, ME, message_id=message_id)
  given = feedback(message_id, 'rating', {'score': number % 5 + 1})
  vote_id = str(uuid.UUID(int=2000 + number))
  store.events.add(dataclasses.replace(given, id=vote_id), ME).result(5)
  print('ack', vote_id, flush=True)


if __name__ == '__main__':
  run(Path(sys.argv[1]), int(sys.argv[2]))
