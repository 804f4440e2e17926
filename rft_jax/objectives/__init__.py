"""Objectives: what a batch is made of, and the scalar that is minimised. One per kind of learning,
none per algorithm."""

from rft_jax.algorithms.algorithm import Algorithm, resolve
from rft_jax.models.policy import Policy
from rft_jax.objectives.mixture import mixture
from rft_jax.objectives.pairs import preference, ranking
from rft_jax.objectives.tokens import tokens
from rft_jax.types import Objective


def make_objective(
  policy: Policy, algorithm: Algorithm, temperature: float = 1.0, teacher: Policy | None = None
) -> Objective:
  """What `algorithm` minimises. `temperature` is that of the sampler, whose log-probabilities are
  meant; what was not sampled is scored at 1. teacher: the model of state.frozen['teacher'], where
  it is not built like the policy."""
  if algorithm.parts['ranking']:
    return ranking(policy, algorithm)
  if algorithm.parts['preference']:
    return preference(policy, algorithm)
  own = tokens(policy, algorithm, temperature if algorithm.samples else 1.0, teacher or policy)
  if not algorithm.parts['mix']:
    return own
  expert = resolve('sft', policy_loss=algorithm.parts['expert'])
  return mixture(own, tokens(policy, expert, 1.0, policy), algorithm.piece('mix'))
