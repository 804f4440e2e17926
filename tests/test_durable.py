"""Files that a server writes are whole or not there; a damaged one is named with the way out."""

import json
import multiprocessing
import os
import random
import re
import signal
import sqlite3
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from talk import chat

from rft_jax.engine.tickets import Completed
from rft_jax.feedback import copies, database
from rft_jax.feedback.database import StoreUnavailable
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import GLOBAL, Batch
from rft_jax.feedback.store import Store
from rft_jax.infra import durable
from rft_jax.infra.metrics import Metrics
from rft_jax.infra.workdir import open_workdir
from rft_jax.learning.shelf import Damaged, Shelf, digest
from rft_jax.registry import ConfigError, UserError
from rft_jax.serve.auth import load_secret
from rft_jax.serve.backups import Backups, manifests
from rft_jax.serve.classroom import check_identity, read_anchors, remembered
from rft_jax.serve.restoring import put_back

DAY = 86_400.0
PRELOADED = [
  'rft_jax.serve.classroom',
  'rft_jax.serve.restoring',
  'rft_jax.infra.metrics',
  'pytest',
]
LIKE = {'adapter': {'a': np.zeros(2000, np.float32)}, 'opt': {'n': np.int32(0)}}
KINDS = ['config', 'metrics', 'samples', 'summary', 'secret', 'model', 'anchors', 'v', 'store']
KINDS += ['backups', 'replaced']
POINTS = [f'{step}:{kind}' for kind in KINDS for step in ('tmp', 'rename')]
POINTS += [f'open:{k}' for k in KINDS if k in ('config', 'summary', 'secret', 'model', 'backups')]
SOME = ['open:secret', 'tmp:anchors', 'rename:model', 'tmp:v', 'tmp:store', 'rename:backups']
SETTINGS = types.SimpleNamespace(rank=8, alpha=16.0, targets='.*')
MODEL = types.SimpleNamespace(config='config', source='source')
SAID = Completed('', (4, 5), (), 'stop', (1, 2), 0, 0)


def batch_of(version: int) -> Batch:
  return Batch(uuid7(), GLOBAL, version - 1, version, 0, '', 'claimed', 0, ())


class Asked:
  """An engine and a codec for anchors."""

  def generate(self, requests):
    return [SAID] * len(requests)

  def prompt(self, messages):
    return [1, 2]


def work(root: Path, turn: int):
  """Writes every kind of file that a server writes; `turn` changes what is in them."""
  open_workdir(root, {'serve': {'port': turn}}, ('serve',))
  with Metrics(root, 'run', tensorboard=False, wandb='off', resume_step=turn) as metrics:
    metrics.log(turn, {'loss': turn})
    metrics.summary({'turn': turn})
  folder = root / 'serve'
  folder.mkdir(exist_ok=True)
  load_secret(folder / 'secret')
  check_identity(folder, MODEL, SETTINGS, LIKE)
  material = types.SimpleNamespace(anchors=['one', 'two'])
  remembered(folder, Asked(), Asked(), material, lambda text: None)
  shelf = Shelf(folder / 'versions', LIKE)
  shelf.tidy()
  shelf.write(batch_of(turn), filled(turn), {'kl': 0.1})
  store = Store(folder / 'store.db')
  chat(store, store.users.create(f'user {turn}').result(9).id)
  copy = Backups(store, DAY, 100).make()
  store.close()
  os.link = refuse  # As where there are no links.
  put_back(folder, copy)


def refuse(*_):
  raise OSError(1, 'no links here')


def filled(turn: int):
  return {'adapter': {'a': np.full(2000, turn, np.float32)}, 'opt': {'n': np.int32(turn)}}


def become(root: Path, turn: int, point: str):
  os.environ['RFT_FAULT'] = point
  work(root, turn)


@pytest.fixture(scope='module')
def context():
  """Each child is forked from a process that has no threads, only the imports, which take long."""
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload(PRELOADED)
  return context


def run(context, root: Path, turn: int, point: str = '') -> int:
  process = context.Process(target=become, args=(root, turn, point))
  process.start()
  process.join(60)
  return process.exitcode


def check_whole(root: Path):
  """Every file that is there can be read, and says what it was meant to say."""
  folder = root / 'serve'
  for path in (root / 'config.json', root / 'summary.json', folder / 'backups.json'):
    assert not path.exists() or isinstance(json.loads(path.read_text()), dict)
  for path in root.glob('*.jsonl'):
    assert all(json.loads(line) for line in path.read_text().splitlines())
  secret, model, anchors = (folder / name for name in ('secret', 'model', 'anchors.json'))
  assert not secret.exists() or (len(load_secret(secret)), secret.stat().st_mode & 0o77) == (32, 0)
  assert not model.exists() or re.fullmatch('[0-9a-f]{64}', model.read_text())
  assert not anchors.exists() or len(read_anchors(anchors)) == 4
  shelf = Shelf(folder / 'versions', LIKE)
  for number in shelf.numbers(GLOBAL):
    sha256 = digest(shelf.manifest(GLOBAL, number))
    assert shelf.read(GLOBAL, number, sha256)['opt']['n'] == number
  written = manifests(folder / 'backups')
  for path in (folder / 'backups').glob('store-*Z.db'):
    copies.verify(path, written[path.name])
  for path in folder.glob('replaced-*Z.db'):
    copies.verify(path, None)
  if (folder / 'store.db').exists():
    with Store(folder / 'store.db').db.connection as connection:
      assert connection.execute('PRAGMA integrity_check').fetchone()[0] == 'ok'


def kill(context, root: Path, turn: int, point: str):
  assert run(context, root, turn, point) == -signal.SIGKILL, f'{point} was never reached'
  assert run_check(context, root) == 0
  assert run(context, root, turn + 1) == 0
  assert run_check(context, root) == 0
  assert not list(root.rglob('*.tmp*'))


def run_check(context, root: Path) -> int:
  """In a process of its own, so that its store is closed."""
  process = context.Process(target=check_whole, args=(root,))
  process.start()
  process.join(60)
  return process.exitcode


@pytest.mark.parametrize('point', SOME)
def test_death_while_a_file_is_written_leaves_the_old_or_the_new_one(point, context, tmp_path):
  turn = 0
  if point in ('tmp:v', 'rename:backups', 'tmp:store'):
    turn = 1
    assert run(context, tmp_path, turn) == 0
  kill(context, tmp_path, turn + 1, point)


@pytest.mark.slow
def test_100_deaths_at_named_points_of_file_writing(context, tmp_path):
  noise = random.Random(0)
  once = {'secret', 'model', 'anchors'}  # of a workdir
  turns = Counter()
  for number in range(100):
    point = POINTS[number % len(POINTS)]
    again = point.split(':')[1] not in once
    root = tmp_path / ('again' if again and noise.random() < 0.7 else str(number))
    if again and not turns[root]:
      turns[root] += 1
      assert run(context, root, turns[root]) == 0
    kill(context, root, turns[root] + 1, point)
    turns[root] += 2


def test_a_disk_that_is_full_leaves_the_old_file_and_takes_no_room(tmp_path, monkeypatch):
  durable.write(tmp_path / 'file', 'old')

  def fill(path, data):
    path.write_bytes(data[:2])
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(durable, 'write_file', fill)
  with pytest.raises(OSError, match='No space left'):
    durable.write(tmp_path / 'file', 'new content')
  assert (tmp_path / 'file').read_text() == 'old'
  assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_what_gets_its_name_is_on_disk_before(tmp_path, monkeypatch):
  did, fsync, rename = [], os.fsync, os.replace
  name = lambda handle: Path(os.readlink(f'/proc/self/fd/{handle}')).name
  monkeypatch.setattr(os, 'fsync', lambda h: (did.append(f'sync {name(h)}'), fsync(h)))
  monkeypatch.setattr(os, 'replace', lambda a, b: (did.append(f'rename {b.name}'), rename(a, b)))
  with durable.making(tmp_path / 'folder') as scratch:
    (scratch / 'in').mkdir(parents=True)
    (scratch / 'in/file').write_text('x')
  want = ['sync file', 'sync in', 'sync folder.tmp', 'rename folder', f'sync {tmp_path.name}']
  assert did == want


def test_a_copy_is_abandoned_whole_where_the_server_ends(tmp_path, monkeypatch):
  monkeypatch.setattr(database, 'STEPS', 10)
  store = Store(tmp_path / 'store.db')
  for _ in range(30):
    chat(store, store.users.create('x' * 5000).result(9).id)
  store.db.leave()
  backups = Backups(store, DAY, 3)
  with pytest.raises(sqlite3.OperationalError, match=r'interrupted|unable to open'):
    backups.make()
  assert list(backups.folder.iterdir()) == []
  store.close()
  with pytest.raises(StoreUnavailable):
    store.users.create()


# Damage.


BAD = {'empty': b'', 'short': b'0123456789abcdef', 'zeros': bytes(32), 'one byte': b'a' * 64}


@pytest.mark.parametrize('how', BAD)
def test_a_secret_that_anybody_could_guess_is_refused(how, tmp_path):
  path = tmp_path / 'secret'
  path.write_bytes(BAD[how])
  with pytest.raises(UserError, match=f'{re.escape(str(path))} is damaged .*delete it'):
    load_secret(path)
  assert path.read_bytes() == BAD[how], 'nothing is thrown away'
  path.unlink()
  made = load_secret(path)
  assert len(made) == 32 and load_secret(path) == made and path.stat().st_mode & 0o77 == 0


ANCHORS = {
  'empty': '',
  'cut': '[[[1, 2], [3',
  'none': '[]',
  'null': 'null',
  'words': '[["a", "b"]]',
  'single': '[[[1, 2]]]',
  'an object': '{"a": 1}',
  'bytes': b'\xff\xfe\x00',
}


@pytest.mark.parametrize('how', ANCHORS)
def test_damaged_anchors_are_named_with_the_way_out(how, tmp_path):
  path, data = tmp_path / 'anchors.json', ANCHORS[how]
  path.write_bytes(data if isinstance(data, bytes) else data.encode())
  material = types.SimpleNamespace(anchors=['one', 'two'])
  make = lambda: remembered(tmp_path, Asked(), Asked(), material, lambda text: None)
  with pytest.raises(UserError, match=f'{re.escape(str(path))} is damaged .*delete it'):
    make()
  path.unlink()
  assert make() == make() and len(make()) == 4


@pytest.mark.parametrize('data', [b'', b'abc', b'\xff' * 64, b'0' * 63])
def test_a_damaged_identity_is_not_taken_for_another_model(data, tmp_path):
  path = tmp_path / 'model'
  path.write_bytes(data)
  with pytest.raises(UserError, match=f'{re.escape(str(path))} is damaged: delete it'):
    check_identity(tmp_path, MODEL, SETTINGS, LIKE)
  path.unlink()
  check_identity(tmp_path, MODEL, SETTINGS, LIKE)
  check_identity(tmp_path, MODEL, SETTINGS, LIKE)
  with pytest.raises(UserError, match='belongs to another model'):
    check_identity(tmp_path, MODEL, types.SimpleNamespace(**vars(SETTINGS) | {'rank': 9}), LIKE)


@pytest.mark.parametrize('data', [b'', b'{"seed": 0', b'\xff\xfe', b'{"seed"'])
def test_a_damaged_config_of_a_workdir_is_one_line(data, tmp_path):
  (tmp_path / 'config.json').write_bytes(data)
  with pytest.raises(ConfigError, match=r'config.json is (not JSON|damaged) .*another --workdir'):
    open_workdir(tmp_path, {'seed': 0})


def test_a_damaged_summary_is_one_line_and_deleting_it_is_the_way_out(tmp_path):
  (tmp_path / 'summary.json').write_text('{"steps": ')
  with Metrics(tmp_path, 'run', tensorboard=False, wandb='off') as metrics:
    with pytest.raises(ConfigError, match=r'summary.json is damaged .*delete it'):
      metrics.summary({'steps': 1})
    (tmp_path / 'summary.json').unlink()
    metrics.summary({'steps': 1})
  assert json.loads((tmp_path / 'summary.json').read_text()) == {'steps': 1}


MANIFESTS = [
  b'',
  b'{',
  b'[]',
  b'null',
  b'{}',
  b'{"batch_id": "x", "metrics": {}, "sha256": []}',
  None,
]


@pytest.mark.parametrize('data', MANIFESTS)
def test_a_version_with_a_damaged_manifest_is_made_again(data, tmp_path):
  shelf, batch = Shelf(tmp_path, LIKE), batch_of(1)
  sha256 = shelf.write(batch, filled(1), {})
  file = shelf.path(GLOBAL, 1) / 'manifest.json'
  if data is None:
    file.unlink()
    file.mkdir()
  else:
    file.write_bytes(data)
  assert shelf.candidate(batch) is None
  with pytest.raises(Damaged):
    shelf.read(GLOBAL, 1, sha256)
  assert shelf.write(batch, filled(1), {}) == sha256
  assert shelf.candidate(batch) == (sha256, {})


def test_a_file_where_a_version_should_be_is_no_version(tmp_path):
  shelf, batch = Shelf(tmp_path, LIKE), batch_of(1)
  shelf.home(GLOBAL).mkdir()
  shelf.path(GLOBAL, 1).write_text('what is this')
  assert shelf.candidate(batch) is None
  shelf.write(batch, filled(1), {})
  assert shelf.candidate(batch)


# Clocks that leap.


class Leaping:
  now, elapsed = 1_700_000_000.0, 0.0

  def pass_by(self, seconds: float):
    self.now += seconds
    self.elapsed += seconds


@pytest.fixture
def store(tmp_path):
  store = Store(tmp_path / 'store.db')
  yield store
  store.close()


@pytest.mark.parametrize('leap', [365 * DAY, -365 * DAY, 40 * 365 * DAY])
def test_a_leap_of_the_clock_and_back_does_not_stop_copies(leap, store):
  clock = Leaping()
  make = lambda: Backups(store, DAY, 3, lambda: clock.now, lambda: clock.elapsed)
  backups, made = make(), []
  for hour in range(24 * 8):
    if hour in (30, 40):
      clock.now += leap if hour == 30 else -leap
    if hour in (35, 50, 100):
      backups = make()  # The server is started again.
    if backups.due():
      made.append((hour, backups.make()))
      assert made[-1][1].exists(), 'a copy is never the one that goes'
    clock.pass_by(3600)
  hours = [hour for hour, _ in made]
  assert max(np.diff([*hours, 24 * 8])) <= 24 and len(hours) <= 8 + 3
  assert len(backups.all()) == 3
  last = [path for _, path in made[-3:]]
  assert backups.all() == last, 'those of the wrong clock went first'


def test_a_leap_does_not_delete_what_there_is(store):
  clock = Leaping()
  backups = Backups(store, DAY, 3, lambda: clock.now, lambda: clock.elapsed)
  good = []
  for _ in range(3):
    good.append(backups.make())
    clock.pass_by(DAY)
  clock.now += 365 * DAY
  for _ in range(50):  # Looks, as in a server that is started again and again.
    backups = Backups(store, DAY, 3, lambda: clock.now, lambda: clock.elapsed)
    if backups.due():
      backups.make()
    clock.pass_by(60)
  assert [path for path in good if path.exists()] == good[1:]


def test_two_copies_of_one_second_are_two(store):
  backups = Backups(store, DAY, 9, lambda: 1_700_000_000.0)
  assert len({backups.make() for _ in range(3)}) == 3
