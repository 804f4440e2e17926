"""GRPO with a verifier in Python: reach a number with +, -, * and /, using each given number once.

A tiny decoder first imitates solutions for a short while, which teaches it the form but little
arithmetic; then a strict verifier (exact fractions, no partial credit) scores its samples in worker
processes. Any right expression counts, not just the known one. Expected: the share of right samples
on held-out problems doubles, from 12 % to about 25 %. Data: reasoning-gym, arXiv:2505.24760. Two
CPU cores, under five minutes:
  python -m rft_jax.main --config=configs/grpo_countdown.py
"""

from rft_jax import config as defaults

PROBLEM = dict(min_numbers=2, max_numbers=3, min_value=1, max_value=9, min_target=1, max_target=30)
ALPHABET = ''.join(
  sorted(
    set('0123456789 +-*/().,:\n') | set(map(chr, range(65, 91))) | set(map(chr, range(97, 123)))
  )
)


def get_config(variant: str = ''):
  c = defaults.base()
  c.tokenizer = f'characters(alphabet={ALPHABET!r})'
  c.stages = ('warmup', 'rl')
  task = f'reasoning_gym(dataset="countdown", lines=1, options={PROBLEM})'
  c.warmup = defaults.stage(
    task,
    'sft',
    steps=400,
    prompts=64,
    group=1,
    max_prompt=72,
    max_new=16,
    optimizer=dict(lr=2e-3, warmup=20, schedule='cosine'),
    evaluate=dict(prompts=128),
  )
  c.rl = defaults.stage(
    task,
    'grpo',
    steps=600,
    prompts=16,
    group=16,
    max_prompt=72,
    max_new=16,
    algorithm=dict(kl='none', advantage='grpo(eps=1e-4)'),
    optimizer=dict(lr=3e-4),
    evaluate=dict(every=100, prompts=512, temperature=1.0),
  )
  if defaults.check_variant(variant) == 'smoke':
    c.warmup.update(steps=2, prompts=8, evaluate=dict(prompts=8))
    c.rl.update(steps=2, prompts=4, group=4, evaluate=dict(every=0, prompts=8))
  return c
