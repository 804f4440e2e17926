"""The learner with the real student and the real engine: the same laws."""

import asyncio
import dataclasses
import functools
import importlib
import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engines
import numpy as np
import pytest
import scholar
from engines import CODEC, CONFIG, ask, params_of
from folding import SCOPE
from scholar import EAGER, School
from served import until
from talk import LATER, chat, edit

from rft_jax.feedback.records import GLOBAL, of_user
from rft_jax.infra import peft
from rft_jax.learning.fold import rebuild, taught
from rft_jax.learning.learner import OnlineLearner
from rft_jax.learning.lessons import Said
from rft_jax.learning.student import Student
from rft_jax.learning.study import Options

importlib.import_module('conftest')  # Children compile as this process does: the same bits.
pytestmark = pytest.mark.slow
ANCHORS = [Said((3, 4, 5), (6, 7, 8, 9)), Said((9, 8), (7, 6, 5))]


def student() -> Student:
  assert CONFIG.lora
  config = dataclasses.replace(CONFIG, lora=dataclasses.replace(CONFIG.lora, adapters=2))
  return Student(config, params_of(), CODEC, ANCHORS, Options(context=engines.CONTEXT, max_steps=3))


def opened(root: Path) -> School:
  teach = functools.partial(taught, codec=CODEC)
  return School(root, canary=scholar.steady_canary(), student=student(), teach=teach)


def become(root: Path, events: int, point: str):
  os.environ['RFT_FAULT'] = point
  scholar.go_on(opened(root), events)


def finish(context, root: Path, point: str = '', events: int = 4) -> int | None:
  root.mkdir(exist_ok=True)
  process = context.Process(target=become, args=(root, events, point))
  process.start()
  process.join(300)
  return process.exitcode


def test_death_leads_to_the_same_weights(tmp_path):
  context = multiprocessing.get_context('forkserver')
  assert finish(context, tmp_path / 'whole') == 0
  points = ('step', 'rename', 'apply:before', 'swap')
  for point in points:
    killed = tmp_path / point.replace(':', '_')
    assert finish(context, killed, point) == -signal.SIGKILL
    assert finish(context, killed) == 0
  whole = opened(tmp_path / 'whole')
  for scope in (GLOBAL, SCOPE):
    again = rebuild(whole.store, whole.student, whole.lessons, scope)
    assert scholar.packed(again) == whole.bits(scope) != scholar.packed(whole.student.fresh(0))
  for point in points:
    killed = opened(tmp_path / point.replace(':', '_'))
    assert [killed.bits(s) for s in (GLOBAL, SCOPE)] == [whole.bits(s) for s in (GLOBAL, SCOPE)]
    killed.close()
  whole.close()


def test_an_edit_is_learned_served_taken_along_and_taken_back(tmp_path):
  school = opened(tmp_path)
  user = school.store.users.create().result(LATER).id
  scope = of_user(user)
  with engines.engine(load=school.loader) as engine:
    learner = OnlineLearner(
      school.store,
      engine,
      school.student,
      school.lessons,
      school.loader,
      EAGER,
      packed=functools.partial(peft.packed, school.student.programs.config),
    )
    learner.start()
    answer = lambda: engine.generate([ask(user_id=user)])[0]
    before = answer()
    given = edit(chat(school.store, user), 'Good day to you.')
    receipt = school.store.events.add(given, user).result(LATER)
    learner.notify(receipt)
    until(lambda: school.store.events.receipt(receipt.id).status == 'served', 120)
    after = answer()
    assert [before.personal_version, after.personal_version] == [0, 1]
    adapter = school.loader(scope, 1)
    assert after.ids == engines.greedy(engines.merged(adapter), 'hello', 12)
    exported = asyncio.run(learner.export(user))
    assert exported and np.abs(adapter['layers']['qkv']['self_attn.q_proj']['b']).max() > 0
    with ThreadPoolExecutor(8) as crowd:
      asked = [crowd.submit(answer) for _ in range(24)]
      asyncio.run(learner.rollback(scope, 0, 'no', 'admin'))
      by_version = {0: before.ids, 1: after.ids}
      for each in asked:
        assert each.result().ids == by_version[each.result().personal_version]
    assert answer().personal_version == 0 and answer().ids == before.ids
    asyncio.run(learner.forget(user))
    assert not school.shelf.home(scope).exists()
    learner.stop()
  school.close()
