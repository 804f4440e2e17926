"""Matrices after a list of operations, in every reading of words that leave something open."""

import itertools
from typing import Any

Matrix = list[list[int]]


def manipulated(found: dict) -> dict:
  """'Horizontally' may mean that rows or that columns change places; 90 degrees may be to the right
  or to the left. The library means rows, and to the right."""
  facts = found['metadata']
  answers = []
  for reading in itertools.product((True, False), repeat=2):
    try:
      answers.append(written(apply(facts['matrix'], facts['operations'], *reading)))
    except ValueError:
      pass  # in this reading a later operation has nothing to work on
  return {'answer': found['answer'], 'readings': sorted({found['answer'], *answers})}


def apply(matrix: Matrix, operations: list[dict], rows: bool, right: bool) -> Matrix:
  for operation in operations:
    matrix = one(matrix, operation, rows, right)
    if not matrix or not matrix[0]:
      raise ValueError('nothing is left')
  return matrix


def one(matrix: Matrix, operation: dict[str, Any], rows: bool, right: bool) -> Matrix:
  kind, n = operation['transform'], operation.get('n', 0)
  if kind == 'crop':
    within = slice(operation['col_start'] - 1, operation['col_end'])
    if operation['row_end'] > len(matrix) or operation['col_end'] > len(matrix[0]):
      raise ValueError('beyond the edge')
    return [row[within] for row in matrix[operation['row_start'] - 1 : operation['row_end']]]
  if kind in ('hmirror', 'vmirror'):
    upside_down = (kind == 'hmirror') == rows
    return matrix[::-1] if upside_down else [row[::-1] for row in matrix]
  if kind == 'rotate':
    return turned(matrix, int(operation['degrees']) // 90 * (1 if right else -1))
  if kind == 'dmirror':
    return [list(row) for row in zip(*matrix, strict=True)]
  if kind == 'cmirror':
    return turned([list(row) for row in zip(*matrix, strict=True)], 2)
  if kind == 'remove_every_nth_row':
    return [row for i, row in enumerate(matrix, 1) if i % n]
  if kind == 'remove_every_nth_col':
    return [[x for i, x in enumerate(row, 1) if i % n] for row in matrix]
  if kind == 'map':
    return [[operation['to'] if x == operation['from'] else x for x in row] for row in matrix]
  if kind == 'zero_divisible':
    return [[x if x % operation['k'] else 0 for x in row] for row in matrix]
  raise KeyError(f'operation {kind!r} is not known')


def turned(matrix: Matrix, quarters: int) -> Matrix:
  """To the right."""
  for _ in range(quarters % 4):
    matrix = [list(row) for row in zip(*matrix[::-1], strict=True)]
  return matrix


def written(matrix: Matrix) -> str:
  return '\n'.join(' '.join(map(str, row)) for row in matrix)


def one_reading(text: str, problem: dict) -> bool:
  said = [line.split() for line in text.strip().split('\n')]
  readings = problem['facts']['readings']
  return said in [[line.split() for line in reading.split('\n')] for reading in readings]
