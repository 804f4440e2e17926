"""A reward model (Bradley-Terry, arXiv:2203.02155) from Qwen2.5-0.5B on UltraFeedback's pairs.

The score is read after the last token, by a head on the decoder's own trunk. It was not trained
here: no weights were at hand. One GPU of 40 GB or a TPU v5e-8:
  python -m rft_jax.main --config=configs/rm_qwen.py

"""

from configs import small
from rft_jax import config as defaults


def get_config(variant: str = ''):
  c = defaults.base()
  c.model.update(path='Qwen/Qwen2.5-0.5B-Instruct', dtype='bfloat16')
  c.parallel.update(kind='mesh', fsdp=0)
  c.stages = ('judge',)
  c.judge = defaults.stage(
    'dataset(source="trl-lib/ultrafeedback_binarized", test="test", prompt="", response="chosen", '
    'rejected="rejected")',
    'reward_model',
    steps=500,
    prompts=32,
    group=1,
    max_prompt=1024,
    max_new=1024,
    microbatches=4,
    optimizer=dict(lr=1e-5, warmup=20, schedule='cosine'),
    evaluate=dict(every=100, prompts=128),
  )
  if defaults.check_variant(variant) == 'smoke':
    small.shrink(c, judge='pairs')
  return c
