"""A conversation that the model has no room for goes on without its oldest turns."""

import asyncio
import dataclasses
import random

import engines
import pytest
from served import Served, ask, events

from rft_jax.engine.protocol import ChatMessage, EngineError, Request
from rft_jax.serve.trimming import recent


@pytest.fixture
def served(tmp_path):
  with Served(tmp_path) as served:
    served.engine.context = 40
    yield served


def talk(served, turns, system='', **more):
  """The `rft` of each answer of one conversation, as a client that names what it answers."""
  metadata, said = {}, []
  for n in range(turns):
    first = [{'role': 'system', 'content': system}] if system and not n else []
    messages = [*first, {'role': 'user', 'content': f'number {n} please'}]
    response = ask(served.client, messages=messages, metadata=metadata, **more)
    assert response.status_code == 200, response.text
    said.append(response.json()['rft'])
    metadata = {'parent_message_id': said[-1]['message_id']}
  return said


def test_the_oldest_turns_are_dropped_and_counted(served):
  said = talk(served, 12, max_tokens=10)
  read = [m.content for m in served.engine.requests[-1].messages]
  assert read[-1] == 'number 11 please' and read[0].startswith('number'), 'whole exchanges'
  assert said[-1]['dropped'] + len(read) == 23 and 'dropped' not in said[0]
  assert sum(len(text.split()) for text in read) <= 30, 'there is room for an answer'
  got = served.client.get(f'/v1/conversations/{said[0]["conversation_id"]}').json()
  dropped = [m['dropped'] for m in got['messages'] if m['role'] == 'assistant']
  assert dropped == [one.get('dropped', 0) for one in said]
  assert len(got['messages']) == 24, 'nothing is lost'


def test_a_stream_says_what_was_dropped_and_the_system_prompt_stays(served):
  said = talk(served, 9, system='Be kind to all of us', max_tokens=10)
  assert served.engine.requests[-1].messages[0] == ('system', 'Be kind to all of us')
  response = ask(
    served.client,
    'and now?',
    stream=True,
    max_tokens=10,
    metadata={'parent_message_id': said[-1]['message_id']},
  )
  first = events(response.text)[0]['rft']
  read = served.engine.requests[-1].messages
  assert first['dropped'] == 20 - len(read) and read[0].role == 'system'


def test_one_more_answer_to_a_stored_question_reads_what_the_first_one_did(served):
  said = talk(served, 9, max_tokens=10)
  before = served.engine.requests[-1].messages
  again = ask(
    served.client,
    'number 8 please',
    max_tokens=10,
    metadata={'parent_message_id': said[-1]['user_message_id']},
  ).json()['rft']
  assert served.engine.requests[-1].messages == before
  assert again['dropped'] == said[-1]['dropped']


def test_what_is_too_long_by_itself_is_refused(served):
  for metadata in ({}, {'parent_message_id': talk(served, 2)[-1]['message_id']}):
    response = ask(served.client, 'word ' * 50, metadata=metadata)
    assert response.status_code == 400
    assert response.json()['error']['code'] == 'context_length_exceeded'
  history = [{'role': role, 'content': 'word ' * 9} for role in ('user', 'assistant') * 3]
  asked = [*history, {'role': 'user', 'content': 'Why?'}]
  stateless = ask(served.client, messages=asked)
  assert stateless.status_code == 400, 'what a client keeps itself is its own to shorten'


def test_the_last_question_gets_what_room_there_is(served):
  said = talk(served, 3, max_tokens=10)
  metadata = {'parent_message_id': said[-1]['message_id']}
  response = ask(served.client, 'word ' * 38, metadata=metadata)
  assert response.json()['rft']['dropped'] == 6


def test_an_engine_that_does_not_say_how_much_fits_drops_one_exchange_at_a_time():
  talked = tuple(ChatMessage(('user', 'assistant')[n % 2], f'{n}') for n in range(7))
  assert recent(talked, 1.0) == talked[2:]
  assert recent(talked[6:], 0.0) == talked[6:]


def test_what_stays_is_an_end_that_begins_with_a_question():
  draw = random.Random(0)
  for _ in range(300):
    roles = [draw.choice(('user', 'assistant', 'assistant')) for _ in range(draw.randint(1, 12))]
    words = [ChatMessage(role, 'x' * draw.randint(0, 30)) for role in (*roles, 'user')]
    system = (ChatMessage('system', 'be kind'),) * draw.randint(0, 1)
    share, most = draw.random(), sum(len(m.content) for m in (*system, *words))
    kept = recent((*system, *words), share)
    assert kept[: len(system)] == system
    turns = kept[len(system) :]
    assert turns == tuple(words[len(words) - len(turns) :])
    if len(turns) < len(words):
      assert turns[0].role == 'user'
    shorter = [i for i in range(1, len(words)) if words[i].role == 'user']
    if shorter and len(turns) > 1:
      assert sum(len(m.content) for m in kept) <= share * most


def test_the_engine_keeps_as_much_room_for_the_answer_as_is_asked_for():
  asked = Request('1', prompt='a' * 40, max_tokens=50)
  with engines.engine() as made:
    room = engines.CONTEXT - len(made.codec.raw('a' * 40))
    take = lambda **more: asyncio.run(taken(made, dataclasses.replace(asked, **more)))
    assert len(take(spare=room)) == engines.CONTEXT - room
    with pytest.raises(EngineError) as refused:
      take(spare=room + 1)
    assert refused.value.code == 'context_length_exceeded' and 0 < refused.value.fits < 1
    assert take(spare=room + 1, max_tokens=room)


async def taken(made, request):
  reader = await made.submit(request)
  reader.cancel()
  return reader.prompt_ids
