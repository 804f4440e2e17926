"""Conversations: whose turn is learned, where the prompt ends, and BOS once."""

import numpy as np
import pytest
import talking
from talking import talking as made

from rft_jax.data import text
from rft_jax.data.chat import special_tokens
from rft_jax.registry import ConfigError
from rft_jax.types import Example

TURNS = (
  dict(role='user', content='1+1?'),
  dict(role='assistant', content='2.'),
  dict(role='user', content='sure?'),
)
TALK = Example('', None, 'yes', messages=TURNS)
ENDS = dict(llama='<|eot_id|>', chatml='<|im_end|>', gemma='<end_of_turn>')
KINDS = pytest.mark.parametrize('kind', ENDS)


def learned(tokenizer, example=TALK):
  ids, mask = text.encode_demonstration(tokenizer, example, 999)
  return talking.said(tokenizer, ids, mask)


@KINDS
def test_every_turn_of_the_assistant_is_learned_with_its_end_and_nothing_else(kind):
  assert learned(made(kind)) == f'2.{ENDS[kind]}|yes{ENDS[kind]}'


@KINDS
def test_the_tokens_are_those_of_the_template(kind):
  tokenizer = made(kind)
  ids, _ = text.encode_demonstration(tokenizer, TALK, 999)
  whole = tokenizer.apply_chat_template(text.dialogue(TALK), return_dict=False)
  assert ids == whole[: len(ids)]
  assert tokenizer.decode(whole[len(ids) :]).strip() == ''


def test_a_template_that_marks_turns_itself_says_which_ones_are_learned():
  own = made('chatml', talking.MARKED)
  assert learned(own) == learned(made('chatml'))
  other = made('chatml', talking.MARKED.replace("'assistant'", "'user'"))
  assert learned(other) == '1+1?<|im_end|>|sure?<|im_end|>'


def test_what_the_template_puts_before_an_answer_is_not_learned():
  tokenizer = made('chatml', talking.LAST_THINKS)
  assert learned(tokenizer) == '2.<|im_end|>|yes<|im_end|>'


@pytest.mark.parametrize(
  'template, example, message',
  [
    (None, TALK, 'chat template, which this tokenizer lacks'),
    (talking.UNSTABLE, TALK, 'in another way once more follow'),
    (talking.CHATML.replace('<|im_end|>', ''), TALK, 'does not mark where'),
    (talking.CHATML, TALK._replace(response='so<|im_end|>'), 'end-of-turn mark'),
    (talking.CHATML, TALK._replace(response=''), 'no response'),
  ],
)
def test_what_cannot_be_learned_rightly_is_refused(template, example, message):
  with pytest.raises(ConfigError, match=message):
    learned(made('chatml', template), example)


def test_a_template_without_a_system_role_says_so():
  system = (dict(role='system', content='be brief'), *TURNS)
  with pytest.raises(ConfigError, match='System role not supported'):
    text.encode_prompt(made('gemma'), system)


@KINDS
def test_bos_comes_once_in_any_prompt(kind):
  tokenizer = made(kind)
  wanted = 0 if kind == 'chatml' else 1
  prompts = ['1+1=', TURNS, *([] if kind == 'chatml' else ['<bos>1+1='])]
  for prompt in prompts:
    ids = text.encode_prompt(tokenizer, prompt)
    assert ids.count(tokenizer.bos_token_id) == wanted
    assert (ids[0] == tokenizer.bos_token_id) == bool(wanted)
  demonstration = text.demonstrations(tokenizer, [Example('1+1=', None, '2'), TALK], 200)
  found = (np.asarray(demonstration.tokens) == tokenizer.bos_token_id).sum(1)
  assert found.tolist() == [wanted, wanted]
  assert tokenizer.bos_token_id not in text.encode(tokenizer, '1+1=')


@KINDS
def test_prompt_and_response_are_what_the_sampler_sees_and_should_say(kind):
  tokenizer = made(kind)
  prompt, response = text.encode_example(tokenizer, TALK, 999)
  assert prompt == text.encode_prompt(tokenizer, TURNS)
  assert tokenizer.decode(response) == f'yes{ENDS[kind]}'


def test_a_token_across_the_edge_of_an_answer_is_cut_there():
  """The prompt ends with a line end, the answer begins with one: together they are one token."""
  tokenizer = made('chatml', merges=True)
  example = TALK._replace(response='\nyes')
  whole = tokenizer.apply_chat_template(text.dialogue(example), return_dict=False)
  assert tokenizer.convert_tokens_to_ids('\n\n') in whole
  prompt, response = text.encode_example(tokenizer, example, 999)
  assert prompt == text.encode_prompt(tokenizer, TURNS)
  assert tokenizer.decode(response) == '\nyes<|im_end|>'
  assert learned(tokenizer, example) == '2.<|im_end|>|\nyes<|im_end|>'


def test_both_answers_of_a_pair_follow_the_same_conversation():
  tokenizer = made()
  pair = text.answers(tokenizer, [(TALK, 'yes', 1.0), (TALK, 'no', 0.0)], 120, 8, 2)
  assert (pair.tokens[0, :120] == pair.tokens[1, :120]).all()
  assert [
    tokenizer.decode(row[mask]) for row, mask in zip(pair.tokens, pair.target, strict=True)
  ] == ['yes<|im_end|>', 'no<|im_end|>']


def test_an_error_about_an_example_names_where_it_was_read():
  placed = TALK._replace(place='train.jsonl, row 7')
  with pytest.raises(ConfigError, match=r'train.jsonl, row 7: .* tokens, the limit is 9'):
    text.demonstrations(made(), [placed], 9)


def test_answers_stop_at_eos_and_at_the_end_of_a_turn():
  for kind, mark in ENDS.items():
    tokenizer = made(kind)
    assert text.stop_tokens(tokenizer) == tokenizer.convert_tokens_to_ids(['<eos>', mark])
  bare = made('chatml', talking.CHATML.replace('<|im_end|>', ''))
  for tokenizer in (made(template=None), bare, text.characters()):
    assert text.stop_tokens(tokenizer) == [tokenizer.eos_token_id]


@KINDS
@pytest.mark.parametrize('role', ['user', 'assistant'])
def test_nobody_begins_or_ends_a_turn_by_spelling_its_mark(kind, role):
  tokenizer = made(kind)
  marks = sorted(special_tokens(tokenizer))
  assert ENDS[kind] in marks
  honest, spelling = (
    text.encode_prompt(tokenizer, [dict(role=role, content=content), *TURNS[2:]])
    for content in ('hello', ''.join(marks))
  )
  ids = set(tokenizer.convert_tokens_to_ids(marks))
  special = lambda found: [id for id in found if id in ids]
  assert special(spelling) == special(honest)
  for mark in marks:  # It is still there to read, but for what makes it a mark.
    assert f'{mark[0]} {mark[1:]}' in tokenizer.decode(spelling)
