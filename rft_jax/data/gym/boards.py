"""Answers that fill in a puzzle: right if they keep what is given and every rule."""

import collections
import json
import math
import re
from collections.abc import Iterable

from rft_jax.data.gym.forms import cells, read_json

NUMBERS = r'\d{1,5}(?:[ \t]+\d{1,5})*(?:\s*\n\s*\d{1,5}(?:[ \t]+\d{1,5})*)*'
NEIGHBOURS = ((0, 1), (1, 0), (0, -1), (-1, 0))


def numbers(text: str) -> list[list[int]]:
  return [list(map(int, row)) for row in cells(text)]


def keeps(filled: list[list[int]], puzzle: list[list[int]]) -> bool:
  """The same shape, and the same number wherever one is given."""
  return list(map(len, filled)) == list(map(len, puzzle)) and all(
    given in (0, said)
    for row, line in zip(filled, puzzle, strict=True)
    for said, given in zip(row, line, strict=True)
  )


def latin(filled: list[list[int]]) -> bool:
  """Every row and column has each of the numbers from 1 once."""
  every = set(range(1, len(filled) + 1))
  return all(set(line) == every for line in [*filled, *zip(*filled, strict=True)])


def sudoku(text: str, problem: dict) -> bool:
  filled = numbers(text)
  side = math.isqrt(len(filled))
  boxes = [
    {filled[i + a][j + b] for a in range(side) for b in range(side)}
    for i in range(0, len(filled), side)
    for j in range(0, len(filled), side)
  ]
  rules = latin(filled) and all(len(box) == len(filled) for box in boxes)
  return keeps(filled, problem['facts']['puzzle']) and rules


def futoshiki(text: str, problem: dict) -> bool:
  """The puzzle's own lines with its blanks filled; signs kept, space at an end of line free."""
  facts = problem['facts']
  size = len(facts['puzzle'])
  lines, shown = text.split('\n'), facts['shown'].split('\n')
  signs = lambda line: re.sub(r'[\d_]', '.', line.rstrip())
  if list(map(signs, lines)) != list(map(signs, shown)):
    return False
  filled = [list(map(int, re.findall(r'\d+', line))) for line in lines[::2]]
  ordered = all(
    filled[a][b] < filled[c][d] if sign == '<' else filled[a][b] > filled[c][d]
    for a, b, c, d, sign in facts['constraints']
  )
  return len(filled) == size and keeps(filled, facts['puzzle']) and latin(filled) and ordered


def futoshiki_shown(found: dict) -> dict:
  shown = found['question'].split('puzzle:\n\n', 1)[1].split('\n\nEnsure', 1)[0]
  return {'answer': found['answer'], 'shown': shown}


def survo(text: str, problem: dict) -> bool:
  """Every sum is right, and the blanks take the given numbers, each once."""
  facts, filled = problem['facts'], numbers(text)
  puzzle = facts['puzzle']
  if not keeps(filled, puzzle):
    return False
  blanks = [
    n
    for row, line in zip(filled, puzzle, strict=True)
    for n, p in zip(row, line, strict=True)
    if not p
  ]
  sums = all(sum(line[:-1]) == line[-1] for line in [*filled, *zip(*filled, strict=True)])
  return sums and sorted(blanks) == sorted(facts['candidate_numbers'])


def kakurasu(text: str, problem: dict) -> bool:
  facts, filled = problem['facts'], numbers(text)
  shape = [facts['n_cols']] * facts['n_rows']
  weighted = lambda line: sum(i * n for i, n in enumerate(line, 1))
  return (
    list(map(len, filled)) == shape
    and all(n in (0, 1) for row in filled for n in row)
    and list(map(weighted, filled)) == facts['row_sums']
    and list(map(weighted, zip(*filled, strict=True))) == facts['col_sums']
  )


def queens(text: str, problem: dict) -> bool:
  """As many queens as rows, none attacking another, those of the puzzle among them."""
  said, puzzle = cells(text), problem['facts']['puzzle']
  size = len(puzzle)
  if [len(row) for row in said] != [size] * size:
    return False
  places = [(i, j) for i in range(size) for j in range(size) if said[i][j] == 'Q']
  given = {(i, j) for i in range(size) for j in range(size) if puzzle[i][j] == 'Q'}
  lines = (
    [i for i, _ in places],
    [j for _, j in places],
    [i + j for i, j in places],
    [i - j for i, j in places],
  )
  return len(places) == size and given <= set(places) and all(len(set(x)) == size for x in lines)


def coloring(text: str, problem: dict) -> bool:
  """Every vertex has one of the colours, and no edge has one colour."""
  said, puzzle = unique_keys(text), problem['facts']['puzzle']
  colors = {int(vertex): color for vertex, color in said.items()}
  return (
    set(colors) == set(puzzle['vertices'])
    and all(color in puzzle['color_options'] for color in colors.values())
    and all(colors[a] != colors[b] for a, b in puzzle['edges'])
  )


def unique_keys(text: str) -> dict:
  """A JSON object. Raises ValueError where a key stands twice."""

  def pairs(items: list[tuple]) -> dict:
    if len(dict(items)) < len(items):
      raise ValueError('a key stands twice')
    return dict(items)

  return json.loads(text, object_pairs_hook=pairs)


def example_coloring(found: dict) -> dict:
  return {
    'answer': json.dumps({str(k): v for k, v in found['metadata']['possible_answer'].items()})
  }


def cryptarithm(text: str, problem: dict) -> bool:
  """Different digits for different letters, no zero in front, and the sum is right."""
  facts = problem['facts']
  digits = {letter: int(digit) for letter, digit in re.findall(r'([A-Z])=(\d)', text)}
  words, result = facts['words_letters'], facts['result_letters']
  number = lambda word: int(''.join(str(digits[letter]) for letter in word))
  leading = facts['allow_leading_zero'] or all(digits[w[0]] for w in [*words, result] if len(w) > 1)
  return (
    set(digits) == set(''.join([*words, result]))
    and len(digits) == text.count('=') == len(set(digits.values()))
    and leading
    and sum(map(number, words)) == number(result)
  )


def palindrome(text: str, problem: dict) -> bool:
  return text == text[::-1] and sorted(text) == sorted(problem['facts']['letters'])


def partitions(text: str, problem: dict) -> bool:
  """All ways to cut the string into palindromes, in any order."""
  said = read_json(text)
  return sorted(said) == sorted(cuts(problem['facts']['string']))


def cuts(string: str) -> list[list[str]]:
  if not string:
    return [[]]
  heads = (string[:n] for n in range(1, len(string) + 1))
  return [
    [head, *rest] for head in heads if head == head[::-1] for rest in cuts(string[len(head) :])
  ]


def anagrams(text: str, problem: dict) -> bool:
  """The same groups, in any order inside and out."""
  groups = [sorted(map(sorted, json.loads(source))) for source in (text, problem['answer'])]
  return groups[0] == groups[1]


def captures(found: dict) -> dict | None:
  """The moves that capture most; where the question asks for any capture, all that capture."""
  board = found['metadata']['board']
  size = len(board)
  places = [(i, j) for i in range(size) for j in range(size) if board[i][j] == '.']
  counts = {f'{chr(65 + j)}{size - i}': captured(board, i, j) for i, j in places}
  most = max(counts.values())
  least = 1 if 'can you capture some' in found['question'] else most
  moves = sorted(move for move, count in counts.items() if count >= max(1, least))
  if not moves:
    return None
  best = [move for move in moves if counts[move] == most]
  return {'answer': found['answer'] if found['answer'] in best else best[0], 'moves': moves}


def captured(board: list[list[str]], row: int, column: int) -> int:
  """How many white stones a black stone there takes."""
  taken: set[tuple[int, int]] = set()
  for a, b in around(board, row, column):
    if board[a][b] == 'O' and (a, b) not in taken:
      group = connected(board, a, b)
      free = {(c, d) for x in group for c, d in around(board, *x) if board[c][d] == '.'}
      taken |= group if free == {(row, column)} else set()
  return len(taken)


def around(board: list[list[str]], row: int, column: int) -> Iterable[tuple[int, int]]:
  for a, b in NEIGHBOURS:
    if 0 <= row + a < len(board) and 0 <= column + b < len(board[0]):
      yield row + a, column + b


def connected(board: list[list[str]], row: int, column: int) -> set[tuple[int, int]]:
  group, queue = {(row, column)}, collections.deque([(row, column)])
  while queue:
    for place in around(board, *queue.popleft()):
      if place not in group and board[place[0]][place[1]] == board[row][column]:
        group.add(place)
        queue.append(place)
  return group


def one_move(text: str, problem: dict) -> bool:
  return text.upper() in problem['facts']['moves']
