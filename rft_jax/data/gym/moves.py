"""Answers that are moves: each must be legal, and the end must be reached."""

import json
import re
from collections.abc import Iterable

SIDE = 6  # of a rush hour board
WAYS = dict(right=(0, 1), down=(1, 0), left=(0, -1), up=(-1, 0))


def rush_hour(text: str, problem: dict) -> bool:
  """Legal moves only, after which the red car A stands at the exit, the end of its row."""
  board = dict(enumerate(problem['facts']['board_config']))
  for move in text.split():
    for _ in range(int(move[2:])):
      slide(board, move[0], 1 if move[1] == '+' else -1)
  return escaped(board)


def escaped(board: dict[int, str]) -> bool:
  return max(i for i, car in board.items() if car == 'A') % SIDE == SIDE - 1


def slide(board: dict[int, str], car: str, sign: int):
  """Moves a car by one cell, in place. Raises ValueError for an illegal move."""
  cells = sorted(i for i, label in board.items() if label == car)
  step = sign * (cells[1] - cells[0])
  front, back = (cells[-1], cells[0]) if sign > 0 else (cells[0], cells[-1])
  same_line = abs(step) == SIDE or (front + step) // SIDE == front // SIDE
  if not same_line or board.get(front + step) != 'o':
    raise ValueError(f'{car} cannot move')
  board[front + step], board[back] = car, 'o'


def hanoi(text: str, problem: dict) -> bool:
  facts = problem['facts']
  pegs = {peg: [] for peg in range(1, facts['num_pegs'] + 1)}
  pegs[facts['start_peg']] = list(range(facts['num_disks'], 0, -1))
  for disk, start, end in re.findall(r'Move disk (\d+) from Peg (\d+) to Peg (\d+)', text):
    top = pegs[int(start)].pop()
    if top != int(disk) or (pegs[int(end)] and pegs[int(end)][-1] < top):
      return False
    pegs[int(end)].append(top)
  return len(pegs[facts['target_peg']]) == facts['num_disks']


def jugs(text: str, problem: dict) -> bool:
  puzzle = problem['facts']['puzzle']
  sizes = puzzle['jug_capacities']
  held = [0] * len(sizes)
  for move in json.loads(text):
    verb, names = move.split(' ')
    first, last = ord(names[0]) - 65, ord(names[-1]) - 65
    if max(first, last) >= len(sizes):
      return False
    if verb == 'fill':
      held[first] = sizes[first]
    elif verb == 'empty':
      held[first] = 0
    else:
      poured = min(held[first], sizes[last] - held[last]) if first != last else 0
      held[first], held[last] = held[first] - poured, held[last] + poured
  return puzzle['target'] in held


def sokoban(text: str, problem: dict) -> bool:
  """Every step goes somewhere, every box that is pushed moves, and at the end all are on goals."""
  rows = [line.split() for line in problem['facts']['gamestr'].strip().split('\n')]
  at = {(i, j): cell for i, row in enumerate(rows) for j, cell in enumerate(row)}
  boxes = {place for place, cell in at.items() if cell in '@$'}
  goals = {place for place, cell in at.items() if cell in 'X$%'}
  player = next(place for place, cell in at.items() if cell in '*%')
  steps = dict(R=(0, 1), D=(1, 0), L=(0, -1), U=(-1, 0))
  for letter in text:
    (i, j), (a, b) = player, steps[letter]
    player, beyond = (i + a, j + b), (i + 2 * a, j + 2 * b)
    if at.get(player, '+') == '+':
      return False
    if player in boxes:
      if at.get(beyond, '+') == '+' or beyond in boxes:
        return False
      boxes = boxes - {player} | {beyond}
  return boxes <= goals


def knights(text: str, problem: dict) -> bool:
  """Moves in turn along the lines of the board until the colours have changed places."""
  facts = problem['facts']
  refused = text.strip('"').casefold() == 'no'
  if refused or not facts['is_possible']:
    return refused and not facts['is_possible']
  pieces, turn = dict(facts['pieces']), facts['start_turn']
  for move in json.loads(text):
    color, start, end = move.split(',')
    if color != turn or pieces[start] != color or end not in facts['board'][start] or pieces[end]:
      return False
    pieces[start], pieces[end] = None, color
    turn = 'B' if turn == 'w' else 'w'
  return pieces == swapped(facts['pieces'])


def swapped(pieces: dict) -> dict:
  other = {'w': 'B', 'B': 'w', None: None}
  return {place: other[piece] for place, piece in pieces.items()}


def boxnet(text: str, problem: dict) -> bool:
  """Every action of a step is legal where the step begins, and at the end no box is left."""
  squares = {place: list(items) for place, items in problem['facts']['initial_state'].items()}
  for plan in json.loads(text, object_pairs_hook=lambda pairs: pairs):
    before = {place: list(items) for place, items in squares.items()}
    if len({key for key, _ in plan}) < len(plan):
      return False
    for agent, action in plan:
      here = place_of(agent)
      box, target = re.split(', ?', action[5:-1], maxsplit=1)
      before[here].remove(box)
      squares[here].remove(box)
      if target.startswith('square'):
        there = place_of(target)
        if sum(abs(a - b) for a, b in zip(coordinates(here), coordinates(there), strict=True)) != 1:
          return False
        squares[there].append(box)
      elif target == box.replace('box', 'target'):
        squares[here].remove(target)
      else:
        return False
  return not any(item.startswith('box') for items in squares.values() for item in items)


def place_of(text: str) -> str:
  return '_'.join(re.findall(r'\d+\.\d', text))


def coordinates(place: str) -> list[float]:
  return [float(x) for x in place.split('_')]


def quantum_lock(text: str, problem: dict) -> bool:
  """A shortest sequence of buttons that work when they are pressed."""
  facts = problem['facts']
  state = facts['initial_value'], facts['initial_state']
  presses = re.split(' ?→ ?', text)
  for name in presses:
    state = dict(pressed(facts, state))[name]
  return state[0] == facts['target_value'] and len(presses) == problem['answer'].count('→') + 1


def pressed(facts: dict, state: tuple) -> Iterable[tuple[str, tuple]]:
  number, light = state
  for button in facts['buttons']:
    if button['active_state'] in (light, 'any'):
      step = button['value']
      outcome = {'add': number + step, 'subtract': number - step, 'multiply': number * step}
      yield button['name'], (outcome[button['type']], 'green' if light == 'red' else 'red')


def shortest_path(text: str, problem: dict) -> bool:
  """A way along open cells as short as any; `infeasible` where there is none."""
  matrix = problem['facts']['matrix']
  if text == 'infeasible' or problem['answer'] == 'infeasible':
    return text == problem['answer']
  place = next((i, j) for i, row in enumerate(matrix) for j, c in enumerate(row) if c == '*')
  for word in text.split():
    place = place[0] + WAYS[word][0], place[1] + WAYS[word][1]
    if min(place) < 0 or matrix[place[0]][place[1]] not in 'O#*':
      return False
  return matrix[place[0]][place[1]] == '#' and len(text.split()) == len(problem['answer'].split())
