"""reasoning-gym: forms that are paid, forms that are not, and answers of our own, by hand."""

import json

import pytest

from rft_jax.data import verifiers
from rft_jax.data.gym.checks import CHECKS
from rft_jax.types import Example


def paid(name, text, answer=None, options=None, **facts):
  """Of a problem made by hand."""
  stated = dict(
    dataset=name, options=options or {}, answer=answer, facts=json.loads(json.dumps(facts))
  )
  return verifiers.verify(text, Example('', stated), answer_tags=False, max_answer=256)


def settled(name, question, answer='', **metadata):
  """What is asked for in a problem made by hand, as the library would describe it."""
  found = dict(question=question, answer=answer, metadata=metadata, options={})
  return CHECKS[name].settle(found)


@pytest.mark.parametrize(
  'name, answer, right, wrong',
  [
    ('gcd', '1234', '1234 1,234 +1234 1234.0', '12,34 1234.5 0x4d2 1.234e3 01234 １２３４'),
    ('decimal_chain_sum', '-0.5', '-0.5 -.5 -0.50', '-5 -.05 . -. 0.5'),
    ('word_sorting', 'Ab,cd,x', 'Ab,cd,x', 'ab,cd,x cd,Ab,x Ab,cd Ab,,cd,x Ab cd x'),
    ('zebra_puzzles', 'arnold', 'arnold Arnold', 'arnol arnold.'),
    ('complex_arithmetic', '48 - 36i', '48-36i 48.0-36.0i -36i+48 (48-36i)', '48 36i-48 48-36 i'),
    ('complex_arithmetic', '-i', '-i -1i 0-i 0-1.0i', 'i -1 --i -ii'),
    ('complex_arithmetic', '7', '7 7.0 7+0i', '7i 70'),
    ('coin_flip', '5/16', '5/16 10/32 0.3125 .3125', '0.31 0.3 5/0 6/16'),
    (
      'coin_flip',
      '1/32768',
      '0.00003052 3.0517578125e-5 3.051757812e-05',
      '0.00003 0.0000 3e-5 3.052e-99',
    ),
    ('prime_factorization', '2 × 2 × 3', '2×2×3 3×2×2', '2×6 12 2x2x3 4×3'),
    ('dice', '823/1575', '823/1575', '1646/3150 0.52'),
    (
      'number_sorting',
      "['-2', '1.0']",
      "['-2','1.0'] ['-2','1'] " + '["-2","1.0"]',
      "['1.0','-2']",
    ),
    ('list_functions', '[1, 2]', '[1,2]', '[2,1] 1,2 [1,2,] [true,2]'),
    ('game_of_life', '[[0,1],[1,0]]', '[[0,1],[1,0]]', '[[0,1],[1,1]] [[false,1],[1,0]]'),
    ('codeio', '{"a": 0.3}', '{"a":0.30000000000000004}', '{"a":0.31} {"a":NaN} {"b":0.3}'),
  ],
)
def test_forms_that_mean_the_same_are_paid(name, answer, right, wrong):
  assert [t for t in right.split() if not paid(name, t, answer)] == []
  assert [t for t in wrong.split() if paid(name, t, answer)] == []


def test_fractions_are_reduced_and_may_be_in_latex():
  facts = dict(simplified_numerator=79, simplified_denominator=173)
  right = ['79/173', '$79/173$', r'\frac{79}{173}', r'$\dfrac{79}{173}$', '79 / 173']
  wrong = ['158/346', '0.4566', r'\frac{79}{174}', '79', r'\frac{79}{173']
  assert [paid('fraction_simplification', t, '$x$', **facts) for t in right] == [1] * 5
  assert not any(paid('fraction_simplification', t, '$x$', **facts) for t in wrong)


def test_powers_have_three_significant_figures_in_e_notation():
  found = settled('power_function', '', base=-731.2715, exponent=-1)
  assert found['answer'] == '-1.37e-3'
  right, wrong = (
    ['-1.37e-3', '-1.37E-03'],
    ['-0.00137', '-1.367e-3', '1.37e-3', '-1.4e-3', '-13.7e-4'],
  )
  assert [paid('power_function', t, **found) for t in right] == [1, 1]
  assert not any(paid('power_function', t, **found) for t in wrong)
  assert settled('power_function', '', base=912.0685, exponent=0)['answer'] == '1.00e+0'


def test_decimals_are_rounded_once_from_the_half_up():
  question = (
    'to a maximum of 12 significant digits, rounding up.\n0.123456789012*0.5+0.4000000000005 = ?'
  )
  assert settled('decimal_arithmetic', question)['answer'] == '0.461728394507'
  assert settled('decimal_arithmetic', question.replace('*0.5', '/3'))['answer'] == '0.441152263005'


def test_roots_are_rounded_down_or_to_the_nearest():
  found = settled('polynomial_equations', '', polynomial_expr='-66*o**2 + 39*o', variable='o')
  assert found['answer'] == '0.0, 0.5909'
  right = ['0, 0.5909', '0.5909,0.0', '0.0, 0.5909', '0.5909, 0.0000']
  assert [paid('polynomial_equations', t, **found) for t in right] == [1] * 4
  wrong = ['0.5909', '0, 0.591', '0, 0.5908', '0, 0, 0.5909', '0; 0.5909', '0, 0.59091']
  assert not any(paid('polynomial_equations', t, **found) for t in wrong)
  down = settled('polynomial_equations', '', polynomial_expr='x**3 - 3*x + 1', variable='x')
  assert down['answer'] == '-1.8793, 0.3472, 1.532'
  assert paid('polynomial_equations', '-1.8794, 0.3473, 1.5321', **down) == 1
  assert settled('polynomial_equations', '', polynomial_expr='x**2 + 1', variable='x') is None


def test_products_are_multiplied_out_in_any_order():
  facts = dict(polynomial_expr='(2*x + 3*y)*(x - y)')
  right = ['2*x**2 + x*y - 3*y**2', '-3*y**2+y*x+2*x*x', '2*x**2 + 1*x*y - 3*y**2']
  wrong = [
    '(2*x + 3*y)*(x - y)',
    '2*x**2 + 3*x*y - 2*x*y - 3*y**2',
    '2*x^2 + x*y - 3*y^2',
    '2*x**2',
  ]
  assert [paid('polynomial_multiplication', t, '', **facts) for t in right] == [1] * 3
  assert not any(paid('polynomial_multiplication', t, '', **facts) for t in wrong)
  assert not paid('polynomial_multiplication', '2*(x + y) + 0', '', polynomial_expr='2*x + 2*y')


@pytest.mark.parametrize(
  'integrand, right, wrong',
  [
    ('x*exp(x)', ['(x-1)*exp(x) + C', 'E**(x)*x - E**x', 'C + x*exp(x)-exp(x) + 2'], ['x*exp(x)']),
    ('-3*sqrt(1 - 3*x)', ['2*(1-3*x)**(3/2)/3 + C', '2/3*(1 - 3*x)*sqrt(1 - 3*x)'], ['C']),
    ('asin(3*x)', ['x*asin(3*x) + sqrt(1 - 9*x**2)/3 + C'], ['x*asin(3*x) + C', 'asin(3*x)']),
    ('1/x', ['log(x) + C', 'ln(2*x)'], ['log(x)*C', 'log(x) + C*x', 'log(x**2)']),
    (
      'sin(x)*cos(x)',
      ['sin(x)**2/2', '-cos(x)**2/2 + C', '-cos(2*x)/4'],
      ['cos(2*x)/4', 'open(x)'],
    ),
  ],
)
def test_antiderivatives_are_those_whose_derivative_is_the_integrand(integrand, right, wrong):
  facts = dict(integrand=integrand, variable='x')
  assert [t for t in right if not paid('intermediate_integration', t, '-', **facts)] == []
  assert [t for t in wrong if paid('intermediate_integration', t, '-', **facts)] == []


def test_integrals_of_polynomials_may_have_any_order_and_constant():
  facts = dict(integrand='-45*X**8 + X/2', variable='X')
  right = ['X**2/4 - 5*X**9 + C', '-5*X**9 + (1/4)*X**2', '0.25*X**2 - 5*X**9 + 7']
  wrong = ['-5*X**9 + C', 'X**2/4 - 5*X**9 + Y', 'X**2/4 - 5*X**9 + C*X', 'x**2/4 - 5*x**9']
  assert [paid('simple_integration', t, '-', **facts) for t in right] == [1] * 3
  assert not any(paid('simple_integration', t, '-', **facts) for t in wrong)


def test_people_are_named_as_asked_with_or_without_a_full_stop():
  answer = 'Riley is an altruist, and Daniel is an egoist'
  right = [answer, answer + '.', 'Riley is a altruist, and Daniel is a egoist']
  wrong = ['Riley is an egoist, and Daniel is an altruist', 'Riley is an altruist', 'Daniel']
  assert [paid('knights_knaves', t, answer) for t in right] == [1] * 3
  assert not any(paid('knights_knaves', t, answer) for t in wrong)


def test_a_matrix_of_averages_is_right_to_two_decimals():
  found = settled(
    'pool_matrix', '', matrix=[[1, 2, 3], [4, 5, 5]], pool_type='average', pool_size=2
  )
  assert found['answer'] == '3.00 4.00'
  assert [paid('pool_matrix', t, **found) for t in ('3 4', '3.0 4.00', '3.00\n4.00', '3 4.01')] == [
    1,
    1,
    0,
    0,
  ]


def test_a_survo_may_have_several_fillings():
  facts = dict(puzzle=[[0, 0, 3], [0, 0, 3], [3, 3, 6]], candidate_numbers=[1, 2, 2, 1])
  assert paid('survo', '1 2 3\n2 1 3\n3 3 6', '-', **facts) == 1
  assert paid('survo', '2 1 3\n1 2 3\n3 3 6', '-', **facts) == 1
  assert not paid('survo', '3 0 3\n0 3 3\n3 3 6', '-', **facts)
  assert not paid('survo', '1 2 3\n1 2 3\n3 3 6', '-', **facts)
  assert not paid('survo', '1 2 3\n2 1 3\n3 3 7', '-', **facts)


def test_what_does_not_follow_is_no_and_what_depends_on_empty_kinds_is_left_out():
  said = lambda a, b, c: settled('syllogism', '', premise1=a, premise2=b, conclusion=c)
  barbara = 'All ants are bees', 'All bees are cats', 'All ants are cats'
  assert said(*barbara) == {'answer': 'Yes'}
  assert said('All ants are bees', 'Some bees are not cats', 'Some ants are not cats') == {
    'answer': 'No'
  }
  assert said(*barbara[:2], 'Some ants are cats') is None
  assert said('No ants are bees', 'Some bees are cats', 'No bees are ants') == {'answer': 'Yes'}


def test_durations_keep_the_time_of_day_and_every_millisecond():
  style = '%Y-%m-%d (%A) %H:%M:%S %z'
  text = 'from 2024-01-15 (Monday) 23:30:45 +0200 to 2024-01-17 (Wednesday) 00:10:15 +0000.'
  facts = dict(format=style, expected_format='D days, HH:MM')
  found = settled('time_intervals', text, **facts)
  assert found['readings'] == ['1 days, 02:39', '1 day, 02:39', '1 days, 02:40', '1 day, 02:40']
  assert settled('time_intervals', text.replace('01-17', '01-14'), **facts) is None
  clock = dict(format='%H:%M:%S.%f', expected_format='HH:MM:SS.mmm')
  found = settled('time_intervals', 'between 09:43:58.821 and 22:11:11.690', **clock)
  assert found['answer'] == '12:27:12.869'
  found = settled('time_intervals', '23:10 and 00:00', format='%H:%M', expected_format='HH:MM')
  assert found['answer'] == '00:50'


def test_knights_may_use_every_move_of_the_board_that_is_shown():
  pieces = {'A1': 'w', 'B3': None, 'C2': 'B', 'A3': None, 'B1': None}
  hidden = dict(
    pieces=pieces, board={place: [] for place in pieces}, start_turn='w', is_possible=False
  )
  found = settled('knight_swap', '', 'No', **hidden)
  assert (
    found['answer'] == 'No' and not found['is_possible'] and found['board']['A1'] == ['B3', 'C2']
  )
  said = hidden | found
  assert paid('knight_swap', '"No"', **said) and not paid('knight_swap', 'Not', **said)
  ring = dict.fromkeys(['A1', 'B3', 'C1', 'A2', 'C3', 'B1', 'A3', 'C2']) | {'A1': 'w', 'C3': 'B'}
  found = settled('knight_swap', '', 'No', pieces=ring, board={}, start_turn='w')
  facts = dict(pieces=ring, start_turn='w') | found
  assert (
    found['is_possible'] and paid('knight_swap', found['answer'], **facts | {'answer': '-'}) == 1
  )
  assert not paid('knight_swap', 'No', **facts | {'answer': '-'})
  moves = json.loads(found['answer'])
  start, end = moves[0].split(',')[1:]
  twice = [f'w,{start},{end}', f'w,{end},{start}', *moves]
  for wrong in (moves[:-1], moves[1:], [moves[0], *moves], twice):
    assert not paid('knight_swap', json.dumps(wrong), **facts | {'answer': '-'})


def test_cars_are_named_as_in_the_question():
  question = 'Board:\n......\n......\nAA.B..\n...B..\n......\n......'
  found = settled(
    'rush_hour', question, None, board_config='o' * 12 + 'AAoCoo' + 'oooCoo' + 'o' * 12
  )
  assert paid('rush_hour', 'B+2 A+4', **found) == 1 and not paid('rush_hour', 'C+2 A+4', **found)


def test_polygons_that_are_not_convex_and_quotients_that_are_cut_are_left_out():
  assert (
    settled('simple_geometry', '', '233', n_sides=6, known_angles=[117.0, 20.0, 76.0, 140.0, 134.0])
    is None
  )
  assert (
    settled('simple_geometry', '', '', n_sides=3, known_angles=[60.0, 59.5])['answer'] == '60.5'
  )
  assert (
    settled('basic_arithmetic', '', '532', expression='542 + -9 + -438 / -( 953 * -340 )') is None
  )
  assert settled('basic_arithmetic', '', '', expression='-8 / -( 2 + 2 ) - 07')['answer'] == '-5'
