"""The steps: where every algorithm ends.

`make_learn` turns an objective into an update (epochs x minibatches x micro-batches);
`make_rl_step` puts sampling and scoring in front of it, in one function to be compiled as one
program. `axis` names the mapped axis of a `pmap`; without it arrays are global and sums are plain.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from rft_jax.collecting import Collect, beside
from rft_jax.types import Array, Batch, Experience, Objective, PyTree, Total, TrainState

Learn = Callable[[TrainState, PyTree, Array], tuple[TrainState, dict[str, Array]]]


class Across:
  """A `types.Total` over the devices of a `pmap` axis; None: arrays are global."""

  def __init__(self, axis: str | None):
    self.axis = axis

  def __call__(self, x: Array) -> Array:
    x = x.astype(jnp.float32).sum()
    return jax.lax.psum(x, self.axis) if self.axis else x

  def gather(self, tree: PyTree) -> PyTree:
    return jax.lax.all_gather(tree, self.axis, tiled=True) if self.axis else tree

  def own(self, tree: PyTree) -> PyTree:
    if not self.axis:
      return tree
    size, index = jax.lax.axis_size(self.axis), jax.lax.axis_index(self.axis)
    return jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:])[index], tree)


def make_total(axis: str | None) -> Total:
  return Across(axis)


def make_learn(
  objective: Objective,
  tx: optax.GradientTransformation,
  epochs: int = 1,
  minibatches: int = 1,
  microbatches: int = 1,
  axis: str | None = None,
) -> Learn:
  """learn(state, experience, rng) -> (state, metrics): one optimiser step per epoch and minibatch.

  Minibatches are drawn without replacement from all devices' groups; micro-batches only bound
  memory. Groups are never cut.
  """
  total = make_total(axis)

  def gradient(state, part, rng):
    loss = lambda params: objective.loss(state.whole(params), state, part, rng)
    (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
    return grads, metrics | {'loss/total': value}

  def update(state, batch, rng):
    batch = objective.weigh(state, batch, total)
    if microbatches == 1:
      grads, metrics = gradient(state, batch, rng)
    else:
      parts = tuple(_dealt(part, microbatches) for part in _parts(batch))
      parts = parts if isinstance(batch, tuple) else parts[0]
      inputs = parts, jax.random.split(rng, microbatches)
      shapes = jax.eval_shape(gradient, state, *jax.tree.map(lambda x: x[0], inputs))
      (grads, metrics), _ = jax.lax.scan(
        lambda sums, x: (jax.tree.map(jnp.add, sums, gradient(state, *x)), None),
        jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes),
        inputs,
      )
    if axis:
      grads, metrics = jax.lax.psum((grads, metrics), axis)
    metrics['update/grad_norm'] = optax.global_norm(grads)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    return state.replace(
      params=optax.apply_updates(state.params, updates), opt_state=opt_state
    ), metrics

  def learn(state, experience, rng):
    batch = objective.prepare(state, experience, total)
    sequences = total(jnp.ones(len(_parts(experience)[0].tokens)))
    watched = {k: total(x) / sequences for k, x in _parts(batch)[0].watched.items()}
    if epochs * minibatches == 1:
      state, metrics = update(state, batch, rng)
    else:
      one = lambda state, inputs: update(state, pick(inputs[0]), inputs[1])
      order, pick = _shuffle(batch, rng, epochs, minibatches, total)
      rngs = jax.random.split(jax.random.fold_in(rng, 1), epochs * minibatches)
      state, metrics = jax.lax.scan(one, state, (order, rngs))
      metrics = jax.tree.map(lambda x: x.mean(0), metrics)
    state = objective.adapt(state.replace(step=state.step + 1), metrics, sequences)
    return state, metrics | watched | {f'tuned/{name}': x for name, x in state.tuned.items()}

  return learn


def _parts(tree) -> tuple:
  return tree if isinstance(tree, tuple) else (tree,)


def _dealt(part: Batch, hands: int) -> Batch:
  """[N,...] -> [hands, N/hands, ...], groups dealt in turn: where rows are spread over devices,
  each hand has as many of each device."""
  group = part.experience.group

  def deal(x):
    cut = x.reshape(-1, hands, group, *x.shape[1:])
    return jnp.swapaxes(cut, 0, 1).reshape(hands, -1, *x.shape[1:])

  return jax.tree.map(deal, part)


def _shuffle(batch, rng, epochs, minibatches, total):
  """For each part of the batch: order i32[epochs * minibatches, groups of a minibatch] over all
  devices; and the function from such rows to the local rows of one minibatch."""
  whole = jax.tree.map(total.gather, batch, is_leaf=lambda x: isinstance(x, Batch))
  orders, cut = [], []
  for part in _parts(whole):
    size = part.experience.group
    cut.append(jax.tree.map(lambda x, size=size: x.reshape(-1, size, *x.shape[1:]), part))
    count = len(cut[-1].experience.tokens)
    keys = jax.random.split(rng, epochs)
    order = jax.vmap(lambda key, count=count: jax.random.permutation(key, count))(keys)
    orders.append(order.reshape(epochs * minibatches, count // minibatches))

  def pick(chosen):
    picked = []
    for groups, order in zip(cut, chosen, strict=True):
      rows = total.own(order)
      picked.append(jax.tree.map(lambda x: x[rows].reshape(-1, *x.shape[2:]), groups))
    return tuple(picked) if isinstance(batch, tuple) else picked[0]

  return tuple(orders), pick


def make_rl_step(collect: Collect, learn: Learn, join: Callable[..., PyTree] = beside):
  """rl_step(state, prompts, options, rng, *others) -> (state, metrics): sample, score, estimate
  advantages, update.

  others: experience that was not sampled now; join(experience, *others) is what is learned from.
  Noise comes from rng and the prompts' ids, so `rng` is the same at every step.
  """

  def rl_step(state: TrainState, prompts: PyTree, options, rng: Array, *others: Experience):
    experience, facts = collect(state, prompts, options, rng)
    state, learned = learn(state, join(experience, *others), learning_rng(rng, state.step))
    return state, facts | learned

  return rl_step


def learning_rng(rng: Array, step: Array) -> Array:
  """The noise of an update, apart from that of the samples."""
  return jax.random.fold_in(jax.random.fold_in(rng, 0x1EA4), step)
