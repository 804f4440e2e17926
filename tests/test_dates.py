"""A template that prints the date prints the same one for the whole of a run."""

import copy
import datetime
import json
import pickle
import types

import fielded
import pytest
from test_export import ROWS
from training import records

from rft_jax import config as defaults
from rft_jax.data import chat, templates
from rft_jax.infra import workdir
from rft_jax.modes import train
from rft_jax.modes.session import open_session
from rft_jax.registry import ConfigError

ASKED = [dict(role='user', content='hi')]
OLDER = (  # Llama 3.1: its own date where it is told none.
  '{% if not date_string is defined %}{% set date_string = "26 Jul 2024" %}{% endif %}'
  '{{ date_string }}|{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}'
)


@pytest.fixture
def clock(monkeypatch):
  """clock(day): what day it is from now on."""

  def turn(day: str):
    class Date(datetime.date):
      @classmethod
      def today(cls):
        return datetime.date.fromisoformat(day)

    fake = types.SimpleNamespace(date=Date, datetime=datetime.datetime)
    for module in (templates, workdir):
      monkeypatch.setattr(module, 'datetime', fake)

  return turn


def write_tokenizer(path, template: str = '') -> str:
  tokenizer = fielded.bytewise(
    ['<pad>', '<s>', '</s>'], eos_token='</s>', bos_token='<s>', pad_token='<pad>'
  )
  tokenizer.chat_template = template or fielded.template('dated').replace('<|eot_id|>', '</s>')
  tokenizer.save_pretrained(path / 'tokenizer')
  return str(path / 'tokenizer')


def a_run(path, steps: int = 1, template: str = ''):
  c = defaults.base()
  c.tokenizer = write_tokenizer(path, template)
  c.model.update(hidden_size=16, intermediate_size=32, num_hidden_layers=1, head_dim=8)
  c.parallel.devices = 1
  c.log.update(tensorboard=False, wandb='off')
  (path / 'rows.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in ROWS))
  c.stages = ('sft',)
  task = f'dataset(source="{path}/rows.jsonl", messages="messages")'
  sizes = dict(steps=steps, prompts=2, group=1, max_prompt=240, max_new=16)
  c.sft = defaults.stage(task, 'sft', **sizes)
  c.sft.evaluate.update(prompts=2)
  return c


def test_a_run_that_is_resumed_a_week_later_learns_the_same(clock, tmp_path):
  clock('2026-01-30')
  train.run(a_run(tmp_path, 2), str(tmp_path / 'whole'), 0.0)
  train.run(a_run(tmp_path, 1), str(tmp_path / 'parted'), 0.0)
  clock('2026-02-06')
  train.run(a_run(tmp_path, 2), str(tmp_path / 'parted'), 0.0)
  assert workdir.first_day(tmp_path / 'parted') == '2026-01-30'
  learned = [
    [record['loss/nll'] for record in records(tmp_path / name) if 'loss/nll' in record]
    for name in ('whole', 'parted')
  ]
  assert learned[0] == learned[1] and len(learned[0]) == 2


def test_the_prompt_has_the_day_of_the_run_unless_the_config_names_one(clock, tmp_path):
  clock('2026-01-30')
  c = a_run(tmp_path)
  said = lambda: chat.render(open_session(workdir.dated(c, tmp_path / 'run')).tokenizer, ASKED)
  assert 'Today Date: 30 Jan 2026\n' in said()
  workdir.open_workdir(tmp_path / 'run', {})
  clock('2026-02-06')
  assert 'Today Date: 30 Jan 2026\n' in said()
  c.date = '2025-12-24'
  assert 'Today Date: 24 Dec 2025\n' in said()
  c.date = 'today'
  assert 'Today Date: 06 Feb 2026\n' in said()


def test_a_template_with_a_date_of_its_own_keeps_it_unless_the_config_names_one(clock, tmp_path):
  clock('2026-01-30')
  c = a_run(tmp_path, template=OLDER)
  for config in (c, workdir.dated(c, tmp_path)):
    assert chat.render(open_session(config).tokenizer, ASKED) == '26 Jul 2024|hi</s>'
  c.date = '2025-12-24'
  assert chat.render(open_session(c).tokenizer, ASKED) == '24 Dec 2025|hi</s>'


def test_the_day_goes_with_the_tokenizer_to_other_processes(clock):
  tokenizer = fielded.bytewise(['</s>'], eos_token='</s>', bos_token='<s>')
  tokenizer.chat_template = fielded.template('dated')
  templates.set_date(tokenizer, '2020-02-03', False)
  packed, said = pickle.dumps(tokenizer), chat.render(tokenizer, ASKED)
  clock('2026-02-06')
  assert 'Today Date: 03 Feb 2020' in said
  for other in (pickle.loads(packed), copy.deepcopy(tokenizer)):
    assert chat.render(other, ASKED) == said


@pytest.mark.parametrize(
  'form, said',
  [
    ('%Y-%m-%d', '2026-02-06'),
    ('%d %B %Y', '06 February 2026'),
    ('%B %d, %Y', 'February 06, 2026'),
    ('%-d.%-m.%y %A', '6.2.26 Friday'),
    ('%H:%M', '00:00'),
  ],
)
def test_every_form_of_a_date_is_printed(form, said):
  tokenizer = fielded.bytewise(['</s>'], eos_token='</s>')
  tokenizer.chat_template = (
    f"\n  {{%- set now = strftime_now('{form}') %}}{{{{ now }}}}|{{{{ messages[0].content }}}}"
  )
  templates.set_date(tokenizer, '2026-02-06', False)
  assert chat.render(tokenizer, ASKED) == f'{said}|hi'
  tokenizer.chat_template = f"\nx {{{{ strftime_now('{form}') }}}}"
  assert chat.render(tokenizer, ASKED) == f'\nx {said}'


@pytest.mark.parametrize('day', ['yesterday', '2026-02-30', '30.1.2026', '26 Jul 2024'])
def test_what_is_no_day_is_refused(day, tmp_path):
  c = a_run(tmp_path)
  c.date = day
  with pytest.raises(ConfigError, match='must be YYYY-MM-DD'):
    open_session(c)


def test_a_run_whose_first_day_cannot_be_told_says_so(tmp_path):
  (tmp_path / 'date').write_text('once')
  with pytest.raises(ConfigError, match=r'date does not hold the day'):
    workdir.first_day(tmp_path)
