"""How the answers of every data set of reasoning-gym are checked."""

from rft_jax.data.gym import arithmetic, calculus, calendars, geometry, logic, matrices, polynomials
from rft_jax.data.gym.forms import (
  ANY,
  EXACT,
  GRID,
  INTEGER,
  JSON,
  LIST,
  NUMBER,
  STRINGS,
  WORD,
  WORDS,
  Check,
  computed,
  repeated,
  same_numbers,
)
from rft_jax.data.gym.library import what_it_puts_out
from rft_jax.data.gym.puzzles import MOVES, PUZZLES

WITH_C = 'any antiderivative, with or without `+ C`; terms in any order'
NUMBERS = {
  name: INTEGER
  for name in (
    'binary_alternation chain_sum count_bits count_primes decimal_chain_sum gcd gsm_symbolic '
    'largest_island lcm leg_counting maze number_sequence products rectangle_count rotten_oranges '
    'self_reference'
  ).split()
}
NAMES = {
  name: WORD
  for name in (
    'acre circuit_logic color_cube_rotation course_schedule figlet_font game_of_life_halting '
    'isomorphic_strings ransom_note zebra_puzzles'
  ).split()
}
GRIDS = {
  name: GRID
  for name in (
    'ab arc_1d arc_agi binary_matrix modulo_grid path_star rearc rotate_matrix '
    'spiral_matrix string_splitting string_synthesis'
  ).split()
}
TEXTS = {
  name: EXACT
  for name in (
    'base_conversion bf caesar_cipher emoji_mystery letter_jumble sentence_reordering '
    'spell_backward string_insertion word_sequence_reversal'
  ).split()
}
ARITHMETIC = {
  'basic_arithmetic': INTEGER._replace(
    settle=computed(arithmetic.quotient),
    false='quotients are cut to whole numbers: left out where the value is none',
  ),
  'bitwise_arithmetic': WORD._replace(form='the hexadecimal number, in capitals or not'),
  'coin_flip': Check(
    rf'{NUMBER}(?:e-\d\d?)?|{arithmetic.FRACTION}',
    (),
    arithmetic.same_chance,
    arithmetic.coin,
    'a fraction, the exact decimal, or one rounded to four digits or more',
  ),
  'complex_arithmetic': Check(
    arithmetic.COMPLEX,
    (),
    arithmetic.same_complex,
    computed(arithmetic.complex_answer),
    'the number: `48 + 36i`, `48.0+36.0i`, `36i + 48`',
  ),
  'decimal_arithmetic': INTEGER._replace(
    settle=arithmetic.decimals,
    form='12 significant digits (option `precision`), rounded up from the half',
    false='halves are rounded to even, and every step is rounded: computed exactly',
  ),
  'dice': Check(
    arithmetic.FRACTION, (), arithmetic.same_dice, computed(arithmetic.dice), 'the reduced fraction'
  ),
  'fraction_simplification': Check(
    r'[$\\{}/\-\w ]+',
    ('simplified_numerator', 'simplified_denominator'),
    arithmetic.lowest,
    arithmetic.in_lowest_terms,
    'the reduced fraction: `79/173`, `\\frac{79}{173}`, with or without `$`',
  ),
  'number_format': INTEGER._replace(
    grammar=NUMBER + r'(?:[eE][+-]?\d{1,3})?',
    settle=arithmetic.pick,
    form='the number in its listed spelling, or in another',
    false='the stored spelling is none of those that are listed',
  ),
  'pool_matrix': Check(
    ANY,
    ('exact',),
    arithmetic.same_pool,
    arithmetic.pooled,
    'a matrix of numbers, right to 2 decimals',
    'averages are stored without their last zeros',
  ),
  'power_function': Check(
    arithmetic.SCIENTIFIC,
    ('readings',),
    arithmetic.same_power,
    arithmetic.power,
    '3 significant figures: `9.36e-18`',
    'all digits are stored, often not in e notation',
  ),
  'prime_factorization': Check(
    repeated(r'\d+', ' ?× ?'), (), arithmetic.same_factors, form='the prime factors, in any order'
  ),
  'simple_geometry': INTEGER._replace(
    settle=computed(arithmetic.polygon),
    false='"convex" polygons with an angle of 180 degrees or more: left out',
  ),
}
ALGEBRA = {
  'intermediate_integration': Check(
    calculus.CALCULUS,
    ('integrand', 'variable'),
    calculus.integral,
    calculus.settle,
    WITH_C,
    'some answers are the integral unsolved (`3*Integral(x**3*cos(3*x), x) + C`): worked out anew',
  ),
  'polynomial_equations': Check(
    repeated(NUMBER, r',\s*'),
    ('roots',),
    polynomials.same_roots,
    polynomials.real_roots,
    'all real roots in any order, 4 decimals, rounded down or to the nearest',
    'roots are not rounded down as the question says; no root is an empty text: left out',
  ),
  'polynomial_multiplication': Check(
    polynomials.POLYNOMIAL,
    ('polynomial_expr',),
    polynomials.expanded,
    form='the product multiplied out, terms in any order',
  ),
  'simple_equations': INTEGER._replace(
    settle=computed(polynomials.solution), false='`0 = 0` has no one solution: left out'
  ),
  'simple_integration': Check(
    polynomials.POLYNOMIAL, ('integrand', 'variable'), polynomials.antiderivative, form=WITH_C
  ),
}
LOGIC = {
  'aiw': INTEGER._replace(
    settle=computed(logic.siblings),
    false='colleagues are counted in one of two circles, and brothers of somebody not introduced '
    'are asked for: left out',
  ),
  'calendar_arithmetic': WORD._replace(
    settle=calendars.day,
    false='ranges that end in another year than is written, and weekdays that depend on a leap '
    'year not told: left out',
  ),
  'family_relationships': WORD._replace(
    settle=logic.relation,
    false='in-laws are named the wrong way round, nieces and nephews by the sex of the other: '
    'computed',
  ),
  'knights_knaves': Check(
    ANY,
    (),
    logic.same_roles,
    logic.roles,
    'as asked; a final full stop, `a` or `an` make no difference',
    'a full stop is stored that is not asked for',
  ),
  'letter_counting': INTEGER._replace(
    settle=computed(logic.letters),
    false='capitals count as the small letter, which is not said: left out where it matters',
  ),
  'mahjong_puzzle': WORD._replace(
    settle=computed(logic.called),
    false='"Pass" is stored for cards that make a set, "Chi" for some that are "Peng": computed',
  ),
  'manipulate_matrix': Check(
    ANY,
    ('readings',),
    matrices.one_reading,
    matrices.manipulated,
    'the matrix in any reading of "horizontally" and of the direction of a rotation',
    'the question leaves both open',
  ),
  'needle_haystack': WORD._replace(settle=computed(logic.needle), false='two fit: left out'),
  'number_filtering': STRINGS._replace(
    settle=logic.kept, false='of equal numbers the first spelling is repeated: computed'
  ),
  'number_sorting': Check(LIST, (), same_numbers, form='the numbers in quotes of either kind'),
  'string_manipulation': EXACT._replace(
    settle=computed(logic.rewritten), false='a rule is misapplied to the string `cb`: left out'
  ),
  'syllogism': WORD._replace(
    settle=computed(logic.follows),
    false='conclusions are called valid that are not: computed in all small worlds; left out where '
    'it depends on whether a kind may be empty',
  ),
  'time_intervals': Check(
    ANY,
    ('readings',),
    calendars.one_reading,
    calendars.duration,
    'as asked; what is finer than asked may be dropped or rounded',
    'the time of day is lost in one format, milliseconds are cut, midnight is passed backwards: '
    'computed; left out where the end is before the start',
  ),
}
VALUES = {
  'advanced_geometry': Check(
    ANY,
    ('readings',),
    geometry.one_of,
    geometry.triangle,
    '3 decimals, or fewer where they are zeros; the degree sign may be left out',
    'angles are stored with 2 decimals: computed',
  ),
  'codeio': JSON._replace(
    settle=what_it_puts_out,
    false='of questions for a feasible input only one right answer is known: left out; the library '
    'takes `input_prediction_probability` for that of the other kind, so 1.0 leaves none out',
  ),
  'game_of_life': JSON,
  'list_functions': JSON,
}
ALL = (
  {'word_sorting': WORDS}
  | NUMBERS
  | NAMES
  | GRIDS
  | TEXTS
  | ARITHMETIC
  | ALGEBRA
  | LOGIC
  | PUZZLES
  | MOVES
  | VALUES
)
REMARKS = dict.fromkeys(
  'arc_1d arc_agi letter_jumble list_functions modulo_grid number_sequence rearc '
  'sentence_reordering'.split(),
  "other answers may fit: only the library's is known",
) | {
  'bf': 'half of the programs print a zero byte after the word, which is no part of the answer',
  'leg_counting': 'a starfish is given 5 legs',
  'word_ladder': 'words that the library does not know are wrong',
}
CHECKS: dict[str, Check] = ALL | {n: ALL[n]._replace(false=said) for n, said in REMARKS.items()}
