"""Every way to learn, as a stage of a run: it starts, it learns from what it should, it resumes."""

import jax
import numpy as np
import pytest
import tiny
from training import CUPS, SUM, records, run, run_until, saved
from training import tiny as config

from rft_jax.data.packing import Packed
from rft_jax.data.recorded import Recorded
from rft_jax.data.stream import Stream
from rft_jax.data.text import characters, decode
from rft_jax.modes.rules import Collapsed, Guard
from rft_jax.registry import ConfigError
from rft_jax.tasks import make_task
from rft_jax.tasks.cups import ALPHABET

LETTERS = 'letters(letters=4, length=4)'
KINDS = dict(
  pairs=dict(preset='dpo', group=1),
  labels=dict(preset='bco', group=1),
  self_play=dict(preset='spin', group=1),
  mixed=dict(preset='mix', group=2),
)
LETTER_KINDS = dict(
  text=dict(preset='cpt', task='letters(letters=4, length=4, size=40)', group=1),
  turns=dict(preset='gigpo', task='letters(letters=4, length=4, turns=2)'),
  votes=dict(preset='ttrl', task=LETTERS, guard=()),
  refilled=dict(preset='dapo', task=LETTERS, group=8, refill=2),
  baseline=dict(preset='remax', task=LETTERS, group=8),
  critic=dict(preset='ppo', task=LETTERS, group=1, critic='separate'),
  adaptive=dict(
    preset='grpo', task=LETTERS, group=8, algorithm=dict(kl='k2(coef=0.1, target=0.1)')
  ),
)
HOST_KINDS = dict(
  refilled_on_the_host=dict(preset='dapo', task='tests.hosted', refill=2),
  baseline_on_the_host=dict(preset='remax', task='tests.hosted'),
  votes_on_the_host=dict(preset='ttrl', task='tests.hosted', guard=()),
  mixed_on_the_host=dict(
    preset='mix', task='tests.hosted', demonstrations=dict(task=CUPS, prompts=0)
  ),
)


def made(**stages):
  """A config of such stages; letters and sums come with their alphabets."""
  tasks = {settings.get('task', CUPS) for settings in stages.values()}
  c = config(**{name: dict(settings) for name, settings in stages.items()})
  if any(task.startswith('letters') for task in tasks):
    c.tokenizer = 'characters(alphabet="abcd=")'
  if SUM in tasks:
    c.tokenizer = 'characters'
    for name in stages:
      c[name].update(max_prompt=40)
  return c


OFTEN = 'pairs', 'mixed', 'text', 'turns', 'votes', 'critic', 'refilled_on_the_host'


def slow_unless_often(kind):
  return kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.slow)


@pytest.mark.parametrize('kind', map(slow_unless_often, [*KINDS, *LETTER_KINDS, *HOST_KINDS]))
def test_a_stage_of_each_kind_runs_and_resumes_exactly(kind, tmp_path, monkeypatch):
  stage = (KINDS | LETTER_KINDS | HOST_KINDS)[kind]
  c = made(rl=stage)
  assert run_until(c, tmp_path / 'cut', 2, monkeypatch)
  run(c, tmp_path / 'cut')
  run(c, tmp_path / 'whole')
  (step, state, place), (_, other, elsewhere) = (
    saved(c, tmp_path / name) for name in ('cut', 'whole')
  )
  assert step == 3 and place == elsewhere
  jax.tree.map(np.testing.assert_array_equal, state, other)
  metrics = records(tmp_path / 'whole')
  assert metrics == records(tmp_path / 'cut')
  assert tiny.moved(made_params(c), state.params) > 0


def made_params(c):
  from rft_jax.modes.session import open_session

  return jax.device_get(open_session(c).params())


def test_a_reward_model_teaches_a_later_stage_and_survives_a_resume(tmp_path, monkeypatch):
  c = made(
    warmup=dict(preset='sft', group=1, steps=1),
    judge=dict(preset='reward_model', group=1, steps=2, model='judge'),
    rl=dict(preset='grpo', reward_model='judge', steps=2),
  )
  assert run_until(c, tmp_path / 'cut', 4, monkeypatch)
  run(c, tmp_path / 'cut')
  run(c, tmp_path / 'whole')
  from rft_jax.modes.session import open_session
  from rft_jax.modes.split import make_stage

  session = open_session(c)
  assert 'values' not in str(session.shapes('policy').keys()) and 'value_head' in session.shapes(
    'judge'
  )
  metrics = records(tmp_path / 'whole')
  assert metrics == records(tmp_path / 'cut')
  rewards = [m['reward/mean'] for m in metrics if m['stage'] == 'rl' and 'reward/mean' in m]
  true = [m['reward/true'] for m in metrics if m['stage'] == 'rl' and 'reward/true' in m]
  assert len(rewards) == 2 and rewards != true, 'the task rewarded, not the model'
  assert make_stage(c.rl, 2, session, session.tasks['rl'], None).algorithm.source == 'samples'


def tokenizer(alphabet='abcd='):
  return characters(alphabet=alphabet)


def stream(spec, rows=4, alphabet='abcd='):
  return Stream(make_task(spec, tokenizer(alphabet)), 'train', rows)


def test_packed_text_has_no_padding_and_every_text_once_an_epoch():
  source = stream('letters(letters=4, length=4, size=40)')
  packed = Packed(source, tokenizer(), 12)
  batches = [packed.batch(i) for i in range(packed.batches)]
  assert all((b.valid > 0).all() for b in batches)
  flat = np.concatenate([b.tokens.reshape(-1) for b in batches])
  texts = [source.task.example('train', i) for i in range(40)]
  wanted = sorted(e.prompt + e.response for e in texts)
  eos = tokenizer().eos_token_id
  ends = np.flatnonzero(flat == eos)
  read = [decode(tokenizer(), x).strip() for x in np.split(flat, ends + 1)][:-1]
  assert set(read) <= set(wanted) and len(read) >= 0.8 * len(wanted)
  second = packed.batch(packed.batches)
  assert (second.tokens != batches[0].tokens).any(), 'a new order in each epoch'


def test_the_first_token_of_a_packed_text_is_given_not_learned():
  b = Packed(stream('letters(letters=4, length=4, size=40)'), tokenizer(), 12).batch(0)
  starts = np.ones_like(b.target)
  starts[:, 1:] = b.valid[:, 1:] != b.valid[:, :-1]
  assert (b.target == ~starts).all() and starts[:, 1:].any()


def test_packed_texts_do_not_see_each_other():
  """A row of two texts scores each as if it were alone."""
  run_ = tiny.setup('sft')
  draw = np.random.default_rng(0)
  one, two = draw.integers(0, tiny.VOCAB, (2, 1, 5)).astype(np.int32)
  from rft_jax.data.text import recorded

  def scores(tokens, valid):
    e = recorded(tokens, valid, np.ones(tokens.shape, bool))
    return run_.policy.score(run_.state.params, e).logp[0]

  numbers = np.repeat([[1, 2]], 5, 1).astype(np.int32)
  together = scores(np.concatenate([one, two], 1), numbers)
  apart = [scores(x, np.ones(x.shape, bool)) for x in (one, two)]
  np.testing.assert_allclose(together[1:5], apart[0][1:], atol=1e-5)
  np.testing.assert_allclose(together[6:], apart[1][1:], atol=1e-5)


def test_pairs_differ_in_reward_and_labels_alternate():
  task = stream(CUPS, alphabet=ALPHABET)
  pairs = Recorded('pairs', task, characters(alphabet=ALPHABET), 5, 6).batch(0)
  assert pairs.group == 2 and pairs.rewards.sum(1).tolist() == [1, 0] * 4
  assert (pairs.tokens[0::2, :5] == pairs.tokens[1::2, :5]).all()
  labels = Recorded('labels', task, characters(alphabet=ALPHABET), 5, 6).batch(0)
  assert labels.group == 1 and labels.rewards.sum(1).tolist() == [1, 0, 1, 0]


WRONG = {
  'no pairs': (dict(rl=dict(preset='dpo', task=SUM, group=1)), 'no rejected response'),
  'no end': (dict(rl=dict(preset='cpt', group=1)), 'give the task a size'),
  'no turns': (dict(rl=dict(preset='gigpo')), 'has no environment'),
  'one sample': (dict(rl=dict(preset='rloo', group=1)), 'group=1 must be at least 2'),
  'not two': (dict(rl=dict(preset='online_dpo', group=4)), 'group=4 must be 2'),
  'no teacher': (dict(rl=dict(preset='gkd')), "set the stage's teacher"),
  'unknown model': (
    dict(rl=dict(preset='grpo', reward_model='judge')),
    'not a model of an earlier',
  ),
  'no answers': (
    dict(rl=dict(preset='ttrl', task='tests.hosted(answers=False)')),
    'does not say what an answer is',
  ),
  'ahead': (dict(rl=dict(preset='dapo', task='tests.hosted', staleness=1)), 'set staleness=0'),
  'collapse': (dict(rl=dict(preset='grpo', collapse='ignore')), "'stop' or 'restore'"),
  'guard': (dict(rl=dict(preset='grpo', guard=('length above 3',))), 'must be like'),
}


@pytest.mark.parametrize('case', WRONG)
def test_an_impossible_stage_is_refused_before_anything_is_compiled(case, tmp_path):
  stages, message = WRONG[case]
  with pytest.raises(ConfigError, match=message):
    run(made(**stages), tmp_path)
  assert not (tmp_path / 'config.json').exists()


def test_a_guard_knows_where_it_began():
  guard = Guard(('rollout/length >= 0.5 * before', 'eval/reward >= 0.2'), {})
  guard.check({'rollout/length': 8.0}, 1, 'step')
  guard.check({'rollout/length': 4.5}, 2, 'step')
  with pytest.raises(Collapsed, match=r'step 3: rollout/length is 3, .* \(limit 4\).*restore'):
    guard.check({'rollout/length': 3.0}, 3, 'step')
  with pytest.raises(Collapsed, match='eval/reward'):
    guard.check({'eval/reward': 0.1}, 3, 'eval')
  with pytest.raises(ConfigError, match="did you mean 'rollout/length'"):
    Guard(('rollout/lenght >= 1',), {}).check({'rollout/length': 3.0}, 3, 'step')


def test_a_collapsed_run_stops_with_the_reason_or_returns_to_its_last_checkpoint(tmp_path):
  bad = dict(preset='grpo', steps=3, guard=('rollout/tokens <= 0.0 * before',))
  late = dict(bad, guard=('loss/total <= 1e9', 'tuned/entropy <= 0.12'))
  late['algorithm'] = dict(entropy='adaptive(coef=0.05, target=99.0, delta=0.03)')
  with pytest.raises(Collapsed, match='step 1: rollout/tokens'):
    run(made(rl=bad), tmp_path / 'stops')
  with pytest.raises(Collapsed, match='step 3: tuned/entropy'):
    run(made(rl=late), tmp_path / 'late')
  facts = run(made(rl=dict(late, collapse='restore')), tmp_path / 'returns')
  assert 'tuned/entropy' in facts['collapsed'] and 0 < facts['steps'] < 3
