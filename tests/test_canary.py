"""Laws of canary, ramp and agenda: what is worse is found out, what is the same passes."""

import random

import pytest

from rft_jax.feedback.records import GLOBAL
from rft_jax.learning.agenda import Agenda
from rft_jax.learning.canary import Canary, CanaryOptions, Probe
from rft_jax.learning.ramp import RampOptions, Vote, discordant, e_value, worse
from rft_jax.registry import ConfigError

GOOD = ['Paris is the capital of France.', 'It is four.', 'Blue whales are the largest.', 'Yes.']
PROBES = [Probe('a', lambda t: 'Paris' in t), Probe('b', lambda t: 'four' in t), Probe('c')]
PROBES += [Probe('d', lambda t: 'Yes' in t)]


def failed(after, before=GOOD, start=GOOD, losses=None, **options) -> list[str]:
  texts = {0: start, 4: before, 5: after}
  loss = losses and (lambda version: losses[version])
  canary = Canary(lambda version, prompts: texts[version], PROBES, loss, CanaryOptions(**options))
  return [finding.probe for finding in canary.judge(4, 5) if not finding.passed]


def test_what_answers_alike_passes():
  assert failed(GOOD) == []
  assert failed(['Paris it is, the capital of France.', *GOOD[1:]], losses={4: 2.0, 5: 2.03}) == []


@pytest.mark.parametrize(
  'after, probe',
  [
    (['Rome.' * 6, 'It is five.', *GOOD[2:]], 'verifiable'),
    ([*GOOD[:2], '', 'Yes.'], 'empty'),
    ([GOOD[0], GOOD[1] + ' it is so it is so it is so it is so', *GOOD[2:]], 'repetition'),
    ([text + ' And so on, for a long while more, without an end.' for text in GOOD], 'length'),
    (['Great question! ' + GOOD[0], *GOOD[1:]], 'flattery'),
    ([GOOD[0], GOOD[1], 'I cannot say what they are.', 'Yes.'], 'refusal'),
    ([*GOOD[:3], 'Yes?'], 'question'),
    ([*GOOD[:2], GOOD[2] + ' CANARY-7', 'Yes.'], 'forbidden'),
  ],
)
def test_each_way_of_getting_worse_has_a_probe(after, probe):
  assert failed(after, forbidden=('CANARY-7',)) == [probe]


def test_a_higher_loss_on_held_out_text_is_found():
  assert failed(GOOD, losses={4: 2.0, 5: 2.05}) == ['language']


def test_many_small_steps_down_do_not_pass():
  """One item less than what is live is allowed, but not two less than at the start."""
  one_less = ['Rome, the capital of Italy, no?', *GOOD[1:]][:1] + GOOD[1:]
  one_less[0] = 'Rome is the capital of France.'
  two_less = [one_less[0], 'It is five.', *GOOD[2:]]
  assert failed(one_less) == []
  assert failed(two_less, before=one_less) == ['verifiable']
  assert failed(two_less, before=one_less, start=one_less) == []


def trial(noise, candidate: float, live: float, votes: int, share: float = 0.5) -> int | None:
  """After how many votes, looked at one by one, the candidate is found worse."""
  options, seen = RampOptions(), []
  for n in range(votes):
    arm = noise.random() < share
    seen.append(Vote(f'u{n}', arm, noise.random() < (candidate if arm else live)))
    if worse(seen, options):
      return n + 1
  return None


@pytest.mark.parametrize('rate', [0.5, 0.9])
def test_a_candidate_that_is_as_good_is_rarely_refused(rate):
  noise = random.Random(0)
  alarms = sum(trial(noise, rate, rate, 120) is not None for _ in range(120))
  assert alarms <= 6


def test_a_bad_candidate_is_found_out():
  noise = random.Random(1)
  found = [trial(noise, 0.3, 0.8, 200) for _ in range(100)]
  assert all(found) and sorted(n or 0 for n in found)[90] <= 80


def test_a_better_candidate_is_no_alarm():
  noise = random.Random(2)
  assert not any(trial(noise, 0.9, 0.6, 120) for _ in range(50))


def test_evidence_is_the_average_likelihood_ratio():
  coins = [0.5 + 0.5 * (i + 0.5) / 4000 for i in range(4000)]
  for against, favour in [(0, 0), (3, 2), (9, 1), (2, 8)]:
    n = against + favour
    mean = sum(2**n * p**against * (1 - p) ** favour for p in coins) / len(coins)
    assert e_value(against, favour) == pytest.approx(mean, rel=1e-5)


def test_one_user_is_not_many():
  grumpy = [Vote('one', True, False)] * 50 + [Vote(f'u{n}', False, True) for n in range(50)]
  assert discordant(grumpy, 5) == (5, 0) and not worse(grumpy, RampOptions())
  assert worse(grumpy, RampOptions(votes_per_user=50))


def test_a_user_is_left_to_finish_and_does_not_wait_for_ever():
  agenda = Agenda(debounce=0.2, patience=1.0, enough=8, gather=2.0)
  for n in range(3):
    agenda.note('u:a', n * 0.1)
  assert agenda.take(0.35) is None and agenda.take(0.45) == 'u:a' and agenda.take(9.0) is None
  for n in range(40):
    agenda.note('u:a', 10 + n * 0.1)
    if agenda.take(10 + n * 0.1):
      break
  assert n == 10


def test_the_global_model_waits_for_a_batch_or_two_seconds():
  agenda = Agenda(debounce=0.2, patience=5.0, enough=8, gather=2.0)
  agenda.note(GLOBAL, 0.0)
  assert agenda.take(1.9) is None and agenda.take(2.0) == GLOBAL
  for _ in range(8):
    agenda.note(GLOBAL, 3.0)
  assert agenda.take(3.0) == GLOBAL


def test_the_scope_that_has_waited_longest_is_next():
  agenda = Agenda(0.2, 5.0, 8, 2.0)
  agenda.note('u:b', 0.0)
  agenda.note('u:a', 0.1)
  agenda.rest('u:b', 3.0)
  assert agenda.next_turn() == pytest.approx(0.3)
  assert [agenda.take(1.0), agenda.take(1.0), agenda.take(3.0)] == ['u:a', None, 'u:b']


@pytest.mark.parametrize('shares', [(0.5, 0.1), (0.0, 0.5), (0.1, 1.0), (0.2, 0.2)])
def test_shares_of_users_must_rise(shares):
  with pytest.raises(ConfigError, match='ramp'):
    RampOptions(shares)
  assert RampOptions((0.1, 0.5)).shares == (0.1, 0.5)
