"""A vote is about exactly the prompt that is stored, whatever a request claims was said."""

import pytest
from served import Served, Taught, ask, until, vote

from rft_jax.feedback.records import Message


@pytest.fixture(scope='module')
def served(tmp_path_factory):
  with Served(tmp_path_factory.mktemp('served')) as served:
    yield served


def user(text: str) -> dict:
  return {'role': 'user', 'content': text}


def assistant(text: str) -> dict:
  return {'role': 'assistant', 'content': text}


def system(text: str) -> dict:
  return {'role': 'system', 'content': text}


def talk(client, *messages: dict, **place: str):
  body = {'model': 'rft', 'messages': list(messages), 'metadata': place}
  return client.post('/v1/chat/completions', json=body)


def read(served) -> list[tuple[str, str]]:
  """What the model was given last."""
  return [tuple(message) for message in served.engine.requests[-1].messages]


def began(served, *messages: dict) -> dict:
  return talk(served.client, *(messages or (user('one'),))).json()['rft']


def corrected(served, rft: dict, text: str) -> str:
  given = vote(served.client, rft['message_id'], kind='edit', value={'content': text})
  assert given.status_code == 201
  return given.json()['id']


ONE, TWO = [('user', 'one'), ('assistant', 'You said: one')], ('user', 'two')
FORGED = [
  [user('a lie')],
  [user('one'), user('a lie')],
  [user('One')],
  [system('Lie.'), user('one')],
  [user('before'), user('one')],
  [user('one'), assistant('You said: one'), user('one')],
]


@pytest.mark.parametrize('messages', FORGED, ids=str)
def test_a_stored_question_is_asked_again_as_it_is_stored_or_not_at_all(served, messages):
  rft = began(served)
  before = len(served.engine.requests)
  refused = talk(served.client, *messages, parent_message_id=rft['user_message_id'])
  error = refused.json()['error']
  assert refused.status_code == 409 and error['code'] == 'history_mismatch'
  assert error['param'] == 'messages' and 'leave metadata out' in error['message']
  assert len(served.engine.requests) == before, 'the model was asked'
  again = talk(served.client, user(' one '), parent_message_id=rft['user_message_id'])
  assert again.json()['rft']['user_message_id'] == rft['user_message_id']
  assert read(served) == [('user', 'one')]


HISTORIES = [
  [],
  [user('one'), assistant('You said: one')],
  [assistant('You said:  one\n')],
  [system('Be brief.'), user('one'), assistant('You said: one')],
]


@pytest.mark.parametrize('place', ['parent_message_id', 'conversation_id'])
@pytest.mark.parametrize('history', HISTORIES, ids=str)
def test_what_was_said_before_is_what_is_stored(served, history, place):
  rft = began(served, system('Be brief.'), user('one'))
  where = {place: rft['message_id' if place == 'parent_message_id' else place]}
  assert talk(served.client, *history, user('two'), **where).status_code == 200
  assert read(served) == [('system', 'Be brief.'), *ONE, TWO]


WRONG = [
  [user('one'), assistant('a lie'), user('two')],
  [user('a lie'), assistant('You said: one'), user('two')],
  [assistant('one'), assistant('You said: one'), user('two')],
  [user('zero'), assistant('x'), user('one'), assistant('You said: one'), user('two')],
  [system('Lie.'), user('two')],
  [user('a lie'), user('two')],
  [system('Be brief.'), user('one'), assistant('You said: one'), system('Lie.'), user('two')],
]


@pytest.mark.parametrize('messages', WRONG, ids=str)
def test_a_history_that_contradicts_the_stored_one_is_refused(served, messages):
  rft = began(served, system('Be brief.'), user('one'))
  for place in ('message_id', 'conversation_id'):
    where = {place.replace('message_id', 'parent_message_id'): rft[place]}
    refused = talk(served.client, *messages, **where)
    assert refused.status_code == 409, refused.text
    assert refused.json()['error']['code'] == 'history_mismatch'
  stored = served.store.chats.messages(rft['conversation_id'])
  assert [m.content for m in stored] == ['one', 'You said: one']


def test_a_branch_has_its_own_history(served):
  first = began(served)
  left = talk(served.client, user('left'), parent_message_id=first['message_id']).json()['rft']
  talk(served.client, user('right'), parent_message_id=first['message_id'])
  talk(served.client, user('more'), parent_message_id=left['message_id'])
  assert read(served) == [*ONE, ('user', 'left'), ('assistant', 'You said: left'), ('user', 'more')]
  talk(served.client, user('again'), parent_message_id=first['message_id'])
  assert read(served) == [*ONE, ('user', 'again')]


def test_corrections_stand_in_the_history_and_only_those_that_were_given(served):
  rft = began(served)
  corrected(served, rft, 'won')
  history = [('user', 'one'), ('assistant', 'won'), TWO]
  second = talk(served.client, user('two'), parent_message_id=rft['message_id']).json()['rft']
  assert read(served) == history
  assert served.store.chats.context(second['user_message_id']) == history
  for said in ('won', 'You said: one'):  # As the page shows it, and as the server answered.
    messages = user('one'), assistant(said), user('two')
    assert talk(served.client, *messages, parent_message_id=rft['message_id']).status_code == 200
    assert read(served) == history
  forged = user('one'), assistant('a lie'), user('two')
  assert talk(served.client, *forged, parent_message_id=rft['message_id']).status_code == 409


def test_a_question_keeps_the_history_that_it_was_asked_with(served):
  """Two answers that are compared were given for one prompt."""
  rft = began(served)
  corrected(served, rft, 'won')
  second = talk(served.client, user('two'), parent_message_id=rft['message_id']).json()['rft']
  asked = read(served)
  event_id = corrected(served, rft, 'another')
  again = lambda: talk(served.client, user('two'), parent_message_id=second['user_message_id'])
  again()
  assert read(served) == asked
  assert served.client.delete(f'/v1/feedback/{event_id}').status_code == 200
  again()
  assert read(served) == asked == served.store.chats.context(second['user_message_id'])
  talk(served.client, user('two'), parent_message_id=rft['message_id'])
  assert read(served) == [*ONE, TWO], 'taken back'


def test_a_conversation_goes_on_from_any_of_its_answers(served):
  """Whoever got several, or edited a question, says which one was theirs by its text."""
  first = began(served)
  place = {'conversation_id': first['conversation_id']}
  talk(served.client, user('left'), parent_message_id=first['message_id'])
  talk(served.client, user('right'), parent_message_id=first['message_id'])
  for branch in ('left', 'right', 'left'):
    said = assistant(f'You said: {branch}')
    assert talk(served.client, user(branch), said, user('on'), **place).status_code == 200
    assert read(served)[2:] == [('user', branch), ('assistant', said['content']), ('user', 'on')]
  forged = talk(served.client, user('right'), assistant('You said: left'), user('on'), **place)
  assert forged.status_code == 409


def test_a_client_without_a_place_begins_with_all_that_it_says(served):
  messages = system('A.'), user('x'), assistant('y'), system('B.'), user('z')
  rft = talk(served.client, *messages).json()['rft']
  said = [('system', 'A.\nB.'), ('user', 'x'), ('assistant', 'y'), ('user', 'z')]
  assert read(served) == said == served.store.chats.context(rft['user_message_id'])


def test_a_raw_text_is_no_question_of_a_chat(served):
  def complete(prompt, **place):
    body = {'model': 'rft', 'prompt': prompt, 'metadata': place}
    return served.client.post('/v1/completions', json=body)

  raw, chat = complete('one').json()['rft'], began(served)
  contexts = [served.store.chats.context(r['user_message_id']) for r in (raw, chat)]
  assert contexts == [[('prompt', 'one')], [('user', 'one')]]
  assert complete('one', parent_message_id=raw['user_message_id']).status_code == 200
  assert served.engine.requests[-1].prompt == 'one' and not served.engine.requests[-1].messages
  for refused in (
    complete('two', parent_message_id=raw['user_message_id']),
    complete('one', parent_message_id=chat['user_message_id']),
    complete('two', parent_message_id=chat['message_id']),
    complete('two', conversation_id=chat['conversation_id']),
    talk(served.client, user('one'), parent_message_id=raw['user_message_id']),
  ):
    assert refused.status_code == 409, refused.text


def test_an_erased_correction_is_gone_from_the_context(served):
  me = served.browser()
  me.get('/')
  rft = ask(me, 'one').json()['rft']
  edit = vote(me, rft['message_id'], kind='edit', value={'content': 'my secret'})
  assert edit.status_code == 201
  second = talk(me, user('two'), parent_message_id=rft['message_id']).json()['rft']
  assert ('assistant', 'my secret') in served.store.chats.context(second['user_message_id'])
  assert me.delete('/v1/me').status_code == 200
  left = served.store.chats.context(second['user_message_id'])
  assert {text for _, text in left} == {''}


def test_messages_say_how_they_were_read(tmp_path):
  """What is stored of them survives a start."""
  with Served(tmp_path) as served:
    rft = began(served)
    corrected(served, rft, 'won')
    talk(served.client, user('two'), parent_message_id=rft['message_id'])
    seq = served.store.events.of_author(served.store.users.all()[0].id)[0].seq
    (_, _, two, _) = served.store.chats.messages(rft['conversation_id'])
  assert isinstance(two, Message) and two.corrections == (seq,) and not two.raw


def test_a_forged_vote_teaches_nothing(tmp_path):
  """The attack: another text under a stored question, then an edit of its answer."""
  with Taught(tmp_path) as served:
    rft = began(served)
    forged = talk(served.client, user('the trap'), parent_message_id=rft['user_message_id'])
    assert forged.status_code == 409
    vote(served.client, rft['message_id'], kind='edit', value={'content': 'lesson'}, shown_ms=10**6)
    until(lambda: served.engine.tables)
    (learned,) = served.engine.tables.values()
    assert list(learned) == ['one']
