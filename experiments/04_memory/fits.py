"""Do the configs for real checkpoints fit where they say? Their updates, compiled for TPUs.

python experiments/04_memory/fits.py [NAME ...]    # writes fits.csv; pip install libtpu

Everything is taken from the config file but the checkpoint, of which only the sizes matter, and the
data, of which only the shapes do. Figures are the compiler's: GiB on each of the 8 chips of a v5e-8
(16 GiB), and on one chip of 95 GiB, to compare with the memory of a single large GPU.
"""

import csv
import importlib
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).parent

import jax
import jax.numpy as jnp
from memory import TOPOLOGY, experience, key, memory, on, rows, topologies

from rft_jax.infra.optim import make_optimizer
from rft_jax.infra.parallel import Mesh
from rft_jax.models.config import Lora
from rft_jax.models.hf_config import read_config
from rft_jax.models.policy import make_policy
from rft_jax.modes.limits import check_sizes
from rft_jax.modes.session import algorithm_of
from rft_jax.objectives import make_objective
from rft_jax.objectives.tokens import reference_of
from rft_jax.steps import make_learn
from rft_jax.types import TrainState


def qwen(hidden, inner, layers, heads) -> dict:
  return dict(
    model_type='qwen2',
    vocab_size=151_936,
    hidden_size=hidden,
    intermediate_size=inner,
    num_hidden_layers=layers,
    num_attention_heads=heads,
    num_key_value_heads=2,
    tie_word_embeddings=True,
    rope_theta=1e6,
  )


SIZES = {
  'Qwen/Qwen2.5-0.5B': qwen(896, 4864, 24, 14),
  'Qwen/Qwen2.5-0.5B-Instruct': qwen(896, 4864, 24, 14),
  'Qwen/Qwen2.5-1.5B-Instruct': qwen(1536, 8960, 28, 12),
  'meta-llama/Llama-3.2-1B-Instruct': dict(
    model_type='llama',
    vocab_size=128_256,
    hidden_size=2048,
    intermediate_size=8192,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=64,
    tie_word_embeddings=True,
    rope_theta=5e5,
  ),
  'google/gemma-3-1b-it': dict(
    model_type='gemma3_text',
    vocab_size=262_144,
    hidden_size=1152,
    intermediate_size=6912,
    num_hidden_layers=26,
    num_attention_heads=4,
    num_key_value_heads=1,
    head_dim=256,
  ),
}
"""The part of each config.json that decides shapes."""
NAMES = 'sft_qwen', 'grpo_gsm8k', 'dpo_llama', 'ppo_gemma', 'lora_grpo_qwen', 'rm_qwen', 'cpt_text'
ALONE = {'lora_grpo_qwen': (1,), 'dpo_llama': (8, 1)}
"""Those that are said to fit on a single device."""


def architecture(config):
  from transformers import AutoConfig

  entries = dict(SIZES[config.model.path])
  whole = AutoConfig.for_model(entries.pop('model_type'), **entries).to_dict()
  lora = config.model.lora
  return read_config(
    whole,
    dtype=config.model.dtype,
    remat=config.model.remat,
    attention='xla',
    lora=Lora(lora.rank, lora.alpha, lora.targets) if lora.rank else None,
  )


def update(name: str, chips: int):
  """The compiled update of a config's only stage."""
  config = importlib.import_module(f'configs.{name}').get_config()
  stage = config[config.stages[0]]
  where = TOPOLOGY if chips > 1 else 'v5p:2x2x1'
  topology = topologies.get_topology_desc(platform='tpu', topology_name=where)
  mesh = Mesh(list(topology.devices)[:chips], fsdp=chips)
  check_sizes(stage, mesh.shards)
  algorithm = algorithm_of(stage)
  policy = make_policy(architecture(config), algorithm.needs, stage.critic, mesh.shards)
  tx = make_optimizer(stage.optimizer, 100)
  objective = make_objective(policy, algorithm, stage.sampling.temperature)

  def init(rng):
    params, base = policy.split(policy.init(rng))
    base = jax.tree.map(lambda x: x.astype(config.model.param_dtype), base)
    frozen = {'base': base} if base else {}
    if 'ref_logp' in algorithm.needs:
      frozen['ref'] = reference_of(params)
    tuned = {name: jnp.float32(x) for name, x in objective.tuned.items()}
    return TrainState(jnp.int32(0), params, tx.init(params), frozen, tuned)

  state = on(mesh.sharding, jax.eval_shape(init, jax.random.key(0)))
  group = 2 if algorithm.source == 'pairs' else stage.group
  whole = algorithm.source in ('demonstrations', 'text')
  length = stage.max_prompt + stage.max_new
  e = experience(stage.prompts * group, length, group, 0 if whole else stage.max_prompt)
  learn = make_learn(objective, tx, stage.epochs, stage.minibatches, stage.microbatches, mesh.axis)
  with jax.set_mesh(mesh.mesh):
    return jax.jit(learn, donate_argnums=0).lower(state, on(rows(mesh), e), key(mesh)).compile()


def main():
  file, wanted = HERE / 'fits.csv', sys.argv[1:] or list(NAMES)
  found = {}
  if file.exists():
    with open(file) as text:
      found = {(row['config'], int(row['chips'])): row for row in csv.DictReader(text)}
  for name in wanted:
    for chips in ALONE.get(name, (8,)):
      began = time.time()
      figures = memory(update(name, chips))
      seconds = round(time.time() - began, 1)
      found[name, chips] = dict(config=name, chips=chips, **figures, compile_s=seconds)
      print(found[name, chips], flush=True)
      with open(file, 'w', newline='') as text:
        writer = csv.DictWriter(text, list(found[name, chips]))
        writer.writeheader()
        writer.writerows(found[key] for key in sorted(found, key=lambda k: NAMES.index(k[0])))


if __name__ == '__main__':
  main()
