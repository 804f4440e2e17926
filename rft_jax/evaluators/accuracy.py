"""Accuracy: the share of held-out problems whose answer earns the full reward."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from rft_jax.collecting import in_graph
from rft_jax.data.text import completion
from rft_jax.evaluators.report import Report, batch_size
from rft_jax.sampling import make_rollout
from rft_jax.steps import make_total
from rft_jax.types import PyTree

FULL = 1 - 1e-6


def make(stage, scorer) -> Callable[[PyTree], Report]:
  """evaluate(state) -> Report on the first `evaluate.prompts` test problems of the stage's task,
  one completion each."""
  c, task, placement = stage.config, stage.task, stage.placement
  tokenizer, seed = stage.session.tokenizer, stage.session.config.seed
  wanted, batch = batch_size(stage)
  rollout = make_rollout(stage.policy.decoder, 1, c.max_new)
  options = stage.session.sampling(temperature=c.evaluate.temperature)
  total, stream = make_total(placement.axis), stage.session.stream(task, 'test', batch)
  rng = jax.random.fold_in(jax.random.key(seed), 0xE7A1)
  judge = in_graph(task.jit_reward, task.jit_metrics, total=total)

  def run(state, prompts, options, rng):
    experience = rollout(state.weights, prompts, options, rng, state.step)
    if task.jit_reward is None:
      return experience, {}
    return judge(state, experience, prompts)

  compiled = placement.compile(run, 'sbrr')

  def evaluate(state):
    parts = [_part(i, state) for i in range(wanted // batch)]
    samples = [s for part in parts for s in part[1]]
    rewards = np.array([s['reward'] for s in samples])
    extra = {
      k: float(np.nanmean([p[0][k] for p in parts]))
      if any(p[0][k] == p[0][k] for p in parts)
      else np.nan
      for k in parts[0][0]
    }
    return Report(
      {
        'eval/accuracy': float((rewards >= FULL).mean()),
        'eval/reward': float(rewards.mean()),
        'eval/length': float(np.mean([s['tokens'] for s in samples])),
        **extra,
      },
      samples,
    )

  def _part(index, state):
    prompts, examples = stream.prompts(tokenizer, index, c.max_prompt)
    experience, facts = compiled(state, placement.put_batch(prompts), options, rng)
    experience = placement.rows(experience)
    texts = completions(tokenizer, experience)
    rewards = (
      experience.rewards.sum(1) if task.jit_reward else scorer.submit(texts, examples).result()
    )
    samples: list[dict[str, Any]] = [
      dict(prompt=e.prompt, completion=t, reward=float(r), tokens=int(n))
      for e, t, r, n in zip(examples, texts, rewards, experience.target.sum(1), strict=True)
    ]
    return {k.replace('task/', 'eval/'): v for k, v in placement.scalars(facts).items()}, samples

  return evaluate


def completions(tokenizer, experience) -> list[str]:
  """The texts that the policy produced in the rows of an experience on the host."""
  return [
    completion(tokenizer, row[mask])
    for row, mask in zip(experience.tokens, experience.target, strict=True)
  ]
