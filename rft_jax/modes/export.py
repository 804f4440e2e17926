"""Export: a checkpoint of `train` as a Hugging Face directory, adapters merged; or the adapter
alone, as PEFT writes it."""

import os

from rft_jax.data.stops import stop_texts
from rft_jax.infra import hub, hub_save, peft
from rft_jax.infra.hub_config import exported
from rft_jax.infra.workdir import dated
from rft_jax.models.hf_config import write_config
from rft_jax.modes.restored import merged, restored
from rft_jax.modes.session import Session, open_session
from rft_jax.registry import ConfigError, UserError


def run(config, workdir: str, started: float) -> dict:
  """Writes the best checkpoint to `export.path`, by default workdir/export; prints where.

  Raises CheckpointError where there is none, UserError where the directory exists.
  """
  session, c = open_session(dated(config, workdir)), config.export
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
    generation = generation_entries(session)
    hub_save.save(
      directory, architecture, params, tokenizer, entries(session), dtype, generation=generation
    )
  print(f'step {step} written to {directory}')
  return dict(step=step, path=directory)


def entries(session: Session) -> dict:
  """Of the config.json: those of the checkpoint that training began with, of its text alone, and
  where it stopped."""
  if not session.model.directory:
    return write_config(session.model.architecture) | token_ids(session, {})
  found = exported(hub.raw_config(session.model.directory))
  stop = token_ids(session, {}).get('eos_token_id')
  return found if stop is None else found | dict(eos_token_id=stop)


def generation_entries(session: Session) -> dict:
  """Of the generation_config.json: those that the checkpoint came with, and where answers stop."""
  directory = session.model.directory
  found = hub.generation(directory) if directory else {}
  texts = stop_texts(session.tokenizer)
  stop = dict(stop_strings=texts) if texts else {}
  found.pop('_from_model_config', None)  # transformers would pass these entries over.
  return found | token_ids(session, found) | stop


def token_ids(session: Session, found: dict) -> dict:
  """All ids that the run stopped at, the tokenizer's own first; padding and BOS as found, else
  those of the tokenizer."""
  tokenizer, stop = session.tokenizer, session.stop
  stop = sorted(stop, key=lambda id: id != tokenizer.eos_token_id)
  known = range(session.model.architecture.vocab_size)
  token = lambda *ids: next((i for i in ids if type(i) is int and i in known), None)
  ids = dict(
    eos_token_id=stop[0] if len(stop) == 1 else stop or None,
    pad_token_id=token(found.get('pad_token_id'), tokenizer.pad_token_id, *stop),
    bos_token_id=token(found.get('bos_token_id'), tokenizer.bos_token_id),
  )
  return {name: id for name, id in ids.items() if id is not None}
