"""Tokenizers that have more tokens than their model has rows."""

import json
import pathlib
import tempfile
from typing import Any

from transformers import AutoTokenizer

IMAGES = 'image_token', 'video_token', 'audio_token'


def trimmed(tokenizer: Any, size: int) -> Any:
  """Without its tokens of images and sounds from id `size` on, which a model of text has no rows
  for, such as Gemma 3 1B's: a text that spells one is ordinary text then."""
  named = {getattr(tokenizer, name, None) for name in IMAGES}
  added = tokenizer.added_tokens_decoder.items()
  surplus = {str(t.content) for i, t in added if i >= size and t.content in named}
  if not surplus:
    return tokenizer
  with tempfile.TemporaryDirectory() as folder:
    tokenizer.save_pretrained(folder)
    for file in pathlib.Path(folder).glob('*.json'):
      entries = _without(surplus, json.loads(file.read_text(encoding='utf-8')))
      file.write_text(json.dumps(entries), encoding='utf-8')
    found = AutoTokenizer.from_pretrained(folder)
  found.name_or_path = tokenizer.name_or_path
  return found


def _without(surplus: set[str], x: Any) -> Any:
  if isinstance(x, dict):
    kept = {k: v for k, v in x.items() if k not in surplus and not _is(v, surplus)}
    return {k: _without(surplus, v) for k, v in kept.items()}
  return [_without(surplus, v) for v in x if not _is(v, surplus)] if isinstance(x, list) else x


def _is(x: Any, surplus: set[str]) -> bool:
  """Whether an entry is a token's text, or what is said of it."""
  text = x.get('content') if isinstance(x, dict) else x
  return isinstance(text, str) and text in surplus
