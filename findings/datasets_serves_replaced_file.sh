#!/usr/bin/env bash
# datasets 5.2.0: the cache of a local file is keyed by its path and its modification time alone. A
# file that is replaced with the time kept (rsync -t, cp -p, tar, a build with fixed dates) gives the
# rows of the old one, without a word, even where its size differs. It matters here because a run
# would train on rows that are in no file any more: this project reads local files by itself, and
# puts a hash of their bytes into its checkpoints.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'datasets==5.2.0'
cd "$folder"
HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

import datasets

datasets.disable_progress_bars()
DATE = 10**18


def rows(text, date):
  with open('a.jsonl', 'w') as file:
    file.write('{"text": "%s"}\n' % text)
  os.utime('a.jsonl', ns=(date, date))
  return datasets.load_dataset('json', data_files='a.jsonl', split='train')['text'][:]


first, kept, later = rows('old', DATE), rows('new and longer', DATE), rows('newest', DATE + 10**9)
print('datasets', datasets.__version__)
print('expected', ['old'], ['new and longer'], ['newest'])
print('got     ', first, kept, later)
sys.exit(0 if (first, kept, later) == (['old'], ['old'], ['newest']) else 1)
PYTHON
