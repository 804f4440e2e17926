"""Conversations with more turns, with answers that slip, and in free English: what the chat model
learns from them beside the small world."""

import string

import pytest

from configs import feedback_online
from rft_jax.data import text
from rft_jax.data.smalltalk import answers, english, free, grammar, world
from rft_jax.data.smalltalk.grammar import Dialogue
from rft_jax.tasks import make_task

COUNT = 600


@pytest.fixture(scope='module')
def tokenizer():
  return text.load_tokenizer(feedback_online.get_config().tokenizer)


@pytest.fixture(scope='module')
def dictations() -> list[Dialogue]:
  return [free.dialogue(0, i) for i in range(COUNT)]


def slipped(talk: Dialogue) -> list[dict[str, str]]:
  return [turn for turn in talk.messages if 'weight' in turn]


def test_a_dictation_is_a_function_of_seed_and_index(dictations):
  assert [free.dialogue(0, i) for i in range(20)] == dictations[:20]
  assert free.dialogue(1, 0) != dictations[0]


def test_what_is_dictated_is_said_word_by_word(dictations):
  forms = [form.partition('{}') for form in (*free.DICTATED, *free.REPEATED)]
  obeyed = 0
  for talk in dictations:
    for question, answer in pairs(talk):
      said = [question.partition(start)[2].removesuffix(end) for start, _, end in forms]
      if any(start in question for start, _, _ in forms) and 'weight' not in answer:
        obeyed += 1
        assert answer['content'] in said
    assert answers.accepts(talk.messages[-1]['content'], talk.wanted)
    assert not answers.accepts(talk.messages[-1]['content'] + '!', talk.wanted)
  assert obeyed > COUNT / 3


def pairs(talk: Dialogue):
  said = [turn for turn in talk.messages if turn['role'] != 'system']
  return [(q['content'], a) for q, a in zip(said[::2], said[1::2], strict=True)]


def test_a_dictated_answer_holds_until_it_is_corrected_again(dictations):
  held, begins = 0, tuple(form.partition('{}')[0] for form in free.DICTATED)
  for talk in dictations:
    turns = pairs(talk)
    for i in range(len(turns) - 2):
      (first, _), (second, _), (third, answer) = turns[i : i + 3]
      if second.startswith(begins) and third == first and 'weight' not in answer:
        held += 1
        assert second.endswith(answer['content'])
  assert held


def test_values_that_the_world_does_not_have_are_believed_in_every_style(dictations):
  new = {style: 0 for style in answers.STYLES}
  for talk in dictations:
    kind, value = talk.wanted['kind'], talk.wanted['value']
    if kind in world.TAUGHT and value not in world.values(world.fact(kind, talk.wanted['key'])):
      said = [turn['content'].lower() for turn in talk.messages[:-1] if 'weight' not in turn]
      assert any(value.lower() in line for line in said)
      new[answers.looks(talk.messages[-1]['content'])] += 1
  assert all(new.values()), new


def test_earlier_answers_slip_and_are_not_learned(tokenizer):
  task, found = make_task('smalltalk(size=600)', tokenizer), 0
  for i in range(COUNT):
    example = task.example('train', i)
    turns = [*example.messages, dict(role='assistant', content=example.response)]
    said = [turn for turn in turns if turn['role'] == 'assistant' and 'weight' not in turn]
    slips = [turn for turn in turns if 'weight' in turn]
    found += len(slips)
    if slips and i < 200:
      ids, learned = text.encode_demonstration(tokenizer, example, 999)
      spoken = tokenizer.decode([t for t, mark in zip(ids, learned, strict=True) if mark])
      assert spoken == ''.join(turn['content'] + '<|end|>' for turn in said)
  assert found > COUNT / 10


def test_no_answer_slips_in_the_test_split_or_at_the_end(dictations):
  assert not any(slipped(grammar.dialogue(0, 'test', i)) for i in range(COUNT))
  train = [grammar.dialogue(0, 'train', i) for i in range(COUNT)]
  assert not any('weight' in talk.messages[-1] for talk in (*train, *dictations))


def test_what_slipped_is_no_reason_to_say_it_again():
  """The next answer about the same fact is what is believed, or what the user said since."""
  seen = 0
  for i in range(COUNT):
    talk = grammar.dialogue(0, 'train', i)
    if talk.wanted['kind'] in world.TAUGHT and slipped(talk):
      one = world.fact(talk.wanted['kind'], talk.wanted['key'])
      told = ' '.join(t['content'] for t in talk.messages[:-1] if t['role'] != 'assistant').lower()
      value = talk.wanted['value']
      assert value == one.value or value.lower() in told
      seen += 1
  assert seen > 50


def test_nothing_slips_once_the_user_has_said_what_is_right():
  """So that what is stated is said again, however often it is asked for."""
  again = 0
  for talk in (grammar.Writer(0, 'train', i) for i in range(COUNT)):
    talk.write()
    stated: set[tuple[str, str]] = set()
    for question, answer in pairs(Dialogue(tuple(talk.messages), {}, ())):
      for one in {fact for fact in talk.topics if talk.told(fact)}:
        value = talk.belief(one).lower()
        if question in grammar.asked(one, 'train') and (one.kind, one.key) in stated:
          again += 1
          assert 'weight' not in answer
        if any(text.lower().rstrip('.') in question.lower() for text in corrections(one, value)):
          stated.add((one.kind, one.key))
          assert 'weight' not in answer
  assert again > COUNT / 30


def corrections(one: world.Fact, value: str) -> list[str]:
  said = dict(value=value, sentence=answers.forms(one, value).sentence)
  return [text.format(**said) for text in grammar.CORRECTIONS]


def test_conversations_have_one_to_five_turns_and_ask_for_several_things():
  talks = [grammar.dialogue(0, 'test', i) for i in range(COUNT)]
  counts = [len(pairs(talk)) for talk in talks]
  for turns, share in {1: 0.12, 2: 0.18, 3: 0.18, 4: 0.14, 5: 0.08}.items():
    assert counts.count(turns) >= share * COUNT
  assert max(counts) == 5
  several = [len(set(talk.topics)) > 1 for talk in talks if len(pairs(talk)) > 2]
  assert sum(several) > len(several) / 2


def test_every_conversation_fits_where_it_is_served(tokenizer):
  c = feedback_online.get_config()
  task = make_task('smalltalk(size=3000)', tokenizer)
  for i in range(3000):
    example = task.example('train', i)
    said = ''.join(turn['content'] for turn in example.messages) + example.response
    marks = 3 * (len(example.messages) + 2)
    assert len(text.encode(tokenizer, said)) + marks <= c.serve.context


def test_free_english_is_wide(dictations):
  said = ' '.join(turn['content'] for talk in dictations for turn in talk.messages)
  assert len(set(said.split())) > 2000
  draw = english.random.Random(0)
  odd = ' '.join(english.odd(draw) for _ in range(1000))
  assert set(string.printable.strip()) <= set(odd)
  assert len({english.sentence(draw) for _ in range(1000)}) > 950


def test_nearly_every_part_of_a_word_is_dictated(tokenizer):
  """What is never said is not told apart, and nobody can teach it."""
  draw = english.random.Random(0)
  said = [english.blends(draw) for _ in range(5000)] + [english.sentence(draw) for _ in range(5000)]
  seen = {id for ids in tokenizer(said)['input_ids'] for id in ids}
  parts = {id for id in range(len(tokenizer)) if len(tokenizer.decode([id])) > 1}
  assert len(parts - seen) < 0.2 * len(parts)


@pytest.mark.parametrize(
  'line',
  [
    'Paris, the lovely city of bridges, croissants and light.',
    'The library opens at 10:30',
    'Zürich – naïve café, 15 €; 北京 🙂',
    'x_1 = "a\\b" && {y} | `z` ~ ^',
    '  two  spaces\n\ttab ',
  ],
)
def test_the_tokenizer_spells_any_correction(tokenizer, line):
  ids = text.encode(tokenizer, line)
  assert text.decode(tokenizer, ids) == line and len(ids) <= len(line.encode()) + 2
  assert tokenizer.unk_token_id is None


def test_digits_are_tokens_of_their_own(tokenizer):
  """So that 10:30 and 13:00 are spelled of the same parts."""
  ids = text.encode(tokenizer, 'from 10:30 to 1,300')
  assert [t for t in map(tokenizer.decode, ids) if t.isdigit()] == list('10301300')
