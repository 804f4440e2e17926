"""Supervised fine-tuning on demonstrations: a tiny decoder learns to answer the shell game by
thinking.

Every demonstration thinks. Loss on the response and its EOS only, averaged over all tokens of the
batch. Expected: held-out greedy accuracy 0 -> at least 95 %. Two CPU cores, about two minutes:
  python -m rft_jax.main --config=configs/sft.py
"""

from rft_jax import config as defaults
from rft_jax.tasks.cups import ALPHABET


def get_config(variant: str = ''):
  c = defaults.base()
  c.tokenizer = f'characters(alphabet="{ALPHABET}")'
  c.stages = ('sft',)
  c.sft = defaults.stage(
    'cups(think=1.0)',
    'sft',
    steps=400,
    prompts=128,
    group=1,
    max_prompt=15,
    max_new=16,
    optimizer=dict(lr=2e-3, warmup=20, schedule='cosine'),
    evaluate=dict(every=100, prompts=256),
  )
  if defaults.check_variant(variant) == 'smoke':
    c.sft.update(steps=2, prompts=8, evaluate=dict(every=0, prompts=8))
  return c
