"""Writes docs/reasoning_gym.md from the checks and the survey: python docs/reasoning_gym.py"""

import csv
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from rft_jax.data.gym.checks import CHECKS
from rft_jax.data.gym.problems import UNCHECKABLE

SURVEY = HERE.parent / 'experiments/07_reasoning_gym/results.csv'
INTRO = """# Data sets of reasoning-gym

Written by `docs/reasoning_gym.py` from the code and `experiments/07_reasoning_gym/results.csv`;
change those, not this.

```python
c.rl = stage('reasoning_gym(dataset="countdown", options={"max_numbers": 4})', 'grpo')
```

An answer is right, 1, or wrong, 0. A text has to match its data set's grammar from end to end
before any code reads it, and none is ever evaluated. What is paid is the form that the question
asks for; where it asks for none, every form that means the same. The response to imitate is such an
answer, not always the library's stored text, and is held against the check before it is used.
`answer_tags=True` takes the answer from between `<answer>` and `</answer>` instead. Texts longer
than `max_answer` characters, and than eight known answers, are wrong.

A problem is a function of data set, options, split and index. Problems are drawn in up to four
processes of their own, eight steps ahead of training, so one that takes a minute does not hold up a
step; after half a minute a message says which is waited for, after 15 minutes it is an error.
`PYTHONHASHSEED` is set there: the sets marked # depend on it.

One problem in eight is held out, by its text. "Different" counts the problems among {draws} draws,
those of them that are held out in brackets: where they are few, training meets the same ones again,
and a larger evaluation says nothing more. "Unpaid" are the library's own answers, of {draws}, that
are false or not in the form that is asked for; left out are problems without one right answer.
Seconds are for one draw: the mean, and the slowest (two x86-64 cores, shared with other work).

For another version of reasoning-gym run `python experiments/07_reasoning_gym/survey.py`: it names
new data sets, which are refused until they have a check, and prints what differs from this table.
"""
COLUMNS = 'data set, what is paid, for example, different, unpaid, left out, seconds, remarks'


def main():
  (HERE / 'reasoning_gym.md').write_text(text())


def text() -> str:
  with SURVEY.open(newline='') as file:
    found = {row['dataset']: row for row in csv.DictReader(file)}
  columns = COLUMNS.split(', ')
  rows = [f'| {" | ".join(columns)} |', '|' + '---|' * len(columns)]
  rows += [line(name, CHECKS[name], found[name]) for name in sorted(CHECKS)]
  refused = '\n'.join(f'* `{name}` is refused: {why}.' for name, why in UNCHECKABLE.items())
  draws = int(found['gcd']['drawn'])
  return '\n'.join([INTRO.replace('{draws}', f'{draws:,}'), '\n'.join(rows), '', refused, ''])


def line(name: str, check, row: dict) -> str:
  mark = ' #' if 'yes' in (row['hashes'], row['order']) else ''
  different = f'{row["different"]} ({row["held_out"]})'
  seconds = f'{float(row["seconds"]):.2g}; {row["slowest"]}'
  counts = [different, row['unpaid'], row['left_out'], seconds]
  shown = [f'`{name}`{mark}', cell(check.form), example(row['example']), *counts, cell(check.false)]
  return f'| {" | ".join(shown)} |'


def cell(said: str) -> str:
  return said.replace('|', r'\|')


def example(answer: str) -> str:
  """Its beginning, as code."""
  short = ' '.join(answer.split())[:40]
  return f'`` {short.replace("|", chr(92) + "|")} ``' if '`' in short else f'`{cell(short)}`'


if __name__ == '__main__':
  main()
