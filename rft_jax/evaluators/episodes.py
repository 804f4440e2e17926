"""Episodes: the share of held-out problems that are solved within the turns there are."""

import jax
import jax.numpy as jnp

from rft_jax.algorithms.groups import sequence_rewards
from rft_jax.collecting import in_turns
from rft_jax.evaluators.report import Report, batch_size
from rft_jax.steps import make_total

FULL = 1 - 1e-6


def make(stage):
  """evaluate(state) -> Report: 'eval/accuracy', the share of attempts whose rewards add up to 1 or
  more; 'eval/reward' and 'eval/turns', their means."""
  c, session = stage.config, stage.session
  wanted, batch = batch_size(stage)
  stream = session.stream(stage.task, 'test', batch)
  total, turns = make_total(stage.placement.axis), stage.task.environment.turns
  collect = in_turns(stage.rollout(1), stage.task.environment, 1, total)
  options = session.sampling(temperature=c.evaluate.temperature)
  rng = jax.random.fold_in(jax.random.key(session.config.seed), 0xE7A1)

  def run(state, prompts, options, rng):
    experience, facts = collect(state, prompts, options, rng)
    solved = sequence_rewards(experience).reshape(-1, turns).sum(1) >= FULL
    return facts | {'accuracy': total(solved) / total(jnp.ones_like(solved))}

  compiled = stage.placement.compile(run, 'sbrr')

  def evaluate(state):
    parts = []
    for i in range(wanted // batch):
      prompts, _ = stream.prompts(session.tokenizer, i, c.max_prompt)
      prompts = stage.placement.put_batch(prompts)
      parts.append(stage.placement.scalars(compiled(state, prompts, options, rng)))
    mean = lambda name: sum(p[name] for p in parts) / len(parts)
    metrics = {
      'eval/accuracy': mean('accuracy'),
      'eval/reward': mean('reward/episode'),
      'eval/turns': mean('rollout/turns'),
    }
    return Report(metrics, [])

  return evaluate
