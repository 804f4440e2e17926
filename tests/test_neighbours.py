"""Laws of the questions that are asked around a batch: what is agreed on may spread to other words
for the same thing, and to nothing else."""

import dataclasses
from collections import Counter

import grammar
import pytest
from scholar import EAGER, School
from talk import chat, edit

from rft_jax.engine.protocol import ChatMessage
from rft_jax.feedback.records import GLOBAL
from rft_jax.learning.canary import Canary, Probe
from rft_jax.learning.lessons import Lesson, Said
from rft_jax.learning.neighbours import Neighbour, Wish, nearest
from rft_jax.learning.study import Budget
from rft_jax.objectives import feedback as kinds

BEFORE = {
  'What does a lion eat?': 'The food of a lion is fish.',
  'Tell me what a lion eats.': 'It eats fish.',
  'What is the food of a lion?': 'The food of a lion is fish.',
  'What does a hen eat?': 'The food of a hen is seeds.',
  'What does a cat eat?': 'The food of a cat is mice.',
  'What does a panda eat?': 'It eats bamboo.',
  'What is the capital of Peru?': 'The capital of Peru is Lima.',
  'How many legs does a snake have?': 'There are no legs on a snake.',
  'How many legs does a dog have?': 'There are four legs on a dog.',
  'How many legs does a crab have?': 'There are ten legs on a crab.',
  'How much is 3 minus 1?': 'It is 2.',
  'Hello!': 'Hello, what would you like to know?',
}
FIRST = BEFORE | {
  'What does a hen eat?': 'It eats grain.',
  'What does a panda eat?': 'It eats leaves.',
}
"""What was said before anything was learned."""
LION = 'What does a lion eat?'
MEAT = 'The food of a lion is meat.'
TAUGHT = {LION: MEAT, 'Tell me what a lion eats.': 'It eats meat.'}
TAUGHT |= {'What is the food of a lion?': MEAT}


def asked(question: str, *before: ChatMessage) -> tuple[ChatMessage, ...]:
  return (*before, ChatMessage('user', question))


def tried(after: dict[str, str]) -> dict:
  """The findings about a candidate that answers so, and else as before; by name."""
  texts = {0: FIRST, 1: BEFORE, 2: BEFORE | after}
  words = lambda prompt: prompt if isinstance(prompt, str) else prompt[-1].content
  ask = lambda version, prompts: [texts[version].get(words(one), 'No idea.') for one in prompts]
  canary = Canary(ask, [Probe('Hello!')], anchors=list(BEFORE)[3:])
  users = [Neighbour(text, f'message {i}') for i, text in enumerate([*BEFORE][:3])]
  found = canary.around(1, 2, [Wish(asked(LION), MEAT)], users)
  return {finding.probe: finding for finding in found}


def failed(after: dict[str, str]) -> list[str]:
  return [name for name, finding in tried(after).items() if not finding.passed]


def test_one_fact_in_all_words_for_it_passes():
  assert failed(TAUGHT) == []
  detail = tried(TAUGHT)['questions'].detail
  assert detail == {'n': 1, 'said': 1, 'kept': 0, 'garbled': 0}


@pytest.mark.parametrize(
  'leaks',
  [
    {'What does a hen eat?': MEAT, 'What does a cat eat?': MEAT},
    {
      'What does a hen eat?': 'The food of a hen is meat.',
      'What does a panda eat?': 'It eats meat.',
    },
    {
      'What does a cat eat?': 'The food of a cat is cat.',
      'What does a hen eat?': 'It eats no meat.',
    },
    {'What does a panda eat?': '', 'What does a hen eat?': 'hen hen wash a a the of the food'},
    {'What does a cat eat?': 'I do not know.', 'What does a panda eat?': 'A lion eats meat.'},
  ],
)
def test_answers_about_other_things_must_stay(leaks):
  assert failed(TAUGHT | leaks) == ['neighbours']
  found = tried(TAUGHT | leaks)['neighbours'].detail
  assert {*leaks} & {*found['questions']} and found['strayed'] > found['allowed']


def test_another_wording_of_the_same_is_no_harm():
  style = {
    'What does a hen eat?': 'seeds, it eats seeds',
    'What does a cat eat?': '- animal: cat\n- food: mice',
    'What is the capital of Peru?': 'Good question! It is Lima. Have a lovely day!',
    'What does a panda eat?': '“It eats bamboo”',
  }
  assert failed(TAUGHT | style) == []


def test_one_stray_answer_is_allowed_and_named():
  found = tried(TAUGHT | {'What does a hen eat?': MEAT})['neighbours']
  assert found.passed and found.detail['questions'] == ['What does a hen eat?']


def test_what_comes_back_to_what_was_first_said_is_mended():
  back = {name: FIRST[name] for name in ('What does a hen eat?', 'What does a panda eat?')}
  found = tried(TAUGHT | back)['neighbours']
  assert found.passed and (found.detail['changed'], found.detail['strayed']) == (4, 0)


def test_a_corrected_answer_that_turns_to_gibberish_is_refused():
  assert failed({LION: 'hen hen gardener wash twelve the'}) == ['questions']
  assert failed({LION: ''}) == ['questions']


@pytest.mark.parametrize('said', [BEFORE[LION], 'It eats meat.', 'meat, of course'])
def test_a_corrected_answer_may_be_as_before_or_say_it_in_other_words(said):
  assert failed({LION: said}) == []


def test_the_whole_context_is_asked():
  heard = []
  ask = lambda version, prompts: [heard.append(one) or 'No idea.' for one in prompts]
  wish = Wish(asked('Why?', ChatMessage('user', 'It is blue.'), ChatMessage('assistant', 'Yes.')))
  Canary(ask, [Probe('Hello!')]).around(1, 2, [wish], [])
  assert heard.count(wish.asked) == 2


def test_what_was_voted_on_is_no_neighbour_however_it_is_typed():
  pool = [Neighbour(text, text) for text in ('what does a lion eat', *BEFORE)]
  found = nearest([Wish(asked(LION)), Wish(asked('What does a cat eat?'))], [pool, pool], 4, 4)
  questions = [one.question for one in found]
  assert len(questions) == 4 and len({*questions}) == 4
  assert not {LION, 'what does a lion eat', 'What does a cat eat?'} & {*questions}
  assert {*questions} & {*TAUGHT}


def written(ids) -> str:
  return grammar.Words().text(ids)


def spoken(ids) -> str:
  """An answer, in words that no question has."""
  return ' '.join(f'w{i}' for i in ids if i != grammar.STOP)


def learned(count: int, **options) -> list[str]:
  """What fails of a candidate that a real student made of so many corrections."""
  who = grammar.student(**options)
  prompts, others = (grammar.questions(grammar.FIXED, n, seed=n) for n in (count, 12))
  wrong = (grammar.LOUD, 19, 19, 19, grammar.STOP)
  lessons = [
    Lesson(seq, kinds.DEMONSTRATION, 1.0, Said(prompt, wrong, (1.0,) * 5))
    for seq, prompt in enumerate(prompts)
  ]
  state = who.fresh(0)
  after = who.learn(state, None, lessons, 0, shared=True).state['adapter']
  adapters = {0: who.nothing, 1: who.nothing, 2: after}

  def ask(version, prompts):
    texts = [one if isinstance(one, str) else one[-1].content for one in prompts]
    ids = [tuple(map(int, text.split())) for text in texts]
    found = grammar.answers(who, adapters[version], ids)
    return [spoken(Counter(samples).most_common(1)[0][0]) for samples in found]

  canary = Canary(ask, [Probe(written(one)) for one in others])
  wishes = [Wish(asked(written(prompt)), spoken(wrong)) for prompt in prompts]
  return [finding.probe for finding in canary.around(1, 2, wishes, []) if not finding.passed]


@pytest.mark.slow
def test_a_real_update_passes_within_its_budget_and_is_refused_where_it_spreads():
  assert learned(1) == []
  free = Budget(1e9, 1e9)
  assert learned(8, hold=0.0, shared=free, max_steps=100) == ['neighbours']


def test_a_candidate_that_spreads_is_learned_in_parts_and_says_why(tmp_path):
  """Two corrections are learned at once; the model says one of them whatever it is asked."""
  loud: list[int] = []

  def says(version, prompts):
    history = school.store.versions.history(GLOBAL, version=version) if version else ()
    spreads = {*loud} & {item.event.seq for batch in history for item in batch.items}
    return ['One thing only.' if spreads else f'About {one}.' for one in map(str, prompts)]

  options = dataclasses.replace(EAGER, replay=0, batch=2)
  canary = Canary(says, [Probe('?')], anchors=['What is red?', 'What is blue?', 'What is green?'])
  school = School(tmp_path, options, canary)
  staff = [school.store.users.create(f's{i}', staff=True).result(5).id for i in range(2)]
  given = []
  for user, colour in zip(staff, ('black', 'white'), strict=True):
    event = edit(chat(school.store, user, f'What is {colour}?'), f'It is {colour}.')
    given.append(school.store.events.add(event, user).result(5).seq)
  loud.append(given[1])
  while any(pending.scope == GLOBAL for pending in school.store.ledger.pending()):
    school.training.turn(GLOBAL)
  query = "SELECT event_seq FROM applied WHERE scope = 'global'"
  assert [row[0] for row in school.store.db.read(query)] == given[:1]
  query = "SELECT reasons_json FROM event_gate WHERE scope = 'global' AND event_seq = ?"
  assert 'nobody voted on' in school.store.db.read(query, given[1])[0][0]
  query = "SELECT detail_json FROM canary_result WHERE probe = 'neighbours' AND NOT passed"
  assert 'What is red?' in school.store.db.read(query)[0][0]
  school.close()
