"""What is known before the first step: every row that a stage will use can be encoded, the data are
those that the run began with, and paths lead where they say."""

import functools
import json
import os
import random
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import training
from talking import talking

from rft_jax import main
from rft_jax.algorithms.presets import PRESETS
from rft_jax.config import expand, stage
from rft_jax.data import fitting
from rft_jax.data.recorded import Recorded, encode
from rft_jax.data.stream import Stream
from rft_jax.evaluators.report import batch_size
from rft_jax.modes.fitted import check_same, fitted, kinds, others
from rft_jax.modes.session import DEMONSTRATIONS, algorithm_of, open_session
from rft_jax.registry import ConfigError, UserError
from rft_jax.tasks import make_task
from rft_jax.types import Task

KNOWN = {'prompts', 'demonstrations', 'answers', 'pairs', 'labels', 'text'}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def write(rows, name='a.jsonl'):
  with open(name, 'w') as file:
    file.writelines(json.dumps(row) + '\n' for row in rows)


def spec(**options):
  written = dict(source='a.jsonl', test='a.jsonl') | options
  return f'dataset({", ".join(f"{k}={v!r}" for k, v in written.items())})'


def config(kind='chatml', template='', **stage):
  talking(kind, **(dict(template=template) if template else {})).save_pretrained('tokenizer')
  c = training.tiny(learn=dict(steps=2) | stage)
  c.tokenizer = './tokenizer'
  return c


def user(text):
  return dict(role='user', content=text)


def assistant(text):
  return dict(role='assistant', content=text)


TALK = [dict(m=[user(f'{i}?'), assistant(f'{i}')]) for i in range(8)]
PAIRS = [dict(prompt=f'{i}?', c='yes', r='no') for i in range(8)]
ASKED = [dict(prompt=f'{i}?', a=str(i)) for i in range(8)]
SFT = dict(preset='sft', group=1, max_prompt=40, max_new=40)
SHORT = dict(preset='sft', group=1, max_prompt=8, max_new=8)
DPO = dict(preset='dpo', group=1, max_prompt=8, max_new=8)
KTO = dict(preset='kto', group=1, max_prompt=8, max_new=8)
GRPO = dict(preset='grpo', max_prompt=8, max_new=8)
M = dict(messages='m')
CR = dict(response='c', rejected='r')
BAD = {
  'nobody answers': (TALK, dict(m=[user('x')]), SFT, M, 'no response to imitate'),
  'the end is spelled': (
    TALK,
    dict(m=[user('x'), assistant('a<|im_end|>b')]),
    SFT,
    M,
    'end-of-turn',
  ),
  'too long a talk': (TALK, dict(m=[user('x' * 99), assistant('y')]), SFT, M, 'the limit is 80'),
  'too long in packing': (
    TALK,
    dict(m=[user('x' * 99), assistant('y')]),
    SFT | dict(packing=True),
    M,
    'the limit is 80',
  ),
  'nothing is worse': (PAIRS, dict(prompt='x', c='y', r=''), DPO, CR, "column 'r' is empty"),
  'no pair': (
    PAIRS,
    dict(prompt='x', c='y', r='z'),
    DPO,
    dict(response='c'),
    'no rejected response',
  ),
  'too long a worse one': (PAIRS, dict(prompt='x', c='y', r='z' * 9), DPO, CR, 'max_new=8'),
  'too long a label': (PAIRS, dict(prompt='x', c='y', r='z' * 9), KTO, CR, 'max_new=8'),
  'too long a prompt of a pair': (
    PAIRS,
    dict(prompt='x' * 9, c='y', r='z'),
    DPO,
    CR,
    'max_prompt=8',
  ),
  'too long a prompt': (
    ASKED,
    dict(prompt='x' * 9, a='1'),
    GRPO,
    dict(answer='a', reward='exact'),
    'the limit is 8',
  ),
  'an unknown character': (
    [dict(t='some text') for _ in range(8)],
    dict(t='é'),
    dict(preset='cpt', group=1),
    dict(text='t'),
    "character 'é'",
  ),
}


def session_of(stage, options, **changes):
  return fitted(open_session(config(task=spec(**options, **changes), **stage)))


@pytest.mark.parametrize('case', BAD)
def test_rows_that_a_stage_cannot_use_are_known_before_it_starts(case):
  good, bad, stage, options, message = BAD[case]
  write([*good, bad, *good])
  with pytest.raises(ConfigError, match=message) as error:
    session_of(stage, options)
  assert f'row {1 if case == "no pair" else 9}: ' in str(error.value)
  if case == 'no pair':
    return
  task = session_of(stage, options, bad='skip').tasks['learn']
  assert task.size('train') == 16 and task.skipped() == 1
  assert all(task.example('train', i).place != 'a.jsonl, row 9' for i in range(16))


def test_a_stream_leaves_them_out_as_they_come():
  good, bad, stage, options, message = BAD['too long a worse one']
  write([*good, bad, *good])
  with pytest.raises(ConfigError, match=message):
    session_of(stage, options, streaming=True).tasks['learn'].example('train', 16)
  task = session_of(stage, options, streaming=True, bad='skip').tasks['learn']
  assert 'a.jsonl, row 9' not in {task.example('train', i).place for i in range(32)}
  assert task.skipped() == 1


def test_a_template_that_refuses_a_row_spoils_that_row_alone():
  write([*TALK, dict(m=[dict(role='system', content='be brief'), user('x'), assistant('y')])])
  c = config('gemma', **SFT, task=spec(**M))
  with pytest.raises(
    ConfigError, match=r'row 9: the chat template .* refuses a conversation of system'
  ):
    fitted(open_session(c))
  c.learn.task = spec(**M, bad='skip')
  assert fitted(open_session(c)).tasks['learn'].size('train') == 8


def test_demonstrations_beside_samples_are_looked_at_too():
  write(ASKED)
  write([dict(prompt='x', r='y'), dict(prompt='x', r='y' * 99), dict(prompt='x', r='y')], 'b.jsonl')
  demonstrations = dict(task=spec(source='b.jsonl', test='b.jsonl', response='r', bad='skip'))
  stage = dict(preset='mix', max_prompt=8, max_new=8, demonstrations=demonstrations)
  found = session_of(stage, dict(answer='a', reward='exact')).tasks
  assert found['learn' + DEMONSTRATIONS].size('train') == 2 and found['learn'].size('train') == 8


@pytest.mark.parametrize('preset', PRESETS)
def test_every_preset_says_which_rows_it_learns_from(preset):
  c = stage('', preset, group=2, teacher='teacher')
  samples = algorithm_of(c).samples
  for task in (Task(lambda split, i: None), Task(lambda split, i: None, reward=lambda text, e: 0)):
    train, test = kinds(c, task)
    assert train == ('prompts',) if samples else set(train) < KNOWN
    assert test or samples, 'what is learned from data is evaluated on data'
    assert {*train, *test, *others(c)} <= KNOWN


def test_only_the_rows_that_are_used_must_be_good():
  write([*PAIRS, dict(prompt='x' * 99, c='y', r='z')])
  write(PAIRS, 'b.jsonl')
  assert session_of(DPO, CR, size=8, test='b.jsonl').tasks['learn'].size('train') == 8
  with pytest.raises(ConfigError, match='row 9'):
    session_of(DPO, CR, size=9, test='b.jsonl')


@pytest.mark.parametrize(
  'kind', ['demonstrations', 'answers', 'pairs', 'labels', 'text', 'prompts']
)
def test_what_the_check_lets_pass_makes_every_batch(kind):
  """200 random rows around the limits: those that are left make batches, those that were left out
  cannot."""
  draw = random.Random(kind)
  text = lambda: draw.choice(['', ' ', '<|im_end|>', 'é', 'b' * draw.randrange(30)])
  rows = [dict(prompt=text(), r=text(), w=text()) for _ in range(200)]
  write(rows)
  tokenizer = talking()
  options = dict(text='r') if kind == 'text' else dict(response='r', rejected='w')
  for chat in (False, True) if kind != 'text' else (False,):
    task = make_task(spec(**options, chat=chat, bad='skip'), tokenizer)
    limits = dict(tokenizer=tokenizer, max_prompt=30 + 20 * chat, max_new=20)
    check = functools.partial(encode, kinds=(kind,), **limits)
    kept = task.fitting(dict(train=check, test=check))
    assert 0 < kept.size('train') < task.size('train')
    stream, *batch = Stream(kept, 'train', 1), tokenizer, limits['max_prompt'], 20
    made = None if kind == 'prompts' else Recorded(kind, stream, *batch)
    for step in range(kept.size('train')):
      made.batch(step) if made else stream.prompts(tokenizer, step, limits['max_prompt'])
    left = {kept.example('train', i).place for i in range(kept.size('train'))}
    for example in (task.example('train', i) for i in range(task.size('train'))):
      if example.place not in left:
        with pytest.raises(ConfigError):
          check(example)


def test_a_second_start_knows_the_rows_of_the_first(monkeypatch):
  good, bad, stage, options, _ = BAD['too long a talk']
  write([*good, bad])
  assert session_of(stage, options, bad='skip').tasks['learn'].skipped() == 1
  monkeypatch.setattr(fitting, 'faults', None)
  task = session_of(stage, options, bad='skip').tasks['learn']
  assert task.skipped() == 1 and task.size('train') == 8
  for change in (lambda: write(good + good), lambda: stage.update(max_new=30)):
    change()
    with pytest.raises(TypeError):
      session_of(stage, options, bad='skip')


def test_a_file_that_was_replaced_is_read_anew_whatever_its_date_says():
  for text in ('old', 'new'):
    write([dict(prompt=text)])
    os.utime('a.jsonl', ns=(10**18, 10**18))
    assert make_task(spec(), talking()).example('train', 0).prompt == text


def test_a_file_that_changes_while_it_is_read_is_an_error_and_one_that_is_touched_is_not():
  for streaming in (False, True):
    write(ASKED)
    task = make_task(spec(streaming=streaming, buffer=2, bad='skip'), talking())
    task.example('train', 0)
    os.utime('a.jsonl')
    for number in range(20):
      task.example('train', number % 8)
    write([dict(prompt='y?') for _ in ASKED])
    with pytest.raises(UserError, match=r'a\.jsonl was changed'):
      for number in range(20):
        task.example('train', number % 8)


@pytest.mark.parametrize('streaming', [False, True])
def test_a_run_goes_on_with_the_data_that_it_began_with_or_not_at_all(
  streaming, tmp_path, monkeypatch
):
  write(PAIRS)
  c = config(task=spec(response='c', streaming=streaming), **SHORT | dict(steps=3))
  assert training.run_until(c, tmp_path / 'cut', 1, monkeypatch)
  for rows in ([*PAIRS, dict(prompt='x', c='y', r='z')], [*PAIRS[1:], PAIRS[0]]):
    write(rows)
    with pytest.raises(ConfigError, match=r'a\.jsonl was .* bytes, .* it is .*: put back') as error:
      training.run(c, tmp_path / 'cut')
    assert '\n' not in str(error.value) and '--workdir' in str(error.value)
  write(PAIRS)
  for name in ('cut', 'whole'):
    training.run(c, tmp_path / name)
  ends = [training.saved(c, tmp_path / name) for name in ('cut', 'whole')]
  jax.tree.map(np.testing.assert_array_equal, ends[0][1], ends[1][1])
  talking(template=talking().chat_template + ' ').save_pretrained('tokenizer')
  c.learn.steps = 4
  with pytest.raises(ConfigError, match='the tokenizer was'):
    training.run(c, tmp_path / 'cut')


def test_files_that_come_and_go_are_changes_and_what_nobody_knows_is_none():
  known = {'a.jsonl': '1 bytes, ab', 'some/set[train]': ''}
  check_same(known, dict(known, **{'some/set[train]': 'ab'}), 'run')
  check_same({}, known, 'run')
  for now, message in (
    (known | {'b.jsonl': '2 bytes, cd'}, r'b\.jsonl is new'),
    ({'some/set[train]': ''}, r'a\.jsonl was 1 bytes, ab, it is absent'),
  ):
    with pytest.raises(ConfigError, match=message):
      check_same(known, now, 'run')


def test_a_leading_tilde_is_the_users_folder_in_every_path(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  write(PAIRS)
  c = config(task=spec(source='~/a.jsonl', test='~/*.jsonl', **CR), **DPO)
  c.tokenizer = '~/tokenizer'
  c.model.lora.path = c.export.path = c.model.path = '~/x'
  expand(c)
  assert {c.model.path, c.model.lora.path, c.export.path} == {str(tmp_path / 'x')}
  assert c.tokenizer == str(tmp_path / 'tokenizer')
  c.model.path = c.model.lora.path = ''
  c.tokenizer = '~/tokenizer'
  assert open_session(c).tasks['learn'].size('train') == 8
  assert main.at_home('--workdir=~/run') == f'--workdir={tmp_path}/run'
  assert main.at_home('--config.learn.stop=a~b') == '--config.learn.stop=a~b'


@pytest.mark.parametrize(
  'available, wanted', [(1, 4), (5, 4), (7, 4), (8, 8), (99, 32), (None, 32)]
)
def test_evaluations_share_what_held_out_rows_there_are(available, wanted):
  stage = SimpleNamespace(
    config=SimpleNamespace(evaluate=SimpleNamespace(prompts=32), prompts=8, group=1),
    placement=SimpleNamespace(shards=4),
    task=Task(lambda split, i: None, lambda split: available),
  )
  whole, batch = batch_size(stage)
  assert whole == wanted and whole % batch == 0 == batch % 4
