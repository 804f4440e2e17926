#!/usr/bin/env bash
# reasoning-gym 0.1.25, tsumego: "capture as many white stones as possible". For about a quarter of the
# boards the stored move captures no stone, because the white group is connected to stones that were on
# the board before and has further liberties; the scorer pays that move alone. Checked here by counting
# the liberties of every white group.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/pip install -q reasoning-gym==0.1.25
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import reasoning_gym

print('reasoning-gym', version('reasoning-gym'))


def around(board, i, j):
  places = ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1))
  return [(a, b) for a, b in places if 0 <= a < len(board) and 0 <= b < len(board)]


def captured(board, move):
  row, column = len(board) - int(move[1:]), ord(move[0]) - 65
  board = [list(line) for line in board]
  board[row][column] = 'X'
  taken = set()
  for place in around(board, row, column):
    group = [place] if board[place[0]][place[1]] == 'O' else []
    for stone in group:
      group += [p for p in around(board, *stone) if board[p[0]][p[1]] == 'O' and p not in group]
    if not any(board[a][b] == '.' for stone in group for a, b in around(board, *stone)):
      taken |= set(group)
  return len(taken)


data = reasoning_gym.create_dataset('tsumego', seed=0, size=200)
nothing = [entry for entry in data if not captured(entry['metadata']['board'], entry['answer'])]
print(f'{len(nothing)} of 200 stored moves capture nothing, such as {nothing[0]["answer"]} here:')
print(nothing[0]['question'])
score = data.score_answer(nothing[0]['answer'], nothing[0])
print('its own score:', score)
assert len(nothing) > 20 and score == 1.0, 'this has changed'
PYTHON
