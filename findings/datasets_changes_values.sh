#!/usr/bin/env bash
# datasets 5.2.0: the values of a row depend on the other rows of its file. In JSON lines the text
# "007" becomes the number 7 once another row holds a number in that column, and an integer beyond 64
# bits becomes a float. In csv a first row with one field too many moves every column by one, and
# 'NA' is no text. All without a word. It matters here because answers that a reward compares with
# would change: this project parses each row by itself and calls such rows bad.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'datasets==5.2.0'
cd "$folder"
HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import datasets

datasets.disable_progress_bars()


def rows(name, kind, text):
  with open(name, 'w') as file:
    file.write(text)
  return datasets.load_dataset(kind, data_files=name, split='train').to_list()


alone = rows('a.jsonl', 'json', '{"answer": "007"}\n')
mixed = rows('b.jsonl', 'json', '{"answer": "007"}\n{"answer": 12}\n')
large = rows('c.jsonl', 'json', '{"answer": 123456789012345678901234567890}\n')
moved = rows('d.csv', 'csv', 'question,answer\nq1,a1,extra\nq2,a2\n')
none = rows('e.csv', 'csv', 'question,answer\nsalt?,NA\n')
print('datasets', datasets.__version__)
for name, found in dict(alone=alone, mixed=mixed, large=large, moved=moved, none=none).items():
  print(name, found)
same = (
  alone == [{'answer': '007'}]
  and mixed == [{'answer': 7}, {'answer': 12}]
  and large == [{'answer': 1.2345678901234568e29}]
  and (moved[0]['question'], moved[0]['answer']) == ('a1', 'extra')
  and none == [{'question': 'salt?', 'answer': None}]
)
sys.exit(0 if same else 1)
PYTHON
