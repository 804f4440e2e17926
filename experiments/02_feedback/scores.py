"""What feedback has changed: free generations at temperature 1, judged by a user's own utility."""

import concurrent.futures
import math
from collections.abc import Sequence
from typing import NamedTuple

from guest import Guest
from users import FactFixer, User

from rft_jax.data.smalltalk.answers import looks, states
from rft_jax.data.smalltalk.grammar import asked
from rft_jax.data.smalltalk.world import FACTS, TAUGHT, Fact, questions

SAMPLES = 8
AT_ONCE = 4  # samples of one request
THREADS = 4
Asked = list[tuple[str, Fact]]


class Sheet(NamedTuple):
  """Prompts with the facts that they ask for: `same` as was taught; `para`: in other words; `hold`:
  others to which the preference applies; `apart`: those on which nothing should change."""

  same: Asked
  para: Asked
  hold: Asked
  apart: Asked


class Score(NamedTuple):
  """Shares of samples: good ones by part of the sheet, and those `apart` that say what was believed
  before."""

  same: float
  para: float
  hold: float
  apart: float


def spread(rows: Sequence, count: int) -> list:
  """`count` of the rows, evenly."""
  return [rows[i * len(rows) // count] for i in range(min(count, len(rows)))]


def sheet(user: User, count: int = 6) -> Sheet:
  """At most `count` prompts a part."""
  topics = user.topics()
  same = [(asked(one, 'train')[0], one) for one in spread(topics, count)]
  others = [f for f in FACTS if f not in topics and f.kind in TAUGHT]
  apart = [(asked(one, 'train')[0], one) for one in spread(others, count)]
  if not isinstance(user, FactFixer):
    para = [(text, one) for one in topics for text in asked(one, 'test')]
    return Sheet(same, spread(para, count), apart, apart)
  one = user.fact
  para = [(text, one) for text in questions(one) if text != same[0][0]]
  forms = 'Hi, {}', 'Hey, {}', 'Please: {}', 'Hello! {}'
  hold = [(form.format(text), one) for form in forms for text, _ in para[:2]]
  return Sheet(same, spread(para, count), spread(hold, count), apart)


def measure(guest: Guest, user: User, sheet: Sheet, model: str = 'rft', note: str = '') -> Score:
  """SAMPLES answers to every prompt, as the server gives them to this guest now."""
  prompts = sorted({text for part in sheet for text, _ in part})
  texts = sample(guest, prompts, model, note)
  good = lambda rows: mean([user.likes(said, one) > 0 for ask, one in rows for said in texts[ask]])
  kept = [states(said, one) == one.value for ask, one in sheet.apart for said in texts[ask]]
  return Score(good(sheet.same), good(sheet.para), good(sheet.hold), mean(kept))


def sample(
  guest: Guest, prompts: Sequence[str], model: str = 'rft', note: str = ''
) -> dict[str, list[str]]:
  """Prompt -> SAMPLES answers."""
  calls = [prompt for prompt in prompts for _ in range(SAMPLES // AT_ONCE)]
  with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    answered = pool.map(lambda text: guest.ask(text, AT_ONCE, model, note=note), calls)
    found: dict[str, list[str]] = {prompt: [] for prompt in prompts}
    for prompt, answers in zip(calls, answered, strict=True):
      found[prompt] += [answer.text for answer in answers]
  return found


def styles(texts: dict[str, list[str]], style: str) -> float:
  """The share of answers in a style."""
  return mean([looks(said) == style for answers in texts.values() for said in answers])


def mean(values: Sequence[float]) -> float:
  return sum(values) / len(values) if values else math.nan


def wilson(good: int, of: int, z: float = 1.96) -> tuple[float, float]:
  """The interval of a share at 95 %."""
  centre, spread = (good + z * z / 2) / (of + z * z), good * (of - good) / of + z * z / 4
  half = z * math.sqrt(spread) / (of + z * z)
  return centre - half, centre + half


def n_80(curve: Sequence[tuple[int, float]], level: float = 0.8) -> int | None:
  """The fewest events after which a share reaches the level and stays there; None where none do."""
  reached = None
  for events, share in sorted(curve):
    if share < level:
      reached = None
    elif reached is None:
      reached = events
  return reached
