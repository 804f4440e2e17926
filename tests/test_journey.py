"""The whole way: a checkpoint in, supervised and reinforced, a checkpoint out that others load."""

import json
import time

import numpy as np
import pytest

from rft_jax import config as defaults
from rft_jax.data.text import characters
from rft_jax.infra import hub, hub_save
from rft_jax.models.config import ModelConfig
from rft_jax.models.hf_config import write_config
from rft_jax.models.policy import make_policy
from rft_jax.modes import export, train
from tests.checkpoints import reference, reference_logits
from tests.test_families import HOME, logits_of

ALPHABET = 'abcdefghijklmnopqrstuvwxyzTH0123456789+=?#. \n'
ROWS = [
  dict(question=f'Tom has {a} and gets {b}?', answer=f'{a}+{b}\n#### {a + b}')
  for a in range(4)
  for b in range(4)
]
SIZES = dict(prompts=16, max_prompt=22, max_new=14)


def write_start(directory):
  """A tiny checkpoint such as a user comes with, and its tokenizer."""
  import jax

  tokenizer = characters(alphabet=ALPHABET)
  c = ModelConfig(len(tokenizer), 64, 128, 2, 4, 2, 16, model_type='llama')
  params = make_policy(c).init(jax.random.key(1))['decoder']['params']
  entries = write_config(c) | dict(eos_token_id=tokenizer.eos_token_id)
  hub_save.save(str(directory), c, params, tokenizer, entries)


def journey(path, rows, **stage):
  """A run of one stage on the checkpoint at `path`."""
  c = defaults.base()
  c.model.path = str(path)
  c.parallel.devices = 1
  c.log.update(tensorboard=False, wandb='off')
  c.scoring.workers = 0
  c.stages = ('learn',)
  task = (
    f'dataset(source="{rows}", test="{rows}", prompt="question", response="answer", '
    'answer="answer", reward="gsm8k")'
  )
  c.learn = defaults.stage(task, **SIZES | dict(evaluate=dict(prompts=16)) | stage)
  return c


@pytest.mark.slow
def test_from_a_checkpoint_through_sft_and_grpo_with_lora_to_one_that_transformers_loads(tmp_path):
  rows, start = tmp_path / 'train.jsonl', tmp_path / 'start'
  rows.write_text(''.join(json.dumps(row) + '\n' for row in ROWS))
  write_start(start)

  sft = journey(start, rows, preset='sft', steps=75, group=1, optimizer=dict(lr=3e-3, warmup=5))
  first = train.run(sft, str(tmp_path / 'sft'), time.time())
  export.run(sft, str(tmp_path / 'sft'), 0.0)

  out = str(tmp_path / 'sft/export')
  rl = journey(out, rows, preset='grpo', steps=120, group=16, optimizer=dict(lr=3e-3, warmup=2))
  rl.model.lora.update(rank=8, alpha=16.0)
  second = train.run(rl, str(tmp_path / 'rl'), time.time())
  export.run(rl, str(tmp_path / 'rl'), 0.0)

  assert first['eval/accuracy/before'] < 0.1 < second['eval/accuracy/before']
  assert second['reward/mean/after'] >= second['reward/mean/before'] + 0.1
  assert second['eval/accuracy/after'] > first['eval/accuracy/before']

  out = str(tmp_path / 'rl/export')
  assert hub.model_config(out) == hub.model_config(str(start))
  pytest.importorskip('torch')
  c = hub.model_config(out)
  tokens = np.random.default_rng(0).integers(3, c.vocab_size, (2, 30))
  mask = np.ones_like(tokens)
  expected = reference_logits(reference(out), tokens, mask)
  assert np.abs(logits_of(c, hub.load(out, c, HOME), tokens, mask) - expected).max() <= 1e-4
