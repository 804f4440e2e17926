"""Answers to questions of reasoning-gym about grids and graphs, worked out from their text."""

import collections
import itertools
import json
import re

import numpy as np
from gym_numbers import answers, grid, reached


def rows(matrix) -> str:
  return '\n'.join('  '.join(map(str, row)) for row in matrix)


def tail(question: str, mark: str) -> str:
  return question.rpartition(mark)[2].strip()


def later(cells: np.ndarray, steps: int) -> np.ndarray:
  for _ in range(steps):
    around = sum(np.roll(cells, s, (0, 1)) for s in itertools.product((-1, 0, 1), repeat=2)) - cells
    cells = ((around == 3) | ((around == 2) & (cells == 1))).astype(int)
  return cells


@answers
def game_of_life(q):
  cells = np.array(json.loads(re.search(r'\n\n(\[\[.*\]\])', q, re.S)[1]))
  return json.dumps(later(cells, int(re.search(r'after (\d+) steps', q)[1])).tolist())


@answers
def game_of_life_halting(q):
  board = tail(q, 'board:').replace('[', '').replace(']', '')
  steps = int(re.search(r'before (\d+) steps', q)[1])
  return str(not later(np.array(grid(board)), steps).any())


@answers
def path_star(q):
  edges, ends = tail(q, 'task:').split('/')
  onward = collections.defaultdict(list)
  for edge in edges.strip('|').split('|'):
    onward[edge.split()[0]].append(edge.split()[1])
  start, goal = ends.replace('=', '').split()
  ways = [[start]]
  for way in ways:
    ways.extend([*way, after] for after in onward[way[-1]])
  return ' '.join(next(way for way in ways if way[-1] == goal))


@answers
def pool_matrix(q):
  kind, size = re.search(r'Perform (\w+) pooling .* kernel size of (\d+)', q).groups()
  cells, size = np.array(grid(q)), int(size)
  starts = itertools.product(range(0, len(cells), size), range(0, len(cells[0]), size))
  pool = np.max if kind == 'max' else np.mean
  values = [pool(cells[i : i + size, j : j + size]) for i, j in starts]
  return rows(np.array([f'{x:.2f}' for x in values]).reshape(-(-len(cells) // size), -1))


@answers
def binary_matrix(q):
  cells = np.array(grid(q))
  found = reached(
    [tuple(p) for p in np.argwhere(cells == 0).tolist()], lambda p: True, *cells.shape
  )
  return rows([[found[i, j] for j in range(len(cells[0]))] for i in range(len(cells))])


@answers
def rotate_matrix(q):
  return rows(
    np.rot90(np.array(grid(q)), -int(re.search(r'by (\d+) degrees', q)[1]) // 90).tolist()
  )


@answers
def spiral_matrix(q):
  cells, out = np.array(grid(q)), []
  while cells.size:
    out.extend(cells[0].tolist())
    cells = np.rot90(cells[1:])
  return ' '.join(map(str, out))
