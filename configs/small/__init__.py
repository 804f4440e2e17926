"""The same experiment in seconds on a CPU: a tiny model from scratch, sixteen rows of data."""

import os
from typing import Any

from rft_jax import config as defaults

DATA = os.path.join(os.path.dirname(__file__), 'data')
TASKS = dict(
  sums='dataset(source="{}/sums.jsonl", test="{}/sums.jsonl", prompt="question", '
  'response="answer", answer="answer", reward="gsm8k")',
  pairs='dataset(source="{}/pairs.jsonl", test="{}/pairs.jsonl", response="chosen", '
  'rejected="rejected")',
  text='dataset(source="{}/text.jsonl", test="{}/text.jsonl", text="text")',
)


def shrink(c: Any, **stages: str) -> None:
  """Stages by name, each with the rows of TASKS that it learns from."""
  default: Any = defaults.base()
  c.model.update(path='', dtype='float32', param_dtype='float32')
  c.model.update(hidden_size=32, intermediate_size=64, head_dim=8, num_hidden_layers=1)
  c.parallel.update(default.parallel)
  for name, rows in stages.items():
    c[name].update(task=TASKS[rows].format(DATA, DATA), steps=2, prompts=4, microbatches=1)
    c[name].update(minibatches=1, max_prompt=64, max_new=64, evaluate=dict(every=0, prompts=4))
