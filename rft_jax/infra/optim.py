"""Optimisers from config."""

import jax
import optax

from rft_jax.registry import ConfigError, nearest


def make_optimizer(config, updates: int) -> optax.GradientTransformation:
  """AdamW with clipping by global norm; `updates` optimiser steps in all decide where a decaying
  schedule ends."""
  rate = schedule(config, updates)
  return optax.chain(
    optax.clip_by_global_norm(config.clip) if config.clip else optax.identity(),
    optax.adamw(
      rate,
      config.b1,
      config.b2,
      config.eps,
      weight_decay=config.weight_decay,
      mask=lambda params: jax.tree.map_with_path(_decays, params),
    ),
  )


def schedule(config, updates: int) -> optax.Schedule:
  """Linear warm-up to `lr`, then constant, or linear or cosine to `final * lr`."""
  rest, end = max(updates - config.warmup, 1), config.lr * config.final
  after = dict(
    constant=lambda: optax.constant_schedule(config.lr),
    linear=lambda: optax.linear_schedule(config.lr, end, rest),
    cosine=lambda: optax.cosine_decay_schedule(config.lr, rest, config.final),
  )
  if config.schedule not in after:
    raise ConfigError(f'optimizer.schedule={config.schedule!r}: {nearest(config.schedule, after)}')
  warmup = optax.linear_schedule(config.lr / (config.warmup + 1), config.lr, max(config.warmup, 1))
  return optax.join_schedules([warmup, after[config.schedule]()], [config.warmup])


def _decays(path, leaf):
  """Matrices decay, norm scales and biases do not (stacked over layers, both have more than one
  axis)."""
  name = str(path[-1])
  return not ('norm' in name or 'bias' in name)
