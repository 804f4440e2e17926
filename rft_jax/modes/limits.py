"""What a stage's settings must keep to, and which of them make a step smaller."""

from rft_jax.algorithms.algorithm import Algorithm
from rft_jax.infra.parallel import Placement
from rft_jax.models.config import ModelConfig
from rft_jax.registry import ConfigError


def check_sizes(config, shards: int) -> None:
  """Raises ConfigError, before anything is compiled, where a batch cannot be cut as asked."""
  parts = shards * config.minibatches * config.microbatches
  wanted = dict(prompts=config.prompts)
  if config.demonstrations.prompts:
    wanted['demonstrations.prompts'] = config.demonstrations.prompts
  for name, count in wanted.items():
    if count % parts:
      raise ConfigError(
        f'{name}={count} must be a multiple of {parts}: {shards} shards x minibatches='
        f'{config.minibatches} x microbatches={config.microbatches}: groups are never cut'
      )


def check_length(config, model: ModelConfig) -> None:
  """Raises ConfigError where rows are longer than the positions that a model has."""
  what = f'max_prompt={config.max_prompt} + max_new={config.max_new}, rows of'
  model.check_length(config.max_prompt + config.max_new, what)


def check_packing(config, algorithm: Algorithm) -> None:
  """Raises ConfigError where rows of several demonstrations do not suit what is learned."""
  aggregator = algorithm.parts['aggregator']
  if config.packing and algorithm.source != 'demonstrations':
    raise ConfigError(
      f'packing=True is for demonstrations, this stage learns from {algorithm.source}: set it False'
    )
  if config.packing and not aggregator.startswith('token_'):
    raise ConfigError(
      f'aggregator {aggregator!r} counts rows, and packing=True puts several texts in one: use '
      "'token_mean', or packing=False"
    )


def ways_out(config, name: str, placement: Placement) -> str:
  """The settings that make a step of stage `name` smaller, those that cost least first."""
  c, model, several = config[name], config.model, len(placement.devices) > 1
  hands = placement.shards * c.minibatches * c.microbatches
  ways = {
    f'{name}.microbatches={2 * c.microbatches}': c.prompts % (2 * hands) == 0,
    "model.remat='full'": model.remat != 'full',
    "parallel.kind='mesh' with parallel.fsdp=0": several and placement.axis is not None,
    'parallel.fsdp=0': several and placement.axis is None and config.parallel.fsdp != 0,
    "model.dtype='bfloat16'": model.dtype != 'bfloat16',
    "model.param_dtype='bfloat16'": model.lora.rank and model.param_dtype != 'bfloat16',
    'model.lora.rank=16': not model.lora.rank,
    f'fewer {name}.prompts or a shorter {name}.max_new': True,
  }
  return 'try ' + ', or '.join(way for way, possible in ways.items() if possible)
