"""PPO with a value head and generalised advantages, from the quickstart's warm-up.

One sample per prompt: the value function takes the place of the group. The penalty for leaving the
reference is part of the reward (k1). Paper: arXiv:1707.06347, arXiv:1506.02438. Expected: held-out
greedy accuracy 20 % -> at least 90 %. Two CPU cores, about four minutes:
  python -m rft_jax.main --config=configs/ppo.py
"""

from configs import quickstart
from rft_jax import config as defaults


def get_config(variant: str = ''):
  c = quickstart.get_config(variant)
  c.stages = ('warmup', 'ppo')
  del c.rl
  c.ppo = defaults.stage(
    'cups',
    'ppo',
    steps=100,
    prompts=512,
    group=1,
    max_prompt=15,
    max_new=16,
    epochs=2,
    minibatches=2,
    algorithm=dict(kl='k1(coef=1e-3)', advantage='gae(lam=1.0)', value_loss='clipped(coef=0.5)'),
    optimizer=dict(lr=3e-4),
    evaluate=dict(prompts=512),
  )
  if defaults.check_variant(variant) == 'smoke':
    c.ppo.update(steps=2, prompts=16, evaluate=dict(prompts=8))
  return c
