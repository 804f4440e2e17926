"""The losses of feedback: their formulas, their gradients, and what must not count."""

import bigram
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from rft_jax.objectives import feedback as kinds
from rft_jax.objectives.feedback import FREE, KINDS, Rows, Seen, make_losses, strayed, weighted
from rft_jax.registry import ConfigError
from rft_jax.steps import make_total

WIDTH, BETA = 9, 0.1
SIGMA = lambda x: 1 / (1 + np.exp(-x))


def batch(kind, seed: int = 0) -> tuple[Rows, Seen]:
  """Two pairs of one kind, of several lengths; 64-bit numbers would hide nothing here."""
  draw = np.random.default_rng(seed)
  start, length = draw.integers(0, 3, (4, 1)), draw.integers(2, 6, (4, 1))
  column = np.arange(WIDTH)
  target = (column >= start) & (column < start + length)
  wide = lambda low, high: (draw.uniform(low, high, target.shape) * target).astype(np.float32)
  logp = wide(-2, -0.2)
  near = lambda: logp + wide(-0.2, 0.2)
  seen = Seen(logp, near(), near(), wide(0, 0.3), wide(0, 0.3))
  value = np.array([1, -1, 1, -1], np.float32)
  rows = Rows(
    target=target,
    emphasis=np.where(column % 2, 1.0, 0.2).astype(np.float32) * np.ones_like(logp),
    advantage=wide(-2, 2),
    kind=np.full(4, kind, np.int32),
    value=value,
    shift=np.array([0.3, 0.1, 0, 0.2], np.float32),
    weight=np.array([1, 0.5, 0.7, 0.2], np.float32),
    hold=np.array([0, 0.1, 0, 2], np.float32),
  )
  return rows, seen


def oracle(rows: Rows, seen: Seen) -> np.ndarray:
  """The losses as their formulas are written."""
  n, pair = rows.target.sum(1), np.arange(0, 4, 2)
  ratio = (seen.logp - seen.ref_logp).sum(1)
  x = BETA * (ratio[pair] - ratio[pair + 1] - np.maximum(0, -ratio[pair]))
  dpop = np.zeros(4)
  dpop[pair] = np.log1p(np.exp(-x))
  tie = np.zeros(4)
  tie[pair] = 0.25 * (BETA * (ratio[pair] - ratio[pair + 1])) ** 2
  emphasis = np.where(rows.target, rows.emphasis, 0)
  imitated = -(emphasis * seen.logp).sum(1) / emphasis.sum(1)
  rho = np.exp(seen.logp - seen.old_logp)
  surrogate = np.maximum(-rows.advantage * rho, -rows.advantage * np.clip(rho, 0.8, 1.2))
  surrogate = np.where(rows.advantage < 0, np.minimum(surrogate, -3 * rows.advantage), surrogate)
  h = BETA * (ratio - rows.shift)
  return {
    kinds.THUMB: np.where(rows.value > 0, 1 - SIGMA(h), SIGMA(h)),
    kinds.PAIR: dpop,
    kinds.TIE: tie,
    kinds.EDIT: imitated + 0.5 * dpop,
    kinds.DEMONSTRATION: imitated,
    kinds.HINDSIGHT: np.where(rows.target, surrogate, 0).sum(1) / n,
  }[int(rows.kind[0])]


every_kind = pytest.mark.parametrize('kind', range(len(KINDS)), ids=KINDS)
LOSSES = make_losses()


@jax.jit
def value(rows: Rows, seen: Seen):
  return weighted(rows, seen, LOSSES)[0]


gradient = jax.jit(jax.grad(lambda logp, rows, seen: value(rows, seen._replace(logp=logp))))


@every_kind
def test_each_loss_is_its_formula(kind):
  rows, seen = batch(kind)
  np.testing.assert_allclose(LOSSES(rows, seen), oracle(rows, seen), rtol=1e-5, atol=1e-6)
  penalty = (rows.hold[:, None] * seen.to_ref).sum()
  expected = (rows.weight * oracle(rows, seen)).sum() + penalty
  total, of_kind = weighted(rows, seen, LOSSES)
  np.testing.assert_allclose(total, expected, rtol=1e-5)
  np.testing.assert_allclose(of_kind[kind], expected - penalty, rtol=1e-5)


@every_kind
def test_each_gradient_is_that_of_finite_differences(kind):
  rows, seen = batch(kind, seed=3)
  found = gradient(seen.logp, rows, seen)
  step = 1e-3
  for row, column in zip(*np.nonzero(rows.target), strict=True):
    moved = []
    for sign in (1, -1):
      logp = np.array(seen.logp, np.float64)
      logp[row, column] += sign * step
      other = seen._replace(logp=logp)
      moved.append((rows.weight * oracle(rows, other)).sum())
    slope = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(found[row, column], slope, rtol=2e-3, atol=2e-5)


@every_kind
def test_rows_without_weight_and_padding_change_nothing(kind):
  rows, seen = batch(kind)
  rows = rows.replace(weight=np.float32([1, 1, 0, 0]), hold=np.float32([0, 0, 0, 0]))
  bad = jax.tree.map(np.copy, seen)
  for x in bad:
    x[2:] = np.where(rows.target[2:], 1e4, 0)
  wide = lambda x: np.pad(x, ((0, 2), (0, 3))) if x.ndim == 2 else np.pad(x, (0, 2))
  padded = jax.tree.map(wide, (rows, seen))
  assert value(rows, bad) == value(rows, seen)
  assert value(*padded) == value(rows, seen)
  found = gradient(bad.logp, rows, bad)
  assert not found[2:].any() and (found[:2] == gradient(seen.logp, rows, seen)[:2]).all()


def test_what_is_far_down_already_is_pushed_no_further():
  rows, seen = batch(kinds.THUMB)
  down = seen._replace(logp=np.where(rows.target, seen.ref_logp - 0.6, 0).astype(np.float32))
  found = np.abs(gradient(down.logp, rows.replace(hold=rows.hold * 0), down)).sum(1)
  assert (found[rows.value < 0] == 0).all() and (found[rows.value > 0] > 0).all()


PRESETS = dict(
  dpo=dict(pair='sigmoid'),
  ipo=dict(pair='ipo'),
  dpop=dict(pair='dpop'),
  cdpo=dict(pair='sigmoid(label_smoothing=0.1)'),
  kto=dict(single='kto'),
  apo_zero_unpaired=dict(single='kto'),
)


@pytest.mark.parametrize('preset', PRESETS)
def test_feedback_learns_what_the_presets_learn(preset):
  run, total = bigram.Learner(preset), make_total(None)
  near = jax.tree.map(lambda x: x + 0.2 * jnp.sin(9 * x), run.state.params)  # Nobody is at FLOOR.
  state, e = run.state.replace(frozen={'ref': near}), run.experience
  prepared = run.objective.weigh(state, run.objective.prepare(state, e, total), total)
  t = prepared.targets
  score = np.asarray(t.score)
  paired, n = 'pair' in PRESETS[preset], len(e.tokens)
  order = np.arange(n).reshape(-1, 2) if paired else np.arange(n)
  if paired:
    order = np.stack([o if score[o[0]] > score[o[1]] else o[::-1] for o in order]).reshape(-1)
  number = lambda x: jnp.broadcast_to(jnp.float32(x), (n,))
  rows = Rows(
    t.mask[order],
    *(jnp.ones(t.mask.shape), jnp.zeros(t.mask.shape)),
    jnp.full(n, kinds.PAIR if paired else kinds.THUMB),
    number(1) if paired else jnp.where(score > 0.5, 1.0, -1.0),
    number(0) if t.shift is None else t.shift,
    *(number(2 / n if paired else 1 / n), number(0)),
  )
  losses = make_losses(**PRESETS[preset])

  def mine(params):
    logp = jnp.where(t.mask, run.policy.score(params, e).logp, 0)[order]
    ref = jnp.where(t.mask, t.ref_logp, 0)[order]
    return weighted(rows, Seen(logp, ref, ref, 0 * ref, 0 * ref), losses)[0]

  theirs = lambda params: run.objective.loss(params, state, prepared, jax.random.key(0))[0]
  both = (jax.jit(jax.value_and_grad(loss))(state.params) for loss in (mine, theirs))
  tiny.assert_close(*both)


def test_a_loss_that_compares_several_events_is_refused():
  for spec in ('aot', 'simpo'):
    with pytest.raises(ConfigError, match='cannot judge single events'):
      make_losses(pair=spec)


def test_what_the_reference_knows_must_stay_and_what_it_leaves_open_may_go():
  """Two styles, equally likely, and one that it would hardly ever take."""
  log = lambda *p: jnp.log(jnp.array(p))
  undecided, certain = log(0.495, 0.495, 0.01), log(0.98, 0.01, 0.01)
  entropy = -float((jnp.exp(undecided) * undecided).sum())
  assert strayed(log(0.98, 0.01, 0.01), undecided, undecided) == 0  # A choice between styles.
  other = log(0.495, 0.1, 0.405)  # 0.01 is not plausible: all of its gain counts.
  np.testing.assert_allclose(strayed(other, undecided, undecided), 0.405 * np.log(40.5), rtol=1e-5)
  wrong = log(0.3, 0.69, 0.01)  # Where it is certain, nothing is free.
  np.testing.assert_allclose(strayed(wrong, certain, certain), 0.69 * np.log(69), rtol=1e-5)
  assert entropy + FREE > np.log(2)
  for now in (undecided, certain):
    assert strayed(now, now, undecided) == 0


def test_an_answer_that_stayed_within_what_is_open_gets_no_gradient_and_one_beyond_does():
  ref = jnp.log(jnp.array([0.49, 0.49, 0.02]))
  pull = jax.grad(lambda z: strayed(jax.nn.log_softmax(z), ref, ref))
  assert (pull(jnp.array([2.0, 0, -2])) == 0).all()
  assert pull(jnp.array([0.0, 0, 1]))[2] > 0.1
