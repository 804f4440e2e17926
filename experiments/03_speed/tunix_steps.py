"""The same work in Tunix: its own sampler, rollout and training on the one CPU device, float32."""

import os

os.environ |= dict(JAX_PLATFORMS='cpu', WANDB_MODE='disabled', HF_HUB_OFFLINE='1')

import jax
import numpy as np
import optax
from flax import nnx
from grain import python as grain
from tunix.models.qwen3 import model as qwen3
from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
from tunix.rl.rl_cluster import ClusterConfig, RLCluster, RLTrainingConfig, Role
from tunix.rl.rollout.base_rollout import RolloutConfig
from work import VOCAB, Stopwatch, arguments


class Characters:
  """Printable ASCII; the end of a sequence is a token that is not sampled in practice."""

  def encode(self, text, **_):
    return [ord(char) - 29 for char in text]

  def decode(self, ids, **_):
    return ''.join(chr(int(i) + 29) for i in ids if 3 <= i < 98)

  def bos_id(self):
    return 1

  def eos_id(self):
    return 2

  def pad_id(self):
    return 0

  def dedup_bos_ids(self, ids):
    return ids


def main():
  args, watch = arguments(), Stopwatch()
  shape = qwen3.ModelConfig(
    num_layers=args.layers,
    vocab_size=VOCAB,
    embed_dim=args.hidden,
    hidden_dim=3 * args.hidden,
    num_heads=4,
    num_kv_heads=2,
    head_dim=args.hidden // 4,
    rope_theta=1_000_000,
    norm_eps=1e-6,
    use_tied_embedding=True,
  )
  actor, reference = qwen3.Qwen3(shape, rngs=nnx.Rngs(0)), qwen3.Qwen3(shape, rngs=nnx.Rngs(0))
  size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(actor, nnx.Param)))

  def digits(prompts, completions, **_):
    watch.lap()  # Called once a step.
    return [float(sum(map(str.isdigit, text))) for text in completions]

  mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(1, 1), ('fsdp', 'tp'))
  with mesh:
    cluster = RLCluster(
      actor=actor,
      reference=reference,
      tokenizer=Characters(),
      cluster_config=ClusterConfig(
        role_to_mesh={role: mesh for role in (Role.ACTOR, Role.REFERENCE, Role.ROLLOUT)},
        rollout_engine='vanilla',
        offload_to_cpu=False,
        training_config=RLTrainingConfig(
          actor_optimizer=optax.adamw(1e-5),
          eval_every_n_steps=10**9,
          max_steps=args.steps,
          mini_batch_size=args.prompts,
          train_micro_batch_size=args.prompts,
        ),
        rollout_config=RolloutConfig(
          max_tokens_to_generate=args.completion,
          max_prompt_length=args.prompt,
          temperature=1.0,
          top_p=1.0,
          kv_cache_size=2 * (args.prompt + args.completion),
          eos_tokens=[VOCAB - 1],
        ),
      ),
    )
    learner = GRPOLearner(
      rl_cluster=cluster,
      reward_fns=digits,
      algo_config=GRPOConfig(num_generations=args.group, num_iterations=1, beta=0.0),
    )
    texts = [f'{i:0{args.prompt}d}' for i in range(args.prompts * args.steps)]
    batches = grain.MapDataset.source(texts).batch(args.prompts)
    learner.train(batches.map(lambda batch: dict(prompts=batch, answer=batch)))
  watch.report('tunix', args, size)


if __name__ == '__main__':
  main()
