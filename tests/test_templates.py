"""Over the templates of the field: what is learned of a turn is its content and its end, nothing
else, and decodes to it; or the error says which template and turn, and why."""

import functools
import random

import fielded
import pytest
from fielded import FORMS
from tokenizers import normalizers

from rft_jax.data import chat, text
from rft_jax.registry import ConfigError
from rft_jax.types import Example

NAMES = pytest.mark.parametrize('name', FORMS)
WORDS = (
  'yes',
  'no.',
  'Zürich',
  '東京',
  '🙂',
  '3 < 4',
  'a\nb',
  'x\n\ny',
  '{% if %}',
  '[INST]',
  "it's",
)
ODD = '<|im_end|>', '</s>', '<end_of_turn>', '<|end|>', '\n</turn>', '<think>\n\n</think>\n\nyes'
THOUGHTS = '<think>\nhm\n</think>\n\nso', '<think>hm</think>so', 'hm</think>so', '</think>'
SPACES = '', '', '', ' ', '\n', '  \n', '\n\n', '\t'


def content(draw: random.Random, odd: float) -> str:
  words = [draw.choice(WORDS) for _ in range(draw.randint(1, 4))]
  if draw.random() < odd:
    words.insert(draw.randint(0, len(words)), draw.choice(ODD))
  if draw.random() < odd:
    words.insert(0, draw.choice(THOUGHTS))
  return draw.choice(SPACES) + ' '.join(words) + draw.choice(SPACES)


def conversation(seed: int, odd: float, system: bool = True) -> list[dict[str, str]]:
  """Some turns of user and assistant in turn, perhaps after a system prompt."""
  draw = random.Random(seed)
  turns = []
  if system and draw.random() < 0.3:
    turns.append(dict(role='system', content=content(draw, 0)))
  for _ in range(draw.randint(1, 3)):
    turns.append(dict(role='user', content=content(draw, odd)))
    turns.append(dict(role='assistant', content=content(draw, odd)))
  return turns


def runs(tokenizer, ids, mask) -> list[str]:
  """The text of each stretch of learned tokens."""
  found, previous = [], False
  for token, said in zip(ids, mask, strict=True):
    if said and not previous:
      found.append([])
    if said:
      found[-1].append(token)
    previous = said
  return [tokenizer.decode(run) for run in found]


def wanted(name: str, turns) -> list[str]:
  """By what is known of the template, not by rendering it."""
  form = FORMS[name]
  gap = ' ' if name == 'llama2' else ''
  found = [
    gap + form.trims(turn['content']) + (form.last if i == len(turns) - 1 else form.middle)
    for i, turn in enumerate(turns)
    if turn['role'] == 'assistant'
  ]
  if name == 'qwen3':  # It trims the last answer only, and more before a thought.
    thinks = found[-1].lstrip().startswith('<think>')
    found[-1] = found[-1].lstrip(None if thinks else '\n')
  return found


@NAMES
@pytest.mark.parametrize('merges', [False, True], ids=['bytes', 'merges'])
def test_plain_conversations_are_learned_by_content_and_end(name, merges):
  tokenizer = fielded.fielded(name, merges)
  encode = functools.partial(text.encode, tokenizer)
  for seed in range(100):
    turns = conversation(seed, 0.0, FORMS[name].system)
    ids, mask = chat.learned(tokenizer, turns, encode)
    assert runs(tokenizer, ids, mask) == wanted(name, turns)
    if name != 'r1':  # It asks for a thought, and writes none.
      assert chat.render(tokenizer, turns).startswith(tokenizer.decode(ids))


@NAMES
def test_of_odd_conversations_the_law_holds_or_the_error_names_template_and_turn(name):
  tokenizer = fielded.fielded(name)
  encode = functools.partial(text.encode, tokenizer)
  first, held = ' '.join(fielded.template(name).split())[:20], 0
  for seed in range(200):
    turns = conversation(seed, 0.3)
    try:
      ids, mask = chat.learned(tokenizer, turns, encode)
    except ConfigError as error:
      assert first in str(error) and ('turn ' in str(error) or 'refuses' in str(error))
      assert '\n' not in str(error)
      continue
    assert runs(tokenizer, ids, mask) == wanted(name, turns)
    held += 1
  assert held > 20


@NAMES
def test_a_prompt_and_its_answer_are_those_of_the_whole_conversation(name):
  tokenizer = fielded.fielded(name, True)
  for seed in range(50):
    *asked, last = conversation(seed, 0.0, FORMS[name].system)
    example = Example('', None, last['content'], messages=tuple(asked))
    prompt, response = text.encode_example(tokenizer, example, 10**6)
    assert tokenizer.decode(response) == wanted(name, [*asked, last])[-1]
    sampled = text.encode_prompt(tokenizer, asked)
    if name not in ('harmony', 'qwen3'):  # They begin the answer by what is no content.
      assert prompt == sampled
    short, long = sorted((prompt, sampled), key=len)
    assert long[: len(short)] == short


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('name', ['llama2', 'zephyr', 'plain'])
def test_words_that_hold_the_space_before_them_are_learned_with_it(name, legacy):
  tokenizer = fielded.pieced(name, legacy)
  encode = functools.partial(text.encode, tokenizer)
  close = lambda line: line.replace(' </s>', '</s>').strip()
  for seed in range(50):
    turns = conversation(seed, 0.0)
    ids, mask = chat.learned(tokenizer, turns, encode)
    found = runs(tokenizer, ids, mask)
    assert list(map(close, found)) == list(map(close, wanted(name, turns)))
    assert ids == encode(chat.render(tokenizer, turns))[: len(ids)]


def test_what_the_tokenizer_cannot_write_is_refused_and_another_form_of_a_letter_is_not():
  turns = [dict(role='user', content='hi'), dict(role='assistant', content='Cafe\u0301')]
  learn = lambda tokenizer: chat.learned(
    tokenizer, turns, functools.partial(text.encode, tokenizer)
  )
  composed, small = (fielded.bytewise(['</s>'], eos_token='</s>') for _ in range(2))
  for tokenizer, form in ((composed, normalizers.NFC()), (small, normalizers.Lowercase())):
    tokenizer.backend_tokenizer.normalizer = form
    tokenizer.chat_template = fielded.template('zephyr')
  assert runs(composed, *learn(composed)) == ['Caf\u00e9</s>']
  with pytest.raises(ConfigError, match='cannot write'):
    learn(small)
