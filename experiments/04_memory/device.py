"""Decoding and updating at real sizes with random weights, on the accelerator that is there.

python experiments/04_memory/device.py [0.5B 1.5B]    # writes device.csv

Decoding: tokens/s of a rollout at several batches, as a share of what reading the weights once per
token would allow. Update: the share of the device's peak that 6 x parameters x tokens amounts to.
Both ceilings come from --bandwidth (bytes/s) and --peak (FLOP/s of bfloat16), those of an H200.
"""

import argparse
import csv
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import jax
import jax.numpy as jnp
from memory import model

from rft_jax.algorithms.algorithm import resolve
from rft_jax.config import stage
from rft_jax.infra.optim import make_optimizer
from rft_jax.models.policy import make_policy
from rft_jax.objectives import make_objective
from rft_jax.sampling import make_rollout, sampling
from rft_jax.steps import make_learn
from rft_jax.types import Experience, Prompts, TrainState


def decode(policy, params, rows: int, prompt: int, new: int) -> float:
  """Tokens/s of `rows` answers of `new` tokens each."""
  prompts = Prompts(
    jnp.ones((rows, prompt), jnp.int32), jnp.ones((rows, prompt), bool), jnp.arange(rows)
  )
  rollout = jax.jit(make_rollout(policy.decoder, 1, new))
  options = sampling([-1], min_new=new)
  seconds = fastest(lambda: rollout(params, prompts, options, jax.random.key(0), 0).tokens)
  return rows * new / seconds


def update(policy, params, rows: int, length: int, micro: int) -> float:
  """Seconds of a GRPO update of `rows` sequences."""
  algorithm, tx = resolve('grpo', kl=''), make_optimizer(stage('', '').optimizer, 100)
  learn = jax.jit(make_learn(make_objective(policy, algorithm, 1.0), tx, microbatches=micro))
  zeros, ones = jnp.zeros((rows, length)), jnp.ones((rows, length), bool)
  tokens = zeros.astype(jnp.int32)
  e = Experience(tokens, ones, ones, zeros, zeros, tokens, {}, 8, length // 2)
  state = TrainState(jnp.int32(0), params, tx.init(params), {})
  return fastest(lambda: learn(state, e, jax.random.key(0))[1]['loss/total'])


def fastest(run, rounds: int = 3) -> float:
  jax.block_until_ready(run())
  times = []
  for _ in range(rounds):
    began = time.perf_counter()
    jax.block_until_ready(run())
    times.append(time.perf_counter() - began)
  return min(times)


def measure(size: str, given) -> list[dict]:
  policy = make_policy(model(size, remat='full'))
  params = jax.jit(policy.init)(jax.random.key(0))
  count = sum(x.size for x in jax.tree.leaves(params))
  found = []
  for rows in given.rows:
    speed = decode(policy, params, rows, given.prompt, given.new)
    share = speed / rows * 2 * count / given.bandwidth
    found.append(dict(size=size, work=f'decode, {rows} rows', per_s=speed, share=share))
  micro = max(given.update // 8, 1)
  seconds = update(policy, params, given.update, given.prompt + given.new, micro)
  tokens = given.update * (given.prompt + given.new)
  share = 6 * count * tokens / seconds / given.peak
  return [*found, dict(size=size, work='update', per_s=tokens / seconds, share=share)]


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('sizes', nargs='*', default=['0.5B', '1.5B'])
  parser.add_argument('--rows', type=int, nargs='*', default=[1, 32, 128])
  parser.add_argument('--update', type=int, default=64, help='sequences of an update')
  parser.add_argument('--prompt', type=int, default=512)
  parser.add_argument('--new', type=int, default=512)
  parser.add_argument('--bandwidth', type=float, default=4.8e12)
  parser.add_argument('--peak', type=float, default=989e12)
  given = parser.parse_args()
  kind = jax.devices()[0].device_kind
  rows = [
    dict(device=kind, jax=jax.__version__) | r for s in given.sizes for r in measure(s, given)
  ]
  with open(HERE / 'device.csv', 'w', newline='') as text:
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
  for row in rows:
    print(f'{row["size"]} {row["work"]}: {row["per_s"]:.0f} tokens/s, {row["share"]:.1%}')


if __name__ == '__main__':
  main()
