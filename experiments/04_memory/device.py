"""Decoding and updating at real sizes with random weights, on the accelerator that is there.

python experiments/04_memory/device.py [0.5B 1.5B]    # writes device.csv

Decoding: tokens/s of a rollout at several batches, as a share of what reading the weights once per
token would allow. Update: the share of the device's peak that 6 x parameters x tokens amounts to,
with a prompt counted once for all of its samples.
Both ceilings come from --bandwidth (bytes/s) and --peak (FLOP/s of bfloat16), those of an H200.
"""

import argparse
import csv
import dataclasses
import pathlib
import sys
import time
from collections.abc import Iterator

HERE = pathlib.Path(__file__).parent
GROUP = 8  # samples of a prompt, which an update reads once
sys.path.insert(0, str(HERE.parents[1]))

import jax
import jax.numpy as jnp
from memory import VOCAB, model

from rft_jax.algorithms.algorithm import resolve
from rft_jax.config import stage
from rft_jax.infra.optim import make_optimizer
from rft_jax.models import transformer
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
  e = Experience(tokens, ones, ones, zeros, zeros, tokens, {}, GROUP, length // 2)
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


def decoding(size: str, given) -> Iterator[dict]:
  policy = make_policy(model(size, 'auto'))
  params = jax.jit(policy.init)(jax.random.key(0))
  count = sum(x.size for x in jax.tree.leaves(params))
  for rows in given.rows:
    speed = decode(policy, params, rows, given.prompt, given.new)
    share = speed / rows * 2 * count / given.bandwidth
    yield dict(size=size, work=f'decode, {rows} rows', figure=speed, unit='tokens/s', share=share)


def updating(size: str, given) -> Iterator[dict]:
  params = jax.jit(make_policy(model(size)).init)(jax.random.key(0))
  count = sum(x.size for x in jax.tree.leaves(params))
  tokens = given.update * given.new + given.update // GROUP * given.prompt
  for attention in ('auto', 'xla'):
    for remat in ('full', 'dots'):
      policy = make_policy(model(size, attention, remat=remat))
      work = f'update, attention {attention}, remat {remat}'
      try:
        seconds = update(policy, params, given.update, given.prompt + given.new, given.micro)
      except jax.errors.JaxRuntimeError as error:
        yield dict(size=size, work=work, figure=str(error)[:80], unit='', share='')
      else:
        share = 6 * count * tokens / seconds / given.peak
        yield dict(size=size, work=work, figure=tokens / seconds, unit='tokens/s', share=share)


def apart(size: str, given, rows: int = 4, length: int = 512) -> Iterator[dict]:
  """The largest difference of a token's log-probability between the device's attention and XLA's,
  and that of half precision from float32."""
  tokens = jax.random.randint(jax.random.key(1), (rows, length), 0, VOCAB)
  zeros, ones = jnp.zeros((rows, length)), jnp.ones((rows, length), bool)
  e = Experience(tokens, ones, ones, zeros, zeros, tokens, {})
  found = {}
  for name, attention, dtype in (
    ('auto', 'auto', 'bfloat16'),
    ('xla', 'xla', 'bfloat16'),
    ('exact', 'xla', 'float32'),
  ):
    policy = make_policy(dataclasses.replace(model(size, attention), dtype=dtype))
    params = jax.jit(policy.init)(jax.random.key(0))
    found[name] = jax.jit(lambda p, policy=policy: policy.score(p, e, 1.0, ()).logp)(params)
  gap = lambda a, b: float(jnp.abs(found[a] - found[b]).max())
  same = dict(size=size, unit='nats', share='')
  yield same | dict(work='log-probs, attention auto from xla', figure=gap('auto', 'xla'))
  yield same | dict(work='log-probs, bfloat16 from float32', figure=gap('xla', 'exact'))


PARTS = dict(apart=apart, decode=decoding, update=updating)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('sizes', nargs='*', default=['0.5B', '1.5B'])
  parser.add_argument('--parts', nargs='*', default=list(PARTS))
  parser.add_argument('--unroll', type=int, default=transformer.ON_GPUS)
  parser.add_argument('--rows', type=int, nargs='*', default=[1, 32, 128])
  parser.add_argument('--update', type=int, default=64, help='sequences of an update')
  parser.add_argument('--micro', type=int, default=8, help='micro-batches of an update')
  parser.add_argument('--prompt', type=int, default=512)
  parser.add_argument('--new', type=int, default=512)
  parser.add_argument('--bandwidth', type=float, default=4.8e12)
  parser.add_argument('--peak', type=float, default=989e12)
  parser.add_argument('--out', default=str(HERE / 'device.csv'))
  given = parser.parse_args()
  transformer.ON_GPUS = given.unroll
  same = dict(device=jax.devices()[0].device_kind, jax=jax.__version__)
  with open(given.out, 'w', newline='') as text:
    writer = csv.DictWriter(text, [*same, 'size', 'work', 'figure', 'unit', 'share'])
    writer.writeheader()
    for row in (
      row for size in given.sizes for name in given.parts for row in PARTS[name](size, given)
    ):
      print(row, flush=True)
      writer.writerow(same | row)
      text.flush()


if __name__ == '__main__':
  main()
