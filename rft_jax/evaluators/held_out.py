"""Held-out loss: what training minimises, on recorded data that it never sees."""

import jax

from rft_jax.data.recorded import Recorded
from rft_jax.evaluators.report import Report, batch_size
from rft_jax.steps import make_total
from rft_jax.types import Objective


def make(stage, objective: Objective, kind: str, kept: tuple[str, ...] = ()):
  """evaluate(state) -> Report of an objective on test data of a kind of `data.recorded`:
  'eval/loss', and its metrics, such as 'eval/nll'; 'eval/accuracy' is that of preferences."""
  c, session = stage.config, stage.session
  wanted, batch = batch_size(stage)
  stream = session.stream(stage.task, 'test', batch)
  source = Recorded(kind, stream, session.tokenizer, c.max_prompt, c.max_new)
  total = make_total(stage.placement.axis)
  rng = jax.random.key(0)

  def run(state, experience):
    prepared = objective.prepare(state, experience, total)
    weighed = objective.weigh(state, prepared, total)
    value, metrics = objective.loss(state.weights, state, weighed, rng)
    return jax.tree.map(total, metrics | {'loss/loss': value})

  compiled = stage.placement.compile(run, 'sb')

  def evaluate(state):
    parts = [
      stage.placement.scalars(compiled(state, stage.placement.put_batch(source.batch(i))))
      for i in range(wanted // batch)
    ]
    means = {k: sum(p[k] for p in parts) / len(parts) for k in parts[0]}
    named = {name(k): v for k, v in means.items()}
    return Report({k: v for k, v in named.items() if k in (kept or named)}, [])

  return evaluate


def name(metric: str) -> str:
  """'loss/nll' -> 'eval/nll', 'preference/accuracy' -> 'eval/preference_accuracy'."""
  group, rest = metric.split('/')
  return f'eval/{rest}' if group == 'loss' else f'eval/{group}_{rest}'
