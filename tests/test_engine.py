"""What the engine answers: as the whole pass would, whoever answers beside it."""

import asyncio

import jax
import numpy as np
import pytest
from engines import (
  CODEC,
  CONFIG,
  adapter,
  ask,
  complete,
  engine,
  greedy,
  greedy_of_each,
  load,
  merged,
  params_of,
  together,
  whole,
)
from test_laws_sampling import compilations

from rft_jax.engine.codec import Codec
from rft_jax.engine.routes import Routes
from rft_jax.feedback.records import GLOBAL
from rft_jax.infra import hub
from rft_jax.models import transformer
from rft_jax.models.config import Lora
from tests.checkpoints import CHECKPOINTS, write_checkpoint

CHEAP = 'gemma3', 'gpt2'


@pytest.fixture(scope='module')
def running():
  with engine(slots=8) as made:
    yield made


def mixed(count: int):
  """Requests of every kind, most of them sampled."""
  kinds = [
    dict(temperature=1.0),
    dict(temperature=0.7, top_p=0.8),
    dict(),
    dict(temperature=1.3, top_k=5),
    dict(temperature=1.0, stop=('a', 'bc')),
    dict(temperature=1.0, version=3, user_id='7'),
  ]
  for i in range(count):
    prompt = 'the quick brown fox jumps over it'[: 1 + 7 * i % 33]
    options = kinds[i % len(kinds)] | dict(seed=i, max_tokens=5 + i % 20)
    yield ask(prompt, i, **options)


@pytest.mark.parametrize(
  'name', [pytest.param(n, marks=() if n in CHEAP else pytest.mark.slow) for n in CHECKPOINTS]
)
def test_greedy_answers_are_the_argmax_of_the_whole_pass(name, tmp_path):
  """Of every family, past the windows of those that have one."""
  write_checkpoint(tmp_path, name)
  config = hub.model_config(str(tmp_path), lora=Lora(rank=2, adapters=4))
  home = lambda *_: jax.sharding.SingleDeviceSharding(jax.devices()[0])
  params = {'decoder': hub.load(str(tmp_path), config, home)}
  endless = Codec(CODEC.tokenizer, [1000])
  with engine(config, params, codec=endless, context=32, slots=2) as made:
    answers = made.generate([ask('well, well' * n, max_tokens=20) for n in (1, 2)])
  for answer in answers:
    logits = whole(config, params, answer.prompt_ids, answer.ids)
    chosen = np.take_along_axis(logits, np.array(answer.ids)[:, None], 1)[:, 0]
    np.testing.assert_allclose(chosen, logits.max(1), atol=1e-4)
    expected = chosen - np.log(np.exp(logits).sum(1))
    np.testing.assert_allclose(answer.logps, expected, atol=1e-4)
  assert [len(answer.ids) for answer in answers] == [20, 12]


def test_a_deep_model_answers_like_a_shallow_one(running, monkeypatch):
  asked = [r for r in mixed(9) if r.version is None]
  expected = running.generate(asked)
  monkeypatch.setattr(transformer, 'UNROLL', 1)
  with engine(slots=8) as deep:
    assert len(deep.batch.device.memory) == 1
    found = deep.generate(asked)
    deep.publish(GLOBAL, 2).result(20)
    (adapted,) = deep.generate([ask()])
  for a, b in zip(expected, found, strict=True):
    assert a.ids == b.ids and a.text == b.text
    np.testing.assert_allclose(a.logps, b.logps, atol=1e-5)
  assert adapted.ids == greedy(merged(load(GLOBAL, 2)), 'hello', 12)


def test_an_answer_does_not_depend_on_who_answers_beside_it(running):
  """32 requests at once on 8 slots, and each of them alone: equal to the last bit."""
  running.offer([3]).result(20)
  running.publish('u:7', 1).result(20)
  asked = list(mixed(32))
  alone = [running.generate([one])[0] for one in asked]
  assert together(running, asked[::-1])[::-1] == alone
  assert len({answer.ids for answer in alone}) == 32
  assert {'stop', 'length'} == {answer.finish_reason for answer in alone}


def test_the_seed_decides(running):
  first, again, other = (
    running.generate([ask(seed=seed, temperature=1.0)])[0].ids for seed in (1, 1, -5)
  )
  assert first == again != other


def test_log_probs_are_those_of_the_distribution_sampled_from(running):
  (answer,) = running.generate([ask(temperature=0.7, top_k=3, max_tokens=30, seed=3)])
  logits = whole(CONFIG, params_of(), answer.prompt_ids, answer.ids) / 0.7
  kept = np.sort(logits)[:, -3:]
  expected = logits[np.arange(len(logits)), answer.ids] - np.log(np.exp(kept).sum(1))
  np.testing.assert_allclose(answer.logps, expected, atol=1e-4)


def test_each_answer_is_that_of_its_own_adapters_merged(running):
  """Global, personal, both and none at the same time."""
  running.publish(GLOBAL, 5).result(20)
  for user in '12':
    running.publish(f'u:{user}', 4).result(20)
  asked = [
    ask(number=0),
    ask(number=1, user_id='1'),
    ask(number=2, user_id='2'),
    ask(number=3, user_id='3'),
    ask(number=4, user_id='1', version=0),
  ]
  found = running.generate(asked * 2)
  common = load(GLOBAL, 5)
  expected = [[common], [common, load('u:1', 4)], [common, load('u:2', 4)], [common], []]
  versions = [(5, 0), (5, 4), (5, 4), (5, 0), (0, 0)]
  for i, answer in enumerate(found):
    assert (answer.global_version, answer.personal_version) == versions[i % 5]
    assert answer.ids == greedy(merged(*expected[i % 5]), 'hello', 12)
  assert len({answer.ids for answer in found}) == 4
  running.publish(GLOBAL, 0).result(20)


def test_many_users_on_few_rows_get_their_own_adapter(running):
  """Adapters come and go between 7 rows, and each comes again; answers do not mix them up."""
  users, loaded = 200, []

  def noted(scope, version):
    loaded.append(scope)
    return load(scope, version)

  live = {GLOBAL: 1} | {f'u:{user}': 1 for user in range(users)}
  order = np.random.default_rng(0).permutation(np.repeat(np.arange(users), 2)).tolist()
  running.routes, running.batch.bank.load = Routes(live), noted
  found = running.generate([ask(number=i, user_id=str(i), max_tokens=6) for i in order])
  running.routes, running.batch.bank.load = Routes(), load
  adapters = [load(scope, 1) for scope in live]
  expected = greedy_of_each(adapters, [(0, 1 + i) for i in range(users)], 'hello', 6)
  assert [answer.ids for answer in found] == [expected[i] for i in order]
  assert len(set(expected)) > users / 2 and len(loaded) > users


def test_nothing_compiles_once_the_engine_is_ready():
  on_device = jax.device_put(adapter(1))
  with engine(slots=2) as made, compilations() as seen:
    made.offer([3]).result(20)
    made.publish(GLOBAL, 1).result(20)
    made.publish('u:7', 1, on_device).result(20)
    made.stage_canary(2, 0.5).result(20)
    made.generate(list(mixed(12)))
    made.drop('u:7').result(20)
    made.generate([ask('x' * 50), ask(user_id='7')])
    assert not seen


async def swapped(made, swaps: int, streams: int):
  """Streams that never pause while versions 1 to `swaps` are published one after the other."""
  found, going = [], True

  async def stream(number):
    while going:
      found.append(await complete(made, ask(number=number, max_tokens=6)))

  tasks = [asyncio.ensure_future(stream(number)) for number in range(streams)]
  for version in range(1, swaps + 1):
    await asyncio.wrap_future(made.publish(GLOBAL, version))
    await asyncio.sleep(0.01)
  going = False
  await asyncio.gather(*tasks)
  return found


@pytest.mark.parametrize('swaps, streams', [(10, 8), pytest.param(100, 32, marks=pytest.mark.slow)])
def test_every_answer_under_swaps_is_that_of_exactly_one_version(running, swaps, streams):
  found = asyncio.run(swapped(running, swaps, streams))
  adapters = [adapter(0, size=0.0), *(load(GLOBAL, version) for version in range(1, swaps + 1))]
  expected = greedy_of_each(adapters, [(version,) for version in range(swaps + 1)], 'hello', 6)
  assert [one.ids for one in found] == [expected[one.global_version] for one in found]
  assert len({one.global_version for one in found}) > swaps / 2 and len(found) > streams
