"""Data sets from files: every form, bad rows, held-out rows, streaming, verifiers."""

import csv
import gzip
import itertools
import json
import pickle

import datasets
import jax
import numpy as np
import pytest
import training
from talking import talking

from rft_jax.data.splits import split_of
from rft_jax.data.stream import Stream
from rft_jax.registry import ConfigError
from rft_jax.tasks import make_task
from rft_jax.types import Example

datasets.disable_progress_bars()
ROWS = [dict(question=f'{i}+{i}?', solution=f'So {i + i}.\n#### {i + i}') for i in range(60)]
QA = dict(prompt='question', response='solution')


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path / 'cache')
  monkeypatch.chdir(tmp_path)


def write(path, rows):
  """Rows in the format of the path's ending."""
  kind = str(path).removesuffix('.gz').rpartition('.')[2]
  if kind == 'parquet':
    datasets.Dataset.from_list(rows).to_parquet(path)
    return str(path)
  opener = gzip.open if str(path).endswith('.gz') else open
  with opener(path, 'wt', newline='') as file:
    if kind == 'csv':
      table = csv.DictWriter(file, rows[0])
      table.writeheader()
      table.writerows(rows)
    elif kind == 'json':
      json.dump(rows, file, indent=1)
    else:
      file.writelines((row if isinstance(row, str) else json.dumps(row)) + '\n' for row in rows)
  return str(path)


def task(source='a.jsonl', tokenizer=None, **options):
  written = ', '.join(f'{k}={v!r}' for k, v in dict(source=source, **options).items())
  return make_task(f'dataset({written})', tokenizer or talking())


def everything(made, split='train'):
  return [made.example(split, i) for i in range(made.size(split))]


def one(row, **options):
  """The example that a file of one row holds."""
  write('one.jsonl', [row])
  return task('one.jsonl', test='one.jsonl', **options).example('train', 0)


@pytest.mark.parametrize('streaming', [False, True])
@pytest.mark.parametrize(
  'name', ['a.jsonl', 'a.jsonl.gz', 'a.json', 'a.parquet', 'a.csv', 'b.csv.gz']
)
def test_every_format_gives_the_same_examples(name, streaming):
  made = task(write(name, ROWS), test=name, streaming=streaming, **QA)
  found = [made.example('test', i) for i in range(60)]
  wanted = [Example(r['question'], None, r['solution']) for r in ROWS]
  assert [e._replace(place='') for e in found] == wanted
  assert found[6].place == f'{name}, row 7'


def test_a_directory_and_a_pattern_are_read_in_order(tmp_path):
  (tmp_path / 'parts').mkdir()
  for i in range(3):
    write(tmp_path / f'parts/{i}.jsonl', ROWS[20 * i : 20 * i + 20])
  for source in ('parts', 'parts/*.jsonl'):
    made = task(source, test='parts/0.jsonl', **QA)
    assert [e.prompt for e in everything(made)] == [r['question'] for r in ROWS]
    assert everything(made)[20].place.endswith('1.jsonl, row 1')


def test_a_file_that_was_changed_is_read_anew_and_names_may_hold_brackets():
  for i in range(2):
    write('a[1].jsonl', [dict(prompt=f'{i}\u2028')])
    for streaming in (False, True):
      made = task('a[1].jsonl', test='a[1].jsonl', streaming=streaming)
      assert made.example('train', 0).prompt == f'{i}\u2028'


def test_a_hub_id_is_loaded_by_its_subset_and_splits(monkeypatch):
  asked = []

  def load(*names, **options):
    asked.append((*names, options))
    return datasets.Dataset.from_list(ROWS[:3])

  monkeypatch.setattr(datasets, 'load_dataset', load)
  made = task('some/set', subset='main', split='train[:9]', test='test', **QA)
  assert made.example('test', 2).place == 'some/set[test], row 3'
  wanted = [('some/set', 'main', dict(split=s, streaming=False)) for s in ('train[:9]', 'test')]
  assert asked == wanted


def test_a_hub_id_that_cannot_be_had_is_a_config_error(monkeypatch):
  monkeypatch.setattr(datasets.config, 'HF_HUB_OFFLINE', True)
  with pytest.raises(ConfigError, match=r"data set 'no/such' .* cannot be loaded"):
    task('no/such')


def test_numbers_like_texts_of_a_csv_stay_texts():
  write('a.csv', [dict(q='007', a='NA')])
  found = task('a.csv', test='a.csv', prompt='q', response='a').example('train', 0)
  assert (found.prompt, found.response) == ('007', 'NA')


ASK, SAY = (dict(role=r, content=c) for r, c in (('user', 'hi'), ('assistant', 'yes')))
NO = dict(SAY, content='no')
SYSTEM = dict(role='system', content='be brief')


@pytest.mark.parametrize(
  'row, options, wanted',
  [
    (dict(q='a', c='b'), dict(prompt='{c}: {q}\n'), Example('b: a\n', None)),
    (dict(prompt='a', n=3), dict(answer='n'), Example('a', '3')),
    (dict(prompt='a', n=3), dict(answer='{n} of 4'), Example('a', '3 of 4')),
    (dict(body='a'), dict(text='body'), Example('', None, 'a')),
    (
      dict(prompt='a', chosen='b', rejected='c'),
      dict(response='chosen', rejected='rejected'),
      Example('a', None, 'b', 'c'),
    ),
    (
      dict(prompt=[ASK], chosen=[SAY], rejected=[NO]),
      dict(response='chosen', rejected='rejected'),
      Example('hi', None, 'yes', 'no', (ASK,)),
    ),
    (
      dict(chosen=[ASK, SAY], rejected=[ASK, NO]),
      dict(response='chosen', rejected='rejected'),
      Example('hi', None, 'yes', 'no', (ASK,)),
    ),
    (dict(prompt='hi'), dict(chat=True), Example('hi', None, '', '', (ASK,))),
    (
      dict(prompt='hi'),
      dict(chat=True, system='be brief'),
      Example('hi', None, '', '', (SYSTEM, ASK)),
    ),
    (
      dict(m=[ASK, SAY, ASK, NO]),
      dict(messages='m'),
      Example('hi\nyes\nhi', None, 'no', '', (ASK, SAY, ASK)),
    ),
    (
      dict(m=[{'from': 'human', 'value': 'hi'}, {'from': 'gpt', 'value': 'yes'}]),
      dict(messages='m', system='be brief'),
      Example('hi', None, 'yes', '', (SYSTEM, ASK)),
    ),
    (dict(m=[SYSTEM, ASK]), dict(messages='m'), Example('hi', None, '', '', (SYSTEM, ASK))),
  ],
)
def test_columns_become_what_the_config_says(row, options, wanted):
  assert one(row, **options)._replace(place='') == wanted


BAD = [
  (dict(q='a'), dict(prompt='question'), "column 'question' is missing"),
  (dict(question='a', solution=None), QA, "column 'solution' is missing"),
  (dict(question=3, solution='b'), QA, "column 'question' must be a text, not int"),
  (dict(question=' ', solution='b'), QA, "column 'question' is empty"),
  ('{"question": "a", ', QA, 'is not JSON'),
  ('', QA, 'is not JSON'),
  ('[1]', QA, 'is not an object'),
  (dict(x='a'), dict(prompt='{y}: {x}'), "column 'y' is missing"),
  (
    dict(question='a' * 9, solution='b'),
    dict(max_prompt=8, **QA),
    "'question': 9 tokens of max_pr",
  ),
  (dict(question='a', solution='b' * 9), dict(max_new=9, **QA), '10 tokens of max_new=9'),
  (dict(m='hi'), dict(messages='m'), "column 'm' must be a list of turns"),
  (dict(m=[dict(role='user')]), dict(messages='m'), "column 'm', turn 1: content must be a text"),
  (dict(m=[SAY]), dict(messages='m'), 'begins with the assistant'),
  (dict(m=[ASK, dict(SAY, tool_calls=[1])]), dict(messages='m'), 'tool_calls'),
  (
    dict(a=[ASK, SAY], b=[SYSTEM, ASK, NO]),
    dict(response='a', rejected='b'),
    'answers another conversation',
  ),
  (dict(a=[ASK, SAY], b=[ASK]), dict(response='a', rejected='b'), 'must end with a turn of the as'),
  (dict(prompt='a', n='none'), dict(answer='n', reward='gsm8k'), "column 'n': nothing to compare"),
]


@pytest.mark.parametrize('row, options, message', BAD)
def test_a_bad_row_is_an_error_that_names_file_row_and_column(row, options, message):
  write('a.jsonl', [row])
  with pytest.raises(ConfigError, match=message) as error:
    task(**options)
  assert 'a.jsonl, row 1:' in str(error.value) and '\n' not in str(error.value)
  with pytest.raises(ConfigError, match='1 bad rows were left out'):
    task(bad='skip', **options)


def test_bad_rows_are_left_out_and_counted(capsys):
  rows = [*ROWS[:5], '{', *ROWS[5:], dict(question='alone')]
  made = task(write('a.jsonl', rows), bad='skip', **QA)
  assert made.skipped and made.skipped() == 2
  assert 'a.jsonl, row 6: is not JSON' in capsys.readouterr().err
  assert made.size('train') + made.size('test') == 60
  assert everything(made) == [e for e in everything(made) if e.place != 'a.jsonl, row 6']


def test_rows_of_a_csv_with_other_fields_than_its_header_are_bad():
  with open('a.csv', 'w') as file:
    file.write('question,solution\na,b\na,b,c\na\n')
  with pytest.raises(ConfigError, match=r"a.csv, row 2: has more fields .*\['c'\]"):
    task('a.csv', **QA)
  assert task('a.csv', test='a.csv', bad='skip', **QA).size('train') == 1


def test_held_out_rows_are_those_whose_prompt_says_so():
  write('a.jsonl', ROWS + ROWS[:9])
  made = task(**QA)
  train, test = ({e.prompt for e in everything(made, s)} for s in ('train', 'test'))
  assert train and test and not train & test and len(train | test) == 60
  assert all(split_of(prompt) == 'test' for prompt in test)


def test_a_test_file_is_the_test_split_and_size_cuts_training():
  write('a.jsonl', ROWS), write('b.jsonl', ROWS[:3])
  made = task(test='b.jsonl', size=7, **QA)
  assert (made.size('train'), made.size('test')) == (7, 3)


@pytest.mark.parametrize(
  'options, message',
  [
    (dict(source='no.jsonl'), 'no file is there'),
    (dict(source='notes.txt'), 'of no known kind'),
    (dict(bad='ignore'), "'error' or 'skip'"),
    (dict(text='a', response='b'), 'holds the whole example'),
    (dict(rejected='b'), 'needs the better response'),
    (dict(prompt='{a'), 'is no template'),
    (dict(streaming=True, size=3), 'size=3 must be None'),
    (dict(reward='gsm8k'), 'name its column by answer='),
    (dict(reward='gsm9k'), "did you mean 'gsm8k'"),
    (dict(reward='no.such.thing'), 'cannot be loaded'),
    (dict(source='broken.parquet'), 'cannot be read as parquet'),
    (dict(source='broken.json'), 'broken.json is not JSON'),
    (dict(source='few.jsonl', **QA), 'no held-out rows'),
  ],
)
def test_options_that_cannot_work_are_config_errors(options, message):
  write('a.jsonl', ROWS), write('few.jsonl', ROWS[:1])
  for name in ('notes.txt', 'broken.parquet', 'broken.json'):
    with open(name, 'w') as file:
      file.write('[no')
  with pytest.raises(ConfigError, match=message):
    task(**options)


def test_messages_need_a_chat_template():
  write('a.jsonl', [dict(m=[ASK, SAY])])
  with pytest.raises(ConfigError, match='use the tokenizer of a chat model'):
    task(tokenizer=talking(template=None), messages='m')


def prompts(stream, steps):
  return [[e.prompt for e in stream.examples(step)] for step in steps]


def test_a_stream_started_at_any_step_goes_on_as_if_it_had_never_stopped():
  write('a.jsonl', [*ROWS[:30], '{', *ROWS[30:]])
  options = dict(streaming=True, buffer=16, bad='skip', **QA)
  fresh = lambda: Stream(task(**options), 'train', 4)
  whole = prompts(fresh(), range(40))
  for step in (1, 5, 13, 14, 30):
    assert prompts(fresh(), range(step, 40)) == whole[step:]
  assert prompts(Stream(task(seed=1, **options), 'train', 4), range(40)) != whole


def test_a_stream_meets_every_row_once_an_epoch_in_a_new_order():
  write('a.jsonl', ROWS)
  made = task(streaming=True, buffer=16, **QA)
  wanted = [r['question'] for r in ROWS if split_of(r['question']) == 'train']
  n = len(wanted)
  first, second = ([made.example('train', e * n + i).prompt for i in range(n)] for e in (0, 1))
  assert sorted(first) == sorted(second) == sorted(wanted)
  assert first != second and first != wanted
  assert set(first[:16]) == set(wanted[:16]), 'rows are shuffled within the buffer only'
  held_out = {made.example('test', i).prompt for i in range(60)}
  assert held_out == {r['question'] for r in ROWS} - set(wanted)


def test_a_stream_counts_what_it_has_left_out_by_where_it_is():
  write('a.jsonl', ['{', *ROWS[:40], '{'])
  made = task(streaming=True, buffer=8, bad='skip', test='a.jsonl', **QA)
  assert made.skipped
  made.example('train', 0)
  assert made.skipped() == 1
  made.example('train', 40), made.example('train', 80)
  assert made.skipped() == 2


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
  'preset, streaming',
  [
    ('sft', True),
    pytest.param('cpt', False, marks=SLOW),
    pytest.param('dpo', True, marks=SLOW),
    pytest.param('sft', False, marks=SLOW),
  ],
)
def test_a_run_on_a_file_resumes_exactly(preset, streaming, tmp_path, monkeypatch):
  """The position in the data is the step, which every checkpoint has."""
  source = write(
    tmp_path / 'a.jsonl', ['{', *({'q': f'{i}=', 'a': '1', 'b': '2'} for i in range(50))]
  )
  kind = dict(
    sft=dict(response='a'), dpo=dict(response='a', rejected='b'), cpt=dict(text='{q}{q}{q}{q}{a}')
  )[preset]
  columns = kind if preset == 'cpt' else kind | dict(prompt='q')
  options = dict(columns, source=source, bad='skip', streaming=streaming, buffer=8)
  spec = f'dataset({", ".join(f"{k}={v!r}" for k, v in options.items())})'
  c = training.tiny(learn=dict(preset=preset, group=1, task=spec))
  assert training.run_until(c, tmp_path / 'cut', 2, monkeypatch)
  for name in ('cut', 'whole'):
    training.run(c, tmp_path / name)
  (_, state, place), (_, other, elsewhere) = (
    training.saved(c, tmp_path / name) for name in ('cut', 'whole')
  )
  assert place == elsewhere
  jax.tree.map(np.testing.assert_array_equal, state, other)
  metrics = training.records(tmp_path / 'whole')
  assert metrics == training.records(tmp_path / 'cut')
  assert [m['data/skipped'] for m in metrics if 'data/skipped' in m] == [1.0] * 3


def test_chat_data_rewards_and_reinforcement_go_together(tmp_path):
  rows = [dict(prompt=f'{i}?', answer=str(i)) for i in range(40)]
  source = write(tmp_path / 'a.jsonl', rows)
  tokenizer = talking()
  tokenizer.save_pretrained(tmp_path / 'tokenizer')
  spec = f"dataset(source={source!r}, chat=True, system='add', answer='answer', reward='gsm8k')"
  c = training.tiny(rl=dict(preset='grpo', task=spec, steps=1, max_prompt=80))
  c.tokenizer = str(tmp_path / 'tokenizer')
  assert 'eval/accuracy/after' in training.run(c, tmp_path / 'run')


def test_a_stream_without_rows_is_an_error():
  write('a.jsonl', [dict(question='a')])
  with pytest.raises(ConfigError, match='holds no examples'):
    task(streaming=True, bad='skip', **QA).example('train', 0)


def test_the_parts_of_all_processes_are_the_whole_batch():
  write('a.jsonl', ROWS)
  for options in (dict(), dict(streaming=True, buffer=8)):
    made = task(**options, **QA)
    whole, *parts = (
      Stream(made, 'train', 6, 3, index, count) for index, count in ((0, 1), (0, 2), (1, 2))
    )
    for step in range(12):
      assert whole.examples(step) == [e for part in parts for e in part.examples(step)]
      numbers = np.concatenate([part.numbers(step) for part in parts])
      assert numbers.tolist() == whole.numbers(step).tolist()
  with pytest.raises(ConfigError, match='multiple of the 4 processes'):
    Stream(made, 'train', 6, 3, 0, 4)


SCORED = dict(
  gsm8k=(
    '#### 1,234.50',
    ['It is $1,234.5', 'so 7\n#### 1234.50', r'7: \boxed{1{,}234.5} of 9', '#### $1234.5.'],
    ['1234', '', '#### 7, not 1234.5\nno', r'\boxed{12} 1234.5', '-1234.5', '1234.5 + 1', '١٢٣٤'],
  ),
  exact=('The  Cat.', ['the cat', ' THE CAT.\n'], ['cat', '', 'the cat sat']),
  choice=(
    '(b)',
    ['B', '(B)', 'b.', 'The answer is B', 'B. Paris', r'\boxed{B}', 'Answer: A. No: answer: (B)'],
    ['', 'A', 'A or B', 'Bad', 'Answer: B. No: answer is C', 'AB'],
  ),
)


@pytest.mark.parametrize('name', SCORED)
def test_rewards_take_the_right_value_in_any_dress_and_nothing_else(name):
  answer, right, wrong = SCORED[name]
  write('a.jsonl', [dict(prompt='a', answer=answer)])
  made = task(test='a.jsonl', answer='answer', reward=name)
  reward, problem = pickle.loads(pickle.dumps(made.reward)), made.example('train', 0)
  assert {text: reward(text, problem) for text in right + wrong} == (
    dict.fromkeys(right, 1.0) | dict.fromkeys(wrong, 0.0)
  )
  assert made.answer and len({made.answer(text) for text in right}) == 1 and made.answer('') == ''


@pytest.mark.parametrize(
  'text, value',
  [
    ('-5', '-5'),
    ('-$5', '-5'),
    ('$-5', '-5'),
    ('7-5', '5'),
    ('x = −3', '-3'),
    ('1,000,000', '1000000'),
    ('.5', '0.5'),
    ('5.0', '5'),
    ('costs 5.', '5'),
    ('1, 2, 3', '3'),
  ],
)
def test_numbers_are_read_as_people_write_them(text, value):
  write('a.jsonl', [dict(prompt='a', answer=value)])
  made = task(test='a.jsonl', answer='answer', reward='gsm8k')
  assert made.reward and made.reward(text, made.example('train', 0)) == 1


@pytest.mark.parametrize('name', ['a.jsonl', 'a.json', 'a.parquet', 'a.csv'])
def test_a_column_of_numbers_is_compared_as_these_numbers(name):
  values = [0.00001, 1e16, 2.5e-7, 1e22, -0.0, 5.0, -1.5]
  made = task(
    write(name, [dict(prompt='a', n=value) for value in values]),
    test=name, answer='n', reward='gsm8k',
  )  # fmt: skip
  assert made.reward
  said = ['0.00001', '10,000,000,000,000,000', '2.5 x 10^-7', '1e22', '0', '5', '-3/2']
  scores = [[made.reward(text, made.example('test', i)) for text in said] for i in range(7)]
  assert np.array_equal(scores, np.eye(7))


def test_a_number_that_is_not_finite_is_a_bad_row():
  write('a.jsonl', [dict(prompt='a', n=1.0), '{"prompt": "b", "n": NaN}'])
  with pytest.raises(ConfigError, match="row 2: column 'n' must be a finite number, not nan"):
    task(test='a.jsonl', answer='n', reward='gsm8k')


def test_the_rewards_of_mathematics_and_choices_take_columns_as_they_are():
  pytest.importorskip('math_verify')
  write('a.jsonl', [dict(prompt='Which?\nA. x\nB. y', n=1, m='So $\\boxed{\\frac{1}{2}}$.')])
  for column, name, right, wrong in (
    ('n', 'choice', 'The answer is B', 'A'),
    ('m', 'math', '$0.5$', '2 1/2'),
  ):
    made = task(test='a.jsonl', answer=column, reward=name)
    reward, example = pickle.loads(pickle.dumps(made.reward)), made.example('test', 0)
    assert (reward(right, example), reward(wrong, example)) == (1, 0)
  write('a.jsonl', [dict(prompt='a', n=30)])
  with pytest.raises(ConfigError, match="column 'n': nothing to compare in '30'"):
    task(test='a.jsonl', answer='n', reward='choice')


def test_a_reward_of_the_users_own_is_named_by_its_module():
  write('a.jsonl', [dict(prompt='a', answer='9')])
  made = task(test='a.jsonl', answer='answer', reward='tests.hosted.judge')
  assert made.reward and made.reward('111111', made.example('train', 0)) == 4


def test_all_places_are_different():
  write('a.jsonl', ROWS)
  made = task(**QA)
  places = [e.place for e in itertools.chain(everything(made), everything(made, 'test'))]
  assert len(set(places)) == 60
