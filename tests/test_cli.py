"""Laws 9 and 10: what is wrong with the input is one line: the value, the rule, the way out."""

import re

import pytest
from program import Program


@pytest.fixture(scope='module')
def program(tmp_path_factory):
  with Program(tmp_path_factory.mktemp('cli')) as program:
    yield program


WRONG = {
  'key': ('rl.stepz=1', "rl.stepz.*did you mean 'steps'"),
  'deep key': ('rl.optimizer.lrr=1', "lrr.*did you mean 'lr'"),
  'key of a value': ('rl.steps.x=1', "rl.steps.x=1: there is no setting 'x'"),
  'kind': ('rl.steps=many', 'rl.steps=many.*another kind of value'),
  'option': ('rl.algorithm.advantage=grpo(epsilon=1)', "'epsilon': did you mean 'eps'"),
  'kind of option': ("rl.algorithm.advantage=grpo(eps='x')", "eps='x' must be of the kind"),
  'piece': ('rl.algorithm.kl=k4', "unknown .*'k4'.*Known: abs, k1, k2, k3"),
  'form': ('rl.algorithm.kl=k3(0.1)', r'k3\(0.1\).*name\(option=literal'),
  'preset': ('rl.algorithm.preset=grop', "'grop': did you mean 'grpo'"),
  'task': ('rl.task=cup', "unknown task 'cup': did you mean 'cups'.*with a dot"),
  'task option': ('rl.task=cups(cup=3)', "no option 'cup': did you mean 'cups'"),
  'task range': ('rl.task=cups(cups=12)', 'cups=12 .* from 2 to 9'),
  'own task': ('rl.task=mine.nothing', 'mine.nothing.*must be a module'),
  'own task without make': ('rl.task=mine.empty', 'mine.empty.*function make'),
  'own task option': ('rl.task=mine.task(hwo=1)', "did you mean 'how'"),
  'mode': ('mode=trian', "mode='trian': did you mean 'train'"),
  'stages': ("stages=('warmpu',)", "'warmpu'.*did you mean 'warmup'"),
  'no stages': ('stages=()', r'stages=\(\) leaves nothing to do: name at least one'),
  'tokenizer': ('tokenizer=/nowhere', "no tokenizer at '/nowhere'.*name a directory"),
  'schedule': ('rl.optimizer.schedule=cosin', "cosin.*did you mean 'cosine'"),
  'temperature': ('rl.sampling.temperature=-1.0', 'temperature=-1.0 must be >= 0'),
  'long prompt': ('rl.max_prompt=3', '5 tokens, the limit is 3: raise max_prompt'),
  'group': ('rl.group=0', 'rl.group=0 must be at least 1'),
  'minibatches': ('rl.minibatches=3', 'prompts=4 must be a multiple of 3'),
  'microbatches': ('rl.microbatches=8', 'prompts=4 must be a multiple of 8'),
  'devices': ('parallel.devices=64', 'parallel.devices=64, but there are'),
  'mesh': ('parallel.fsdp=2', 'parallel.fsdp=2 .* must divide the 1 devices'),
  'kind of placement': ('parallel.kind=mseh', "did you mean 'mesh'"),
  'empty task': ('rl.task=mine.task(size=0)', 'the task has no train examples; give it some'),
  'no demonstrations': ('warmup.task=mine.task', "'0=' has no response to imitate: use a task"),
  'heads': ('model.head_dim=7', 'model.head_dim=7 must be even'),
  'checkpoints': ('checkpoint.keep=0', 'checkpoint.keep=0 must be at least 1'),
  'log': ('log.every=0', 'log.every=0 must be at least 1'),
  'values': ('rl.algorithm.advantage=gae', "reads values.*set value_loss='clipped'"),
}


@pytest.mark.parametrize('override, message', WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_one_line_with_the_way_out(program, tmp_path, override, message):
  said = program.refuses(program.config, f'--config.{override}', f'--workdir={tmp_path}/run')
  assert re.search(message, said), said
  assert not (tmp_path / 'run').exists(), 'refused after something was written'


WRONG_FILES = {
  'unknown key': ('c.rl.stepz = 1', "rl.stepz=1 is no setting: did you mean 'steps'"),
  'unknown deep key': ('c.rl.sampling.top_q = 1', "rl.sampling.top_q=1 .*did you mean 'top_p'"),
  'unknown group': ('c.paralel = dict(devices=1)', 'paralel.devices=1 is no setting'),
  'unknown model key': ('c.model.layers = 3', "model has no setting 'layers'"),
  'wrong kind': ("c.rl.steps = 'x'", r'file.py:6: TypeError: .*steps.*int'),
  'error': ('c.rl.nothing.x = 1', r'file.py:6: AttributeError: .*nothing'),
  'syntax': ('c.rl.steps = (', r'never closed.*file.py, line 6'),
  'no config': ('return None', 'get_config returned None, it must return a ConfigDict'),
}


@pytest.mark.parametrize('line, message', WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_config_file_is_one_line(program, tmp_path, line, message):
  said = program.refuses(program.write('file', line), f'--workdir={tmp_path}/run')
  assert re.search(message, said), said


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--config=configs/quickstrat.py'], "no file.*did you mean 'configs/quickstart.py'"),
    (['--config=configs/quickstart.py:smok'], "variant 'smok': did you mean 'smoke'"),
    (['--confg=x'], "no option --confg: did you mean 'config'"),
    ([], 'no --config given: name a file of configs/'),
    (['--config=configs/sft.py', 'further'], "'further' is not an option"),
  ],
)
def test_a_wrong_command_line_is_one_line(program, arguments, message):
  assert re.search(message, program.refuses(*arguments))


@pytest.mark.parametrize('flag', ['--help', '--helpfull'])
def test_help_is_printed(program, flag):
  status, text, errors = program(flag)
  assert status == 0 and '--workdir' in text and not errors
