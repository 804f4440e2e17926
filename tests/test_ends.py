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


MOVED = (  # Mistral from 7B v0.3 on: the system prompt is in the last question, if that is last.
  "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
  '{% set messages = messages[1:] %}{% endif %}{% for m in messages %}'
  "{% if m.role == 'user' %}[INST] {% if loop.last and system is defined %}{{ system }}\n\n"
  '{% endif %}{{ m.content }}[/INST]{% else %} {{ m.content }}</s>{% endif %}{% endfor %}'
)


def test_a_single_answer_follows_what_is_asked_where_the_template_writes_that_otherwise():
  tokenizer = made('', '')
  tokenizer.chat_template = MOVED
  system = dict(role='system', content='be brief')
  assert learned(tokenizer, [system, *TURNS[:2]]) == [' 2.</s>']
  text_, [(start, _)] = chat.spans(tokenizer, [system, *TURNS[:2]])
  assert text_[:start] == chat.render(tokenizer, [system, TURNS[0]], ask=True)
  assert text_ == '[INST] be brief\n\n1+1?[/INST] 2.</s>'
  with pytest.raises(ConfigError, match=r'in another way once more follow.* one answer'):
    learned(tokenizer, [system, *TURNS])


@pytest.mark.parametrize('begun', ['<think>\n', '<think>\n\n</think>\n\n'])
def test_what_asks_for_an_answer_stands_before_it_in_training_too(begun):
  tokenizer = made('<|user|>$<|end|>', '<|assistant|>$<|end|>')
  asks = '{% if add_generation_prompt %}<|assistant|>'
  tokenizer.chat_template = tokenizer.chat_template.replace(asks, asks + begun)
  empty = tokenizer.chat_template.replace('<|assistant|>{{', '<|assistant|><think></think>{{')
  for template in (tokenizer.chat_template, empty):
    tokenizer.chat_template = template
    text_, spans = chat.spans(tokenizer, TURNS)
    assert [text_[a:b] for a, b in spans] == ['2.<|end|>', 'yes<|end|>']
    assert text_[: spans[-1][0]] == chat.render(tokenizer, TURNS[:3], ask=True)
  tokenizer.chat_template = template.replace('<think></think>{{', '{{')
  said = [*TURNS[:3], dict(role='assistant', content=f'{begun}so</think>yes')]
  assert learned(tokenizer, said)[-1] == f'{begun}so</think>yes<|end|>'
  assert chat.spans(tokenizer, said)[0].count('<think>') == 1
  dropping = tokenizer.chat_template.replace(
    '{{ m.content }}', "{{ m.content.split('</think>')[-1] }}"
  )
  tokenizer.chat_template = dropping
  said[-1] = dict(role='assistant', content='<think>so</think>yes')
  assert learned(tokenizer, said)[-1] == '<think>so</think>yes<|end|>'
  assert chat.spans(tokenizer, said)[0].count('<think>') == 1


@pytest.mark.parametrize('said', ['hi', 't', 'a', '', ' ', 'think', 'assistant', '2.', 'e\u00a0'])
def test_a_question_may_be_a_part_of_what_the_template_puts_before_an_answer(said):
  tokenizer = made('<|user|>$<|end|>', '<|assistant|><think></think>$<|end|>')
  tokenizer.chat_template = tokenizer.chat_template.replace(
    '{% if add_generation_prompt %}<|assistant|><think></think>',
    '{% if add_generation_prompt %}<|assistant|>',
  )
  turns = [dict(role='user', content=said), dict(role='assistant', content='yes')]
  assert learned(tokenizer, [*TURNS[:2], *turns]) == ['2.<|end|>', 'yes<|end|>']


@pytest.mark.parametrize('tail', ['', '</s>'])
def test_a_template_that_never_begins_an_answer_is_asked_as_it_would_be_answered(tail):
  tokenizer = made('<|user|>$<|end|>\n', '<|assistant|>\n$<|end|>\n')
  head, _, _ = tokenizer.chat_template.partition('{% if add_generation_prompt %}')
  tokenizer.chat_template = head + tail
  text_, spans = chat.spans(tokenizer, TURNS)
  asked = chat.render(tokenizer, TURNS[:3], ask=True)
  assert asked.endswith('sure?<|end|>\n<|assistant|>\n') and asked == text_[: spans[-1][0]]
  assert learned(tokenizer, TURNS) == ['2.<|end|>', 'yes<|end|>']


def test_what_a_tool_said_is_missed_too_and_may_be_written_as_json():
  tool = dict(role='tool', content='a "quoted"\nline')
  turns = [*TURNS[:2], tool, TURNS[3]]
  tokenizer = made('<|user|>$<|end|>', '<|assistant|>$<|end|>')
  template = tokenizer.chat_template
  for change, fine in (("{% elif m.role == 'tool' %}{% else %}", False), ('', True)):
    other = change or "{% elif m.role == 'tool' %}<t>{{ m.content | tojson }}</t>{% else %}"
    tokenizer.chat_template = template.replace('{% else %}', other, 1)
    if fine:
      assert learned(tokenizer, turns) == ['2.<|end|>', 'yes<|end|>']
      continue
    with pytest.raises(ConfigError, match=r'leaves out or changes turn 3 \(tool'):
      learned(tokenizer, turns)


@pytest.mark.parametrize('content', [None, [dict(type='text', text='yes')], 7])
@pytest.mark.parametrize('form', ['$', '{% generation %}$<|end|>{% endgeneration %}'])
def test_a_content_that_is_no_text_names_its_turn(content, form):
  tokenizer = made('<|user|>$<|end|>', f'<|assistant|>{form}<|end|>')
  with pytest.raises(ConfigError, match=r'turn 2 \(assistant\) has .* no text'):
    learned(tokenizer, [TURNS[0], dict(role='assistant', content=content)])


def test_words_of_ours_in_a_text_mislead_nobody():
  from rft_jax.data.ends import PROBE

  tokenizer = made('<|user|>$<|end|>', '<|assistant|>{% generation %}$<|end|>{% endgeneration %}')
  turns = [
    dict(role=r, content=f'{PROBE}{i}x {PROBE}begin') for r in ('user', 'assistant') for i in (0, 1)
  ]
  said = learned(tokenizer, [turns[0], turns[2]])
  assert said == [f'{PROBE}0x {PROBE}begin<|end|>']


def test_a_refusal_is_one_line():
  tokenizer = made('$', '$')
  tokenizer.chat_template = "{{ raise_exception('no\nsuch role') }}"
  with pytest.raises(ConfigError, match=r'refuses .* \(no such role\)') as error:
    chat.render(tokenizer, TURNS)
  assert '\n' not in str(error.value)


def test_where_nobody_answers_nothing_is_learned():
  assert learned(made('<|user|>$<|end|>', '<|assistant|>$<|end|>'), TURNS[:1]) == []
