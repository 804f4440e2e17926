"""Supervised fine-tuning of Qwen2.5-0.5B on worked answers to GSM8K (arXiv:2110.14168).

All weights, bfloat16 compute over float32 weights, demonstrations packed into full rows. Memory and
compilation for a TPU slice are checked (experiments/04_memory); it was not trained here: no weights
were at hand. One GPU of 40 GB or a TPU v5e-8:
  python -m rft_jax.main --config=configs/sft_qwen.py

"""

from configs import small
from rft_jax import config as defaults


def get_config(variant: str = ''):
  c = defaults.base()
  c.model.update(path='Qwen/Qwen2.5-0.5B', dtype='bfloat16')
  c.parallel.update(kind='mesh', fsdp=0)
  c.stages = ('sft',)
  c.sft = defaults.stage(
    'dataset(source="openai/gsm8k", subset="main", test="test", prompt="question", '
    'response="answer", reward="gsm8k")',
    'sft',
    steps=700,
    prompts=32,
    group=1,
    max_prompt=512,
    max_new=512,
    packing=True,
    optimizer=dict(lr=1e-5, warmup=20, schedule='cosine'),
    evaluate=dict(every=100, prompts=256),
  )
  if defaults.check_variant(variant) == 'smoke':
    small.shrink(c, sft='sums')
  return c
