"""How a template ends turns: whatever follows, and however it is written."""

import functools
import re

import pytest
from fielded import bytewise
from test_templates import runs

from rft_jax.data import chat, stops, text
from rft_jax.data.ends import ends
from rft_jax.registry import ConfigError

TURNS = [
  dict(role='user', content='1+1?'),
  dict(role='assistant', content='2.'),
  dict(role='user', content='sure?'),
  dict(role='assistant', content='yes'),
]
MARKS = '<s>', '</s>', '<|end|>', '<|user|>', '<|assistant|>', '<|eoc|>', '</answer>'


INNER = '{% if not loop.last %}<|end|>{% endif %}'


def made(user: str, assistant: str, tail: str = ''):
  """A tokenizer whose template writes turns so; $ stands for the content. tail: behind the
  conversation."""
  asked = re.sub(r'{%.*?%}', '', assistant.partition('$')[0])
  write = lambda form: form.replace('$', '{{ m.content }}')
  tokenizer = bytewise(MARKS, eos_token='</s>', bos_token='<s>')
  tokenizer.chat_template = (
    f"{{% for m in messages %}}{{% if m.role == 'user' %}}{write(user)}{{% else %}}"
    f'{write(assistant)}{{% endif %}}{{% endfor %}}'
    f'{{% if add_generation_prompt %}}{asked}{{% else %}}{tail}{{% endif %}}'
  )
  return tokenizer


def learned(tokenizer, turns):
  return runs(tokenizer, *chat.learned(tokenizer, turns, functools.partial(text.encode, tokenizer)))


@pytest.mark.parametrize(
  'tokenizer, middle, last',
  [
    (made('<|user|>$<|end|>', '<|assistant|>$<|end|>', '<|eoc|>'), '<|end|>', '<|end|>'),
    (made('[U]$', '[A]$</answer>', '</s>'), '</answer>', '</answer>'),
    (made('[U]$', '[A]$</answer></s>'), '</answer>', '</answer>'),
    (made('U: $\n', 'A: $###\n'), '###', '###'),
    (made('U: $\n', 'A: $\n###\n'), '\n###', '\n###'),
    (made('<t u>$</t>', '<t a>$</t>', '</c>'), '</t>', '</t>'),
    (made('<t u>$</t>', '<t a>$</t>', '<|eoc|>'), '</t>', '</t>'),
    (made('[U]$[/U]', '[A]$[/A]', '[END]'), '[/A]', '[/A]'),
    (made('<|user|>$<|end|>', f'<|assistant|>${INNER}', '</s>'), '<|end|>', '</s>'),
    (made('<s>[U]$', '$</s>'), '</s>', '</s>'),
    (made('U: $\n', 'A: $ <|end|>\n'), ' <|end|>', ' <|end|>'),
  ],
)
def test_the_end_is_what_follows_an_answer_whatever_comes_then(tokenizer, middle, last):
  found = ends(tokenizer)
  assert (found.middle, found.last) == (middle, last)
  assert learned(tokenizer, TURNS) == [f'2.{middle}', f'yes{last}']
  assert learned(tokenizer, TURNS[:2]) == [f'2.{last}']
  ended = [*stops.stop_texts(tokenizer)]
  ended += [tokenizer.decode([id]) for id in text.stop_tokens(tokenizer)]
  assert all(any(end.endswith(stop) for stop in ended) for end in (middle, last))


@pytest.mark.parametrize(
  'tokenizer',
  [
    made('U: $\n', 'A: $\n', '</s>'),
    made('<|user|>$\n', '<|assistant|>$\n', '</s>'),
    made('<s>[U]$', '$', '</s>'),
  ],
)
def test_a_template_that_ends_only_the_conversation_teaches_one_answer(tokenizer):
  assert [x.replace('\n', '') for x in learned(tokenizer, TURNS[:2])] == ['2.</s>']
  with pytest.raises(ConfigError, match=r'turn 2 of 4 ends, .*one answer, the last turn'):
    learned(tokenizer, TURNS)


@pytest.mark.parametrize(
  'tokenizer',
  [
    made('U: $\n\n', 'A: $\n\n'),
    made('<|user|>$<|end|>', f'<|assistant|>${INNER}'),
    made('<|user|>$\n', '<|assistant|>{% set m = {"content": m.content | upper} %}$<|end|>'),
  ],
)
def test_a_template_without_an_end_or_with_other_contents_is_refused(tokenizer):
  with pytest.raises(ConfigError, match=r'the chat template .* turn 2 '):
    learned(tokenizer, TURNS[:2])


def test_an_answer_that_spells_the_end_is_refused():
  tokenizer = made('U: $\n', 'A: $###\n')
  for content in ('a ### b', 'a#'):
    turns = [TURNS[0], dict(role='assistant', content=content)]
    with pytest.raises(ConfigError, match="turn 2 contains the end-of-turn mark '###'"):
      learned(tokenizer, turns)


@pytest.mark.parametrize(
  'form, only',
  [
    ('{% generation %}$<|end|>{% endgeneration %}', True),
    ('{%- generation -%}$<|end|>{%- endgeneration -%}', True),
    ('{% generation %}$\n{% endgeneration %}<|end|>', True),
    ('{% generation %}{% endgeneration %}$<|end|>', False),
    ('${% generation %}<|end|>{% endgeneration %}', False),
  ],
)
def test_generation_marks_say_which_turns_are_learned_and_not_what_of_them(form, only):
  tokenizer = made('<|user|>$<|end|>', f'<|assistant|>{form}')
  said = [x.replace('\n', '') for x in learned(tokenizer, TURNS)]
  assert said == ['2.<|end|>', 'yes<|end|>']
  plain = re.sub(r'{%.*?%}', '', form)
  either = f'{{% if loop.last %}}{form}{{% else %}}{plain}{{% endif %}}'
  tokenizer = made('<|user|>$<|end|>', f'<|assistant|>{either}')
  assert [x.replace('\n', '') for x in learned(tokenizer, TURNS)] == said[only:]


def test_what_is_left_out_of_a_conversation_is_missed():
  tokenizer = made('<|user|>$<|end|>', '<|assistant|>$<|end|>')
  tokenizer.chat_template = tokenizer.chat_template.replace(
    '{% for m in messages %}', "{% for m in messages if m.role != 'system' %}"
  )
  with pytest.raises(ConfigError, match=r'leaves out or changes turn 1 \(system'):
    learned(tokenizer, [dict(role='system', content='be brief'), *TURNS])


def test_an_answer_may_begin_otherwise_than_where_it_is_asked_for():
  tokenizer = made('<|user|>$<|end|>', '<|assistant|><think></think>$<|end|>')
  asked = '{% if add_generation_prompt %}<|assistant|>'
  tokenizer.chat_template = tokenizer.chat_template.replace(
    f'{asked}<think></think>', f'{asked}<think>\n'
  )
  assert learned(tokenizer, TURNS) == ['2.<|end|>', 'yes<|end|>']


@pytest.mark.parametrize('begun', ['', '<think>\n', '<think>'])
@pytest.mark.parametrize(
  'answer', ['<think>\nso\n</think>\n\nyes', '<think>so</think>yes', 'so</think>yes']
)
def test_a_last_answer_whose_thought_is_dropped_is_learned_as_it_is(begun, answer):
  form = "<|assistant|>{{ m.content.split('</think>')[-1] }}<|end|>"
  tokenizer = made('<|user|>$<|end|>', form)
  asked = '{% if add_generation_prompt %}<|assistant|>'
  start = tokenizer.chat_template.index('{% if add_generation_prompt %}')
  tokenizer.chat_template = f'{tokenizer.chat_template[:start]}{asked}{begun}{{% endif %}}'
  turns = [*TURNS[:3], dict(role='assistant', content=answer)]
  assert learned(tokenizer, turns) == ['2.<|end|>', f'{answer}<|end|>']
  text_, spans = chat.spans(tokenizer, turns)
  before = text_[: spans[-1][0]]
  sampled = chat.render(tokenizer, turns[:3], ask=True)
  assert before == (sampled if not answer.startswith('<') else sampled.removesuffix(begun))
  with pytest.raises(ConfigError, match=r'does not write turn 2 of 4 .*let the conversation end'):
    learned(tokenizer, [TURNS[0], dict(role='assistant', content=answer), *TURNS[2:]])


def test_the_two_answers_of_a_pair_stay_apart_where_thoughts_are_dropped():
  from fielded import fielded

  from rft_jax.types import Example

  asked = (TURNS[0],)
  for name in ('qwen3', 'r1'):
    tokenizer = fielded(name)
    said = [
      text.encode_example(tokenizer, Example('', None, answer, messages=asked), 999)
      for answer in ('<think>\na\n</think>\n\nyes', '<think>\nb\n</think>\n\nyes')
    ]
    assert said[0][0] == said[1][0] and said[0][1] != said[1][1]
    assert tokenizer.decode(said[0][1]).startswith('<think>\na\n</think>\n\nyes')
