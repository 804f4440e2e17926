"""What is exported stops where the run stopped, in transformers too, and says the same."""

import json
import types

import fielded
import jax
import numpy as np
import pytest
from training import records

from rft_jax import config as defaults
from rft_jax.data import stops, text
from rft_jax.infra import hub, hub_save
from rft_jax.models.config import ModelConfig
from rft_jax.models.hf_config import write_config
from rft_jax.models.policy import make_policy
from rft_jax.modes import export, train
from rft_jax.registry import UserError

KEPT = dict(temperature=0.6, top_p=0.9, do_sample=True, repetition_penalty=1.05)
SAYS = dict(chatml='abc<|im_end|>xyz', llama3='abc<|eot_id|>xyz', plain='abc\n</turn>xyz')
WIDTH = 320
ROWS = [
  dict(messages=[dict(role='user', content=f'{i}?'), dict(role='assistant', content='abc')])
  for i in range(40)
]


def start(directory, tokenizer, says: str, **files):
  """A checkpoint that says these tokens, each once, one after the other, and then 'Q' for ever."""
  c = ModelConfig(
    len(tokenizer), WIDTH, 8, 1, 2, 1, 4, model_type='llama', tie_word_embeddings=False
  )
  params = jax.device_get(make_policy(c).init(jax.random.key(0))['decoder']['params'])
  params = {k: np.ones_like(x) if 'norm' in k else np.zeros_like(x) for k, x in params.items()}
  params['embed'] += np.eye(*params['embed'].shape, dtype=np.float32)
  line = text.encode(tokenizer, f'Q{says}')
  for before, after in zip(line, [*line[1:], line[0]], strict=True):
    params['lm_head'][after, before] = 1
  entries = write_config(c) | dict(eos_token_id=tokenizer.eos_token_id, bos_token_id=1)
  hub_save.save(str(directory), c, params, tokenizer, entries)
  for name, value in files.items():
    (directory / f'{name}.json').write_text(json.dumps(value))


def a_run(task: str, preset: str = 'sft', devices: int = 1, kind: str = 'auto', **model):
  """A run of one step that changes nothing to speak of."""
  c = defaults.base()
  c.model.update(model)
  c.parallel.update(devices=devices, kind=kind)
  c.log.update(tensorboard=False, wandb='off')
  c.scoring.workers = 0
  c.stages = ('one',)
  sizes = dict(steps=1, prompts=2, group=1 if preset == 'sft' else 2, max_prompt=80, max_new=24)
  c.one = defaults.stage(task, preset, **sizes, optimizer=dict(lr=1e-9))
  c.one.evaluate.update(prompts=2)
  return c


def trained(folder, task: str, **model):
  """Its export."""
  c = a_run(task, **model)
  train.run(c, str(folder / 'run'), 0.0)
  export.run(c, str(folder / 'run'), 0.0)
  return folder / 'run/export'


def rows_in(path):
  (path / 'rows.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in ROWS))
  return f'dataset(source="{path}/rows.jsonl", messages="messages")'


@pytest.mark.parametrize('name', SAYS)
def test_transformers_stops_where_the_run_stopped(name, tmp_path):
  transformers = pytest.importorskip('transformers')
  torch = pytest.importorskip('torch')
  tokenizer = fielded.fielded(name)
  start(
    tmp_path / 'start',
    tokenizer,
    SAYS[name],
    generation_config=KEPT | dict(eos_token_id=2, _from_model_config=True),
  )
  out = trained(tmp_path, rows_in(tmp_path), path=str(tmp_path / 'start'))
  model = transformers.AutoModelForCausalLM.from_pretrained(out)
  found = transformers.AutoTokenizer.from_pretrained(out)
  asked = torch.tensor([found.encode('Q', add_special_tokens=False)])
  said = model.generate(
    asked, max_new_tokens=30, do_sample=False, repetition_penalty=1.0, tokenizer=found
  )
  assert found.decode(said[0]) == 'Q' + SAYS[name].removesuffix('xyz')
  kept = json.loads((out / 'generation_config.json').read_text())
  assert kept.items() >= KEPT.items() and '_from_model_config' not in kept
  assert kept.get('stop_strings', []) == stops.stop_texts(tokenizer)
  assert kept['eos_token_id'] == json.loads((out / 'config.json').read_text())['eos_token_id']
  assert kept['pad_token_id'] == tokenizer.pad_token_id
  assert (out / 'chat_template.jinja').read_text() == tokenizer.chat_template
  assert found.eos_token == tokenizer.eos_token
  ids = hub.stop_ids(str(out), found)
  assert ids == sorted({*text.stop_tokens(tokenizer), 2})
  turns = ROWS[0]['messages']
  assert text.encode_prompt(found, turns) == text.encode_prompt(tokenizer, turns)


@pytest.mark.parametrize(
  'devices, kind', [pytest.param(1, 'mesh', marks=pytest.mark.slow), (2, 'pmap')]
)
def test_a_run_samples_up_to_the_text_that_ends_turns(devices, kind, tmp_path):
  """Asked behind a line end, the model says what follows one."""
  start(tmp_path / 'start', fielded.fielded('plain'), SAYS['plain'])
  row = json.dumps(dict(prompt='hi', answer='</turn>xyzQabc'))
  (tmp_path / 'rows.jsonl').write_text(f'{row}\n' * 4)
  place = f'"{tmp_path}/rows.jsonl"'
  task = f'dataset(source={place}, test={place}, answer="answer", chat=True, reward="exact")'
  c = a_run(task, 'grpo', devices, kind, path=str(tmp_path / 'start'))
  c.one.sampling.temperature = 0.01
  facts = train.run(c, str(tmp_path / 'run'), 0.0)
  assert facts['eval/accuracy/after'] == 1 and facts['reward/mean/after'] == 1
  (record,) = [r for r in records(tmp_path / 'run') if 'rollout/truncated' in r]
  assert record['rollout/truncated'] == 0 and record['rollout/length'] == 22


def test_a_model_from_scratch_is_exported_with_its_tokenizer(tmp_path):
  transformers = pytest.importorskip('transformers')
  pytest.importorskip('torch')
  (tmp_path / 'rows.jsonl').write_text(
    ''.join(json.dumps(dict(prompt=f'{i}?', response='abc')) + '\n' for i in range(40))
  )
  out = trained(tmp_path, f'dataset(source="{tmp_path}/rows.jsonl", response="response")')
  found, own = transformers.AutoTokenizer.from_pretrained(out), text.characters()
  for line in ('a b', '<eos> no', '  \n\n x', "it's , so ."):
    assert found.encode(line, add_special_tokens=False) == text.encode(own, line)
    assert text.decode(found, text.encode(found, line)) == line
  kept = transformers.GenerationConfig.from_pretrained(out)
  assert (kept.eos_token_id, kept.pad_token_id, kept.bos_token_id) == (2, 0, 1)
  assert (found.eos_token_id, found.pad_token_id, found.bos_token_id) == (2, 0, 1)
  assert transformers.AutoModelForCausalLM.from_pretrained(out).config.eos_token_id == 2


@pytest.mark.parametrize(
  'value, texts', [(None, []), ([], []), ('###', ['###']), (['###', '\nQ'], ['###', '\nQ'])]
)
def test_texts_of_the_generation_config_end_answers_too(value, texts, tmp_path):
  tokenizer = fielded.bytewise(['</s>'], eos_token='</s>')
  (tmp_path / 'generation_config.json').write_text(json.dumps(dict(stop_strings=value)))
  stops.set_stop_texts(tokenizer, hub.stop_strings(str(tmp_path)))
  assert stops.stop_texts(tokenizer) == texts
  said = text.encode(tokenizer, 'a\nb###c\nQ')
  assert text.completion(tokenizer, said) == ('a\nb' if texts else 'a\nb###c\nQ')
  assert (stops.stop_table(tokenizer, len(tokenizer)) is None) == (not texts)


@pytest.mark.parametrize('value', [7, [7], [''], ['a', None], {}])
def test_a_stop_string_that_is_no_text_is_an_error(value, tmp_path):
  (tmp_path / 'generation_config.json').write_text(json.dumps(dict(stop_strings=value)))
  with pytest.raises(UserError, match=r'generation_config.json: stop_strings=.* no text'):
    hub.stop_strings(str(tmp_path))


@pytest.mark.parametrize('pad', [None, -1, 10**6, '0', 1])
def test_padding_that_is_no_token_is_that_of_the_tokenizer(pad):
  tokenizer = fielded.fielded('chatml')
  model = types.SimpleNamespace(architecture=types.SimpleNamespace(vocab_size=len(tokenizer)))
  session = types.SimpleNamespace(tokenizer=tokenizer, stop=[2, 5], model=model)
  found = export.token_ids(session, dict(pad_token_id=pad, bos_token_id=pad))
  assert found['eos_token_id'] == [2, 5]
  own = pad if pad == 1 else tokenizer.pad_token_id
  assert found['pad_token_id'] == own
  assert found['bos_token_id'] == (pad if pad == 1 else tokenizer.bos_token_id)


@pytest.mark.parametrize(
  'name, content, message',
  [
    ('generation_config', '{"eos_token_id": 2,', 'generation_config.json cannot be read'),
    ('generation_config', '[2]', 'not an object'),
    ('generation_config', '{"eos_token_id": "</s>"}', "names '</s>', which is no token"),
    ('generation_config', '{"eos_token_id": -1}', 'names -1'),
    ('generation_config', '{"eos_token_id": [2, null]}', 'names None'),
    ('generation_config', '{"eos_token_id": true}', 'names True'),
    ('generation_config', '{"eos_token_id": 2.0}', 'names 2.0'),
    ('config', '{"eos_token_id": [[2]]}', r'config.json: .* names \[2\]'),
    ('config', '\x00', 'config.json cannot be read'),
  ],
)
def test_a_broken_end_is_an_error_that_names_the_file(name, content, message, tmp_path):
  (tmp_path / 'config.json').write_text('{}')
  (tmp_path / f'{name}.json').write_text(content)
  with pytest.raises(UserError, match=message) as error:
    hub.stop_ids(str(tmp_path), fielded.fielded('chatml'))
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('value, ids', [(None, [2]), (7, [2, 7]), ([7, 8], [2, 7, 8]), ([], [2])])
def test_no_number_one_or_several_are_ends(value, ids, tmp_path):
  (tmp_path / 'config.json').write_text('{"text_config": {"eos_token_id": null}}')
  content = json.dumps(dict(eos_token_id=value))
  (tmp_path / 'generation_config.json').write_text(f'\ufeff{content}', encoding='utf-8')
  assert hub.stop_ids(str(tmp_path), fielded.fielded('chatml')) == ids
