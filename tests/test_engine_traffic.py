"""Requests that come, wait, break off and fail while adapters are swapped under them."""

import asyncio
import dataclasses
import threading

import jax
import numpy as np
import pytest
from engines import (
  CODEC,
  CONFIG,
  CONTEXT,
  Gate,
  adapter,
  ask,
  complete,
  engine,
  greedy,
  load,
  merged,
  read,
  together,
)

from rft_jax.engine.engine import SlotEngine
from rft_jax.engine.protocol import EngineError
from rft_jax.engine.routes import Routes
from rft_jax.feedback.records import GLOBAL
from rft_jax.registry import ConfigError

LONG = dict(max_tokens=40, prompt='aaaa')
"""Greedy, this goes on to the limit."""


@pytest.fixture(scope='module')
def shared():
  with engine(slots=2) as made:
    yield made


@pytest.fixture
def running(shared):
  """As new, and it must be left without anybody in it."""
  yield shared
  shared.loop.order(lambda: None).result(20)
  assert shared.slots_busy == 0 and not shared.loop.waiting
  assert len(shared.batch.free) == 2
  for scope in list(shared.routes.live):
    shared.publish(scope, 0).result(20)


async def until(condition):
  async with asyncio.timeout(20):
    while not condition():
      await asyncio.sleep(0.005)


async def crowd(running, gate: Gate, requests):
  """Readers of requests that were all admitted at once; the gate before 'decode' holds them."""
  begin = threading.Event()
  running.loop.order(lambda: begin.wait(20))
  asked = [asyncio.ensure_future(running.submit(request)) for request in requests]
  await until(lambda: len(running.loop.waiting) == len(asked))
  begin.set()
  await until(gate.reached.is_set)
  return await asyncio.gather(*asked)


def status(error) -> tuple[int, str | None]:
  return error.value.status, error.value.code


def test_pieces_add_up_to_the_text_of_all_ids(running):
  (found,) = together(running, [ask('hello', max_tokens=30)])
  assert found.text == CODEC.text(found.ids) and found.finish_reason in ('stop', 'length')
  assert running.generate([ask('hello', max_tokens=30)]) == [found]


def test_an_answer_that_is_broken_off_frees_its_slot(running):
  async def main():
    with Gate(running.batch.device, 'decode') as gate:
      readers = await crowd(running, gate, [ask(number=i, **LONG) for i in range(2)])
      assert running.slots_busy == 2
      for reader in readers:
        reader.cancel()
        reader.cancel()
      assert running.slots_busy == 0
      gate.way.set()
      assert (await complete(running, ask(max_tokens=1))).ids and gate.passed == 2
    assert [piece.finish_reason async for piece in readers[0]].count('length') == 0
    readers[0].cancel()

  asyncio.run(main())


def test_a_request_that_is_given_up_during_prefill_frees_its_slot(running):
  async def main():
    with Gate(running.batch.device, 'prefill') as gate:
      asked = asyncio.ensure_future(running.submit(ask(**LONG)))
      await until(gate.reached.is_set)
      asked.cancel()
      await asyncio.wait([asked])
      assert asked.cancelled() and running.slots_busy == 0
    assert (await complete(running, ask())).ids

  asyncio.run(main())


def test_the_queue_is_bounded_and_those_who_give_up_make_room(running):
  async def main():
    with Gate(running.batch.device, 'decode') as gate:
      readers = await crowd(running, gate, [ask(number=i, **LONG) for i in range(2)])
      waiting = [asyncio.ensure_future(running.submit(ask(number=i))) for i in range(8)]
      await until(lambda: len(running.loop.waiting) == 8)
      with pytest.raises(EngineError) as full:
        await running.submit(ask())
      assert status(full) == (429, 'queue_full')
      waiting.pop().cancel()
      await until(lambda: len(running.loop.waiting) == 7)
      waiting.append(asyncio.ensure_future(running.submit(ask())))
    answers = await asyncio.gather(*waiting)
    await asyncio.gather(*(read(reader) for reader in [*readers, *answers]))

  asyncio.run(main())


def test_what_cannot_be_answered_is_refused_and_what_does_not_fit_is_cut(running):
  (found,) = together(running, [ask('a' * (CONTEXT - 3), max_tokens=10**9)])
  assert (len(found.ids), found.finish_reason) == (3, 'length') or found.finish_reason == 'stop'
  for request, expected in (
    (ask('a' * CONTEXT), (400, 'context_length_exceeded')),
    (ask(''), (400, 'invalid_prompt')),
    (ask(version=9), (404, 'model_not_found')),
  ):
    with pytest.raises(EngineError) as refused:
      together(running, [request])
    assert status(refused) == expected


def test_before_it_is_warm_and_after_it_was_stopped_it_says_so():
  made = SlotEngine(merged(), CONFIG, CODEC, 1, 32, load)
  with pytest.raises(EngineError) as early:
    together(made, [ask()])
  assert status(early) == (503, 'not_ready') and not made.ready
  made.stop()
  with pytest.raises(EngineError) as late:
    made.publish(GLOBAL, 1).result(1)
  assert status(late) == (503, 'not_ready')


def test_stopping_answers_those_who_are_here_and_nobody_else():
  with engine(slots=2) as made:

    async def main():
      with Gate(made.batch.device, 'decode') as gate:
        readers = await crowd(made, gate, [ask(number=i, **LONG) for i in range(2)])
        waiting = asyncio.ensure_future(made.submit(ask()))
        await until(lambda: made.loop.waiting)
        stopped = asyncio.ensure_future(asyncio.to_thread(made.stop))
        await until(lambda: not made.ready)
        with pytest.raises(EngineError) as late:
          await made.submit(ask())
        assert status(late) == (503, 'not_ready')
      found = await asyncio.gather(*(read(reader) for reader in [*readers, await waiting]))
      assert all(one.finish_reason for one in found)
      await stopped

    asyncio.run(main())


def test_impatient_stopping_breaks_answers_off_with_an_error():
  with engine(slots=2) as made:

    async def main():
      with Gate(made.batch.device, 'decode') as gate:
        reader = await made.submit(ask(**LONG))
        await until(gate.reached.is_set)
        stopped = asyncio.ensure_future(asyncio.to_thread(made.stop, 0))
        await until(lambda: not made.ready)
      with pytest.raises(EngineError) as broken:
        await read(reader)
      assert status(broken)[0] == 503
      await stopped

    asyncio.run(main())


@pytest.mark.parametrize('loses', [False, True])
def test_a_failing_program_fails_who_it_was_for_and_the_engine_goes_on(running, loses, monkeypatch):
  device = running.batch.device

  def broken(*_):
    if loses:
      jax.tree.map(lambda x: x.delete(), device.slots)
    raise RuntimeError('out of memory')

  async def main():
    with Gate(device, 'decode') as gate:
      reader = await running.submit(ask(**LONG))
      await until(gate.reached.is_set)
      gate.inner, inner = broken, gate.inner
      gate.way.set()
      with pytest.raises(EngineError) as failed:
        await read(reader)
      assert status(failed) == (500, None) and 'memory' not in failed.value.message
      gate.inner = inner

  before = running.generate([ask()])
  asyncio.run(main())
  assert running.generate([ask()]) == before


def test_a_failing_prompt_does_not_disturb_its_neighbours(running):
  (expected,) = running.generate([ask(**LONG)])

  def broken(*_):
    raise RuntimeError('no')

  async def main():
    reader = await running.submit(ask(**LONG))
    with Gate(running.batch.device, 'prefill') as gate:
      gate.way.set()
      gate.inner, inner = broken, gate.inner
      with pytest.raises(EngineError):
        await running.submit(ask())
      gate.inner = inner
    assert await read(reader) == expected

  asyncio.run(main())


def test_an_answer_keeps_the_adapters_that_it_began_with(running):
  """Also where all its rows are wanted by others, its user is forgotten, and its version undone."""

  async def main():
    for scope in (GLOBAL, 'u:1'):
      await asyncio.wrap_future(running.publish(scope, 1))
    with Gate(running.batch.device, 'decode') as gate:
      reader = await running.submit(ask(user_id='1', **LONG))
      changes = [running.drop('u:1'), running.publish(GLOBAL, 1, adapter(77))]
      changes += [running.publish(GLOBAL, version) for version in range(2, 12)]
      await until(gate.reached.is_set)
    for change in changes:
      await asyncio.wrap_future(change)
    after = await complete(running, ask(user_id='1'))
    return await read(reader), after

  during, after = asyncio.run(main())
  assert (during.global_version, during.personal_version) == (1, 1)
  assert during.ids == greedy(merged(load(GLOBAL, 1), load('u:1', 1)), LONG['prompt'], 40)
  assert (after.global_version, after.personal_version) == (11, 0)
  assert after.ids == greedy(merged(load(GLOBAL, 11)), 'hello', 12)


def test_a_version_is_published_again_with_what_is_given(running):
  for seed in (5, 6):
    running.publish(GLOBAL, 1, adapter(seed)).result(20)
    assert running.generate([ask()])[0].ids == greedy(merged(adapter(seed)), 'hello', 12)


def test_an_adapter_that_would_spoil_the_answers_of_all_is_refused(running):
  before = running.generate([ask(user_id='1')])
  bad = jax.tree.map(np.copy, adapter(1))
  jax.tree.leaves(bad)[0][0, 0, 0] = np.nan
  other = dataclasses.replace(CONFIG, lora=dataclasses.replace(CONFIG.lora, rank=3))
  for wrong in (bad, adapter(1, other), {'layers': {}}):
    with pytest.raises(ValueError):
      running.publish('u:1', 1, wrong).result(20)
  assert running.versions('1') == (0, 0) and running.generate([ask(user_id='1')]) == before


def test_an_adapter_that_cannot_be_loaded_fails_whoever_needs_it(running):
  def missing(scope, version):
    raise FileNotFoundError(f'{scope} {version}')

  running.offer([3]).result(20)
  running.batch.bank.load, kept = missing, running.batch.bank.load
  with pytest.raises(FileNotFoundError):
    running.publish(GLOBAL, 50).result(20)
  assert running.versions('1') == (0, 0)
  for pinned, expected in ((3, 404), (None, 500)):
    if pinned is None:
      running.routes = Routes({'u:1': 60})
    with pytest.raises(EngineError) as gone:
      together(running, [ask(user_id='1', version=pinned)])
    assert status(gone)[0] == expected
  running.batch.bank.load = kept


def test_a_version_that_is_no_longer_offered_is_gone(running):
  running.offer([3]).result(20)
  assert running.global_versions() == [3] and running.generate([ask(version=3)])
  running.offer([]).result(20)
  with pytest.raises(EngineError) as gone:
    running.generate([ask(version=3)])
  assert status(gone) == (404, 'model_not_found')


def test_what_cannot_work_is_refused():
  for change, message in (
    (dict(lora=None), 'model.lora.rank'),
    (dict(max_position_embeddings=16), 'context=32'),
  ):
    with pytest.raises(ConfigError, match=message):
      SlotEngine(merged(), dataclasses.replace(CONFIG, **change), CODEC, 1, 32, load)


def test_adapters_that_nobody_asks_for_give_way(running):
  bank, loaded = running.batch.bank, []
  bank.load, kept = (lambda *key: loaded.append(key) or load(*key)), bank.load
  for version in (*range(101, 109), 101, 109, 101, 102):
    running.publish(GLOBAL, version).result(20)
  assert loaded == [(GLOBAL, version) for version in (*range(101, 109), 109, 102)]
  assert len(bank.kept) == bank.room == 8
  bank.load = kept
