"""Tokenizers with chat templates, made from nothing: like those of Llama 3, ChatML and Gemma."""

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from rft_jax.data.text import PRINTABLE

LLAMA = (
  '{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n'
  '{{ m.content | trim }}<|eot_id|>{% endfor %}'
  '{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}'
)
CHATML = (
  '{% for m in messages %}<|im_start|>{{ m.role }}\n'
  "{{ m.content }}<|im_end|>{{ '\\n' }}{% endfor %}"
  "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}"
)
GEMMA = (
  "{{ bos_token }}{% if messages[0].role == 'system' %}"
  "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
  "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
  "{{ m.content | trim }}<end_of_turn>{{ '\\n' }}{% endfor %}"
  "{% if add_generation_prompt %}<start_of_turn>model{{ '\\n' }}{% endif %}"
)
MARKED = (
  '{% for m in messages %}<|im_start|>{{ m.role }}\n'
  "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
  "{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}"
  "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}"
)
UNSTABLE = CHATML.replace('{{ m.role }}', '{{ m.role }} of {{ messages | length }}')
LAST_THINKS = CHATML.replace(
  '{{ m.content }}',
  "{% if loop.last and m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}",
)
MARKS = {
  'llama': ('<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>'),
  'chatml': ('<|im_start|>', '<|im_end|>'),
  'gemma': ('<start_of_turn>', '<end_of_turn>'),
}
TEMPLATES = dict(llama=LLAMA, chatml=CHATML, gemma=GEMMA)


def talking(kind: str = 'chatml', template: str | None = '', merges: bool = False):
  """One token per printable character and per mark; llama and gemma put BOS before a text. merges:
  two line ends in a row are one token."""
  special = ['<pad>', '<bos>', '<eos>', *MARKS[kind]]
  vocab = {token: i for i, token in enumerate([*special, *PRINTABLE, '\n\n'])}
  if merges:
    backend = Tokenizer(BPE(vocab, [('\n', '\n')]))
  else:
    backend = Tokenizer(WordLevel(vocab, unk_token='<unk>'))
    backend.pre_tokenizer = Split(Regex(r'[\s\S]'), 'isolated')
  backend.decoder = Fuse()
  if kind != 'chatml':
    backend.post_processor = TemplateProcessing(single='<bos> $0', special_tokens=[('<bos>', 1)])
  made = PreTrainedTokenizerFast(
    tokenizer_object=backend,
    pad_token='<pad>',
    bos_token='<bos>',
    eos_token='<eos>',
    additional_special_tokens=[AddedToken(mark, special=True) for mark in MARKS[kind]],
    clean_up_tokenization_spaces=False,
  )
  made.chat_template = TEMPLATES[kind] if template == '' else template
  return made


def said(tokenizer, ids, mask) -> str:
  """The text of the tokens that are marked, with their special tokens, a | between neighbours that
  are not."""
  parts, previous = [], False
  for token, learned in zip(ids, mask, strict=True):
    if learned:
      parts.append(('' if previous or not parts else '|') + tokenizer.decode([token]))
    previous = learned
  return ''.join(parts)
