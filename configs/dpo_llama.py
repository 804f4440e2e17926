"""Direct preference optimisation (arXiv:2305.18290) of Llama 3.2 1B on UltraFeedback's pairs.

Pairs of conversations whose last turn differs. Memory and compilation are checked
(experiments/04_memory); it was not trained here: no weights were at hand. One GPU of 80 GB or a TPU
v5e-8:
  python -m rft_jax.main --config=configs/dpo_llama.py

"""

from configs import small
from rft_jax import config as defaults


def get_config(variant: str = ''):
  c = defaults.base()
  c.model.update(path='meta-llama/Llama-3.2-1B-Instruct', dtype='bfloat16')
  c.parallel.update(kind='mesh', fsdp=0)
  c.stages = ('dpo',)
  c.dpo = defaults.stage(
    'dataset(source="trl-lib/ultrafeedback_binarized", test="test", prompt="", response="chosen", '
    'rejected="rejected")',
    'dpo',
    steps=500,
    prompts=32,
    group=1,
    max_prompt=1024,
    max_new=1024,
    microbatches=4,
    optimizer=dict(lr=5e-7, warmup=50, schedule='linear'),
    evaluate=dict(every=100, prompts=128),
  )
  if defaults.check_variant(variant) == 'smoke':
    small.shrink(c, dpo='pairs')
  return c
