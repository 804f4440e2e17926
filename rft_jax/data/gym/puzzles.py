"""How the answers of puzzles and of games are checked."""

from rft_jax.data.gym import arithmetic, boards, moves, solvers
from rft_jax.data.gym.forms import ANY, Check, json_list, repeated
from rft_jax.data.gym.library import by_scorer, unscrambled

EXPRESSION = r'[\d+\-*/() ]+'
JUG_MOVE = r'"fill [A-Z]"|"empty [A-Z]"|"pour [A-Z]->[A-Z]"'
KNIGHT_MOVE = r'"[wB],[A-Z]\d,[A-Z]\d"'
WORDS = json_list(r'"\w+"')
SQUARE = r'\[\d+\.\d, ?\d+\.\d\]'
BOX_MOVE = rf'"Agent{SQUARE}": ?"move\(box_\w+, ?(?:square{SQUARE}|target_\w+)\)"'
PUZZLES = {
  'countdown': Check(
    EXPRESSION, ('numbers', 'target'), arithmetic.arithmetic, form='any expression of the numbers'
  ),
  'puzzle24': Check(
    EXPRESSION, ('numbers',), arithmetic.arithmetic, form='any expression of the numbers'
  ),
  'cryptarithm': Check(
    repeated(r'[A-Z]=\d', ', ?'),
    ('words_letters', 'result_letters', 'allow_leading_zero'),
    boards.cryptarithm,
    form='any mapping that solves it',
  ),
  'futoshiki': Check(
    ANY,
    ('puzzle', 'constraints', 'shown'),
    boards.futoshiki,
    boards.futoshiki_shown,
    'the lines of the puzzle with its blanks filled',
  ),
  'graph_color': Check(
    r'\{\s*' + repeated(r'"\d+":\s?\d+', r',\s*') + r'\s*\}',
    ('puzzle',),
    boards.coloring,
    boards.example_coloring,
    'any proper colouring',
    'the library stores an example elsewhere',
  ),
  'group_anagrams': Check(
    json_list(WORDS), (), boards.anagrams, form='the groups, in any order inside and out'
  ),
  'kakurasu': Check(
    boards.NUMBERS,
    ('row_sums', 'col_sums', 'n_rows', 'n_cols'),
    boards.kakurasu,
    form='any grid with the sums',
  ),
  'mini_sudoku': Check(boards.NUMBERS, ('puzzle',), boards.sudoku, form='any grid by the rules'),
  'sudoku': Check(boards.NUMBERS, ('puzzle',), boards.sudoku, form='any grid by the rules'),
  'n_queens': Check(r'[Q_ \r\n]+', ('puzzle',), boards.queens, form='any board by the rules'),
  'palindrome_generation': Check(
    '[a-z]+', ('letters',), boards.palindrome, form='any palindrome of the letters'
  ),
  'palindrome_partitioning': Check(
    json_list(WORDS), ('string',), boards.partitions, form='all partitions, in any order'
  ),
  'survo': Check(
    boards.NUMBERS, ('puzzle', 'candidate_numbers'), boards.survo, form='any filling with the sums'
  ),
  'tsumego': Check(
    r'[A-Za-z]\d{1,2}',
    ('moves',),
    boards.one_move,
    boards.captures,
    'any move that captures most, or any that captures where that is the question',
    'some stored moves are not those that capture most: computed',
  ),
}
MOVES = {
  'boxnet': Check(
    json_list(r'\{\s*' + repeated(BOX_MOVE, r',\s*') + r'\s*\}'),
    ('initial_state',),
    moves.boxnet,
    solvers.carried,
    'any plan of legal actions that brings all boxes home',
    'the library stores none: worked out',
  ),
  'jugs': Check(json_list(JUG_MOVE), ('puzzle',), moves.jugs, form='any moves to the target'),
  'knight_swap': Check(
    rf'"?[Nn]o"?|{json_list(KNIGHT_MOVE)}',
    ('is_possible', 'board', 'pieces', 'start_turn'),
    moves.knights,
    solvers.knights_swap,
    'any legal moves that swap, or `No`',
    'some that are called impossible are not: computed by looking at every position',
  ),
  'quantum_lock': Check(
    repeated('[A-Z]', ' ?→ ?'),
    ('initial_value', 'initial_state', 'buttons', 'target_value'),
    moves.quantum_lock,
    form='any shortest sequence',
  ),
  'rubiks_cube': Check(
    repeated("[1-9]?[UDLRFBMESXYZ]w?'?", ' '),
    ('cube_size', 'scramble_moves'),
    by_scorer,
    unscrambled,
    'any moves that solve it, one after the other: `U U` for `U2`',
    'the library stores a long example for cubes of 3: the scrambling turns, backwards',
  ),
  'rush_hour': Check(
    repeated(r'[A-Z][+-][1-4]', ' '),
    ('board_config',),
    moves.rush_hour,
    solvers.way_out,
    'any legal moves out',
    'the library stores none, and names the cars otherwise than its question: worked out',
  ),
  'shortest_path': Check(
    repeated('up|down|left|right', ' ') + '|infeasible',
    ('matrix',),
    moves.shortest_path,
    solvers.shortest,
    'any shortest way, or `infeasible`',
  ),
  'sokoban': Check('[UDLR]+', ('gamestr',), moves.sokoban, form='any legal moves that solve it'),
  'tower_of_hanoi': Check(
    repeated(r'Move disk \d+ from Peg \d+ to Peg \d+', r'\s*\n'),
    ('num_disks', 'num_pegs', 'start_peg', 'target_peg'),
    moves.hanoi,
    form='any legal moves to the target peg',
  ),
  'word_ladder': Check(
    repeated('[A-Za-z]+', ', ?'),
    ('start_word', 'end_word'),
    by_scorer,
    form='any ladder of words that the library knows',
  ),
}
