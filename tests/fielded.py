"""Chat templates as they are in the field (tests/templates), with tokenizers made from nothing."""

import functools
import pathlib
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.decoders import ByteLevel as Bytes
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from transformers import PreTrainedTokenizerFast

from rft_jax.data.stops import byte_letters

FOLDER = pathlib.Path(__file__).parent / 'templates'
IM, HEADER = (
  ('<|im_start|>', '<|im_end|>'),
  ('<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>'),
)


class Form(NamedTuple):
  """marks: special tokens; middle, last: what ends an answer; trims: what the template leaves of a
  content; stop: ids by their texts; eos, bos."""

  marks: tuple[str, ...]
  middle: str
  last: str
  trims: object = str
  eos: str = '</s>'
  bos: str = '<s>'
  system: bool = True


FORMS = dict(
  chatml=Form(IM, '<|im_end|>', '<|im_end|>'),
  llama2=Form((), ' </s>', ' </s>', str.strip),
  llama3=Form(HEADER, '<|eot_id|>', '<|eot_id|>', str.strip, '<|end_of_text|>'),
  mistral=Form((), '</s>', '</s>', system=False),
  gemma=Form(
    ('<start_of_turn>', '<end_of_turn>'),
    '<end_of_turn>',
    '<end_of_turn>',
    str.strip,
    '<eos>',
    '<bos>',
    False,
  ),
  phi3=Form(
    ('<|system|>', '<|user|>', '<|assistant|>', '<|end|>'),
    '<|end|>',
    '<|end|>',
    eos='<|endoftext|>',
  ),
  harmony=Form(
    ('<|start|>', '<|message|>', '<|channel|>', '<|end|>', '<|return|>'),
    '<|end|>',
    '<|return|>',
    eos='<|endoftext|>',
  ),
  qwen3=Form(IM, '<|im_end|>', '<|im_end|>', eos='<|endoftext|>'),
  r1=Form(
    ('<｜User｜>', '<｜Assistant｜>'),
    '<｜end▁of▁sentence｜>',
    '<｜end▁of▁sentence｜>',
    eos='<｜end▁of▁sentence｜>',
  ),
  zephyr=Form(('<|system|>', '<|user|>', '<|assistant|>'), '</s>', '</s>'),
  smollm2=Form(IM, '<|im_end|>', '<|im_end|>', eos='<|im_end|>'),
  generation=Form(IM, '<|im_end|>', '<|im_end|>'),
  dated=Form(HEADER, '<|eot_id|>', '<|eot_id|>', str.strip, '<|end_of_text|>'),
  plain=Form((), '\n</turn>', '\n</turn>'),
)


def template(name: str) -> str:
  return (FOLDER / f'{name}.jinja').read_text().removesuffix('\n')


@functools.cache
def fielded(name: str, merges: bool = False):
  """A byte-level tokenizer with the template's special tokens; merges: with tokens across edges."""
  form = FORMS[name]
  special = list(dict.fromkeys(['<pad>', form.bos, form.eos, *form.marks]))
  made = bytewise(special, MERGES if merges else ())
  made.eos_token, made.bos_token, made.pad_token = form.eos, form.bos, '<pad>'
  if name == 'qwen3':
    made.add_tokens([AddedToken('<think>', special=False), AddedToken('</think>', special=False)])
  made.chat_template = template(name)
  return made


MERGES = '\n\n', ' \n', '\n ', '  ', '>\n', ' a', 'a\n', '\na', '.\n', '.<', '</', '\n<', ': ', 'a<'
"""Pairs that are one token."""


def bytewise(special, pairs=(), **named):
  letters = {byte: letter for letter, byte in byte_letters().items()}
  spell = lambda text: [letters[bytes([b])] for b in text.encode()]
  merges = [tuple(spell(pair)) for pair in pairs]
  words = [*special, *letters.values(), *(a + b for a, b in merges)]
  backend = Tokenizer(BPE({word: i for i, word in enumerate(dict.fromkeys(words))}, merges))
  backend.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
  backend.decoder = Bytes()
  return PreTrainedTokenizerFast(
    tokenizer_object=backend,
    additional_special_tokens=[AddedToken(mark, special=True) for mark in special],
    clean_up_tokenization_spaces=False,
    **named,
  )


def pieced(name: str, legacy: bool):
  """A sentencepiece-like tokenizer, which writes spaces into words and puts one before the first;
  legacy: before what follows a mark, too."""
  form, space = FORMS[name], '\u2581'
  merges = [(space, 'y'), ('y', 'e'), ('ye', 's'), (space, 'yes'), ('n', 'o'), (space, 'no')]
  letters = [space, *map(chr, range(33, 127))]
  parts = ['<unk>', '<s>', '</s>', *(f'<0x{b:02X}>' for b in range(256)), *letters]
  vocab = {t: i for i, t in enumerate(dict.fromkeys([*parts, *(a + b for a, b in merges)]))}
  backend = Tokenizer(BPE(vocab, merges, unk_token='<unk>', byte_fallback=True, fuse_unk=True))
  if legacy:
    backend.normalizer = normalizers.Sequence(
      [normalizers.Prepend(space), normalizers.Replace(' ', space)]
    )
  else:
    backend.pre_tokenizer = Metaspace(prepend_scheme='first', split=False)
  steps = decoders.Replace(space, ' '), decoders.ByteFallback(), decoders.Fuse()
  backend.decoder = decoders.Sequence([*steps, decoders.Strip(' ', 1, 0)])
  made = PreTrainedTokenizerFast(
    tokenizer_object=backend, eos_token='</s>', bos_token='<s>', unk_token='<unk>'
  )
  made.add_special_tokens({'additional_special_tokens': list(form.marks)})
  made.chat_template = template(name)
  return made
