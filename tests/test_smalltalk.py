"""Small talk: what its texts mean is known exactly, and its tokenizer takes any text."""

import ast
import json
import subprocess
import sys
import time

import pytest

from configs import feedback_online
from rft_jax.data import text
from rft_jax.data.smalltalk import answers, grammar, vocabulary, world
from rft_jax.data.splits import split_of
from rft_jax.modes import train
from rft_jax.registry import ConfigError
from rft_jax.tasks import make_task, smalltalk

ALIEN = (
  'naïve 你好 🙂👩‍👩‍👧 עברית',
  'a\tb\r\n\n  c ',
  '\x00\x7f\u200b\ufeff',
  'a<pad b|end|>',
  '',
  ' ',
  '\U0010ffff' + 'x' * 300,
)


@pytest.fixture(scope='module')
def tokenizer():
  return text.load_tokenizer('smalltalk')


def talks(split: str, count: int = 400, seed: int = 0):
  return [grammar.dialogue(seed, split, i) for i in range(count)]


def test_no_two_facts_are_asked_for_by_the_same_question():
  asked = [question.lower() for one in world.FACTS for question in world.questions(one)]
  asked += [question.lower() for texts in grammar.SMALL_TALK.values() for question in texts]
  assert len(asked) == len(set(asked))


def test_every_answer_means_one_thing():
  for one in world.FACTS:
    said = [
      answers.say(one, style, value) for style in answers.STYLES for value in world.values(one)
    ]
    assert len(said) == len(set(said))
    assert all(answers.read(answer, one) for answer in said)


def test_style_and_value_of_an_answer_are_read_back_also_by_those_who_do_not_know_the_grammar():
  for one in world.FACTS:
    for answer, said in answers.wordings(one).items():
      assert answers.looks(answer) == said.style
      assert one.kind == 'steps' or answers.states(answer, one) == said.value


@pytest.mark.parametrize('style', answers.STYLES)
def test_what_is_nearly_an_answer_is_none(style):
  one = world.fact('capital', 'Australia')
  answer, wanted = answers.say(one, style), dict(kind='capital', key='Australia')
  assert answers.accepts(answer, dict(wanted, style=style, value='Sydney'))
  for other in (answer + ' ', answer[:-1], answer.swapcase(), answer.replace('ydney', 'idney'), ''):
    assert not answers.accepts(other, dict(wanted, style='', value=''))
  assert not answers.accepts(answer, dict(wanted, style='', value='Canberra'))
  wrong = next(other for other in answers.STYLES if other != style)
  assert not answers.accepts(answer, dict(wanted, style=wrong, value='Sydney'))


def test_a_text_that_names_two_values_states_neither():
  one = world.fact('capital', 'Australia')
  assert answers.states('I think it is canberra, mate', one) == 'Canberra'
  assert answers.states('Sydney or Canberra', one) is None
  assert answers.states('Nobody knows', one) is None


def test_what_is_believed_wrongly_is_documented_and_there_is_a_truth_to_teach():
  wrong = {(one.kind, one.key): one.value for one in world.FACTS if one.value != one.truth}
  assert wrong == world.MISTAKES
  for one in world.FACTS:
    assert {one.value, one.truth} <= set(world.values(one))


def test_a_conversation_is_a_function_of_seed_split_and_index(tokenizer):
  assert talks('train', 20) == talks('train', 20)
  assert talks('train', 20) != talks('train', 20, seed=1)
  program = 'from rft_jax.data.smalltalk import grammar, vocabulary as v; '
  program += 'print([grammar.dialogue(0, "test", 3).messages, v.smalltalk().get_vocab()["The"]])'
  environment = {'PYTHONHASHSEED': '1', 'PYTHONPATH': ':'.join(sys.path)}
  command = [sys.executable, '-c', program]
  other = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
  own = [grammar.dialogue(0, 'test', 3).messages, tokenizer.get_vocab()['The']]
  assert ast.literal_eval(other.stdout) == own


def test_train_and_test_share_no_question():
  for split in ('train', 'test'):
    known = {question for one in world.FACTS for question in grammar.asked(one, split)}
    assert known and all(split_of(question) == split for question in known)
    said = {turn['content'] for talk in talks(split) for turn in talk.messages}
    other = 'test' if split == 'train' else 'train'
    assert not said & {q for one in world.FACTS for q in grammar.asked(one, other)}
  assert all(grammar.asked(one, 'train') for one in world.FACTS)


def test_the_grammar_accepts_its_own_conversations_and_their_styles_are_equally_likely():
  seen = dict.fromkeys(answers.STYLES, 0)
  for talk in talks('train', 1000):
    last = talk.messages[-1]
    assert last['role'] == 'assistant' and talk.messages[-2]['role'] == 'user'
    assert answers.accepts(last['content'], talk.wanted)
    seen[answers.looks(last['content'])] += 1
  assert all(160 <= count <= 240 for count in seen.values()), seen


def test_the_user_is_obeyed():
  """Every answer has the style that was asked for last, in a note or in a turn."""
  texts = [*grammar.REQUESTS.items(), *grammar.NOTES.items(), (None, grammar.ANOTHER)]
  styles = {spelt(line): style for style, lines in texts for line in lines}
  obeyed = 0
  for talk in talks('train', 600):
    style = None
    for turn in talk.messages:
      if turn['role'] == 'assistant':
        obeyed += style is not None
        assert style in (None, answers.looks(turn['content']))
      found = [styles[line] for line in styles if line in spelt(turn['content'])]
      style = found[0] if found and turn['role'] != 'assistant' else style
  assert obeyed > 200


def spelt(line: str) -> str:
  return line.lower().rstrip('.?!')


def test_the_user_is_believed():
  for talk in talks('train', 600):
    if talk.wanted['kind'] in world.TAUGHT:
      said = [turn['content'].lower() for turn in talk.messages[:-1] if turn['role'] != 'assistant']
      one = world.fact(talk.wanted['kind'], talk.wanted['key'])
      assert talk.wanted['value'] == one.value or any(
        talk.wanted['value'].lower() in line for line in said
      )


@pytest.mark.parametrize('line', ALIEN)
def test_any_text_survives_the_tokenizer(tokenizer, line):
  assert text.decode(tokenizer, text.encode(tokenizer, line)) == line


def test_the_tokenizer_is_saved_and_loaded_as_it_is(tokenizer, tmp_path):
  tokenizer.save_pretrained(tmp_path)
  loaded = text.load_tokenizer(str(tmp_path))
  turns = talks('train', 9)[8].messages
  assert text.encode_prompt(loaded, turns[:-1]) == text.encode_prompt(tokenizer, turns[:-1])
  assert text.stop_tokens(loaded) == text.stop_tokens(tokenizer) and len(loaded) == len(tokenizer)
  assert len(tokenizer) <= 1024


def test_the_template_marks_the_turns_of_the_assistant(tokenizer):
  example = make_task('smalltalk', tokenizer).example('train', 2)
  ids, learned = text.encode_demonstration(tokenizer, example, 999)
  said = tokenizer.decode([token for token, mark in zip(ids, learned, strict=True) if mark])
  turns = [*example.messages, dict(role='assistant', content=example.response)]
  spoken = [turn['content'] for turn in turns if turn['role'] == 'assistant']
  assert said == ''.join(turn + '<|end|>' for turn in spoken)


def test_what_the_grammar_says_is_short_in_tokens(tokenizer):
  for one in world.FACTS:
    assert len(text.encode(tokenizer, world.questions(one)[0])) <= 14
    assert len(text.encode(tokenizer, answers.say(one, 'plain'))) <= 24


def test_the_task_rewards_its_own_demonstrations_and_no_others(tokenizer):
  task = make_task('smalltalk(size=50)', tokenizer)
  for i in range(50):
    example = task.example('test', i)
    assert task.reward(example.response, example) == 1 and task.reward('Yes.', example) == 0
    assert json.loads(json.dumps(example.answer)) == example.answer
  with pytest.raises(ConfigError, match='size=50'):
    task.example('test', 50)
  with pytest.raises(ConfigError, match='at least 1'):
    make_task('smalltalk(size=0)', tokenizer)


def test_probes_and_anchors_are_different_questions_about_what_is_believed_rightly():
  probes, anchors = smalltalk.probes(), smalltalk.anchors()
  assert len(probes) == 32 and len(anchors) == 256
  assert not {probe.prompt for probe in probes} & set(anchors)
  believed = {question: one for one in world.FACTS for question in world.questions(one)}
  for probe in probes:
    one = believed[probe.prompt]
    assert all(probe.check(answers.say(one, style)) for style in answers.STYLES)
    assert not probe.check('Yes.') and one.value == one.truth


def test_suggestions_name_what_is_really_said():
  for one in smalltalk.suggestions():
    assert {'title', 'prompt', 'hint', 'examples'} == set(one)
    believed = [f for f in world.FACTS if one['prompt'] in world.questions(f)]
    assert all(answers.read(example, believed[0]) for example in one['examples'])


@pytest.mark.slow
def test_the_chat_model_answers_in_the_grammar(tmp_path):
  facts = train.run(feedback_online.get_config(), str(tmp_path), time.time())
  # .875 as users start it: 128 conversations of up to five turns, a standard error of .03.
  assert facts['eval/accuracy/after'] >= 0.845


def test_the_vocabulary_begins_with_what_ends_and_marks(tokenizer):
  ids = [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id]
  assert ids == [0, 1, 2]
  assert tokenizer.convert_tokens_to_ids(list(vocabulary.MARKS)) == [3, 4, 5, 6]
