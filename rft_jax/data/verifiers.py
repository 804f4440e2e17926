"""Strict verification of reasoning-gym answers: 1 or 0, and no credit for anything but an answer.

The scorers of reasoning-gym evaluate model text (`eval`, sympy), search it for the answer, ignore
what they cannot parse, or score 'nan' as 1. Here a text has to match its set's grammar from end to
end before any code reads it. Free of JAX, so that worker processes start fast.
"""

import re
from typing import Any

from rft_jax.data.gym.checks import CHECKS

LONGER = 8
TAGGED = re.compile(r'<answer>(.*?)</answer>', re.DOTALL)


def verify(completion: str, example: Any, *, answer_tags: bool, max_answer: int) -> float:
  """1.0 for a right answer, else 0.0. `example.answer` is what `tasks.reasoning_gym` wrote.

  Texts longer than `max_answer` characters, and than `LONGER` known answers, are wrong.
  """
  problem = example.answer
  text = answer_of(completion) if answer_tags else completion.strip()
  if not text:
    return 0.0
  known = (problem['answer'] or '').strip()
  if text == known:
    return 1.0
  check = CHECKS.get(problem['dataset'])
  long = len(text) > max(max_answer, LONGER * len(known))
  if not check or long or not re.fullmatch(check.grammar, text, re.ASCII):
    return 0.0
  try:
    return float(check.solves(text, problem))
  except Exception:  # whatever an answer breaks, it is wrong
    return 0.0


def answer_of(completion: str) -> str:
  """The text inside the only pair of answer tags; '' without a pair and with further tags."""
  inside = TAGGED.findall(completion)
  once = completion.count('<answer>') == 1 and completion.count('</answer>') == 1
  return inside[0].strip() if once and inside else ''
