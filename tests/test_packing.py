"""Packed demonstrations: rows of several examples teach what the examples teach alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from talking import talking
from training import run, run_until, saved
from training import tiny as config

from rft_jax.data.packing import best_fit
from rft_jax.data.recorded import Recorded
from rft_jax.data.stream import Stream
from rft_jax.data.text import characters, demonstrations
from rft_jax.registry import ConfigError
from rft_jax.steps import make_learn
from rft_jax.types import Example, Task

ALPHABET = 'abcdefghijklm'
WIDTH = 24


def collection(size: int = 30, talk: bool = False) -> Task:
  """Examples of 4 to 11 tokens, all different."""

  def example(split, index):
    draw = np.random.default_rng(index)
    letters = ''.join(draw.choice(list(ALPHABET), 10))
    middle, end = 1 + index % 4, 5 + index % 6
    turns = (dict(role='user', content=letters[:middle]),) if talk else ()
    return Example(letters[:middle], None, letters[middle:end], messages=turns)

  return Task(example, lambda split: size)


def packed(batch=4, size=30, seed=0, **where):
  stream = Stream(collection(size), 'train', batch, seed, **where)
  tokenizer = characters(alphabet=ALPHABET)
  return Recorded('demonstrations', stream, tokenizer, 4, WIDTH - 4, packing=True)


def texts(batch) -> list[tuple[tuple, tuple]]:
  """(tokens, target) of every packed example."""
  found = []
  for tokens, valid, target in zip(batch.tokens, batch.valid, batch.target, strict=True):
    for number in range(1, valid.max() + 1):
      at = valid == number
      found.append((tuple(tokens[at].tolist()), tuple(target[at].tolist())))
  return found


def alone(size=30):
  """The same examples, one per row."""
  examples = [collection(size).example('train', i) for i in range(size)]
  return demonstrations(characters(alphabet=ALPHABET), examples, WIDTH)


def epoch(source, size=30):
  """The batches that hold every example once; the last of them begins the next epoch."""
  seen, batches = 0, []
  while seen < size:
    batches.append(source.batch(len(batches)))
    seen += len(texts(batches[-1]))
  return batches


def test_an_epoch_has_every_example_whole_and_once():
  single = alone()
  wanted = [
    (tuple(t[v].tolist()), tuple(m[v].tolist()))
    for t, v, m in zip(single.tokens, single.valid, single.target, strict=True)
  ]
  source = packed(batch=1)
  found = [text for batch in epoch(source) for text in texts(batch)]
  assert sorted(found) == sorted(wanted)
  assert len(epoch(source)) < 30 * 2 / 3, 'rows hold several examples'
  count = len(epoch(source))
  following = [text for i in range(count) for text in texts(source.batch(count + i))]
  assert following[:5] != found[:5] and len(set(following)) > 25


def test_best_fit_wastes_no_more_than_it_must():
  draw = np.random.default_rng(0)
  for _ in range(50):
    lengths = draw.integers(1, 33, 200).tolist()
    rows = best_fit(lengths, 32)
    assert sorted(i for row in rows for i in row) == list(range(200))
    assert all(sum(lengths[i] for i in row) <= 32 for row in rows)
    assert len(rows) <= 1.25 * sum(lengths) / 32 + 1
  assert best_fit([5, 3, 4, 4], 8) == [[0, 1], [2, 3]]


def test_batches_are_a_function_of_the_step_and_the_seed_and_cut_by_process():
  whole = [packed().batch(i) for i in range(9)]
  for i in reversed(range(9)):
    jax.tree.map(np.testing.assert_array_equal, packed().batch(i), whole[i])
  parts = [packed(index=i, count=2) for i in range(2)]
  for i in range(9):
    joined = jax.tree.map(lambda *x: np.concatenate(x), *(part.batch(i) for part in parts))
    jax.tree.map(np.testing.assert_array_equal, joined, whole[i])
  assert any((packed(seed=1).batch(i).tokens != whole[i].tokens).any() for i in range(3))


def test_packed_examples_have_the_log_probabilities_they_have_alone():
  it, single = tiny.setup('sft'), alone()
  score = jax.jit(it.policy.score)
  lone = score(it.state.params, single).logp
  wanted = {
    tuple(t[v].tolist()): x[v] for t, v, x in zip(single.tokens, single.valid, lone, strict=True)
  }
  seen = 0
  for batch in epoch(packed()):
    logp = score(it.state.params, batch).logp
    for row in range(len(logp)):
      for number in range(1, batch.valid[row].max() + 1):
        at = batch.valid[row] == number
        tokens = tuple(batch.tokens[row][at].tolist())
        np.testing.assert_allclose(logp[row][at][1:], wanted[tokens][1:], atol=1e-5)
        seen += 1
  assert seen >= 30


def test_packing_changes_neither_the_loss_nor_its_gradient():
  it = tiny.setup('sft')
  learn = jax.jit(make_learn(it.objective, it.tx))
  batches = epoch(packed(batch=1))
  joined = jax.tree.map(lambda *x: np.concatenate(x), *batches)
  results = [learn(it.state, e, jax.random.key(0)) for e in (joined, alone())]
  (state, metrics), (other, others) = results
  tiny.assert_close(state.params, other.params, atol=1e-6)
  assert abs(metrics['loss/total'] - others['loss/total']) < 1e-5
  assert tiny.moved(it.state.params, state.params) > 1e-3


def test_what_cannot_be_packed_is_an_error():
  tokenizer = characters(alphabet=ALPHABET)
  make = lambda task, width: Recorded(
    'demonstrations', Stream(task, 'train', 2), tokenizer, 1, width, True
  )
  with pytest.raises(ConfigError, match='give the task a size'):
    make(collection()._replace(size=lambda split: None), WIDTH)
  with pytest.raises(ConfigError, match='tokens of prompt and response, the limit is 10'):
    make(collection(), 9)


def test_conversations_are_packed_with_every_answer_marked():
  stream = Stream(collection(6, talk=True), 'train', 1)
  batch = Recorded('demonstrations', stream, talking(), 60, 60, True).batch(0)
  assert batch.valid.max() > 1
  starts = np.flatnonzero(np.diff(batch.target[0].astype(int)) == 1)
  assert len(starts) == batch.valid.max()


STAGE = dict(preset='sft', group=1, packing=True, task='letters(letters=4, length=2, size=24)')


def test_a_stage_packs_and_resumes_exactly(tmp_path, monkeypatch):
  c = config(sft=dict(STAGE, prompts=2))
  c.tokenizer = 'characters(alphabet="abcd=")'
  assert run_until(c, tmp_path / 'cut', 2, monkeypatch)
  run(c, tmp_path / 'cut'), run(c, tmp_path / 'whole')
  (_, state, place), (_, other, elsewhere) = (saved(c, tmp_path / n) for n in ('cut', 'whole'))
  assert place == elsewhere
  jax.tree.map(np.testing.assert_array_equal, state, other)


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(preset='grpo', group=2), 'is for demonstrations, this stage learns from samples'),
    (dict(algorithm=dict(aggregator='seq_mean_token_mean')), 'counts rows'),
  ],
)
def test_packing_where_it_changes_the_loss_is_refused(changes, message, tmp_path):
  c = config(sft=dict(STAGE) | changes)
  c.tokenizer = 'characters(alphabet="abcd=")'
  with pytest.raises(ConfigError, match=message):
    run(c, tmp_path)


def test_padding_of_a_packed_row_is_neither_seen_nor_learned():
  batch = packed(batch=4).batch(0)
  assert (batch.valid == 0).any() and not (batch.target & (batch.valid == 0)).any()
  it = tiny.setup('sft')
  spoiled = batch.replace(tokens=np.where(batch.valid == 0, 5, batch.tokens))
  scores = [it.policy.score(it.state.params, e).logp for e in (batch, spoiled)]
  np.testing.assert_allclose(*(jnp.where(batch.target, x, 0) for x in scores), atol=1e-6)
