"""Evaluators: one file each, `make(stage, ...) -> evaluate(state) -> Report`."""

from collections.abc import Callable

from rft_jax.algorithms.algorithm import resolve
from rft_jax.evaluators import accuracy, episodes, held_out
from rft_jax.evaluators.report import Report
from rft_jax.objectives import make_objective
from rft_jax.types import PyTree


def make_evaluate(stage, scorer) -> Callable[[PyTree], Report]:
  """What suits a stage: answers to held-out problems where they can be verified, in one turn or in
  several, else the loss on held-out data; with evaluate.nll also how likely demonstrations are.
  scorer: worker processes of a verifier in Python."""
  parts = [_main(stage, scorer)]
  if stage.config.evaluate.nll:
    objective = make_objective(stage.policy, resolve('sft'))
    parts.append(held_out.make(stage, objective, 'demonstrations', ('eval/nll',)))
  if stage.algorithm.parts['preference'] and not stage.algorithm.samples:
    kept = 'eval/preference_accuracy', 'eval/preference_margin'
    parts.append(held_out.make(stage, stage.objective, stage.algorithm.source, kept))

  def evaluate(state):
    reports = [part(state) for part in parts]
    metrics = {k: v for report in reports for k, v in report.metrics.items()}
    return Report(metrics, reports[0].samples)

  return evaluate


def _main(stage, scorer):
  task = stage.task
  if stage.algorithm.parts['ranking']:
    return held_out.make(stage, stage.objective, stage.algorithm.source)
  if task.environment:
    return episodes.make(stage)
  if task.jit_reward or task.reward:
    return accuracy.make(stage, scorer)
  return held_out.make(stage, stage.objective, stage.algorithm.source)
