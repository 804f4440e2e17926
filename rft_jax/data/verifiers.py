"""Strict verification of reasoning-gym answers: 1 or 0, and no credit for anything but an answer.

The scorers of reasoning-gym evaluate model text (`eval`, sympy), search it for the answer, ignore
what they cannot parse, or score 'nan' as 1. So a data set gets exact match unless `CHECKS` names
it: sets whose problems have several right answers, each with a grammar that a text has to match
from end to end before any code reads it. Free of JAX, so that worker processes start fast.
"""

import ast
import contextlib
import functools
import io
import json
import operator
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

OPERATORS = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.truediv,
}
TAGGED = re.compile(r'<answer>(.*?)</answer>', re.DOTALL)


class Check(NamedTuple):
  """grammar: the form of an answer; facts: the metadata that `solves(text, problem)` reads."""

  grammar: str
  facts: tuple[str, ...]
  solves: Callable[[str, dict], bool]


def verify(completion: str, example: Any, *, answer_tags: bool, max_answer: int) -> float:
  """1.0 for a right answer, else 0.0. `example.answer` is what `tasks.reasoning_gym` wrote.

  Beyond an exact match, texts longer than `max_answer` characters are wrong.
  """
  problem = example.answer
  text = answer_of(completion) if answer_tags else completion.strip()
  if not text:
    return 0.0
  if problem['answer'] is not None and text == problem['answer'].strip():
    return 1.0
  check = CHECKS.get(problem['dataset'])
  if not check or len(text) > max_answer or not re.fullmatch(check.grammar, text, re.ASCII):
    return 0.0
  try:
    return float(check.solves(text, problem))
  except Exception:  # whatever an answer breaks, it is wrong
    return 0.0


def answer_of(completion: str) -> str:
  """The text inside the only pair of answer tags; '' without a pair and with further tags."""
  inside = TAGGED.findall(completion)
  once = completion.count('<answer>') == 1 and completion.count('</answer>') == 1
  return inside[0].strip() if once and inside else ''


def by_scorer(text: str, problem: dict) -> bool:
  """Full marks from the data set's own scorer."""
  entry = {'answer': problem['answer'], 'metadata': problem['facts']}
  with contextlib.redirect_stdout(io.StringIO()):  # some scorers print
    score = scorer(problem['dataset'], json.dumps(problem['options']))(text, entry)
  return score >= 1.0


@functools.lru_cache(maxsize=16)
def scorer(dataset: str, options: str) -> Callable[[str, dict], float]:
  import reasoning_gym  # costs a second, and most data sets never need it

  return reasoning_gym.create_dataset(dataset, seed=0, **json.loads(options)).score_answer


def arithmetic(text: str, problem: dict) -> bool:
  """Exactly the given numbers, each once, and exactly the target (24 where none is given)."""
  facts = problem['facts']
  if sorted(map(int, re.findall(r'\d+', text))) != sorted(facts['numbers']):
    return False
  return evaluate(ast.parse(text, mode='eval').body) == facts.get('target', 24)


def evaluate(node: ast.AST) -> Fraction:
  """The exact value of an expression of integers. Raises ValueError for any other syntax."""
  if isinstance(node, ast.Constant) and type(node.value) is int:
    return Fraction(node.value)
  if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
    return -evaluate(node.operand)
  if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
    return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
  raise ValueError(f'{type(node).__name__} is not arithmetic')


def listed(text: str, problem: dict) -> bool:
  return text in problem['facts']['valid_answers']


def unordered(text: str, problem: dict) -> bool:
  """The same JSON list of lists, its members in any order."""
  return sorted(json.loads(text)) == sorted(json.loads(problem['answer']))


def unordered_groups(text: str, problem: dict) -> bool:
  """The same JSON list of lists, in any order inside and out."""
  groups = [sorted(map(sorted, json.loads(source))) for source in (text, problem['answer'])]
  return groups[0] == groups[1]


def rush_hour(text: str, problem: dict, side: int = 6) -> bool:
  """Legal moves only, after which the red car A stands at the exit, the end of its row."""
  board = dict(enumerate(problem['facts']['board_config']))
  for move in text.split():
    for _ in range(int(move[2:])):
      slide(board, move[0], 1 if move[1] == '+' else -1, side)
  return max(i for i, car in board.items() if car == 'A') % side == side - 1


def slide(board: dict[int, str], car: str, sign: int, side: int):
  """Moves a car by one cell, in place. Raises ValueError for an illegal move."""
  cells = sorted(i for i, label in board.items() if label == car)
  step = sign * (cells[1] - cells[0])
  front, back = (cells[-1], cells[0]) if sign > 0 else (cells[0], cells[-1])
  same_line = abs(step) == side or (front + step) // side == front // side
  if not same_line or board.get(front + step) != 'o':
    raise ValueError(f'{car} cannot move')
  board[front + step], board[back] = car, 'o'


def repeated(item: str, separator: str) -> str:
  return f'(?:{item})(?:{separator}(?:{item}))*'


def json_list(item: str) -> str:
  return r'\[\s*' + repeated(item, r'\s*,\s*') + r'\s*\]'


EXPRESSION = r'[\d+\-*/() ]+'
JUG_MOVE = r'"fill [A-Z]"|"empty [A-Z]"|"pour [A-Z]->[A-Z]"'
WORDS = json_list(r'"\w+"')
BOX_MOVE = r'"[\w\[\], .]+": ?"move\([\w\[\], .]+\)"'
CHECKS = {
  'countdown': Check(EXPRESSION, ('numbers', 'target'), arithmetic),
  'puzzle24': Check(EXPRESSION, ('numbers',), arithmetic),
  'n_queens': Check(r'[Q_ \n]+', ('valid_answers',), listed),
  'group_anagrams': Check(json_list(WORDS), (), unordered_groups),
  'palindrome_partitioning': Check(json_list(WORDS), (), unordered),
  'rush_hour': Check(repeated(r'[A-Z][+-][1-4]', ' '), ('board_config',), rush_hour),
  'graph_color': Check(r'\{' + repeated(r'"\d+": ?\d+', r',\s*') + r'\}', ('puzzle',), by_scorer),
  'jugs': Check(json_list(JUG_MOVE), ('puzzle',), by_scorer),
  'cryptarithm': Check(
    '(?!.*([A-Z])=.*\\1=)' + repeated(r'[A-Z]=\d', ', ?'),
    ('words_letters', 'result_letters', 'allow_leading_zero'),
    by_scorer,
  ),
  'palindrome_generation': Check('[a-z]+', ('letters',), by_scorer),
  'word_ladder': Check(repeated('[A-Za-z]+', ', ?'), ('start_word', 'end_word'), by_scorer),
  'rubiks_cube': Check(
    repeated("[UDLRFBMESXYZ]'?2?", ' '), ('cube_size', 'scramble_moves'), by_scorer
  ),
  'boxnet': Check(
    json_list(r'\{' + repeated(BOX_MOVE, ', ?') + r'\}'), ('initial_state',), by_scorer
  ),
  'kakurasu': Check(r'[01 ]+(\n[01 ]+)*', ('row_sums', 'col_sums', 'n_rows', 'n_cols'), by_scorer),
  'knight_swap': Check(
    json_list(r'"[wB],[A-Z]\d,[A-Z]\d"'),
    ('is_possible', 'board', 'pieces', 'start_turn', 'solution'),
    by_scorer,
  ),
  'sokoban': Check('[UDLR]+', ('gamestr',), by_scorer),
  'tower_of_hanoi': Check(
    repeated(r'Move disk \d from Peg \d to Peg \d', r'\n'),
    ('num_disks', 'num_pegs', 'start_peg', 'target_peg', 'solution_length'),
    by_scorer,
  ),
  'quantum_lock': Check(
    repeated('[ABC]', ' → '),
    ('initial_value', 'initial_state', 'buttons', 'target_value'),
    by_scorer,
  ),
  'shortest_path': Check(repeated('up|down|left|right', ' '), ('matrix',), by_scorer),
}
