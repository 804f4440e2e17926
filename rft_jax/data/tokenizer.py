"""Tokenizers by name: those of checkpoints, and those that are made here."""

from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rft_jax.data.smalltalk.vocabulary import smalltalk
from rft_jax.registry import ConfigError, bind, parse, shorten

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


MADE = {'characters': characters, 'smalltalk': smalltalk}
"""Tokenizers that are made here, by name."""


def load_tokenizer(spec: str) -> PreTrainedTokenizerBase:
  """`'characters(alphabet="...")'`, `'smalltalk'`, else a local directory or a hub id.

  Raises ConfigError for unknown options and for a name under which no tokenizer is found.
  """
  name = spec.strip().split('(')[0]
  if name in MADE:
    return bind(MADE[name], parse(spec)[1], f'tokenizer {name!r}')()
  try:
    return AutoTokenizer.from_pretrained(spec)
  except Exception as error:  # Broken files raise of every kind.
    raise ConfigError(
      f'no tokenizer at {spec!r} ({shorten(error)}): name a directory with '
      'tokenizer.json, a hub id, smalltalk, or characters(alphabet=...)'
    ) from error
