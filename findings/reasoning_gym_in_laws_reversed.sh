#!/usr/bin/env bash
# reasoning-gym 0.1.25, family_relationships: "What is Sarah to Elizabeth?", where Elizabeth is the
# mother of Sarah's husband, is stored and scored as "mother-in-law". That is what Elizabeth is to
# Sarah; Sarah is the daughter-in-law. All other relations are given in the direction that is asked
# for, so one answer in seven teaches the opposite of the rest.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/pip install -q reasoning-gym==0.1.25
venv/bin/python - <<'PYTHON'
import re
from importlib.metadata import version

import reasoning_gym

print('reasoning-gym', version('reasoning-gym'))
data = reasoning_gym.create_dataset('family_relationships', seed=0, size=300)
in_laws = [entry for entry in data if entry['answer'].endswith('in-law')]
reversed_ = []
for entry in in_laws:
  one, two = entry['metadata']['person1'], entry['metadata']['person2']
  couples = re.findall(r'(\w+) is married to (\w+)\.(?: They have [^.]* called ([^.]*)\.)?', entry['question'])
  spouse = {a: b for x, y, _ in couples for a, b in ((x, y), (y, x))}
  children = {a: set(re.findall(r'[A-Z]\w+', c)) for x, y, c in couples for a in (x, y)}
  if spouse.get(one) in children.get(two, ()):  # two is a parent of the spouse of one
    reversed_.append(entry)
print(f'{len(in_laws)} of 300 answers are in-laws; in {len(reversed_)} the second person is the parent-in-law')
first = reversed_[0]
score = data.score_answer(first['answer'], first)
print(first['question'], '\nstored:', first['answer'], '- its own score:', score)
assert in_laws and len(reversed_) == len(in_laws) and score == 1.0, 'this has changed'
PYTHON
