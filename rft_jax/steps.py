"""The steps: where every algorithm ends.

`make_learn` turns an objective into an update (epochs x minibatches x micro-batches);
`make_rl_step` puts sampling and scoring in front of it, in one function to be compiled as one
program. `axis` names the mapped axis of a `pmap`; without it arrays are global and sums are plain.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from rft_jax.types import Array, Experience, Objective, Prompts, Total, TrainState

Learn = Callable[[TrainState, Experience, Array], tuple[TrainState, dict[str, Array]]]


def make_total(axis: str | None) -> Total:
  """The sum over all entries and, under `pmap`, over all devices, as f32[]."""

  def total(x):
    x = x.astype(jnp.float32).sum()
    return jax.lax.psum(x, axis) if axis else x

  return total


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

  def gradient(params, part, rng):
    (value, metrics), grads = jax.value_and_grad(objective.loss, has_aux=True)(params, part, rng)
    return grads, metrics | {'loss/total': value}

  def update(state, batch, rng):
    batch = objective.weigh(batch, total)
    if microbatches == 1:
      grads, metrics = gradient(state.params, batch, rng)
    else:
      parts = jax.tree.map(lambda x: x.reshape(microbatches, -1, *x.shape[1:]), batch)
      inputs = parts, jax.random.split(rng, microbatches)
      shapes = jax.eval_shape(gradient, state.params, *jax.tree.map(lambda x: x[0], inputs))
      (grads, metrics), _ = jax.lax.scan(
        lambda sums, x: (jax.tree.map(jnp.add, sums, gradient(state.params, *x)), None),
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
    if epochs * minibatches == 1:
      state, metrics = update(state, batch, rng)
      return state.replace(step=state.step + 1), metrics
    order, pick = _shuffle(batch, rng, epochs, minibatches, axis)

    def one(state, inputs):
      groups, rng = inputs
      return update(state, pick(groups), rng)

    rngs = jax.random.split(jax.random.fold_in(rng, 1), epochs * minibatches)
    state, metrics = jax.lax.scan(one, state, (order, rngs))
    return state.replace(step=state.step + 1), jax.tree.map(lambda x: x.mean(0), metrics)

  return learn


def _shuffle(batch, rng, epochs, minibatches, axis):
  """order i32[epochs * minibatches, groups of a minibatch] over all devices, and the local rows of
  one minibatch."""
  size = batch.experience.group
  if axis:
    batch = jax.lax.all_gather(batch, axis, tiled=True)
  groups = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), batch)
  count = len(groups.experience.tokens)
  order = jax.vmap(lambda key: jax.random.permutation(key, count))(jax.random.split(rng, epochs))

  def pick(chosen):
    if axis:
      chosen = chosen.reshape(jax.lax.axis_size(axis), -1)[jax.lax.axis_index(axis)]
    return jax.tree.map(lambda x: x[chosen].reshape(-1, *x.shape[2:]), groups)

  return order.reshape(epochs * minibatches, count // minibatches), pick


def reward_last(experience: Experience, rewards: Array) -> Experience:
  """Puts one reward per sequence, f32[N], on its last produced token."""
  later = jnp.cumsum(experience.target[:, ::-1], 1)[:, ::-1]
  last = experience.target & (later == 1)
  return experience.replace(rewards=jnp.where(last, rewards[:, None], 0))


def describe(experience: Experience, stop: Array, total: Total) -> dict[str, Array]:
  """What was sampled: mean reward, length in tokens, share of rows without a stop token, tokens
  produced."""
  target, rows = experience.target, total(jnp.ones(len(experience.tokens)))
  stopped = (target & (experience.tokens[..., None] == stop).any(-1)).any(1)
  groups = jnp.where(target, experience.rewards, 0).sum(1).reshape(-1, experience.group)
  mixed = (groups.max(1) > groups.min(1)).astype(jnp.float32)
  tokens = total(target)
  return {
    'reward/mean': total(groups) / rows,
    'reward/mixed_groups': total(mixed) / total(jnp.ones_like(mixed)),
    'rollout/length': tokens / rows,
    'rollout/truncated': 1 - total(stopped) / rows,
    'rollout/tokens': tokens,
    'rollout/logp': total(experience.behaviour_logp) / jnp.maximum(tokens, 1),
  }


def average(columns: dict[str, Array], total: Total) -> dict[str, Array]:
  """Means of f32[N] over the rows that have a number, NaN where none has."""
  out = {}
  for name, x in columns.items():
    known = ~jnp.isnan(x)
    out[name] = total(jnp.where(known, x, 0)) / total(known)
  return out


def make_rl_step(rollout, reward, learn: Learn, axis: str | None = None, metrics=None):
  """rl_step(state, prompts, sampling, rng) -> (state, metrics): sample, score, estimate advantages,
  update.

  reward(tokens i32[N,C], target bool[N,C], answer) -> f32[N] and metrics(same) -> dict of f32[N]
  see completions, and the answer of each row. Noise comes from rng and the prompts' ids, so `rng`
  is the same at every step.
  """
  total = make_total(axis)

  def rl_step(state: TrainState, prompts: Prompts, options, rng: Array):
    experience = rollout(state.params, prompts, options, rng, state.step)
    experience, facts = score_in_graph(experience, prompts, reward, metrics, total)
    facts |= describe(experience, options.stop, total)
    state, learned = learn(state, experience, learning_rng(rng, state.step))
    return state, facts | learned

  return rl_step


def score_in_graph(experience: Experience, prompts: Prompts, reward, metrics, total: Total):
  """Applies a task's JAX verifier to the completions -> (experience with rewards, averaged task
  metrics)."""
  e = experience
  answer = jax.tree.map(lambda x: jnp.repeat(x, e.group, 0), prompts.answer)
  arguments = (e.tokens[:, e.prefix :], e.target[:, e.prefix :], answer)
  columns = {f'task/{k}': v for k, v in metrics(*arguments).items()} if metrics else {}
  return reward_last(e, reward(*arguments)), average(columns, total)


def learning_rng(rng: Array, step: Array) -> Array:
  """The noise of an update, apart from that of the samples."""
  return jax.random.fold_in(jax.random.fold_in(rng, 0x1EA4), step)
