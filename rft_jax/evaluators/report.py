"""What an evaluation says."""

from typing import NamedTuple

from rft_jax.registry import ConfigError


class Report(NamedTuple):
  """metrics: 'eval/accuracy' etc.; samples: prompt, completion and reward of every problem, always
  the same ones."""

  metrics: dict[str, float]
  samples: list[dict]


def batch_size(stage) -> tuple[int, int]:
  """Held-out problems in all, and at once: the largest batch no larger than a training one that
  divides them, for any device. Of a small data set as many as the devices can share equally, of one
  smaller than that some twice."""
  c, shards = stage.config, stage.placement.shards
  wanted, available = c.evaluate.prompts, stage.task.size('test')
  if available and available < wanted:
    wanted = max(available - available % shards, shards)
  for size in range(min(c.prompts * c.group, wanted), 0, -1):
    if wanted % size == 0 and size % shards == 0:
      return wanted, size
  raise ConfigError(f'evaluate.prompts={wanted} must be a multiple of the {shards} data shards')
