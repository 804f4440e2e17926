"""Where an answer stops: at a token, or at a text however it is cut into tokens.

A text is found by an automaton over bytes; its table says for each state and token how far into the
text one is after it, so that a sampler needs one look-up a token. Source: Aho and Corasick (1975),
Efficient string matching.
"""

import functools
import json
from collections.abc import Callable, Sequence

import numpy as np

from rft_jax.data.ends import ends
from rft_jax.data.templates import added_tokens, ordinary
from rft_jax.registry import ConfigError


def eos(tokenizer) -> int | None:
  """The EOS token, None where there is none. Raises ConfigError for one that is not in the
  vocabulary."""
  text, id = tokenizer.eos_token, tokenizer.eos_token_id
  if text is None:
    return None
  if id is None or tokenizer.convert_ids_to_tokens(id) != str(text):
    raise ConfigError(
      f'eos_token={str(text)!r} is not in the vocabulary of the tokenizer: set eos_token in its '
      'tokenizer_config.json to a token that is'
    )
  return id


def turn_ends(tokenizer) -> list[str]:
  """The texts that end a turn, with the white space before them, where there is a template."""
  if not getattr(tokenizer, 'chat_template', None):
    return []
  known = ends(tokenizer)
  return list(dict.fromkeys(text for text in (known.last, known.middle) if text))


def stop_tokens(tokenizer, encode: Callable[[str], list[int]]) -> list[int]:
  """EOS, and each token that ends a turn by itself. Raises ConfigError as `eos` does."""
  added, found = added_tokens(tokenizer), [eos(tokenizer)]
  for text in turn_ends(tokenizer):
    ids = encode(text.strip())
    if len(ids) == 1 or (ids and ids[-1] in added.values()):
      found.append(ids[-1])
  return list(dict.fromkeys(id for id in found if id is not None))


def set_stop_texts(tokenizer, texts: Sequence[str]) -> None:
  """From now on these end its answers too."""
  tokenizer.stop_texts = tuple(texts)


def stop_texts(tokenizer) -> list[str]:
  """The ends of turns that are ordinary text, which can be written in several ways; and the texts
  of `set_stop_texts`."""
  added = tuple(added_tokens(tokenizer))
  texts = [text for text in turn_ends(tokenizer) if not text.endswith(added)]
  texts += [text for text in getattr(tokenizer, 'stop_texts', ()) if text not in texts]
  return [a for a in texts if not any(b != a and b in a for b in texts)]


def before_end(tokenizer, text: str) -> str:
  """An answer's text without the end of its turn, as far as that is no special token."""
  for mark in stop_texts(tokenizer):
    text = text.partition(mark)[0]
  for mark in turn_ends(tokenizer):
    shown = mark
    for token in tokenizer.all_special_tokens:
      shown = shown.removesuffix(token)
    text = text.removesuffix(shown) if shown.strip() else text
  return text


@functools.lru_cache(maxsize=8)
def stop_table(tokenizer, size: int, texts: tuple[str, ...] | None = None) -> np.ndarray | None:
  """next[state, token] for `size` tokens, i8 or i16[Q+1,size]; the last state is the end, 0 the
  beginning. texts: by default those that end a turn. None where there are none."""
  texts = tuple(stop_texts(tokenizer)) if texts is None else texts
  if not texts:
    return None
  steps = automaton(texts)
  words = token_bytes(tokenizer)[:size]
  order = sorted(range(len(words)), key=lambda i: -len(words[i]))
  lengths = np.array([len(words[i]) for i in order])
  letters = np.zeros((len(words), max(lengths, default=0)), np.uint8)
  for row, i in enumerate(order):
    letters[row, : lengths[row]] = np.frombuffer(words[i], np.uint8)
  states = np.repeat(np.arange(len(steps), dtype=np.int16)[:, None], len(words), 1)
  for column in range(letters.shape[1]):
    there = int((lengths > column).sum())
    states[:, :there] = steps[states[:, :there], letters[:there, column]]
  table = np.repeat(np.arange(len(steps), dtype=np.int16)[:, None], size, 1)
  table[:, order] = states
  return table.astype(np.int8) if len(steps) <= 128 else table


def automaton(texts: Sequence[str]) -> np.ndarray:
  """next[state, byte], i16[Q+1,256]: how far into a text one is; the last state is the end, which
  is never left."""
  known = [text.encode() for text in texts]
  prefixes = sorted({text[:n] for text in known for n in range(len(text))}, key=len)
  numbers = {prefix: i for i, prefix in enumerate(prefixes)}
  steps = np.full((len(prefixes) + 1, 256), len(prefixes), np.int16)
  for prefix, state in numbers.items():
    for byte in range(256):
      seen = prefix + bytes([byte])
      if not any(seen.endswith(text) for text in known):
        steps[state, byte] = next(
          numbers[seen[n:]] for n in range(len(seen) + 1) if seen[n:] in numbers
        )
  return steps


def token_bytes(tokenizer) -> list[bytes]:
  """What each token adds to a text; nothing for special ones."""
  return list(map(token_reader(tokenizer), range(len(tokenizer))))


def token_reader(tokenizer) -> Callable[[int], bytes]:
  """What a token adds to a text; nothing for special ones, and for ids of none."""
  hidden = {tokenizer.convert_tokens_to_ids(t) for t in tokenizer.all_special_tokens} - {
    tokenizer.convert_tokens_to_ids(t) for t in ordinary(tokenizer)
  }
  read = _reader(tokenizer)
  added = {id: text for text, id in added_tokens(tokenizer).items()}

  def letters(id: int) -> bytes:
    if id in hidden:
      return b''
    if id in added:
      return added[id].encode()
    token = tokenizer.convert_ids_to_tokens(id) if id < len(tokenizer) else None
    return b'' if token is None else read(id, token)

  return letters


def _reader(tokenizer) -> Callable[[int, str], bytes]:
  """bytes of (id, token), by the way that the tokenizer decodes."""
  backend = getattr(tokenizer, 'backend_tokenizer', None)
  decoder = json.dumps(json.loads(backend.to_str()).get('decoder')) if backend else ''
  if '"ByteLevel"' in decoder:
    letters = byte_letters()
    return lambda id, token: b''.join(letters.get(x, x.encode()) for x in token)
  if '\u2581' in decoder or '\\u2581' in decoder or '"Metaspace"' in decoder:
    return lambda id, token: _piece(token)
  if '"Fuse"' in decoder:
    return lambda id, token: token.encode()
  plain = lambda ids: tokenizer.decode(ids, clean_up_tokenization_spaces=False)
  anchor = tokenizer.encode('x', add_special_tokens=False)
  return lambda id, token: plain([*anchor, id]).removeprefix(plain(anchor)).encode()


def _piece(token: str) -> bytes:
  """Of sentencepiece: a letter stands for the space, and <0x0A> for a byte."""
  if len(token) == 6 and token.startswith('<0x') and token.endswith('>'):
    return bytes([int(token[3:5], 16)])
  return token.replace('\u2581', ' ').encode()


@functools.cache
def byte_letters() -> dict[str, bytes]:
  """The letters that byte-level tokenizers write bytes as: printable ones as themselves, the rest
  from 256 on."""
  shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
  rest = [byte for byte in range(256) if byte not in shown]
  return {chr(b): bytes([b]) for b in shown} | {
    chr(256 + n): bytes([b]) for n, b in enumerate(rest)
  }
