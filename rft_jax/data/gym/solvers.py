"""Right answers of our own to puzzles for which the library has none, or a false one."""

import collections
import json
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from rft_jax.data.gym.moves import SIDE, WAYS, coordinates, swapped

STATES = 300_000  # more than any puzzle of the library has


def search(start: Hashable, done: Callable, steps: Callable[[Any], Iterable]) -> list | None:
  """The shortest list of moves to a state that is `done`; `steps(state)` gives (move, state)."""
  came: dict = {start: None}
  queue = collections.deque([start])
  while queue and len(came) < STATES:
    state = queue.popleft()
    if done(state):
      return path(came, state)
    for move, following in steps(state):
      if following not in came:
        came[following] = (move, state)
        queue.append(following)
  return None


def path(came: dict, state: Hashable) -> list:
  moves = []
  while came[state]:
    move, state = came[state]
    moves.append(move)
  return moves[::-1]


def way_out(found: dict) -> dict | None:
  """A shortest way out, on the board as the question shows it: its letters are not those of the
  library's metadata."""
  shown = found['question'].split('Board:\n')[1].replace('\n', '').replace('.', 'o')
  cars = sorted(set(shown) - {'o', 'x'})

  def steps(board: str) -> Iterable[tuple[str, str]]:
    for car in cars:
      yield from slid(board, car)

  moves = search(shown, lambda board: board.rfind('A') % SIDE == SIDE - 1, steps)
  return {'answer': ' '.join(moves), 'board_config': shown} if moves else None


def slid(board: str, car: str) -> Iterable[tuple[str, str]]:
  """The moves of a car, and the board after each."""
  first, last = board.find(car), board.rfind(car)
  stride = SIDE if last - first >= SIDE else 1
  for sign, front, back in (('+', last, first), ('-', first, last)):
    step, cells = stride if sign == '+' else -stride, list(board)
    for count in range(1, SIDE - 1):
      ahead = front + step * count
      across = stride == 1 and ahead // SIDE != front // SIDE
      if not 0 <= ahead < SIDE * SIDE or across or cells[ahead] != 'o':
        break
      cells[ahead], cells[back + step * (count - 1)] = car, 'o'
      yield f'{car}{sign}{count}', ''.join(cells)


def knights_swap(found: dict) -> dict:
  """Whether it is possible on the board that is shown, by looking at every position that can be
  reached; the library leaves out moves that nobody is told of."""
  pieces, first = found['metadata']['pieces'], found['metadata']['start_turn']
  places = sorted(pieces)
  board = {place: [other for other in places if leap(place, other)] for place in places}
  goal = tuple(swapped(pieces)[place] for place in places)

  def steps(state: tuple) -> Iterable[tuple[str, tuple]]:
    standing, turn = dict(zip(places, state[0], strict=True)), state[1]
    following = 'B' if turn == 'w' else 'w'
    for start in (place for place in places if standing[place] == turn):
      for end in (place for place in board[start] if standing[place] is None):
        moved = standing | {start: None, end: turn}
        yield f'{turn},{start},{end}', (tuple(moved[place] for place in places), following)

  start = tuple(pieces[place] for place in places), first
  moves = search(start, lambda state: state[0] == goal, steps)
  return {
    'answer': json.dumps(moves) if moves else 'No',
    'is_possible': bool(moves),
    'board': board,
  }


def leap(start: str, end: str) -> bool:
  """Whether a knight moves so."""
  step = {abs(ord(start[0]) - ord(end[0])), abs(int(start[1:]) - int(end[1:]))}
  return step == {1, 2}


def carried(found: dict) -> dict | None:
  """Every box by a shortest way to a target of its colour, all at once where agents are free."""
  state = found['metadata']['initial_state']
  targets: dict[str, list] = {}
  boxes = []
  for place, items in state.items():
    for item in items:
      kind, _, color = item.partition('_')
      if kind == 'box':
        boxes.append([color, coordinates(place)])
      else:
        targets.setdefault(color, []).append(coordinates(place))
  routes = [(color, place, targets[color].pop(0)) for color, place in boxes]
  if not routes:
    return None
  plans: list[dict] = []
  while routes:
    plan, routes = carry(routes)
    plans.append(plan)
  return {'answer': json.dumps(plans)}


def carry(routes: list) -> tuple[dict, list]:
  """One step of every box whose agent is free, and the routes that are left."""
  plan, left = {}, []
  for color, place, goal in routes:
    agent = f'Agent[{place[0]}, {place[1]}]'
    if agent in plan:
      left.append((color, place, goal))
    elif place == goal:
      plan[agent] = f'move(box_{color}, target_{color})'
    else:
      axis = 0 if place[0] != goal[0] else 1
      there = list(place)
      there[axis] += 1.0 if goal[axis] > place[axis] else -1.0
      plan[agent] = f'move(box_{color}, square[{there[0]}, {there[1]}])'
      left.append((color, there, goal))
  return plan, left


def shortest(found: dict) -> dict:
  matrix = found['metadata']['matrix']
  at = {(i, j): cell for i, row in enumerate(matrix) for j, cell in enumerate(row)}
  start = next(place for place, cell in at.items() if cell == '*')

  def steps(place: tuple[int, int]) -> Iterable[tuple[str, tuple[int, int]]]:
    for word, (a, b) in WAYS.items():
      if at.get((place[0] + a, place[1] + b), 'X') != 'X':
        yield word, (place[0] + a, place[1] + b)

  moves = search(start, lambda place: at[place] == '#', steps)
  return {'answer': ' '.join(moves) if moves else 'infeasible'}
