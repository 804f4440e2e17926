"""PPO (arXiv:1707.06347) on GSM8K from Gemma 3 1B: value head, generalised advantages.

It was not trained here: no weights were at hand. A TPU v5e-8, or one GPU of 80 GB:
  python -m rft_jax.main --config=configs/ppo_gemma.py

"""

from configs import small
from rft_jax import config as defaults


def get_config(variant: str = ''):
  c = defaults.base()
  c.model.update(path='google/gemma-3-1b-it', dtype='bfloat16')
  c.parallel.update(kind='mesh', fsdp=0)
  c.stages = ('rl',)
  c.rl = defaults.stage(
    'dataset(source="openai/gsm8k", subset="main", test="test", prompt="question", '
    'answer="answer", reward="gsm8k", chat=True)',
    'ppo',
    steps=500,
    prompts=64,
    group=1,
    max_prompt=512,
    max_new=512,
    epochs=2,
    minibatches=4,
    optimizer=dict(lr=1e-6, warmup=10),
    evaluate=dict(every=50, prompts=256),
  )
  if defaults.check_variant(variant) == 'smoke':
    small.shrink(c, rl='sums')
  return c
