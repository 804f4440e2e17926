"""Is a correction said again in the conversation in which it was made? Its history is sent as
clients send it: those of the OpenAI API with the wrong answer in it, the page with the corrected
one. Whoever takes part is a new user.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from guest import Answer, Guest, read
from scores import AT_ONCE, SAMPLES, sample
from users import mistaken

from rft_jax.data.smalltalk.answers import say, states
from rft_jax.data.smalltalk.grammar import KNOWN, asked
from rft_jax.data.smalltalk.world import TAUGHT, Fact

TURNS = 4
Rows = Iterator[dict]
History = list[dict[str, str]]


def repeats(url: str) -> Rows:
  """A fact is corrected once, by an edit in the first to the fourth turn of a conversation. Shares
  of SAMPLES that say the wrong value before; and that say the right one afterwards: when it is
  asked for again with the wrong answer in the history (`api`) and with the corrected one (`page`),
  in other words behind that and two more turns (`later`), and in a new conversation (`new`)."""
  for number, one in enumerate(mistaken()):
    guest, depth = Guest(url), number % TURNS + 1
    question = asked(one, 'train')[0]
    before = share(sample(guest, [question])[question], one, one.value)
    history: History = []
    for other in sound(number, depth - 1):
      history += exchange(guest, history, asked(other, 'train')[0])
    history.append(spoken('user', question))
    answer = ask(guest, history)[0]
    correct = say(one, 'plain', one.truth)
    guest.judge(answer, 'edit', dict(content=correct))
    status = guest.settle()[-1]['status']
    said = again(guest, one, history, answer, correct, sound(number + TURNS, 2))
    shares = {name: share(texts, one, one.truth) for name, texts in said.items()}
    yield dict(fact=f'{one.kind} {one.key}', turn=depth, status=status, before=before) | shares
    guest.close()


def again(
  guest: Guest, one: Fact, history: History, answer: Answer, correct: str, others: Sequence[Fact]
) -> dict[str, list[str]]:
  """What is said to the question that ends the history, once its answer was corrected."""
  question = history[-1]
  wrong = [*history, spoken('assistant', answer.text)]
  right = [*history, spoken('assistant', correct)]
  api = ask(guest, [*wrong, question], SAMPLES)
  page = ask(guest, [*right, question], SAMPLES, answer)
  for other in others:
    wrong += exchange(guest, wrong, asked(other, 'train')[0])
  later = ask(guest, [*wrong, spoken('user', asked(one, 'train')[-1])], SAMPLES)
  new = sample(guest, [question['content']])[question['content']]
  return dict(api=texts(api), page=texts(page), later=texts(later), new=new)


def turns(url: str, conversations: int = 28) -> Rows:
  """Nobody has taught anything: how many greedy answers are as believed in each turn of
  conversations about one fact after the other, with what was really said as their history?"""
  guest = Guest(url)
  right = [0] * TURNS
  for number in range(conversations):
    history: History = []
    for turn, one in enumerate(sound(number, TURNS)):
      history += exchange(guest, history, asked(one, 'train')[-1], temperature=0.0)
      right[turn] += states(history[-1]['content'], one) == one.value
  for turn, count in enumerate(right, 1):
    yield dict(turn=turn, right=count, of=conversations)
  guest.close()


def sound(start: int, count: int) -> list[Fact]:
  """Facts of so many kinds that are believed rightly, others for each start."""
  kinds = [[one for one in KNOWN['train'][kind] if one.value == one.truth] for kind in TAUGHT]
  chosen = itertools.islice(itertools.cycle(kinds), start, start + count)
  return [facts[start % len(facts)] for facts in chosen]


def exchange(guest: Guest, history: History, question: str, temperature: float = 1.0) -> History:
  """A question and what is really answered."""
  asked_for = spoken('user', question)
  found = ask(guest, [*history, asked_for], temperature=temperature)[0]
  return [asked_for, spoken('assistant', found.text)]


def ask(
  guest: Guest,
  messages: Sequence[dict[str, str]],
  n: int = 1,
  after: Answer | None = None,
  temperature: float = 1.0,
) -> list[Answer]:
  """n answers to the last of the messages; after: the stored answer that it follows, which the page
  names."""
  body: dict[str, Any] = dict(model='rft', messages=messages, temperature=temperature)
  if after:
    body['metadata'] = dict(parent_message_id=after.message_id)
  counts = [AT_ONCE] * (n // AT_ONCE) or [n]
  calls = [guest.call('POST', '/v1/chat/completions', body | dict(n=count)) for count in counts]
  return [answer for found in calls for answer in read(found)]


def spoken(role: str, content: str) -> dict[str, str]:
  return dict(role=role, content=content)


def texts(answers: Sequence[Answer]) -> list[str]:
  return [answer.text for answer in answers]


def share(said: Sequence[str], one: Fact, value: str) -> float:
  """Of texts that say so of the fact."""
  return sum(states(text, one) == value for text in said) / len(said)
