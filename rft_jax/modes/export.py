"""Export: a checkpoint of `train` as a Hugging Face directory, adapters merged; or the adapter
alone, as PEFT writes it."""

import os

from rft_jax.infra import hub, hub_save, peft
from rft_jax.infra.hub_config import exported
from rft_jax.models.hf_config import write_config
from rft_jax.modes.restored import merged, restored
from rft_jax.modes.session import Session, open_session
from rft_jax.registry import ConfigError, UserError


def run(config, workdir: str, started: float) -> dict:
  """Writes the best checkpoint to `export.path`, by default workdir/export; prints where.

  Raises CheckpointError where there is none, UserError where the directory exists.
  """
  session, c = open_session(config), config.export
  directory = c.path or os.path.join(workdir, 'export')
  architecture = session.model.architecture
  if c.adapter and architecture.lora is None:
    raise ConfigError('export.adapter=True needs a model with adapters: set model.lora.rank')
  if os.path.exists(directory):
    raise UserError(f'{directory} exists: name another by export.path, or remove it')
  with restored(session, workdir) as found:
    weights, step = found.state.weights, found.step
  if c.adapter:
    where = session.model.directory
    peft.save(
      directory, architecture, weights['adapters'], base=config.model.path, base_directory=where
    )
  else:
    params = merged(session, weights)
    tokenizer, dtype = session.tokenizer, c.dtype
    hub_save.save(directory, architecture, params, tokenizer, entries(session), dtype)
  print(f'step {step} written to {directory}')
  return dict(step=step, path=directory)


def entries(session: Session) -> dict:
  """Of the config.json: those of the checkpoint that training began with, of its text alone."""
  if not session.model.directory:
    return write_config(session.model.architecture) | dict(eos_token_id=session.stop[0])
  return exported(hub.raw_config(session.model.directory))
