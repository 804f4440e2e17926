"""What holds for every piece of every family, read from the registry: new ones are tested too."""

import jax
import jax.numpy as jnp
import numpy as np
import pieces
import pytest
from pieces import PER_ROW, PER_TOKEN

from rft_jax.algorithms.families import FAMILIES

ALL = pieces.pieces()
TOKENWISE = pieces.pieces(*PER_TOKEN)
ROWWISE = pieces.pieces(*PER_ROW)
BY_WIDTH = {
  ('aggregator', 'seq_mean_token_sum_norm'): dict(length=10),
  ('shaping', 'overlong'): dict(limit=6),
}
"""Pieces whose default is the width of the arrays."""
BOTH = {k: BY_WIDTH.get(k, {}) for k in ALL}
each = pytest.mark.parametrize('family,name', ALL)


def same(a, b, **tolerance):
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, **(dict(rtol=2e-5, atol=2e-6) | tolerance)), a, b
  )


def inside(w, out):
  """Only what losses see, where there is a column for each token."""
  mask = w.targets.mask
  return jax.tree.map(lambda x: jnp.where(mask, x, 0) if jnp.shape(x) == mask.shape else x, out)


def result(family, name, w):
  return inside(w, pieces.apply(family, name, w, **BOTH[family, name]))


@each
def test_compiled_or_not_is_the_same(family, name):
  w = pieces.world()
  compiled = jax.jit(lambda w: pieces.apply(family, name, w, **BOTH[family, name]))
  same(inside(w, compiled(w)), result(family, name, w))


@pytest.mark.parametrize('family,name', TOKENWISE + ROWWISE)
def test_the_order_of_groups_does_not_matter(family, name):
  w = pieces.world()
  order = np.arange(pieces.ROWS).reshape(-1, pieces.GROUP)[[2, 0, 1]].reshape(-1)
  expected = jax.tree.map(lambda x: x[order], result(family, name, w))
  same(result(family, name, pieces.rows(w, order)), expected)


@pytest.mark.parametrize(
  'family,name', [(f, n) for f, n in TOKENWISE if 'turn' not in FAMILIES[f].needed(n)]
)
def test_the_order_within_a_group_does_not_matter(family, name):
  w = pieces.world()
  order = np.concatenate([[1, 3, 0, 2], np.arange(4, pieces.ROWS)])
  expected = jax.tree.map(lambda x: x[order], result(family, name, w))
  same(result(family, name, pieces.rows(w, order)), expected)


@pytest.mark.parametrize('family,name', TOKENWISE + ROWWISE)
def test_padding_does_not_matter(family, name):
  w = pieces.world()
  wide = pieces.widened(w, 2, 3)
  cut = lambda x: x[:, 2:-3] if x.ndim == 2 and x.shape[1] == pieces.WIDTH + 5 else x
  same(jax.tree.map(cut, result(family, name, wide)), result(family, name, w))


@each
def test_a_piece_reads_nothing_that_it_does_not_declare(family, name):
  w, needs = pieces.world(), FAMILIES[family].needed(name)
  spoiled = pieces.spoiled(w, needs, family)
  same(result(family, name, spoiled), result(family, name, w))


SENSITIVE = dict(rec=dict(clip='two-side'), clipb=dict(mu=0.0), clipv=dict(mu=0.0, share=0.9))
"""Options under which a piece uses all that it may."""
NUMBERS = {'old_logp', 'ref_logp', 'teacher_logp', 'values', 'entropy', 'baseline', *pieces.OLD}


@pytest.mark.parametrize(
  'family,name,need',
  [
    (f, n, need)
    for f, n in pieces.pieces('advantage', 'policy_loss', 'kl', 'filter', 'reward', 'preference')
    for need in sorted(FAMILIES[f].needed(n) & NUMBERS)
  ],
)
def test_a_piece_reads_what_it_declares(family, name, need):
  w = pieces.world()
  without = pieces.spoiled(w, FAMILIES[family].needed(name) - {need}, family)
  use = lambda w: inside(w, pieces.apply(family, name, w, **SENSITIVE.get(name, {})))
  before, after = (jax.tree.leaves(use(x)) for x in (w, without))
  assert any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(before, after, strict=True))


def extremes():
  """Name -> a world at the edge of what is allowed."""
  w = pieces.world()
  e, t, now = w
  alone = w._replace(experience=e.replace(group=1))
  equal = w._replace(experience=e.replace(rewards=jnp.zeros_like(e.rewards)))
  unknown = w._replace(experience=e.replace(rewards=e.rewards.at[:5].set(jnp.nan)))
  nothing = jnp.zeros_like(t.mask)
  empty = pieces.World(e.replace(target=nothing), t.replace(mask=nothing), now)
  row = t.mask.at[:5].set(False)
  rowless = pieces.World(e.replace(target=row), t.replace(mask=row), now)
  far = {
    f'ratio e^{x}': pieces.World(e, t.replace(old_logp=now.logp - x, ref_logp=now.logp + x), now)
    for x in (50, -50)
  }
  return dict(
    group_of_one=alone,
    equal_rewards=equal,
    no_verdict=unknown,
    empty=empty,
    empty_rows=rowless,
    **far,
  )


EXTREMES = extremes()


@pytest.mark.parametrize('extreme', EXTREMES)
@pytest.mark.parametrize('family,name', TOKENWISE + ROWWISE)
def test_the_edge_of_what_is_allowed_gives_finite_numbers(family, name, extreme):
  assert pieces.finite(result(family, name, EXTREMES[extreme]))


@pytest.mark.parametrize('extreme', EXTREMES)
@pytest.mark.parametrize('family,name', pieces.pieces('policy_loss', 'kl'))
def test_the_edge_of_what_is_allowed_gives_finite_gradients(family, name, extreme):
  w = EXTREMES[extreme]

  def total(logp):
    return inside(w, pieces.apply(family, name, w._replace(now=w.now._replace(logp=logp)))).sum()

  gradient = jax.grad(total)(w.now.logp)
  assert pieces.finite(gradient)
  assert (np.asarray(gradient)[~np.asarray(w.targets.mask)] == 0).all()


COMPARING = [x for x in pieces.pieces('advantage') if 'several' in FAMILIES[x[0]].needed(x[1])]
"""Advantages that compare the samples of a prompt."""


@pytest.mark.parametrize('family,name', [x for x in COMPARING if x[1] != 'asymre'])
def test_equal_rewards_push_nothing_where_samples_are_compared(family, name):
  assert not np.asarray(result(family, name, EXTREMES['equal_rewards'])[0]).any()


@pytest.mark.parametrize('family,name', COMPARING)
def test_a_row_without_a_verdict_does_not_change_the_others(family, name):
  """Its advantage is that of a row with no reward at most; the statistics are those of the rest."""
  w = EXTREMES['no_verdict']
  gone = w.experience.target & ~jnp.isnan(w.experience.rewards).any(1, keepdims=True)
  rest = w._replace(
    experience=w.experience.replace(target=gone, rewards=jnp.nan_to_num(w.experience.rewards))
  )
  with_nan, without = (result(family, name, x)[0] for x in (w, rest))
  same(jnp.where(gone, with_nan, 0), jnp.where(gone, without, 0))


@pytest.mark.parametrize(
  'family,name', pieces.pieces('policy_loss', 'kl', 'value_loss', 'preference')
)
def test_bfloat16_inputs_give_nearly_the_same(family, name):
  w = pieces.world()
  half = lambda x: x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x
  low = jax.tree.map(half, w)
  expected = result(
    family,
    name,
    jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x, low),
  )
  found = jax.tree.map(lambda x: np.asarray(x, np.float32), result(family, name, low))
  scale = max(1.0, max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected)))
  same(found, expected, rtol=0.05, atol=0.05 * scale)


@pytest.mark.parametrize('family', FAMILIES)
def test_every_piece_says_what_it_is_and_where_it_is_from(family):
  for name, function in FAMILIES[family].members.items():
    said = function.__doc__ or ''
    whole = said + (__import__(function.__module__, fromlist=['x']).__doc__ or '')
    assert said, f'{family} {name} has no docstring'
    assert (
      'Source' in whole or 'arXiv' in whole or family in ('aggregator', 'reference', 'expert')
    ), (family, name)
