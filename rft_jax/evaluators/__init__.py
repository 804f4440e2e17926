"""Evaluators: one file each, `make(stage, scorer) -> evaluate(state) -> Report`."""

from rft_jax.evaluators import accuracy, episodes, held_out


def make_evaluate(stage, scorer):
  """What suits a stage: answers to held-out problems where they can be verified, in one turn or in
  several, else the loss on held-out data. scorer: worker processes of a verifier in Python."""
  task = stage.task
  if stage.algorithm.parts['ranking']:
    return held_out.make(stage)
  if task.environment:
    return episodes.make(stage)
  if task.jit_reward or task.reward:
    return accuracy.make(stage, scorer)
  return held_out.make(stage)
