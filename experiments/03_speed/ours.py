"""GRPO steps of rft_jax: sampling, scoring, advantages and AdamW as one program per step.

Prints one line of JSON, with the floating-point work of a step as a share of the matmul peak that
was measured just before.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))

from work import FIRST_DIGIT, LAST_DIGIT, VOCAB, Stopwatch, arguments

from rft_jax.infra import launch

launch.prepare_process()

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rft_jax.algorithms.algorithm import resolve
from rft_jax.collecting import in_graph, make_collect
from rft_jax.infra.parallel import make_placement
from rft_jax.models.config import ModelConfig
from rft_jax.models.policy import make_policy
from rft_jax.objectives import make_objective
from rft_jax.sampling import make_rollout, sampling
from rft_jax.steps import make_learn, make_rl_step, make_total
from rft_jax.types import Prompts, TrainState


def main():
  args = arguments()
  launch.prepare_jax(args.devices)
  peak = matmul_peak()
  placement = make_placement()
  algorithm = resolve('grpo', kl='')
  policy = make_policy(
    ModelConfig(
      vocab_size=VOCAB,
      hidden_size=args.hidden,
      intermediate_size=3 * args.hidden,
      num_hidden_layers=args.layers,
      num_attention_heads=4,
      num_key_value_heads=2,
      head_dim=args.hidden // 4,
      rope_theta=1e6,
    ),
    algorithm.needs,
  )
  tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-5))
  learn = make_learn(make_objective(policy, algorithm), tx, axis=placement.axis)
  total = make_total(placement.axis)
  rollout = make_rollout(policy.decoder, args.group, args.completion)
  collect = make_collect(rollout, in_graph(count_digits, total=total), total)
  rl_step = placement.compile(make_rl_step(collect, learn), 'sbrr', donate=True)
  params = jax.jit(policy.init)(jax.random.key(0))
  state = placement.put_state(TrainState(jnp.int32(0), params, tx.init(params), {}))
  options, rng = (
    sampling([VOCAB]),
    jax.random.key(0),
  )  # No token stops: full length, as in the peers.
  watch = Stopwatch()
  for step in range(args.steps):
    state, metrics = rl_step(state, placement.put_batch(prompts(args, step)), options, rng)
    jax.block_until_ready(metrics)
    watch.lap()
  size = sum(x.size for x in jax.tree.leaves(params))
  work = step_flops(args, size) / (watch.laps[-1] - watch.laps[1]) * (args.steps - 2)
  watch.report(
    'rft_jax', args, size, peak_gflops=round(peak / 1e9), share_of_peak=round(work / peak, 3)
  )


def count_digits(tokens, target, answer):
  return (target & (tokens >= FIRST_DIGIT) & (tokens <= LAST_DIGIT)).sum(1).astype(jnp.float32)


def prompts(args, step):
  numbers = np.arange(step * args.prompts, (step + 1) * args.prompts)
  digits = numbers[:, None] // 10 ** np.minimum(np.arange(args.prompt)[::-1], 18) % 10
  return Prompts(
    (FIRST_DIGIT + digits).astype(np.int32), np.ones(digits.shape, bool), numbers.astype(np.int32)
  )


def step_flops(args, parameters):
  """2 per parameter and token for sampling, 6 for the update; each prompt counts once in both, as
  it is shared. Attention's own products are left out.
  """
  tokens = args.prompts * (args.group * args.completion + args.prompt)
  return 8 * parameters * tokens


def matmul_peak():
  """FLOP/s of one 2048-cubed float32 product, the best of ten, on all cores."""
  x = jnp.ones((2048, 2048))
  product = jax.jit(lambda x: x @ x)
  product(x).block_until_ready()
  seconds = []
  for _ in range(10):
    start = time.perf_counter()
    product(x).block_until_ready()
    seconds.append(time.perf_counter() - start)
  return 2 * 2048**3 / min(seconds)


if __name__ == '__main__':
  main()
