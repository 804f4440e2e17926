"""GRPO (arXiv:2402.03300) on GSM8K that trains low-rank adapters (arXiv:2106.09685) only.

The base is frozen in bfloat16, and is the reference of the KL penalty too: no second copy. Memory
and compilation are checked (experiments/04_memory); it was not trained here: no weights were at
hand. One GPU of 24 GB:
  python -m rft_jax.main --config=configs/lora_grpo_qwen.py
and then, for a merged checkpoint, the same with --config.mode=export (--config.export.adapter=True:
the adapter alone).

"""

from configs import small
from rft_jax import config as defaults


def get_config(variant: str = ''):
  c = defaults.base()
  c.model.update(
    path='Qwen/Qwen2.5-1.5B-Instruct', dtype='bfloat16', param_dtype='bfloat16', remat='full'
  )
  c.model.lora.update(rank=16, alpha=32.0, targets='self_attn|mlp')
  c.stages = ('rl',)
  c.rl = defaults.stage(
    'dataset(source="openai/gsm8k", subset="main", test="test", prompt="question", '
    'answer="answer", reward="gsm8k", chat=True)',
    'grpo',
    steps=500,
    prompts=16,
    group=8,
    max_prompt=512,
    max_new=512,
    microbatches=8,
    algorithm=dict(kl='k3(coef=1e-3)'),
    optimizer=dict(lr=2e-5, warmup=10),
    evaluate=dict(every=50, prompts=256),
  )
  if defaults.check_variant(variant) == 'smoke':
    small.shrink(c, rl='sums')
  return c
