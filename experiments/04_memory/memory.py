"""Memory of whole steps at real sizes, compiled for TPUs without having one; writes results.csv.

python experiments/04_memory/memory.py [NAME ...]    # pip install libtpu

Nothing runs: figures are the compiler's, GiB per chip. Named rows replace theirs and leave the
others.
"""

import csv
import os
import pathlib
import re
import sys
import time

os.environ |= {'JAX_PLATFORMS': 'cpu', 'TPU_SKIP_MDS_QUERY': '1'}
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from rft_jax.algorithms.algorithm import resolve
from rft_jax.collecting import in_graph, make_collect
from rft_jax.config import stage
from rft_jax.infra.optim import make_optimizer
from rft_jax.infra.parallel import Mesh
from rft_jax.models.config import Lora, ModelConfig
from rft_jax.models.policy import LOGITS, in_chunks, make_policy, token_scores
from rft_jax.objectives import make_objective
from rft_jax.objectives.tokens import reference_of
from rft_jax.sampling import make_rollout, sampling
from rft_jax.steps import make_learn, make_rl_step, make_total
from rft_jax.types import Experience, Prompts, TrainState

HERE = pathlib.Path(__file__).parent
SIZES = {
  '0.5B': dict(
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    head_dim=64,
  ),
  '1.5B': dict(
    hidden_size=1536,
    intermediate_size=8960,
    num_hidden_layers=28,
    num_attention_heads=12,
    num_key_value_heads=2,
    head_dim=128,
  ),
}
"""Qwen2.5's; its vocabulary is 151,936."""
VOCAB, PROMPTS, P, C = 151_936, 64, 512, 512
TOPOLOGY = 'v5e:2x4'


def model(size: str, attention: str = 'xla', **options) -> ModelConfig:
  return ModelConfig(
    VOCAB,
    **SIZES[size],
    model_type='qwen2',
    rope_theta=1e6,
    dtype='bfloat16',
    attention=attention,
    **options,
  )


def memory(compiled) -> dict:
  m, gib = compiled.memory_analysis(), 2**30
  return dict(
    arguments_gib=round(m.argument_size_in_bytes / gib, 2),
    temporaries_gib=round(m.temp_size_in_bytes / gib, 2),
  )


def on(sharding, tree):
  """Shapes with a home: sharding(path, shape)."""
  place = lambda path, x: jax.ShapeDtypeStruct(
    x.shape, x.dtype, sharding=sharding(jax.tree_util.keystr(path), x.shape)
  )
  return jax.tree.map_with_path(place, tree)


def log_probs(chunked: bool, size: str = '0.5B', tokens: int = 32_768):
  """Log-probabilities and entropies of `tokens` tokens with their gradient, on one chip."""
  topology = topologies.get_topology_desc(platform='tpu', topology_name='v5p:2x2x1')
  home = jax.sharding.SingleDeviceSharding(topology.devices[0])
  c = model(size)
  policy = make_policy(c)

  def naive(params, e, hidden):
    scores = token_scores(policy.logits(params, hidden), e.tokens, ('entropy',))
    return (scores['logp'] + scores['entropy']).sum()

  def ours(params, e, hidden):
    found = in_chunks(
      lambda h, t: token_scores(policy.logits(params, h), t, ('entropy',)),
      e.target,
      LOGITS // VOCAB,
      hidden,
      e.tokens,
    )
    return (found['logp'] + found['entropy']).sum()

  loss = jax.grad(ours if chunked else naive, argnums=(0, 2))
  shapes = jax.eval_shape(policy.init, jax.random.key(0))
  hidden = jax.ShapeDtypeStruct((32, tokens // 32, c.hidden_size), jnp.bfloat16)
  args = on(lambda *_: home, (shapes, experience(32, tokens // 32, 1, 0), hidden))
  return jax.jit(loss).lower(*args).compile()


def experience(n: int, t: int, group: int, prefix: int) -> Experience:
  make = lambda dtype: jax.ShapeDtypeStruct((n, t), dtype)
  f, i = make(jnp.float32), make(jnp.int32)
  valid = make(jnp.bool_)
  return Experience(i, valid, valid, f, f, i, {}, group, prefix)


def update(size='0.5B', shared=True, micro=8, lora=None, **options):
  """A GRPO update, 64 prompts x 8 samples, fully sharded over the chips."""
  _, objective, tx, mesh, state = parts(size, lora, **options)
  learn = make_learn(objective, tx, microbatches=micro)
  group, prefix = (8, P) if shared else (8, 0)
  e = on(rows(mesh), experience(8 * PROMPTS, P + C, group, prefix))
  with jax.set_mesh(mesh.mesh):
    return jax.jit(learn, donate_argnums=0).lower(state, e, key(mesh)).compile()


def step(size='0.5B', micro=8, lora=None, **options):
  """The whole GRPO step in one program: sampling, reward, advantages, update."""
  policy, objective, tx, mesh, state = parts(size, lora, **options)
  learn = make_learn(objective, tx, microbatches=micro)
  total = make_total(None)
  judge = in_graph(lambda tokens, target, answer: (tokens[:, 0] == answer) * 1.0, total=total)
  collect = make_collect(make_rollout(policy.decoder, 8, C), judge, total)
  prompts = jax.eval_shape(
    lambda: Prompts(
      jnp.zeros((PROMPTS, P), jnp.int32),
      jnp.ones((PROMPTS, P), bool),
      jnp.arange(PROMPTS),
      jnp.arange(PROMPTS),
    )
  )
  whole = lambda path, shape: mesh.sharding('', shape)
  options = on(whole, jax.eval_shape(lambda: sampling([1])))
  args = state, on(rows(mesh), prompts), options, key(mesh)
  with jax.set_mesh(mesh.mesh):
    return jax.jit(make_rl_step(collect, learn), donate_argnums=0).lower(*args).compile()


def parts(size, lora, **options):
  topology = topologies.get_topology_desc(platform='tpu', topology_name=TOPOLOGY)
  mesh = Mesh(list(topology.devices), fsdp=len(topology.devices))
  c = model(size, lora=lora, **options)
  algorithm = resolve('grpo', kl='k3(coef=0.001)')
  policy = make_policy(c, algorithm.needs, shards=mesh.shards)
  tx = make_optimizer(stage('', '').optimizer, 100)

  def init(rng):
    params, base = policy.split(policy.init(rng))
    base = jax.tree.map(lambda x: x.astype(jnp.bfloat16), base)
    frozen = ({'base': base} if base else {}) | {'ref': reference_of(params)}
    return TrainState(jnp.int32(0), params, tx.init(params), frozen)

  state = on(mesh.sharding, jax.eval_shape(init, jax.random.key(0)))
  return policy, make_objective(policy, algorithm, 1.0), tx, mesh, state


def rows(mesh):
  spec = jax.sharding.PartitionSpec(('data', 'fsdp'))
  return lambda path, shape: jax.sharding.NamedSharding(mesh.mesh, spec)


def key(mesh):
  shape = jax.eval_shape(lambda: jax.random.key(0))
  return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=mesh.sharding('', ()))


RANK16 = Lora(rank=16, alpha=32.0)
ROWS = {
  'log-probs, 32k tokens, naive': lambda: log_probs(False),
  'log-probs, 32k tokens, in chunks': lambda: log_probs(True),
  'update 0.5B, prompts repeated': lambda: update(shared=False),
  'update 0.5B, prompts shared': lambda: update(),
  'update 0.5B, remat none': lambda: update(remat='none'),
  'update 0.5B, remat full': lambda: update(remat='full'),
  'step 0.5B': lambda: step(),
  'step 0.5B, LoRA 16': lambda: step(lora=RANK16),
  'update 1.5B': lambda: update('1.5B'),
  'update 1.5B, splash attention': lambda: update('1.5B', attention='splash'),
  'step 1.5B': lambda: step('1.5B'),
  'step 1.5B, LoRA 16': lambda: step('1.5B', lora=RANK16),
}


def main():
  file, wanted = HERE / 'results.csv', sys.argv[1:] or list(ROWS)
  found = {}
  if file.exists():
    with open(file) as text:
      found = {row['program']: row for row in csv.DictReader(text)}
  for name in wanted:
    began = time.time()
    try:
      figures = memory(ROWS[name]())
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      needed = re.search(r'HLO temporaries \(([\d.]+)G\)', str(error))
      figures = dict(arguments_gib='', temporaries_gib=f'{needed and needed[1]} (does not fit)')
    chips = 'v5p, 1 chip' if name.startswith('log-probs') else f'{TOPOLOGY}, fsdp=8'
    seconds = round(time.time() - began, 1)
    found[name] = dict(program=name, chips=chips, **figures, compile_s=seconds)
    print(found[name], flush=True)
    with open(file, 'w', newline='') as text:
      writer = csv.DictWriter(text, list(found[name]))
      writer.writeheader()
      writer.writerows(found[row] for row in ROWS if row in found)


if __name__ == '__main__':
  main()
