"""A tokenizer of text and images beside a model that has no row for images, as Gemma 3 1B is
published (huggingface/transformers issue 37011)."""

import json

import fielded
import pytest
from transformers import AutoTokenizer

from rft_jax.data import text
from rft_jax.data.trimming import trimmed
from rft_jax.modes.session import open_session
from rft_jax.registry import ConfigError
from tests.test_export import SAYS, a_run, rows_in, start

IMAGE = '<image_soft_token>'


def with_images(directory, name: str = 'image_token', token: str = IMAGE):
  """The tokenizer there, with one more token."""
  file = directory / 'tokenizer_config.json'
  entries = json.loads(file.read_text())
  entries |= {name: token, 'extra_special_tokens': {name: token}}
  file.write_text(json.dumps(entries))
  return AutoTokenizer.from_pretrained(directory)


@pytest.mark.parametrize('name', ['gemma', 'chatml', 'plain'])
def test_what_a_model_has_no_row_for_is_ordinary_text(name, tmp_path):
  tokenizer = fielded.fielded(name)
  tokenizer.save_pretrained(tmp_path)
  whole = with_images(tmp_path)
  assert len(whole) == len(tokenizer) + 1 and text.encode(whole, IMAGE) == [len(tokenizer)]
  found = trimmed(whole, len(tokenizer))
  assert trimmed(whole, len(whole)) is whole
  assert len(found) == len(tokenizer)
  for line in (IMAGE, f'a{IMAGE}b', *fielded.FORMS[name].marks, str(tokenizer.eos_token), 'abc'):
    assert text.encode(found, line) == text.encode(tokenizer, line)
  assert text.decode(found, text.encode(found, IMAGE)) == IMAGE
  assert found.chat_template == whole.chat_template and found.name_or_path == whole.name_or_path
  for end in ('eos_token_id', 'bos_token_id', 'pad_token_id'):
    assert getattr(found, end) == getattr(tokenizer, end)


def test_a_checkpoint_is_opened_with_it_but_not_with_one_more_token_of_text(tmp_path):
  place = tmp_path / 'start'
  start(place, fielded.fielded('chatml'), SAYS['chatml'])
  config = a_run(rows_in(tmp_path), path=str(place))
  with_images(place)
  session = open_session(config)
  assert len(session.tokenizer) == session.model.architecture.vocab_size
  with_images(place, 'think_token', '<think>')
  with pytest.raises(ConfigError, match='its tokenizer has'):
    open_session(config)
