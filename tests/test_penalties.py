"""Penalties, biases and the likeliest tokens: of each row its own, and nothing compiles."""

import asyncio

import numpy as np
import pytest
from engines import CODEC, CONFIG, ask, engine, params_of, together, whole
from test_laws_sampling import compilations

from rft_jax.engine.protocol import EngineError

FREE = dict(max_tokens=20, seed=5)
PENALISED = [
  dict(frequency_penalty=0.7),
  dict(presence_penalty=1.5),
  dict(frequency_penalty=-0.4, presence_penalty=0.3),
  dict(logit_bias={3: 4.0, 9: -100.0, 11: 0.5}),
  dict(frequency_penalty=2.0, logit_bias={4: 6.0}),
]


@pytest.fixture(scope='module')
def running():
  with engine(slots=4) as made:
    yield made


def penalised(request, prompt_ids, ids) -> np.ndarray:
  """The logits [n,V] that each id was drawn from, as OpenAI's reference has it: the bias, less
  frequency times the count of what the answer has so far, less presence once."""
  logits = whole(CONFIG, params_of(), prompt_ids, ids).astype(np.float64)
  for place in range(len(ids)):
    count = np.bincount(ids[:place], minlength=logits.shape[-1])
    logits[place] -= request.frequency_penalty * count + request.presence_penalty * (count > 0)
    for id, bias in request.logit_bias.items():
      logits[place, id] += bias
  return logits


def log_softmax(logits: np.ndarray) -> np.ndarray:
  shifted = logits - logits.max(-1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.parametrize('options', PENALISED, ids=str)
@pytest.mark.parametrize('temperature', [0.0, 0.8])
def test_logits_are_penalised_by_the_formula(running, options, temperature):
  request = ask('the end', temperature=temperature, **FREE, **options)
  (found,) = together(running, [request])
  logits = penalised(request, found.prompt_ids, found.ids)
  logps = log_softmax(logits / (temperature or 1))
  said = logps[np.arange(len(found.ids)), list(found.ids)]
  np.testing.assert_allclose(found.logps, said, atol=2e-4)
  if not temperature:
    assert (said >= logps.max(-1) - 1e-4).all(), 'greedy'
  (plain,) = together(running, [ask('the end', temperature=temperature, **FREE)])
  assert plain.ids != found.ids


def test_a_penalty_moves_nobody_else_and_the_same_seed_says_the_same(running):
  free = [ask('the end', i, temperature=1.0, seed=i, max_tokens=20) for i in range(4)]
  alone = [together(running, [one])[0].ids for one in free]
  strict = [
    ask('the end', 9 + i, temperature=1.0, seed=i, max_tokens=20, **options)
    for i, options in enumerate(PENALISED[:4])
  ]
  expected = [together(running, [one])[0].ids for one in strict]
  mixed = [request for pair in zip(free, strict, strict=True) for request in pair]
  found = [answer.ids for answer in together(running, mixed)]
  assert found[::2] == alone and found[1::2] == expected


def test_a_slot_forgets_the_penalties_of_who_was_there_before(running):
  plain = [ask('once more', i, temperature=1.0, seed=i, max_tokens=12) for i in range(4)]
  before = [together(running, [one])[0].ids for one in plain]
  heavy = dict(frequency_penalty=2.0, presence_penalty=2.0, logit_bias={3: 50.0}, top=5)
  together(running, [ask('x', i, temperature=1.0, **heavy) for i in range(8)])
  assert [together(running, [one])[0].ids for one in plain] == before


def test_a_ban_is_kept_and_a_wish_is_granted(running):
  ends = CODEC.stop[0]
  (wished,) = together(running, [ask(temperature=1.0, max_tokens=9, logit_bias={7: 100.0})])
  assert set(wished.ids) == {7}
  (short,) = together(running, [ask(temperature=1.0, logit_bias={ends: 100.0})])
  assert short.ids == (ends,) and short.finish_reason == 'stop'
  banned = dict.fromkeys(range(0, len(CODEC.tokenizer), 2), -100.0)
  (odd,) = together(running, [ask(temperature=1.5, max_tokens=20, logit_bias=banned)])
  assert all(id % 2 for id in odd.ids)


@pytest.mark.parametrize('bias', [{10**6: 1.0}, {-1: 1.0}, dict.fromkeys(range(301), 1.0)])
def test_a_bias_of_no_token_is_refused(running, bias):
  with pytest.raises(EngineError, match='logit_bias') as refused:
    together(running, [ask(logit_bias=bias)])
  assert refused.value.status == 400 and refused.value.param == 'logit_bias'


@pytest.mark.parametrize('options', [dict(), dict(temperature=0.9, top_k=2), PENALISED[4]], ids=str)
def test_the_likeliest_tokens_are_those_of_the_distribution_that_was_drawn_from(running, options):
  request = ask('the end', **{**FREE, 'top': 5, **options})

  async def tokens():
    reader = await running.submit(request)
    return reader.prompt_ids, [token async for piece in reader for token in piece.tokens]

  prompt_ids, found = asyncio.run(tokens())
  logits = penalised(request, prompt_ids, [t.id for t in found]) / (request.temperature or 1)
  for token, row in zip(found, logits, strict=True):
    order = np.argsort(-row)[: request.top_k or 5]
    kept = np.full_like(row, -np.inf)
    kept[order if request.top_k else slice(None)] = row[order if request.top_k else slice(None)]
    logps = log_softmax(kept)
    assert [one.id for one in token.top] == order.tolist()
    np.testing.assert_allclose([one.logp for one in token.top], logps[order], atol=2e-4)
    assert [one.text for one in token.top] == [CODEC.token_text(i) for i in order.tolist()]
  (without,) = together(running, [ask('the end', **{**FREE, **options})])
  assert [t.id for t in found] == list(without.ids), 'asking changes nothing'


def test_nothing_compiles_whatever_is_penalised(running):
  with compilations() as seen:
    asked = [ask('a', **options, top=i) for i, options in enumerate([{}, *PENALISED])]
    running.generate(asked)
    assert not seen


def test_answers_that_are_wanted_together_take_one_place_in_the_queue(running):
  many = [ask('hello', i, max_tokens=4, group='mine') for i in range(40)]
  found = together(running, many)
  assert len({answer.ids for answer in found}) == 1 and len(found) == 40
