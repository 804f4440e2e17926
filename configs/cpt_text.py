"""Continued pre-training of Qwen2.5-0.5B on plain text (arXiv:2004.10964), packed, attention within
each text.

It was not trained here: no weights were at hand. One GPU of 40 GB or a TPU v5e-8:
  python -m rft_jax.main --config=configs/cpt_text.py

"""

from configs import small
from rft_jax import config as defaults


def get_config(variant: str = ''):
  c = defaults.base()
  c.model.update(path='Qwen/Qwen2.5-0.5B', dtype='bfloat16')
  c.parallel.update(kind='mesh', fsdp=0)
  c.stages = ('cpt',)
  c.cpt = defaults.stage(
    'dataset(source="Salesforce/wikitext", subset="wikitext-2-raw-v1", test="test", text="text", '
    'bad="skip")',
    'cpt',
    steps=1000,
    prompts=32,
    group=1,
    max_prompt=512,
    max_new=512,
    optimizer=dict(lr=2e-5, warmup=100, schedule='cosine'),
    evaluate=dict(every=100, prompts=64),
  )
  if defaults.check_variant(variant) == 'smoke':
    small.shrink(c, cpt='text')
  return c
