"""Runs the stages of a `configs/probe.py` config for several seeds at once, by `vmap` over the same
program that a run compiles."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))

import jax
import jax.numpy as jnp
import numpy as np

from configs import probe
from rft_jax.evaluators import make_evaluate
from rft_jax.modes.session import open_session
from rft_jax.modes.split import make_stage

EVERY = 10


def learn(preset: str, seeds: int, steps: int | None = None, every: int = EVERY) -> dict:
  """The held-out accuracy of a preset: 'steps' [K], 'accuracy' [K, seeds], the seconds that an
  iteration of all seeds takes, and those of the whole."""
  began = time.perf_counter()
  config = probe.get_config(preset)
  config.parallel.devices = 1
  if steps:
    config.probe.steps = steps
  session = open_session(config)
  keys = jax.random.split(jax.random.key(0), seeds)
  models = {'policy': jax.vmap(session.policies['policy'].init)(keys)}
  curve, seconds = [], 0.0
  for index, name in enumerate(config.stages):
    stage = make_stage(config[name], index, session, session.tasks[name], None)
    own = models.get(stage.config.model)
    if own is None:
      own = jax.vmap(session.policies[stage.config.model].init)(keys)
      own = own | {'decoder': jax.tree.map(jnp.copy, models['policy']['decoder'])}
    state, curve, seconds = train(stage, own, models, keys, every if name == 'probe' else 0)
    models[stage.config.model] = state.params
  return dict(
    steps=[step for step, _ in curve],
    accuracy=[accuracy.tolist() for _, accuracy in curve],
    step_s=seconds,
    total_s=time.perf_counter() - began,
  )


def train(stage, params, models, keys, every: int):
  """All iterations of a stage; the accuracy before, every so many and after."""
  state = jax.vmap(lambda p, m: stage.state(p, 0, m))(params, models)
  sampled = stage.algorithm.samples
  argument = (stage.options,) if sampled else ()
  count = len(stage.inputs(0))
  axes = (0, None, *[None] * len(argument), 0, *[None] * (count - 1))
  step = jax.jit(jax.vmap(stage.program, axes), donate_argnums=0)
  evaluate, curve, spent = evaluator(stage, keys) if every else None, [], []
  for i in range(stage.config.steps):
    if evaluate and i % every == 0:
      curve.append((i, evaluate(state)))
    first, *others = stage.inputs(i)
    began = time.perf_counter()
    state, metrics = step(state, first, *argument, keys, *others)
    jax.block_until_ready(metrics)
    spent.append(time.perf_counter() - began)
  if evaluate:
    curve.append((stage.config.steps, evaluate(state)))
  return state, curve, float(np.median(spent))


def evaluator(stage, keys):
  """evaluate(states) -> f32[seeds]: of a policy the share of right samples; of what learns from
  recorded preferences only, that of held-out pairs (or labels) which it ranks right."""
  one, a = make_evaluate(stage, None), stage.algorithm
  ranks = a.source in ('pairs', 'labels') and not a.nll
  metric = 'eval/preference_accuracy' if ranks else 'eval/accuracy'

  def evaluate(states):
    pick = lambda i: jax.tree.map(lambda x: jnp.asarray(x)[i], states)
    reports = [one(pick(i)).metrics for i in range(len(keys))]
    return np.array([r[metric] for r in reports])

  return evaluate
