"""Collecting: what is kept when sampling goes on, and how turns become rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from rft_jax.algorithms.groups import sequence_rewards
from rft_jax.collecting import against, in_graph, in_turns, make_collect, refilled, with_baseline
from rft_jax.data.text import answers, batch_prompts, characters
from rft_jax.infra.parallel import Pmap
from rft_jax.sampling import make_rollout
from rft_jax.steps import make_total
from rft_jax.tasks import make_task
from rft_jax.types import Example

ROUNDS = 3


def sometimes(tokens, target, answer):
  """Differs within a group for about half of the prompts only."""
  return jnp.where(answer % 2 == 0, tokens.sum(1) % 2, 1).astype(jnp.float32)


def rounds(count=8):
  """Prompts of several rounds, [B,rounds,...]; every other round's answers are odd."""
  batches = [tiny.prompts(count, seed=i) for i in range(ROUNDS)]
  batches = [
    b.replace(answer=b.answer // 4 * 2 + (np.arange(count) + i) % 2, ids=b.ids + 100 * i)
    for i, b in enumerate(batches)
  ]
  return jax.tree.map(lambda *x: np.stack(x, 1), *batches), batches


def collector(axis, refill=True):
  total = make_total(axis)
  rollout = make_rollout(tiny.standard('grpo').policy.decoder, tiny.GROUP, tiny.NEW)
  collect = make_collect(rollout, in_graph(sometimes, total=total), total)
  return refilled(collect, ROUNDS, total) if refill else collect


def collected(place, refill=True, prompts=None):
  collect = place.compile(collector(place.axis, refill), 'sbrr')
  batch = place.put_batch(rounds()[0] if prompts is None else prompts)
  state = place.put_state(tiny.standard('grpo').state)
  experience, facts = collect(state, batch, tiny.options(), tiny.RNG)
  return place.rows(experience), place.scalars(facts)


def test_refilling_keeps_the_first_groups_whose_rewards_differ():
  experience, facts = collected(tiny.alone())
  kept = []
  for batch in rounds()[1]:
    e, _ = collected(tiny.alone(), refill=False, prompts=batch)
    reward = sequence_rewards(e).reshape(-1, e.group)
    for i in np.flatnonzero(np.asarray(reward.max(1) > reward.min(1))):
      kept.append(jax.tree.map(lambda x, i=i: x[i * e.group : (i + 1) * e.group], e))
  assert len(kept) > 8 > 0 and facts['refill/filled'] == 1 and facts['refill/rounds'] > 1
  expected = jax.tree.map(lambda *x: np.concatenate(x), *kept[:8])
  jax.tree.map(np.testing.assert_array_equal, experience, expected)


def test_refilling_is_the_same_on_eight_devices():
  (one, facts), (eight, elsewhere) = (collected(p) for p in (tiny.alone(), Pmap(jax.devices())))
  tiny.assert_close(one, eight)
  assert facts == pytest.approx(elsewhere, rel=1e-5)


def test_what_cannot_be_refilled_stays_empty():
  dull, _ = rounds()
  experience, facts = collected(tiny.alone(), prompts=dull.replace(answer=dull.answer * 0 + 1))
  assert facts['refill/filled'] == 0 and facts['refill/rounds'] == ROUNDS
  assert not experience.target.any() and facts['reward/mean'] == 1


def test_the_baseline_is_the_reward_of_the_greedy_answer():
  total, it = make_total(None), tiny.standard('grpo')
  rollout, one = (make_rollout(it.policy.decoder, g, tiny.NEW) for g in (tiny.GROUP, 1))
  judge, batch = in_graph(tiny.reward, total=total), tiny.prompts(4)
  both = jax.jit(with_baseline(make_collect(rollout, judge, total), one, judge))
  experience, _ = both(it.state, batch, tiny.options(), tiny.RNG)
  e = jax.jit(one)(it.state.params, batch, tiny.options(temperature=0.0), tiny.RNG, jnp.int32(0))
  greedy = tiny.reward(e.tokens[:, e.prefix :], e.target[:, e.prefix :], batch.answer)
  np.testing.assert_allclose(experience.facts['baseline'], np.repeat(greedy, tiny.GROUP), rtol=1e-6)


def test_turns_become_rows_of_one_group():
  tokenizer = characters(alphabet='abcd=')
  task = make_task('letters(letters=4, length=3, turns=2)', tokenizer)
  examples = [task.example('train', i) for i in range(3)]

  prompts = batch_prompts(
    tokenizer, [e.prompt for e in examples], range(3), [e.answer for e in examples], 4
  )
  it, total = tiny.standard('grpo'), make_total(None)
  rollout = make_rollout(it.policy.decoder, 1, 3)
  collect = jax.jit(in_turns(rollout, task.environment, 2, total))
  e, facts = collect(it.state, prompts, tiny.options([tokenizer.eos_token_id]), tiny.RNG)
  assert e.group == 4 and len(e.tokens) == 12 and e.prefix == 0
  assert e.facts['run'].tolist() == [0, 0, 1, 1] * 3 and e.facts['turn'].tolist() == [0, 1] * 6
  first = np.asarray(e.tokens).reshape(3, 2, 2, -1)[:, :, 0, :4]
  assert (first == prompts.tokens[:, None]).all()
  rewards = np.asarray(sequence_rewards(e)).reshape(-1, 2)
  assert (rewards[:, 0] == 0).all(), 'all of it comes with the last turn'
  assert facts['reward/episode'] == pytest.approx(rewards.sum(1).mean())
  ids = np.array([tokenizer.convert_tokens_to_ids(c) for c in 'abcd'])
  second = np.asarray(e.tokens).reshape(3, 2, 2, -1)[:, :, 1, 2]
  assert (second == ids[[int(x.answer[0]) for x in examples]][:, None]).all()


def test_a_demonstration_stands_against_the_answer_to_the_same_prompt():
  tokenizer = characters(alphabet='abcd=')
  rows = [(Example('a=', None), 'b', 1.0), (Example('b=', None), 'c', 1.0)]
  e = answers(tokenizer, rows, 3, 3)
  own = e.replace(tokens=e.tokens[:, ::-1], rewards=e.rewards + 5)
  pair = against(own, e)
  assert pair.group == 2 and sequence_rewards(pair).tolist() == [1, 0, 1, 0]
  assert (pair.tokens[0::2] == e.tokens).all() and (pair.tokens[1::2] == own.tokens).all()
