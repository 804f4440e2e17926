"""reasoning-gym: what its questions ask for is paid, whatever the library stores; nothing else."""

import re

import pytest
from gym_texts import ANSWERS
from reasoning_gym.factory import DATASETS

from rft_jax.data.gym import problems
from rft_jax.data.gym.checks import CHECKS
from rft_jax.tasks import reasoning_gym

SAMPLE = 4
SETS = sorted(set(DATASETS) - set(problems.UNCHECKABLE))
# No text of the question decides these, or only a search that is longer than the check: their
# answers are held against the rules that the checks state.
KNOWN = set(
  'arc_1d arc_agi bf boxnet caesar_cipher circuit_logic codeio countdown cryptarithm figlet_font '
  'futoshiki graph_color group_anagrams gsm_symbolic jugs kakurasu knight_swap knights_knaves '
  'letter_jumble list_functions manipulate_matrix mini_sudoku modulo_grid n_queens number_sequence '
  'palindrome_generation palindrome_partitioning puzzle24 quantum_lock rearc rectangle_count '
  'rubiks_cube rush_hour sentence_reordering shortest_path sokoban string_manipulation sudoku '
  'survo tower_of_hanoi tsumego word_ladder zebra_puzzles'.split()
)
JUNK = [
  '',
  ' ',
  'nan',
  'inf',
  '...',
  '…',
  'None',
  '[]',
  '{}',
  '?',
  '-',
  '°',
  'i',
  'C',
  '""',
  '1e999999999',
  '9**9**9**9',
  'x**(9**9)',
  'exp(exp(exp(exp(exp(x)))))',
  '((((' * 60,
  '1/0',
  '0' * 250,
  '9' * 250,
]


@pytest.fixture(scope='module')
def drawn():
  """{set: its first problems}, all drawn side by side; and the task."""
  tasks = {name: reasoning_gym.make(None, dataset=name) for name in SETS}
  for task in tasks.values():
    task.ahead('train', list(range(SAMPLE)))
  return lambda name: (tasks[name], [tasks[name].example('train', i) for i in range(SAMPLE)])


def test_every_data_set_is_answered_here_or_known_not_to_be():
  assert sorted(ANSWERS.keys() | KNOWN) == SETS and not ANSWERS.keys() & KNOWN
  assert sorted(CHECKS) == SETS and all(check.form for check in CHECKS.values())


@pytest.mark.parametrize('name', sorted(ANSWERS))
def test_what_the_question_asks_for_is_paid(drawn, name):
  task, examples = drawn(name)
  for example in examples:
    answer = ANSWERS[name](example.prompt)
    assert task.reward(answer, example) == 1, (example.prompt, answer, example.response)


@pytest.mark.parametrize('name', SETS)
def test_demonstrations_are_paid_and_wrong_answers_are_not(drawn, name):
  task, examples = drawn(name)
  for example in examples:
    right = example.response
    assert task.reward(right, example) == 1 and task.reward(f'\n {right} \n', example) == 1
    wrong = [*JUNK, f'{right} !', f'so {right}', f'{right}\n{right}x', f'{right},', f'({right}))']
    taken = [text for text in wrong if task.reward(text, example) and text.strip() != right]
    assert not taken, (example.prompt, right, taken)


LOOSE = {'boxnet', 'graph_color', 'jugs', 'tsumego', 'word_ladder', 'quantum_lock', 'shortest_path'}


@pytest.mark.parametrize('name', sorted(set(SETS) - LOOSE))
def test_the_answer_to_another_problem_is_wrong(drawn, name):
  task, examples = drawn(name)
  for example in examples:
    others = {e.response for e in examples} - {example.response}
    assert not [text for text in others if task.reward(text, example)]


@pytest.mark.parametrize('name', sorted(set(SETS) - LOOSE - {'rush_hour', 'codeio'}))
def test_another_digit_is_wrong(drawn, name):
  task, examples = drawn(name)
  for example in examples:
    places = [m.start() for m in re.finditer(r'\d', example.response)][-3:]
    other = lambda at: str((int(example.response[at]) + 5) % 10)
    texts = [example.response[:at] + other(at) + example.response[at + 1 :] for at in places]
    assert not [text for text in texts if task.reward(text, example)], example
