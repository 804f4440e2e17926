"""A byte-level tokenizer for any text, whose longer tokens are the words of the grammar."""

import random
from collections.abc import Iterator

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as Bytes
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from rft_jax.data.smalltalk import english
from rft_jax.data.smalltalk.answers import STYLES, UNKNOWN, forms, say
from rft_jax.data.smalltalk.free import ANYTHING, DICTATED, REPEATED
from rft_jax.data.smalltalk.grammar import ANOTHER, CORRECTIONS, NOTES, REQUESTS, SMALL_TALK
from rft_jax.data.smalltalk.world import FACTS, Fact, questions

SPECIALS = {'pad_token': '<pad>', 'bos_token': '<bos>', 'eos_token': '<eos>'}
WEIGHT = 12
MARKS = '<|end|>', '<|system|>', '<|user|>', '<|assistant|>'
TEMPLATE = (
  '{% for m in messages %}<|{{ m.role }}|>'
  '{% if m.role == "assistant" and m.weight is not defined %}'
  '{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}'
  '<|end|>{% endfor %}'
  '{% if add_generation_prompt %}<|assistant|>{% endif %}'
)


def smalltalk(*, size: int = 1024) -> PreTrainedTokenizerFast:
  """At most `size` tokens: 3 special ones, the marks of turns, the 256 bytes, and words; the same
  ones everywhere. Text that spells a mark is that mark, as in other chat models."""
  backend = Tokenizer(BPE())
  backend.pre_tokenizer = Sequence(
    [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
  )
  backend.decoder = Bytes()
  trainer = BpeTrainer(
    vocab_size=size,
    show_progress=False,
    special_tokens=[*SPECIALS.values(), *MARKS],
    initial_alphabet=sorted(ByteLevel.alphabet()),
  )
  backend.train_from_iterator(corpus(), trainer)
  made = PreTrainedTokenizerFast(
    tokenizer_object=backend,
    additional_special_tokens=[AddedToken(mark, special=True) for mark in MARKS],
    clean_up_tokenization_spaces=False,
    **SPECIALS,
  )
  made.chat_template = TEMPLATE
  return made


def corpus() -> Iterator[str]:
  """The small world's lines, so often that its words are tokens, and sentences of free English."""
  for _ in range(WEIGHT):
    yield from lines()
  yield from (*DICTATED, *REPEATED, *ANYTHING)
  draw = random.Random(0)
  yield from (english.sentence(draw) for _ in range(6000))


def lines() -> Iterator[str]:
  """Every question and answer of the grammar, as written and in small letters."""
  social = [Fact('social', key, '', '') for key in SMALL_TALK]
  for one in (*FACTS, *social, UNKNOWN):
    asked = SMALL_TALK[one.key] if one.kind == 'social' else questions(one) if one.key else ()
    beliefs = {one.value, one.truth}
    lines = [*asked, *(say(one, style, value) for style in STYLES for value in beliefs)]
    lines += [forms(one, value).sentence for value in beliefs]
    yield from (form(line) for line in sorted(lines) for form in (str, str.lower))
  for texts in (*REQUESTS.values(), *NOTES.values(), ANOTHER, CORRECTIONS):
    yield from (form(text) for text in texts for form in (str, str.lower))
