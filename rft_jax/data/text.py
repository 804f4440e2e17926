"""Text to arrays and back: left-padded prompts, right-padded demonstrations."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from tokenizers.models import WordLevel

from rft_jax.data import chat, stops
from rft_jax.data.chat import Turns
from rft_jax.data.templates import ordinary
from rft_jax.data.tokenizer import MADE, PRINTABLE, SPECIALS, characters, load_tokenizer
from rft_jax.registry import ConfigError, shorten
from rft_jax.types import Example, Experience, Prompts

__all__ = ['MADE', 'PRINTABLE', 'SPECIALS', 'characters', 'load_tokenizer', 'shorten']


def encode(tokenizer, text: str) -> list[int]:
  """Token ids of `text`, without special tokens. Raises ConfigError for an unknown character."""
  model = getattr(getattr(tokenizer, 'backend_tokenizer', None), 'model', None)
  if isinstance(model, WordLevel) and tokenizer.unk_token is None:
    unknown = next((char for char in text if model.token_to_id(char) is None), None)
    if unknown is not None:
      raise ConfigError(
        f'character {unknown!r} of {shorten(text)!r} is not in the tokenizer: '
        'add it to the alphabet of characters(alphabet=...)'
      )
  return tokenizer.encode(text, add_special_tokens=False)


def decode(tokenizer, ids: Sequence[int]) -> str:
  """The text of `ids` without special tokens; the inverse of `encode`."""
  plain, ids = ordinary(tokenizer), list(map(int, ids))
  if plain:  # Special by name only, such as a '!' that was made the padding.
    hidden = set(tokenizer.all_special_ids) - set(tokenizer.convert_tokens_to_ids(list(plain)))
    ids = [id for id in ids if id not in hidden]
  return tokenizer.decode(ids, skip_special_tokens=not plain, clean_up_tokenization_spaces=False)


def completion(tokenizer, ids: Sequence[int]) -> str:
  """What an answer says: the text of its ids without the end of the turn."""
  return stops.before_end(tokenizer, decode(tokenizer, ids))


def opening(tokenizer) -> list[int]:
  """The BOS token where the tokenizer itself puts one before a text, as those of Llama and Gemma
  do; chat templates write their own."""
  bos = tokenizer.bos_token_id
  return [bos] if bos is not None and tokenizer.encode('')[:1] == [bos] else []


def stop_tokens(tokenizer) -> list[int]:
  """The tokens that end an answer: EOS, and those that end a turn where there is a chat template.
  Raises ConfigError for an EOS that is no token."""
  return stops.stop_tokens(tokenizer, functools.partial(encode, tokenizer))


def batch_prompts(
  tokenizer,
  prompts: Sequence[str | Turns],
  ids,
  answers: list[Any],
  length: int,
  places: Sequence[str] = (),
) -> Prompts:
  """Left-padded numpy arrays [B,length] of texts or conversations; tokens outside `valid` are 0.

  places: where the prompts were read, for messages. answers: stacked leaf by leaf, `[B, ...]`,
  where they consist of numbers; else the answer is None. Raises ConfigError for a prompt that is
  empty or longer than `length` tokens.
  """
  tokens = np.zeros((len(prompts), length), np.int32)
  valid = np.zeros((len(prompts), length), bool)
  for row, text in enumerate(prompts):
    with about(places[row] if places else ''):
      prompt = asked(tokenizer, text, length)
    tokens[row, length - len(prompt) :] = prompt
    valid[row, length - len(prompt) :] = True
  fields: dict[str, Any] = dict(tokens=tokens, valid=valid, ids=np.asarray(ids, np.int32))
  return Prompts(**fields, answer=stack(answers))


def asked(tokenizer, prompt: str | Turns, length: int) -> list[int]:
  """Token ids of a prompt. Raises ConfigError for one that is empty or longer than `length`."""
  ids = encode_prompt(tokenizer, prompt)
  if len(ids) > length:
    raise ConfigError(
      f'prompt {shorten(prompt)!r} has {len(ids)} tokens, the limit is '
      f'{length}: raise max_prompt or shorten the prompt'
    )
  return ids


def demonstrations(tokenizer, examples: list[Example], length: int) -> Experience:
  """Prompt, response and EOS from column 0 on, or a conversation; numpy arrays [N,length].

  `target` marks the response and its EOS, or the assistant's turns. Raises ConfigError for a row
  longer than `length`, an empty prompt, an example without a response, and a tokenizer without an
  EOS token.
  """
  tokens = np.zeros((len(examples), length), np.int32)
  valid, target = np.zeros(tokens.shape, bool), np.zeros(tokens.shape, bool)
  for row, example in enumerate(examples):
    with about(example.place):
      ids, learned = encode_demonstration(tokenizer, example, length)
    tokens[row, : len(ids)] = ids
    valid[row, : len(ids)] = True
    target[row, : len(ids)] = learned
  return recorded(tokens, valid, target)


def answers(
  tokenizer, rows: list[tuple[Example, str, float]], max_prompt: int, max_new: int, group: int = 1
) -> Experience:
  """(example, response, reward) each, in the columns of a rollout: prompts end at max_prompt, their
  responses with EOS begin there. The reward stands on the last token. Raises ConfigError as
  `demonstrations` does."""
  width = max_prompt + max_new
  tokens = np.zeros((len(rows), width), np.int32)
  valid, target = np.zeros(tokens.shape, bool), np.zeros(tokens.shape, bool)
  rewards = np.zeros(tokens.shape, np.float32)
  for row, (example, response, reward) in enumerate(rows):
    with about(example.place):
      prompt, answer = answered(tokenizer, example, response, max_prompt, max_new)
    start, end = max_prompt - len(prompt), max_prompt + len(answer)
    tokens[row, start:end] = prompt + answer
    valid[row, start:end] = True
    target[row, max_prompt:end] = True
    rewards[row, end - 1] = reward
  e = recorded(tokens, valid, target)
  return e.replace(rewards=rewards, group=group, prefix=max_prompt)


def answered(
  tokenizer, example: Example, response: str, max_prompt: int, max_new: int
) -> tuple[list[int], list[int]]:
  """Token ids of the prompt and of a response to it. Raises ConfigError as `answers` does."""
  example = example._replace(response=response)
  prompt, answer = encode_example(tokenizer, example, max_prompt + max_new)
  for name, part, limit in (('prompt', prompt, max_prompt), ('new', answer, max_new)):
    if len(part) > limit:
      raise ConfigError(f'{quoted(example)} has {len(part)} tokens of max_{name}={limit}: raise it')
  return prompt, answer


def recorded(tokens: np.ndarray, valid: np.ndarray, target: np.ndarray) -> Experience:
  """An experience that no policy of ours sampled and nobody rewarded."""
  zeros = np.zeros(tokens.shape, np.float32)
  fields: dict[str, Any] = dict(
    tokens=tokens, valid=valid, target=target, behaviour_logp=zeros, rewards=zeros.copy()
  )
  return Experience(**fields, version=np.zeros_like(tokens))


def encode_prompt(tokenizer, prompt: str | Turns) -> list[int]:
  """Token ids of a text, after BOS where the tokenizer puts one, or of a conversation up to where
  it asks for an answer. Raises ConfigError where there are none: nothing predicts the answer."""
  if not isinstance(prompt, str):
    return encode(tokenizer, chat.render(tokenizer, prompt, ask=True))
  bos, ids = opening(tokenizer), encode(tokenizer, prompt)
  ids = ids if ids[:1] == bos else bos + ids
  if not ids:
    raise ConfigError(f'prompt {prompt!r} has no tokens: a prompt needs at least one')
  return ids


def encode_example(tokenizer, example: Example, length: int) -> tuple[list[int], list[int]]:
  """Token ids of the prompt and of the response with EOS, or with the end of the assistant's turn.
  Raises ConfigError as above."""
  check_demonstration(tokenizer, example)
  encoded = functools.partial(encode, tokenizer)
  if example.messages:
    prompt, response = chat.last(tokenizer, dialogue(example), encoded)
  else:
    prompt, response = encode_prompt(tokenizer, example.prompt), encoded(example.response)
    stop = ending(tokenizer)
    if stop in response:
      raise ConfigError(
        f'{quoted(example)}: the response contains {tokenizer.eos_token!r}, where it would stop: '
        'leave it out'
      )
    response = [*response, stop]
  if len(prompt) + len(response) > length:
    raise ConfigError(
      f'{quoted(example)} has {len(prompt)} + {len(response)} tokens of prompt and response, the '
      f'limit is {length}: raise max_prompt or max_new'
    )
  return prompt, response


def encode_demonstration(tokenizer, example: Example, length: int) -> tuple[list[int], list[bool]]:
  """Token ids of the whole example, and which of them are learned: the response with its EOS; of a
  conversation every turn of the assistant. Raises ConfigError as above."""
  if not example.messages:
    prompt, response = encode_example(tokenizer, example, length)
    return prompt + response, [False] * len(prompt) + [True] * len(response)
  check_demonstration(tokenizer, example)
  encoded = functools.partial(encode, tokenizer)
  ids, learned = chat.learned(tokenizer, dialogue(example), encoded)
  if len(ids) > length:
    raise ConfigError(
      f'{quoted(example)} has {len(ids)} tokens, the limit is {length}: raise max_prompt or max_new'
    )
  return ids, learned


def dialogue(example: Example) -> list[dict[str, str]]:
  """The whole conversation, with the response."""
  return [*example.messages, dict(role='assistant', content=example.response)]


def check_demonstration(tokenizer, example: Example) -> None:
  """Raises ConfigError where nothing can be learned from an example."""
  if not example.response:
    raise ConfigError(
      f'{quoted(example)} has no response to imitate: use a task or a data set with responses, '
      "in conversations a turn of the role 'assistant'"
    )
  if not example.messages:
    ending(tokenizer)


def ending(tokenizer) -> int:
  """The EOS token. Raises ConfigError where there is none."""
  found = stops.eos(tokenizer)
  if found is None:
    raise ConfigError('texts end with EOS, which this tokenizer lacks: set its eos_token')
  return found


def quoted(example: Example) -> str:
  """The subject of a sentence about an example."""
  return f'the example {shorten(example.prompt)!r}'


@contextlib.contextmanager
def about(place: str) -> Iterator[None]:
  """Errors within name the place that their example was read from."""
  try:
    yield
  except ConfigError as error:
    raise ConfigError(f'{place}: {error}' if place else str(error)) from error


def stack(answers: list[Any]) -> Any:
  """Answers of numbers as arrays [B,...], None for any others and for answers of unlike shapes."""
  trees = [jax.tree.flatten(answer) for answer in answers]
  shapes = {(tree, tuple(np.shape(leaf) for leaf in leaves)) for leaves, tree in trees}
  numeric = all(np.asarray(leaf).dtype.kind in 'biuf' for leaves, _ in trees for leaf in leaves)
  if not numeric or len(shapes) != 1 or not trees[0][0]:
    return None
  return jax.tree.map(lambda *leaves: np.stack(leaves), *answers)
