import json
import random
import re

import jax.numpy as jnp
import numpy as np
import pytest
from reasoning_gym.factory import DATASETS

from rft_jax.data import verifiers
from rft_jax.data.splits import split_of
from rft_jax.data.text import characters, encode
from rft_jax.registry import ConfigError
from rft_jax.tasks import cups, reasoning_gym
from rft_jax.types import Example

USABLE = sorted(set(DATASETS) - set(reasoning_gym.UNCHECKABLE))
NONSENSE = [
  '',
  ' ',
  'nan',
  'inf',
  'answer',
  '[]',
  '[[]]',
  '{}',
  '()',
  '9**9**9**9',
  '١٢',
  '1_0',
  '24',
  '6*4*1*1',
  '__import__("os").abort()',
  '0' * 100_000,
  '(' * 5_000,
  '[[' * 5_000,
  ' '.join(map(str, range(100))),
  '\n'.join(map(str, range(50))),
  'True False Yes No',
]


@pytest.fixture(scope='module')
def tokenizer():
  return characters(alphabet=cups.ALPHABET)


def judged(tokenizer, texts, answer):
  """Rewards and metrics of completions in which `$` stands for EOS and `~` for padding's id."""
  special = {'$': tokenizer.eos_token_id, '~': tokenizer.pad_token_id}
  tokens, target = np.zeros((len(texts), 24), np.int32), np.zeros((len(texts), 24), bool)
  for row, text in enumerate(texts):
    ids = [special[char] if char in special else encode(tokenizer, char)[0] for char in text]
    tokens[row, : len(ids)], target[row, : len(ids)] = ids, True
  task = cups.make(tokenizer)
  answers = jnp.full(len(texts), encode(tokenizer, answer)[0])
  arguments = jnp.array(tokens), jnp.array(target), answers
  assert task.jit_reward and task.jit_metrics
  return task.jit_reward(*arguments).tolist(), task.jit_metrics(*arguments)


@pytest.mark.parametrize(
  'make',
  [
    cups.make,
    lambda t: cups.make(t, cups=3, swaps=2),
    lambda t: reasoning_gym.make(t, dataset='gcd'),
    lambda t: reasoning_gym.make(t, dataset='syllogism'),
  ],
)
def test_train_and_test_never_overlap(tokenizer, make):
  task = make(tokenizer)
  train, test = ({task.example(s, i).prompt for i in range(300)} for s in ('train', 'test'))
  assert train and test and not train & test


def test_one_problem_in_eight_is_held_out():
  held_out = sum(split_of(str(i)) == 'test' for i in range(8000))
  assert 900 < held_out < 1100


def test_cups_examples_are_a_pure_function_of_split_and_index(tokenizer):
  one, two = cups.make(tokenizer), cups.make(tokenizer)
  backwards = [two.example('train', i) for i in reversed(range(50))]
  assert [one.example('train', i) for i in range(50)] == backwards[::-1]
  assert len({one.example('train', i).prompt for i in range(50)}) > 45


def test_cups_demonstrations_follow_the_ball(tokenizer):
  task = cups.make(tokenizer, think=0.5)
  for i in range(100):
    prompt, answer, response, rejected = task.example('train', i)[:4]
    ball, path = prompt[0], []
    for a, b in re.findall('(.)(.)', prompt[2:-1]):
      ball = {a: b, b: a}.get(ball, ball)
      path.append(ball)
    assert response in (ball, f'<{",".join(path)}>{ball}')
    assert encode(tokenizer, ball) == [answer]
    assert rejected[:-1] == response[:-1] and rejected[-1] != ball


@pytest.mark.parametrize('think', [0.0, 0.25, 1.0])
def test_cups_demonstrations_think_as_often_as_asked(tokenizer, think):
  task = cups.make(tokenizer, think=think)
  share = np.mean([task.example('train', i).response[0] == '<' for i in range(1000)])
  assert abs(share - think) < 0.05


def test_cups_reward_only_the_exact_format(tokenizer):
  right = ['3$', '<>3$', '<1,2>3$', '<3>3>3$']
  wrong = [
    '',
    '3',
    '$',
    '2$',
    '33$',
    '3$$',
    '<3$',
    '>3$',
    '<3',
    '<1,2>3',
    '<1,2>2$',
    '<1,2>33$',
    '<1,2>$',
    '3<1>3$',
    '<1$>3$',
    '<~>3$',
    '1<>3$',
    '3>3$',
    '3~',
    '<1,2>3~',
  ]
  rewards, _ = judged(tokenizer, right + wrong, '3')
  assert dict(zip(right + wrong, rewards, strict=True)) == (
    dict.fromkeys(right, 1.0) | dict.fromkeys(wrong, 0.0)
  )


def test_cups_metrics_tell_thinking_apart(tokenizer):
  _, metrics = judged(tokenizer, ['3$', '<1>3$', '<1>2$', ''], '3')
  assert metrics['thinking'].tolist() == [0, 1, 1, 0]
  assert str(metrics['thought_accuracy'].tolist()) == '[nan, 1.0, 0.0, nan]'


@pytest.mark.parametrize(
  'options', [dict(cups=1), dict(cups=10), dict(swaps=0), dict(think=1.5), dict(think=-0.1)]
)
def test_cups_options_out_of_range_are_config_errors(tokenizer, options):
  with pytest.raises(ConfigError, match=next(iter(options))):
    cups.make(tokenizer, **options)


def test_cups_need_a_tokenizer_with_their_characters():
  with pytest.raises(ConfigError, match="character '<'"):
    cups.make(characters(alphabet='0123456789:='))


@pytest.mark.parametrize('name', USABLE)
def test_strict_verifiers_take_the_answer_and_no_nonsense(name):
  task = reasoning_gym.make(None, dataset=name)
  example = task.example('train', 0)
  assert task.reward
  answer, texts = example.answer['answer'], [*NONSENSE, example.prompt]
  if answer is not None:
    assert task.reward(f' {answer}\n', example) == 1
    texts += [
      f'the answer is {answer}',
      f'{answer}\n\n{answer}',
      f'{answer} or 0',
      f'{answer}#',
      f'{answer} # so',
      f'{answer}; ignore this',
      f'"{answer}"',
      f'{answer}\x00',
    ]
  paid = [text[:40] for text in texts if task.reward(text, example) and text != answer]
  assert not paid


@pytest.mark.parametrize('name', USABLE)
def test_checks_take_the_known_answer_without_an_exact_match(name):
  example = reasoning_gym.make(None, dataset=name).example('train', 0)
  check, known = verifiers.CHECKS[name], example.answer['answer'].strip()
  assert re.fullmatch(check.grammar, known, re.ASCII)
  assert check.solves(known, example.answer)


def verified(name, facts, *texts, answer=None):
  problem = Example('', dict(dataset=name, options={}, answer=answer, facts=facts))
  return [verifiers.verify(t, problem, answer_tags=False, max_answer=256) for t in texts]


def test_countdown_uses_each_number_once_and_exact_arithmetic():
  facts = dict(numbers=[1, 3, 4, 6], target=24)
  assert verified('countdown', facts, '6/(1-3/4)', ' -6 / (3/4 - 1) ') == [1, 1]
  wrong = [
    '24',
    '6*4*1',
    '6*4+1-3',
    '6*4**1**3',
    '6*4//1*3/3',
    '6/(1-3/4)=24',
    '6/(1-3/4);',
    '6/(1-1)+3+4',
    '+'.join('6134'),
    '(lambda:24)()',
    '6/(1-3/4)#',
    '6/(1-3/4)\n',
    '1 3 4 6',
    '٦/(1-3/4)',
    '6/(1-3/0x4)',
    '13/4/6',
    '6*4*1*3/3',
  ]
  paid = [text for text in wrong if verified('countdown', facts, text) != [0]]
  assert paid == ['6/(1-3/4)\n']  # surrounding space is no part of an answer


def test_puzzle24_needs_the_given_numbers():
  assert verified('puzzle24', dict(numbers=[2, 3, 4, 1]), '2*3*4*1', '6*4*1*1', '24') == [1, 0, 0]


def test_rush_hour_needs_legal_moves():
  facts = dict(board_config='ooooBoooooBoAAooBooooooooooooooooooo')
  assert verified(
    'rush_hour', facts, 'B+3 A+4', 'A+4', 'B-1 A+4', 'B+4 A+4', 'B+3 A+4 A+1', 'move B+3 A+4'
  ) == [1, 0, 0, 0, 0, 0]


def test_boxnet_needs_every_box_at_its_target():
  facts = dict(initial_state={'0.5_0.5': ['box_red'], '0.5_1.5': ['target_red']})
  carry = '{"Agent[0.5, 0.5]": "move(box_red, square[0.5, 1.5])"}'
  drop = '{"Agent[0.5, 1.5]": "move(box_red, target_red)"}'
  assert verified(
    'boxnet', facts, f'[{carry}, {drop}]', f'[{carry}]', f'[{drop}]', f'[{carry}, {drop}] done'
  ) == [1, 0, 0, 0]


def test_strict_checks_accept_other_right_answers():
  assert verified(
    'palindrome_generation', dict(letters=list('aabb')), 'abba', 'baab', 'aabb', 'abba baab'
  ) == [1, 1, 0, 0]
  assert verified(
    'group_anagrams',
    {},
    '[["b"], ["ca", "ac"]]',
    '[["b"], ["ca", "ac", "ac"]]',
    answer='[["ac", "ca"], ["b"]]',
  ) == [1, 0]
  assert verified(
    'jugs',
    dict(puzzle=dict(jug_capacities=[3, 5], target=3)),
    '["fill A"]',
    '["fill A", "empty B"]',
    '["fill A or B"]',
    '["fill B"]',
  ) == [1, 1, 0, 0]


@pytest.mark.parametrize(
  'completion, reward',
  [
    ('so <answer>4</answer>', 1),
    ('<answer>\n4 </answer> done', 1),
    ('4', 0),
    ('<answer>4', 0),
    ('<answer>5</answer><answer>4</answer>', 0),
    ('<answer><answer>4</answer>', 0),
    ('<answer>4</answer></answer>', 0),
    ('</answer>4<answer>', 0),
    ('<answer></answer>', 0),
  ],
)
def test_answer_tags_hold_the_only_answer(completion, reward):
  problem = Example('', dict(dataset='gcd', options={}, answer='4', facts={}))
  assert verifiers.verify(completion, problem, answer_tags=True, max_answer=9) == reward


@pytest.mark.parametrize('name', ['gcd', 'codeio', 'list_functions', 'countdown'])
def test_reasoning_gym_examples_are_a_pure_function_of_split_and_index(name):
  one = [reasoning_gym.make(None, dataset=name).example('test', i) for i in range(3)]
  random.seed(5)
  task = reasoning_gym.make(None, dataset=name)
  state = random.getstate()
  assert [task.example('test', i) for i in reversed(range(3))] == one[::-1]
  assert random.getstate() == state
  assert json.loads(json.dumps(one[0].answer)) == one[0].answer


@pytest.mark.parametrize(
  'options, message',
  [
    (dict(dataset='countdwn'), "did you mean 'countdown'"),
    (dict(options={'min_number': 3}), "did you mean 'min_numbers'"),
    (dict(options={'min_numbers': 9}), 'max_numbers must be'),
    (dict(options={'seed': 1}), 'seed'),
    (dict(options={'min_numbers': {1}}), 'as in JSON'),
    (dict(dataset='propositional_logic'), 'no strict verifier'),
  ],
)
def test_what_a_data_set_does_not_have_is_a_config_error(options, message):
  with pytest.raises(ConfigError, match=message):
    reasoning_gym.make(None, **options)


def test_demonstrations_are_right_answers():
  task = reasoning_gym.make(None, dataset='gcd', answer_tags=True, size=2)
  example = task.example('train', 1)
  assert task.reward and task.reward(example.response, example) == 1
  assert task.size('train') == 2
  with pytest.raises(ConfigError, match='size=2'):
    task.example('train', 2)
