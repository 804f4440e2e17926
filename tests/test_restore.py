"""Copies put back: what was in them is the store, whatever lay beside it, and learning goes on."""

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import scholar
from scholar import EAGER, School
from served import Served, ask, until, vote
from talk import LATER, chat, feedback

from rft_jax.config import base
from rft_jax.feedback import copies
from rft_jax.feedback.records import GLOBAL, of_user
from rft_jax.feedback.store import Store
from rft_jax.learning.fold import rebuild
from rft_jax.learning.learner import LearnerOptions
from rft_jax.modes import keys, restore
from rft_jax.registry import UserError
from rft_jax.serve.backups import Backups
from rft_jax.serve.restoring import check_present, put_back

DAY = 86_400.0
FORGETFUL = LearnerOptions(debounce=0.0, gather=0.0, sweep=0.2, backoff=0.01, keep=1, way_back=0)


@pytest.fixture
def workdir(tmp_path) -> Path:
  """Of a server that has ended: a store with two answers, copied when there was one."""
  store = Store(make(tmp_path / 'serve') / 'store.db')
  user = store.users.create('Ada').result(LATER).id
  store.events.add(feedback(chat(store, user, answer='first')), user).result(LATER)
  Backups(store, DAY, 3).make()
  store.events.add(feedback(chat(store, user, answer='second')), user).result(LATER)
  store.close()
  return tmp_path


def make(folder: Path) -> Path:
  folder.mkdir()
  return folder


def restored(workdir: Path, **settings: str) -> dict:
  config = base()
  config.restore.update(settings)
  return restore.run(config, str(workdir), 0.0)


def contents(path: Path) -> list[str]:
  """Everything in a store."""
  with copies.opened(path) as connection:
    return list(connection.iterdump())


def copy_of(workdir: Path) -> Path:
  return next((workdir / 'serve/backups').glob('*.db'))


def test_a_copy_is_listed_proved_and_put_back_and_the_store_before_is_kept(workdir, capsys):
  assert restored(workdir) == {'copies': 1}
  assert ' bytes  1 events' in capsys.readouterr().out
  assert restored(workdir, verify='latest')['feedback_event'] == 1
  before = contents(workdir / 'serve/store.db')
  assert restored(workdir, copy='latest')['message'] == 2
  assert contents(workdir / 'serve/store.db') == contents(copy_of(workdir))
  aside = next((workdir / 'serve').glob('replaced-*.db'))
  assert contents(aside) == before and str(aside) in capsys.readouterr().out
  assert restored(workdir, copy=aside.name)['feedback_event'] == 2
  assert contents(workdir / 'serve/store.db') == before
  assert restored(workdir) == {'copies': 3}


def die(workdir: Path):
  """One more vote, and death before it is moved from the log into the store."""
  code = (
    'import os, sys; from pathlib import Path; from talk import chat, feedback;'
    'from rft_jax.feedback.store import Store; store = Store(Path(sys.argv[1]));'
    'ada = store.users.named("Ada").id;'
    'store.events.add(feedback(chat(store, ada)), ada).result(9); os._exit(9)'
  )
  here = Path(__file__).parent
  environment = {'PYTHONPATH': f'{here.parent}:{here}', 'PATH': ''}
  command = [sys.executable, '-c', code, str(workdir / 'serve/store.db')]
  assert subprocess.run(command, env=environment).returncode == 9
  assert (workdir / 'serve/store.db-wal').stat().st_size


def test_the_log_of_the_store_before_is_not_written_into_the_copy(workdir):
  die(workdir)
  put_back(workdir / 'serve', copy_of(workdir))
  store = Store(workdir / 'serve/store.db')
  assert len(store.db.read('SELECT * FROM feedback_event')) == 1
  store.close()
  aside = next((workdir / 'serve').glob('replaced-*.db'))
  assert copies.counts(aside)['feedback_event'] == 3, 'the vote in the log is kept'


def test_a_copy_put_there_by_hand_beside_a_foreign_log_is_refused(workdir):
  die(workdir)
  shutil.copyfile(copy_of(workdir), workdir / 'serve/store.db')
  for _ in range(2):
    with pytest.raises(UserError, match=r'was put there by hand.*mode=restore'):
      Store(workdir / 'serve/store.db')
  restored(workdir, copy='latest')
  assert contents(workdir / 'serve/store.db') == contents(copy_of(workdir))


def test_a_copy_put_there_by_hand_after_a_clean_end_is_the_store(workdir):
  shutil.copyfile(copy_of(workdir), workdir / 'serve/store.db')
  store = Store(workdir / 'serve/store.db')
  assert len(store.db.read('SELECT * FROM feedback_event')) == 1
  store.close()


@pytest.mark.parametrize('how', ['missing', 'empty'])
def test_a_store_that_is_gone_is_not_begun_anew(how, workdir):
  store = workdir / 'serve/store.db'
  store.unlink()
  if how == 'empty':
    store.touch()
  with pytest.raises(UserError, match=r'backups/store-.* is there: .*mode=restore'):
    check_present(workdir / 'serve')
  with pytest.raises(UserError, match='mode=restore'):
    keys.run(base(), str(workdir), 0.0)
  (workdir / 'serve/store.db-wal').write_bytes(b'log')
  with pytest.raises(UserError, match=r'is missing or empty, but store.db-wal'):
    Store(store)
  restored(workdir, copy='latest')
  check_present(workdir / 'serve')
  assert contents(store) == contents(copy_of(workdir))


def test_nothing_is_put_back_while_a_server_runs(workdir):
  store = Store(workdir / 'serve/store.db')
  with pytest.raises(UserError, match=r'is locked by process .* stop that one first'):
    restored(workdir, copy='latest')
  assert len(store.db.read('SELECT * FROM feedback_event')) == 2
  store.close()


def harm(path: Path, how: str):
  data = bytearray(path.read_bytes())
  match how:
    case 'short':
      del data[len(data) // 2 :]
    case 'empty':
      data.clear()
    case 'a word':
      at = data.index(b'first')
      data[at : at + 5] = b'worst'
    case 'pages':
      data[-40_000:-30_000] = bytes(10_000)
    case 'no store':
      data[:] = b'{"this": "is JSON"}' * 100
  path.write_bytes(data)


@pytest.mark.parametrize('how', ['short', 'empty', 'a word', 'pages', 'no store'])
def test_a_damaged_copy_is_found_and_never_put_back(how, workdir):
  harm(copy_of(workdir), how)
  before = contents(workdir / 'serve/store.db')
  for settings in ({'verify': 'latest'}, {'copy': 'latest'}):
    with pytest.raises(UserError, match=r'store-.*: use another one'):
      restored(workdir, **settings)
  assert contents(workdir / 'serve/store.db') == before
  assert restored(workdir) == {'copies': 1}


def test_other_names_are_refused_with_the_nearest(workdir, tmp_path):
  name = copy_of(workdir).name
  with pytest.raises(UserError, match=f"'{name}'|{name}"):
    restored(workdir, copy=name.replace('store', 'stor'))
  with pytest.raises(UserError, match='no server has run'):
    restored(tmp_path / 'elsewhere')
  moved = shutil.copyfile(copy_of(workdir), tmp_path / 'from the attic.db')
  assert restored(workdir, copy=str(moved))['feedback_event'] == 1


def test_a_damaged_list_of_copies_names_itself_and_making_goes_on(workdir):
  file = workdir / 'serve/backups.json'
  file.write_text('{"store')
  with pytest.raises(UserError, match=r'backups.json is damaged.*delete it'):
    restored(workdir, verify='latest')
  store = Store(workdir / 'serve/store.db')
  Backups(store, DAY, 3).make()
  store.close()
  assert restored(workdir, verify='latest')['feedback_event'] == 2


def test_who_was_erased_and_which_keys_were_revoked_since_stay_so(workdir, capsys):
  store = Store(workdir / 'serve/store.db')
  ada = store.users.named('Ada').id
  store.users.erase(ada, 'Ada').result(LATER)
  store.close()
  restored(workdir, copy='latest')
  assert f'erased since that copy, and again now: {ada}' in capsys.readouterr().out
  store = Store(workdir / 'serve/store.db')
  assert store.users.get(ada).deleted_us is not None
  assert not store.db.read("SELECT 1 FROM message WHERE content != ''")
  store.close()
  assert not list((workdir / 'serve').glob('*.tmp*'))


def test_a_copy_made_under_load_is_put_back_as_exactly_that(tmp_path):
  folder = make(tmp_path / 'serve')
  with Served(folder, backups=3) as served:
    served.learner.learning = True
    done = threading.Event()
    threads = [threading.Thread(target=press, args=(served, done)) for _ in range(4)]
    for thread in threads:
      thread.start()
    time.sleep(0.5)
    copy = served.service.backups.make()
    counted = copies.counts(copy)
    time.sleep(0.3)
    done.set()
    for thread in threads:
      thread.join()
  put_back(folder, copy)
  assert contents(folder / 'store.db') == contents(copy)
  assert counted['feedback_event'] > 5 and counted['applied'] > 5
  check_prefix(copy, next(folder.glob('replaced-*.db')))


def check_prefix(copy: Path, later: Path):
  """What only grows is a beginning of what it became; the ledger speaks of nothing else."""
  read = lambda path, query: list(sqlite3.connect(path).execute(query))
  for table, key in (('feedback_event', 'seq'), ('audit', 'seq'), ('applied', 'event_seq')):
    query = f'SELECT * FROM {table} ORDER BY {key}'
    rows, after = read(copy, query), read(later, query)
    assert rows == after[: len(rows)] and len(rows) <= len(after)
  assert not read(copy, 'PRAGMA foreign_key_check')


def press(served: Served, done: threading.Event):
  client = served.browser()
  while not done.is_set():
    said = ask(client)
    assert vote(client, said.json()['rft']['message_id']).status_code == 201


# What has been learned, after the store has become older than its files.


def learn(school: School, user: str, votes: int):
  for _ in range(votes):
    given = feedback(chat(school.store, user))
    school.learner.notify(school.store.events.add(given, user).result(LATER))
    until(lambda: settled(school, user))


def settled(school: School, user: str) -> bool:
  served, versions = school.engine.routes.live, school.store.versions.all()
  busy = school.store.ledger.is_training() or any(v.status == 'canary' for v in versions)
  return not busy and all(
    not school.store.ledger.unlearned(scope)
    and served.get(scope, 0) == school.store.versions.state(scope).live_version
    for scope in (GLOBAL, of_user(user))
  )


def check_learned(root: Path, user: str, events: int):
  """A learner comes up, and has learned everything once, bit for bit what the ledger says."""
  school = School(root, EAGER, canary=scholar.steady_canary())
  school.learner.start()
  until(lambda: settled(school, user))
  for scope in (GLOBAL, of_user(user)):
    query = 'SELECT event_seq FROM applied WHERE scope = ? ORDER BY event_seq'
    applied = [row[0] for row in school.store.db.read(query, scope)]
    assert applied == list(range(1, events + 1)), scope
    again = rebuild(school.store, school.student, scholar.told, scope)
    assert scholar.packed(again) == school.bits(scope)
  learn(school, user, 1)
  assert not school.learner.status()['problems']
  school.close()


@pytest.mark.parametrize('options', [EAGER, FORGETFUL], ids=['kept', 'pruned'])
def test_learning_goes_on_from_a_store_older_than_its_adapters(options, tmp_path):
  school = School(tmp_path, options, canary=scholar.steady_canary())
  staff = school.store.users.create('Staff', staff=True).result(LATER).id
  school.learner.start()
  learn(school, staff, 3)
  copy = Backups(school.store, DAY, 3).make()
  bits = school.bits(GLOBAL)
  learn(school, staff, 4)
  school.close()
  put_back(tmp_path, copy)
  school = School(tmp_path)
  school.learner.recover()
  assert school.bits(GLOBAL) == bits, 'everyone has what everyone had'
  school.close()
  check_learned(tmp_path, staff, 3)


@pytest.mark.parametrize('point', ['claimed', 'canary'])
def test_what_was_going_on_when_the_copy_was_made_is_taken_up(point, tmp_path):
  school = School(tmp_path, FORGETFUL, canary=scholar.steady_canary())
  staff = school.store.users.create('Staff', staff=True).result(LATER).id
  learn_by_hand = lambda: [school.training.turn(scope) for scope in (GLOBAL, of_user(staff))]
  give = lambda: school.store.events.add(feedback(chat(school.store, staff)), staff).result(LATER)
  give()
  learn_by_hand()
  give()
  batch = school.store.ledger.claim(GLOBAL).result(LATER)
  if point == 'canary':
    candidate = school.training.updater.make(batch)
    parts = candidate.path, candidate.sha256, candidate.metrics
    version = school.store.ledger.apply(batch, *parts, publish=False).result(LATER)
  copy = Backups(school.store, DAY, 3).make()
  if point == 'canary':
    school.training.trial.begin(version)
    school.training.tend()
  else:
    school.training.claimed[GLOBAL] = batch
  for _ in range(3):
    learn_by_hand()
    give()
  learn_by_hand()
  school.close()
  put_back(tmp_path, copy)
  check_learned(tmp_path, staff, 2)


def test_an_adapter_that_cannot_be_made_again_is_learned_again(tmp_path):
  """As after an upgrade: the same log gives other bits."""
  school = School(tmp_path, FORGETFUL, canary=scholar.steady_canary())
  staff = school.store.users.create('Staff', staff=True).result(LATER).id
  school.learner.start()
  learn(school, staff, 2)
  copy = Backups(school.store, DAY, 3).make()
  learn(school, staff, 2)
  school.close()
  put_back(tmp_path, copy)
  with sqlite3.connect(tmp_path / 'store.db') as store:
    store.execute('UPDATE train_batch SET rng_seed = rng_seed + 1')
  check_learned(tmp_path, staff, 2)
