"""What only the library itself can tell: its scorer, where that is strict behind a grammar."""

import contextlib
import functools
import io
import json
from collections.abc import Callable


def by_scorer(text: str, problem: dict) -> bool:
  """Full marks from the data set's own scorer."""
  entry = {'answer': problem['answer'], 'metadata': problem['facts']}
  with contextlib.redirect_stdout(io.StringIO()):  # some scorers print
    score = scorer(problem['dataset'], json.dumps(problem['options']))(text, entry)
  return score >= 1.0


@functools.lru_cache(maxsize=16)
def scorer(dataset: str, options: str) -> Callable[[str, dict], float]:
  import reasoning_gym  # costs a second, and most data sets never need it

  return reasoning_gym.create_dataset(dataset, seed=0, **json.loads(options)).score_answer


def unscrambled(found: dict) -> dict:
  """The turns that scrambled the cube, backwards."""
  turns = found['metadata']['scramble_moves'].split()[::-1]
  return {'answer': ' '.join(t.removesuffix("'") if t.endswith("'") else f"{t}'" for t in turns)}


def what_it_puts_out(found: dict) -> dict | None:
  asked = 'Can you predict a feasible input' in found['question']
  return None if asked else {'answer': found['answer']}
