"""What the installed PEFT makes of a tiny base, one setting at a time."""

import copy
import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

from rft_jax.infra import hub, peft
from rft_jax.infra.peft_config import CONFIG
from rft_jax.infra.peft_names import WEIGHTS
from rft_jax.models.config import Lora
from tests.checkpoints import reference, rows, write_checkpoint
from tests.test_families import HOME, logits_in

PLAIN = dict(r=4, lora_alpha=8, target_modules=['q_proj', 'down_proj'], task_type='CAUSAL_LM')
LORA = Lora(rank=12, alpha=5.0)
TOKENS = rows()[0]


@functools.cache
def base(name: str) -> pathlib.Path:
  directory = pathlib.Path(tempfile.mkdtemp()) / name
  write_checkpoint(directory, name)
  return directory


@functools.cache
def opened(name: str):
  c = hub.model_config(str(base(name)), lora=LORA)
  return c, hub.load(str(base(name)), c, HOME)


@functools.cache
def _kept(name: str):
  return reference(base(name))


def model(name: str):
  """The base by transformers, to be changed at will."""
  return copy.deepcopy(_kept(name))


def torch_logits(found) -> np.ndarray:
  import torch

  with torch.no_grad():
    return found.eval()(torch.tensor(TOKENS)).logits.float().numpy()


@functools.cache
def _program(c):
  mask = np.ones_like(TOKENS)
  return jax.jit(lambda variables: logits_in(c, variables, TOKENS, mask))


def our_logits(name: str, directory) -> np.ndarray:
  """Of the base with the adapter that is read from a directory."""
  c, variables = opened(name)
  return np.asarray(_program(c)(variables | {'adapters': peft.load(str(directory), c)}))


def begun(name: str = 'llama3', prepare=None, **options):
  """A PeftModel as its options begin it. prepare(model, config): what some need first."""
  from peft import LoraConfig, get_peft_model

  found, config = model(name), LoraConfig(**PLAIN | options)
  if prepare:
    prepare(found, config)
  return get_peft_model(found, config)


def trained(found, directory, **options):
  """Moves every trained tensor of the adapter, and saves it."""
  import torch

  torch.manual_seed(0)
  with torch.no_grad():
    for name, x in found.named_parameters():
      if 'lora_' in name:
        x += 0.1 * torch.randn_like(x)
  found.save_pretrained(str(directory), **options)
  return found


def reloaded(name: str, directory) -> np.ndarray:
  """The logits of PEFT with the adapter of a directory."""
  from peft import PeftModel

  return torch_logits(PeftModel.from_pretrained(model(name), str(directory)))


def configure(directory, **entries) -> None:
  file = pathlib.Path(directory) / CONFIG
  file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def edit(directory, change) -> None:
  """change: of the tensors by name, in place."""
  file = pathlib.Path(directory) / WEIGHTS
  tensors = load_file(file)
  change(tensors)
  save_file(tensors, file)


def renamed(directory, rename) -> None:
  def change(tensors):
    for name in list(tensors):
      x = tensors.pop(name)
      tensors[rename(name)] = x

  edit(directory, change)
