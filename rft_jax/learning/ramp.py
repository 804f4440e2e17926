"""The ramp: a candidate is served to more and more users while their votes do not speak against it.

Pure: votes in, a decision out.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rft_jax.registry import ConfigError


@dataclass(frozen=True)
class RampOptions:
  """`shares` of users that the stages serve; none, the default, publishes at once: right for a
  small deployment, a tenth of whose users would hardly vote."""

  shares: tuple[float, ...] = ()
  answers: int = 20  # votes on the candidate that end a stage
  seconds: float = 600.0  # after which a stage ends without them
  e_value: float = 20.0  # evidence that ends the trial: false alarms are at most one in so many
  votes_per_user: int = 5  # so that one user in a bad mood is no evidence

  def __post_init__(self):
    if not all(0 < a < b for a, b in zip(self.shares, (*self.shares[1:], 1), strict=False)):
      raise ConfigError(f'serve.ramp={self.shares} must rise between 0 and 1, such as (0.1, 0.5)')


class Vote(NamedTuple):
  """A thumb for an answer of the candidate, or of what is live meanwhile."""

  user_id: str
  candidate: bool
  up: bool


def worse(votes: Sequence[Vote], options: RampOptions) -> bool:
  """Whether the votes prove that users like the candidate less."""
  return e_value(*discordant(votes, options.votes_per_user)) >= options.e_value


def discordant(votes: Sequence[Vote], votes_per_user: int) -> tuple[int, int]:
  """(pairs that say worse, pairs that say better): the nth vote on the candidate is paired with
  the nth on what is live, in the order in which they came. Pairs that agree say nothing."""
  seen: Counter[tuple[str, bool]] = Counter()
  arms: dict[bool, list[bool]] = {True: [], False: []}
  for vote in votes:
    seen[vote.user_id, vote.candidate] += 1
    if seen[vote.user_id, vote.candidate] <= votes_per_user:
      arms[vote.candidate].append(vote.up)
  pairs = Counter(zip(arms[True], arms[False], strict=False))
  return pairs[False, True], pairs[True, False]


def e_value(against: int, in_favour: int) -> float:
  """Evidence that discordant pairs speak against the candidate more often than not.

  The likelihood ratio to a fair coin, averaged over all coins from 1/2 to 1. Where the candidate is
  no worse, its mean is at most 1 at any time, so it ever reaches 1/a with probability a at most:
  it may be looked at after each vote (Ville). In closed form, by exact integers.
  """
  n = against + in_favour
  tail = sum(math.comb(n + 1, j) for j in range(against + 1))
  return tail / ((n + 1) * math.comb(n, against))
