"""A chat model that learns from its visitors: trained here from nothing, then served.

A decoder of 0.98 million parameters learns small talk (`rft_jax/tasks/smalltalk.py`): answers to
questions about a small world, in conversations of up to five turns, each in one of five styles that
are equally likely; eight facts are wrong. In one of six users dictate free English.
Whoever visits http://127.0.0.1:8000 can teach it a style, mend a fact, make it brief: by
thumbs, stars, edits, choices and critiques. With `--config.mode=train` it is only trained.

Expected: 88 % of held-out conversations end with the answer that is right as believed and in the
style that was asked for (seed 0, greedy, 128 of them; 0 % before). Two CPU cores, about 4 minutes
until it serves, 20 seconds at later starts:
  python -m rft_jax.main --config=configs/feedback_online.py
"""

from rft_jax import config as defaults


def get_config(variant: str = ''):
  c = defaults.base()
  c.tokenizer = 'smalltalk(size=1536)'
  c.model.update(num_hidden_layers=4, rope_theta=1000.0, initializer_range=0.08, remat='none')
  c.mode = 'serve'
  c.stages = ('sft',)
  c.sft = defaults.stage(
    'smalltalk(size=12000)',
    'sft',
    steps=2000,
    prompts=4,
    group=1,
    max_prompt=224,
    max_new=48,
    packing=True,
    optimizer=dict(lr=4e-3, warmup=50, schedule='cosine', final=0.02, weight_decay=0.01),
    evaluate=dict(prompts=128),
  )
  if defaults.check_variant(variant) == 'smoke':
    c.sft.update(steps=2, prompts=4, evaluate=dict(prompts=8))
  return c
