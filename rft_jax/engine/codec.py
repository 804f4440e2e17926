"""Text to token ids and back, as the served model reads and says it."""

import functools
from collections.abc import Callable, Sequence

from rft_jax.data.stops import stop_texts, token_reader
from rft_jax.data.text import completion, decode, encode_example, encode_prompt
from rft_jax.engine.protocol import ChatMessage, EngineError
from rft_jax.registry import ConfigError
from rft_jax.types import Example


class Codec:
  """One tokenizer with the ids that end an answer, `stop`, and the texts that do, `ends`. May be
  used from any thread."""

  def __init__(self, tokenizer, stop: Sequence[int]):
    self.tokenizer, self.stop = tokenizer, tuple(stop)
    self.ends = tuple(stop_texts(tokenizer))
    self.token_text = functools.lru_cache(2**16)(lambda id: self.part([id]))
    self.token_bytes = functools.lru_cache(2**16)(token_reader(tokenizer))

  def prompt(self, messages: Sequence[ChatMessage]) -> list[int]:
    """A conversation up to where the template asks for an answer. Raises EngineError 400 where the
    template or the tokenizer refuses it."""
    turns = [message._asdict() for message in messages]
    return _asked(lambda: encode_prompt(self.tokenizer, turns), 'messages')

  def raw(self, text: str) -> list[int]:
    """A text, after BOS where the tokenizer puts one. Raises EngineError 400 where it is empty."""
    return _asked(lambda: encode_prompt(self.tokenizer, text), 'prompt')

  def spell(self, ids: Sequence[int]) -> str:
    """The text of any ids, special ones included. Raises EngineError 400 for ids of no token."""
    count = len(self.tokenizer)
    if strange := [id for id in ids if not 0 <= id < count]:
      message = f'prompt has the token {strange[0]}, the tokenizer has {count}'
      raise EngineError(message, 400, 'invalid_prompt', 'prompt')
    return self.tokenizer.decode(
      list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )

  def answer(self, text: str) -> list[int]:
    """An assistant's whole turn with the token that ends it: what a demonstration of it teaches.
    Raises EngineError 400 for an empty one, and for what the template or the tokenizer refuses."""
    asked = ({'role': 'user', 'content': text},) if self.tokenizer.chat_template else ()
    example = Example(text, None, text, messages=asked)  # What was asked does not matter.
    return _asked(lambda: encode_example(self.tokenizer, example, 2**31)[1], 'answer')

  def text(self, ids: Sequence[int]) -> str:
    """What the ids say, without those that end it."""
    return completion(self.tokenizer, [id for id in ids if id not in self.stop])

  def part(self, ids: Sequence[int]) -> str:
    """The text of some ids, without regard to texts that end an answer."""
    return decode(self.tokenizer, [id for id in ids if id not in self.stop])


class Stream:
  """The text of ids that come one by one. Half a letter is held back until it is whole: what has
  been given so far is always a beginning of the text of all ids."""

  def __init__(self, codec: Codec):
    self.codec = codec
    self.window: list[int] = []
    self.before = 0

  def push(self, id: int) -> str:
    """The text that became certain with this id, perhaps none."""
    if id in self.codec.stop:
      return ''
    self.window.append(id)
    return self._new(lambda text: not text.endswith('\ufffd'))

  def flush(self) -> str:
    """What was held back."""
    return self._new(lambda text: True)

  def _new(self, certain: Callable[[str], bool]) -> str:
    """Read after the ids that gave the last text: a decoder may join what it reads to those."""
    known = self.codec.part(self.window[: self.before])
    text = self.codec.part(self.window)
    if len(text) <= len(known) or not certain(text):
      return ''
    self.window, self.before = self.window[self.before :], len(self.window) - self.before
    return text[len(known) :]


def _asked(encode: Callable[[], list[int]], what: str) -> list[int]:
  try:
    return encode()
  except ConfigError as error:
    raise EngineError(f'{what}: {error}', 400, 'invalid_prompt') from error
