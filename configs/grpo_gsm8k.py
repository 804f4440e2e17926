"""GRPO (arXiv:2402.03300) on GSM8K from an instruction-tuned model, with exact numbers as reward.

All weights; prompts go through the model's chat template. Memory and compilation for a TPU slice
are checked (experiments/04_memory); it was not trained here: no weights were at hand. A TPU v5e-8,
or one GPU of 80 GB:
  python -m rft_jax.main --config=configs/grpo_gsm8k.py

"""

from configs import small
from rft_jax import config as defaults


def get_config(variant: str = ''):
  c = defaults.base()
  c.model.update(path='Qwen/Qwen2.5-1.5B-Instruct', dtype='bfloat16')
  c.parallel.update(kind='mesh', fsdp=0)
  c.stages = ('rl',)
  c.rl = defaults.stage(
    'dataset(source="openai/gsm8k", subset="main", test="test", prompt="question", '
    'answer="answer", reward="gsm8k", chat=True)',
    'grpo',
    steps=500,
    prompts=32,
    group=8,
    max_prompt=512,
    max_new=512,
    microbatches=4,
    optimizer=dict(lr=1e-6, warmup=10),
    evaluate=dict(every=50, prompts=256),
  )
  if defaults.check_variant(variant) == 'smoke':
    small.shrink(c, rl='sums')
  return c
