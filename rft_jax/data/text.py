"""Text to arrays and back: tokenizers, left-padded prompts, right-padded demonstrations."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rft_jax.registry import ConfigError, bind, parse
from rft_jax.types import Example, Experience, Prompts

PRINTABLE = ''.join(map(chr, range(32, 127))) + '\n'
SPECIALS = {'pad_token': '<pad>', 'bos_token': '<bos>', 'eos_token': '<eos>'}


def characters(*, alphabet: str = PRINTABLE) -> PreTrainedTokenizerFast:
  """One token per character: <pad>=0, <bos>=1, <eos>=2, then `alphabet` in order.

  Raises ConfigError for an empty alphabet and for a character that comes twice.
  """
  twice = next((char for char in alphabet if alphabet.count(char) > 1), None)
  if not alphabet or twice:
    raise ConfigError(
      f'alphabet={alphabet!r} must be non-empty and name each character once'
      + (f': remove one {twice!r}' if twice else '')
    )
  vocab = {token: i for i, token in enumerate([*SPECIALS.values(), *alphabet])}
  backend = Tokenizer(WordLevel(vocab, unk_token='<unk>'))
  backend.pre_tokenizer = Split(Regex(r'[\s\S]'), 'isolated')
  backend.decoder = Fuse()
  # Text that spells a special token is text: only the sampler ends a sequence.
  return PreTrainedTokenizerFast(
    tokenizer_object=backend,
    clean_up_tokenization_spaces=False,
    split_special_tokens=True,
    **SPECIALS,
  )


def load_tokenizer(spec: str) -> PreTrainedTokenizerBase:
  """`'characters(alphabet="...")'`, else a local directory or a hub id.

  Raises ConfigError for unknown options and for a name under which no tokenizer is found.
  """
  if spec.strip().split('(')[0] == 'characters':
    return bind(characters, parse(spec)[1], "tokenizer 'characters'")()
  try:
    return AutoTokenizer.from_pretrained(spec)
  except (OSError, ValueError, KeyError) as error:
    raise ConfigError(
      f'no tokenizer at {spec!r} ({shorten(error)}): name a directory with '
      'tokenizer.json, a hub id, or characters(alphabet=...)'
    ) from error


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
  return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def batch_prompts(tokenizer, texts: list[str], ids, answers: list[Any], length: int) -> Prompts:
  """Left-padded numpy arrays [B,length]; tokens outside `valid` are 0.

  `answers` are stacked leaf by leaf, `[B, ...]`, where they consist of numbers; otherwise the
  answer is None. Raises ConfigError for a prompt that is empty or longer than `length` tokens.
  """
  tokens = np.zeros((len(texts), length), np.int32)
  valid = np.zeros((len(texts), length), bool)
  for row, text in enumerate(texts):
    prompt = encode_prompt(tokenizer, text)
    if len(prompt) > length:
      raise ConfigError(
        f'prompt {shorten(text)!r} has {len(prompt)} tokens, the limit is '
        f'{length}: raise max_prompt or shorten the prompt'
      )
    tokens[row, length - len(prompt) :] = prompt
    valid[row, length - len(prompt) :] = True
  fields: dict[str, Any] = dict(tokens=tokens, valid=valid, ids=np.asarray(ids, np.int32))
  return Prompts(**fields, answer=stack(answers))


def demonstrations(tokenizer, examples: list[Example], length: int) -> Experience:
  """Prompt, response and EOS from column 0 on, numpy arrays [N,length].

  `target` marks the response and its EOS. Raises ConfigError for a row longer than `length`, an
  empty prompt, an example without a response, and a tokenizer without an EOS token.
  """
  if tokenizer.eos_token_id is None:
    raise ConfigError('demonstrations end with EOS, which this tokenizer lacks: set its eos_token')
  tokens = np.zeros((len(examples), length), np.int32)
  valid, target = np.zeros(tokens.shape, bool), np.zeros(tokens.shape, bool)
  for row, example in enumerate(examples):
    prompt, response = encode_example(tokenizer, example, length)
    end = len(prompt) + len(response)
    tokens[row, :end] = prompt + response
    valid[row, :end] = True
    target[row, len(prompt) : end] = True
  return recorded(tokens, valid, target)


def answers(
  tokenizer, rows: list[tuple[str, str, float]], max_prompt: int, max_new: int, group: int = 1
) -> Experience:
  """(prompt, response, reward) each, in the columns of a rollout: prompts end at max_prompt, their
  responses with EOS begin there. The reward stands on the last token. Raises ConfigError as
  `demonstrations` does."""
  width = max_prompt + max_new
  tokens = np.zeros((len(rows), width), np.int32)
  valid, target = np.zeros(tokens.shape, bool), np.zeros(tokens.shape, bool)
  rewards = np.zeros(tokens.shape, np.float32)
  for row, (text, response, reward) in enumerate(rows):
    prompt, answer = encode_example(tokenizer, Example(text, None, response), width)
    for name, part, limit in (('prompt', prompt, max_prompt), ('new', answer, max_new)):
      if len(part) > limit:
        raise ConfigError(
          f'{shorten(text + response)!r} has {len(part)} tokens of max_{name}={limit}: raise it'
        )
    start, end = max_prompt - len(prompt), max_prompt + len(answer)
    tokens[row, start:end] = prompt + answer
    valid[row, start:end] = True
    target[row, max_prompt:end] = True
    rewards[row, end - 1] = reward
  e = recorded(tokens, valid, target)
  return e.replace(rewards=rewards, group=group, prefix=max_prompt)


def recorded(tokens: np.ndarray, valid: np.ndarray, target: np.ndarray) -> Experience:
  """An experience that no policy of ours sampled and nobody rewarded."""
  zeros = np.zeros(tokens.shape, np.float32)
  fields: dict[str, Any] = dict(
    tokens=tokens, valid=valid, target=target, behaviour_logp=zeros, rewards=zeros.copy()
  )
  return Experience(**fields, version=np.zeros_like(tokens))


def encode_prompt(tokenizer, text: str) -> list[int]:
  """Token ids of a prompt. Raises ConfigError where there are none: nothing predicts its answer."""
  prompt = encode(tokenizer, text)
  if not prompt:
    raise ConfigError(f'prompt {text!r} has no tokens: a prompt needs at least one')
  return prompt


def encode_example(tokenizer, example: Example, length: int) -> tuple[list[int], list[int]]:
  """Token ids of the prompt and of the response with EOS. Raises ConfigError as above."""
  prompt = encode_prompt(tokenizer, example.prompt)
  if not example.response:
    raise ConfigError(
      f'the example {shorten(example.prompt)!r} has no response to imitate: use a '
      'task or a data set with responses'
    )
  response = [*encode(tokenizer, example.response), tokenizer.eos_token_id]
  if len(prompt) + len(response) > length:
    raise ConfigError(
      f'the example {shorten(example.prompt)!r} has {len(prompt)} + '
      f'{len(response)} tokens of prompt and response, the limit is {length}: '
      'raise max_prompt or max_new'
    )
  return prompt, response


def stack(answers: list[Any]) -> Any:
  """Answers of numbers as arrays [B,...], None for any others and for answers of unlike shapes."""
  trees = [jax.tree.flatten(answer) for answer in answers]
  shapes = {(tree, tuple(np.shape(leaf) for leaf in leaves)) for leaves, tree in trees}
  numeric = all(np.asarray(leaf).dtype.kind in 'biuf' for leaves, _ in trees for leaf in leaves)
  if not numeric or len(shapes) != 1 or not trees[0][0]:
    return None
  return jax.tree.map(lambda *leaves: np.stack(leaves), *answers)


def shorten(text: object, limit: int = 60) -> str:
  """The beginning of a text, on one line."""
  line = ' '.join(str(text).split())
  return line if len(line) <= limit else line[:limit] + '...'
