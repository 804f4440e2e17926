"""Law 7: values and gradients of Trinity-RFT, and of the papers where Trinity departs from them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from oracle import TOTAL, arrays, check_loss, close, experience, lookup, recorded, summed

from rft_jax.algorithms.mixtures import chord
from rft_jax.algorithms.preferences import Side
from rft_jax.types import Scores, Targets

DATA = recorded('trinity')
SETS = {name: arrays(DATA[f'{name}_inputs']) for name in 'AB'}
NAMES = dict(clip_mode='clip', regularizer_coef='coef', cutoff_prob='cutoff', clip_range='eps')


def spec(name: str, args: dict) -> str:
  """Our name and options for one of Trinity's losses."""
  low, high = args.pop('clip_range_low', None), args.pop('clip_range_high', None)
  if args.pop('enable_sequence_masking', False):
    args['stale'] = 0.1
  if args.pop('fallback_to_policy_gradient', False):
    return 'on_policy'
  if args.pop('enable_mask_clip', False):
    args |= dict(mask_low=args.pop('mask_clip_range_low'), mask_high=0.28)
  options = {NAMES.get(k, k): v for k, v in args.items()}
  options |= {k: v for k, v in dict(eps=low, eps_high=high).items() if v is not None}
  ours = dict(ppo='ppo_clip', gspo='gspo_token', sft='nll', sft_is='dft', sft_phi='phi')
  if name == 'topr':
    options['token_ratio'] = True
  return f'{ours.get(name, name)}({", ".join(f"{k}={v!r}" for k, v in options.items())})'


LOSSES = [
  case
  for case, entry in DATA['losses'].items()
  if 'defect' not in entry and case.split('|')[0] not in ('mix', 'mix_chord')
]


@pytest.mark.parametrize('case', LOSSES)
def test_policy_losses(case):
  name, args, which = case.split('|')
  x, args = SETS[which], json.loads(args)
  mode = args.pop('loss_agg_mode', 'token-mean')
  options = {} if mode == 'token-mean' else dict(count_empty=True)
  if mode.endswith('norm'):
    options['divide'] = False
  if name == 'gspo' or args.get('clip_mode') == 'gspo-one-side':
    mode, options = 'seq-mean-token-mean', dict(count_empty=True)
  found = oracle.value_and_gradient(
    spec(name, args), mode, x['mask'], x['logprob'], x['adv'], x['old'], **options
  )
  check_loss(found, DATA['losses'][case])


@pytest.mark.parametrize('case', [c for c in DATA['losses'] if c.startswith('mix')])
def test_mixed_losses(case):
  """Trinity multiplies each part by its number of rows; its mean over tokens is ours."""
  name, args, which = case.split('|')
  entry, x, args = DATA['losses'][case], SETS[which], json.loads(args)
  expert, mask = x['expert'].astype(bool)[:, None], x['mask'].astype(bool)
  mu = 0.1
  if 'mu_peak' in args:
    schedule = dict(warmup=10, decay=20, peak=0.9, valley=0.05)
    mu = chord(jnp.int32(entry['step']), **schedule)
  plain = name == 'mix' or not args.get('enable_phi_function', True)
  losses = lookup('policy_loss', 'ppo_clip'), lookup('expert', 'nll' if plain else 'phi')

  def loss(logp):
    parts = []
    for rows, each in zip((~expert, expert), losses, strict=True):
      t = Targets(mask & rows, advantages=x['adv'], old_logp=x['old'])
      parts.append(summed('token-mean', t.mask, each(Scores(logp), t)[0]))
    rows = entry['rows']
    return (1 - mu) * rows['usual'] * parts[0] + mu * rows['expert'] * parts[1]

  check_loss(jax.value_and_grad(loss)(x['logprob']), entry)


def test_the_schedule_of_chord():
  given = DATA['mu_schedule']
  options = {k[3:].removesuffix('_steps'): v for k, v in given.items() if k.startswith('mu_')}
  close([chord(jnp.int32(s), **options) for s in given['steps']], given['values'])


@pytest.mark.parametrize('case', DATA['kl'])
def test_kl_estimators(case):
  name, which = case.split('|')
  x = SETS[which]
  ours = dict(
    k3='k3(clamp=False)', low_var_kl='k3', corrected_k3='unbiased_k3(high=2.0, clamp=False)'
  )
  t = Targets(x['mask'].astype(bool), ref_logp=x['ref'], old_logp=x['old'])
  penalty = lookup('kl', ours.get(name, name))()
  value = summed('token-mean', t.mask, penalty.estimate(Scores(x['logprob']), t))
  close(DATA['kl_coef'] * value, DATA['kl'][case], atol=1e-9)


@pytest.mark.parametrize('name,options', [('sapo', ''), ('topr', '')])
def test_losses_of_the_papers(name, options):
  title = dict(sapo='sapo paper form, token-mean, set B', topr='topr sequence ratio, set B')[name]
  x = SETS['B']
  found = oracle.value_and_gradient(name, 'token-mean', x['mask'], x['logprob'], x['adv'], x['old'])
  check_loss(found, DATA['derived'][title])


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_dpo_pair_by_pair(smoothing):
  title = 'dpo per pair, beta .1, ' + ('label_smoothing .1, ' if smoothing else '') + 'set B'
  x, mask = SETS['B'], SETS['B']['mask'].astype(bool)
  loss = lookup('preference', f'sigmoid(label_smoothing={smoothing})')

  def total(logp):
    s, r = (jnp.where(mask, y, 0).sum(1) for y in (logp, x['ref']))
    length = mask.sum(1)
    side = Side(s, r, length, jnp.where(mask, logp, 0), mask, mask.any(1))
    return loss(*(jax.tree.map(lambda y, i=i: y[i::2], side) for i in (0, 1))).mean()

  check_loss(jax.value_and_grad(total)(x['logprob']), DATA['derived'][title])


GROUPS = DATA['adv_group']
KEEP = "singleton='keep'"
OUTCOMES = {
  'grpo': f'grpo({KEEP})',
  'grpo std batch': f"grpo(scale='batch', {KEEP})",
  'opmd mean': f'opmd({KEEP})',
  'opmd logavgexp': f"opmd(baseline='logavgexp', {KEEP})",
  'asymre': f'asymre({KEEP})',
  'reinforce': 'reinforce',
  'rec': 'rec',
  'rec std': "rec(scale='group')",
}


def per_task():
  """Groups of four rows of one token; the group of one has three rows without."""
  rewards = np.zeros((4, 4), np.float32)
  mask = np.zeros((4, 4), bool)
  for i, task in enumerate(GROUPS['rewards_per_task']):
    rewards[i, : len(task)], mask[i, : len(task)] = task, True
  logp = np.tile(np.float32(GROUPS['mean_logprob_per_run']), 4)[:, None]
  return experience(mask.reshape(-1, 1), rewards.reshape(-1, 1), 4, jnp.array(logp))


@pytest.mark.parametrize('case', OUTCOMES)
def test_group_advantages(case):
  e = per_task()
  advantages, _ = lookup('advantage', OUTCOMES[case])(e, Targets(e.target), TOTAL)
  expected = [row[3] for row in GROUPS[case]['rows']]
  close(advantages[e.target][: len(expected)], expected)


def test_groups_of_equal_rewards_can_be_dropped():
  e = per_task()
  advantages, _ = lookup('advantage', 'grpo')(e, Targets(e.target), TOTAL)
  kept = lookup('filter', 'mixed_groups')(e, Targets(e.target, advantages=advantages), TOTAL)
  close(advantages[kept], [row[3] for row in GROUPS['grpo std_threshold 0']['rows']])


def test_the_rank_penalty_counts_on_both_sides():
  e = per_task()
  advantages, _ = lookup('advantage', f'grpo(rank_penalty=0.25, {KEEP})')(
    e, Targets(e.target), TOTAL
  )
  entry = DATA['derived']['grpo rank_penalty .25, penalised numerator']
  close(advantages[e.target], entry['values'])


def in_turns(reward: str):
  """Two tasks as groups of four turns; the second has two turns that never happened."""
  rows = GROUPS['steps']['rows']
  column = {name: i for i, name in enumerate(GROUPS['steps']['columns'])}
  places = [0, 1, 2, 3, 4, 5]
  out = {name: np.zeros(8, np.int32) for name in ('run', 'turn', 'anchor')}
  mask, rewards = np.zeros((8, 1), bool), np.zeros((8, 1), np.float32)
  for place, row in zip(places, rows, strict=True):
    mask[place], rewards[place] = True, row[column[reward]]
    out['run'][place] = int(row[column['run_id']].split('/')[-1])
    out['turn'][place] = row[column['step']]
    out['anchor'][place] = ord(row[column['env_state_hash']])
  return experience(mask, rewards, 4, **out)


@pytest.mark.parametrize(
  'case,options',
  [
    ('step_wise_grpo', ''),
    ('step_wise_grpo step_norm', 'step_norm=True'),
    ('step_wise_grpo batch std', "scale='batch'"),
  ],
)
def test_advantages_of_attempts_in_turns(case, options):
  e = in_turns('reward')
  advantages, _ = lookup('advantage', f'step_wise_grpo({options})')(e, Targets(e.target), TOTAL)
  close(advantages[:6, 0], [row[3] for row in GROUPS[case]['rows']])


def test_gigpo_compares_states_within_a_task():
  e = in_turns('step_reward')
  whole, episode = (
    lookup('advantage', f'gigpo(gamma=0.9, omega={omega})')(e, Targets(e.target), TOTAL)[0]
    for omega in (1.0, 0.0)
  )
  derived = DATA['derived']['gigpo per-task anchors, gamma .9, fnorm none']
  close(whole[:6, 0], derived['values'])
  close(episode[:6, 0], [row[3] for row in GROUPS['gigpo g.9 none omega0']['rows']])


TOKENS = arrays({k: v for k, v in DATA['adv_token_inputs'].items() if k != 'uid'})
BY_TOKEN = {
  'ppo': 'gae(lam=1.0, skip=False)',
  'ppo g.9 l.8': 'gae(gamma=0.9, lam=0.8, skip=False)',
  'rpp': 'reinforce_plus_plus',
  'rpp g.9': 'reinforce_plus_plus(gamma=0.9)',
  'rloo': 'rloo',
  'opd': 'on_policy_distill',
}


def by_token():
  mask = TOKENS['response_mask'].astype(bool)
  e = experience(mask, TOKENS['token_level_rewards'], 2, TOKENS['rollout_log_probs'])
  t = Targets(
    mask,
    values=TOKENS['values'],
    old_logp=TOKENS['old_log_probs'],
    teacher_logp=TOKENS['teacher_logprobs'],
  )
  return e, t


@pytest.mark.parametrize('case', BY_TOKEN)
def test_token_advantages(case):
  e, t = by_token()
  found = lookup('advantage', BY_TOKEN[case])(e, t, TOTAL)
  for ours, name in zip(found, ('advantages', 'returns'), strict=True):
    close(ours[e.target], np.array(DATA['adv_token'][case][name])[np.array(e.target)])


def test_clipb_drops_the_same_tokens():
  e, t = by_token()
  expected = DATA['adv_token']['clipb mu.3']
  t = t.replace(
    advantages=jnp.array(expected['advantages']),
    old_logp=TOKENS['rollout_log_probs'],
    old=Scores(TOKENS['rollout_log_probs'], entropy=TOKENS['entropys']),
  )
  kept = lookup('filter', 'clipb(mu=0.3)')(e, t, TOTAL)
  assert (np.array(kept) == np.array(expected['mask'], bool)).all() and (kept != e.target).any()
