"""Whether one teaches everyone: the switch, what a receipt says, and what is refused."""

import pytest
from served import Served, ask, vote

from rft_jax.feedback.gates import Rules


@pytest.fixture
def served(tmp_path):
  with Served(tmp_path, Rules(young_us=0)) as served:
    yield served


def receipt(served, client) -> dict:
  return vote(client, ask(client).json()['rft']['message_id']).json()


def test_who_does_not_share_teaches_only_themself(served):
  assert served.client.get('/v1/me').json()['share'] is True
  assert receipt(served, served.client)['everyone'] == 'held'
  assert served.client.put('/v1/me/sharing', json={'share': False}).json() == {'share': False}
  assert served.client.get('/v1/me').json()['share'] is False
  given = receipt(served, served.client)
  assert (given['everyone'], given['everyone_reasons'], given['status']) == ('', [], 'queued')
  assert served.client.put('/v1/me/sharing', json={'share': True}).json() == {'share': True}
  assert receipt(served, served.client)['everyone'] == 'rejected', 'said before'


@pytest.mark.parametrize(
  'body', [{}, {'share': 'no'}, {'share': None}, {'share': True, 'x': 1}, []]
)
def test_the_switch_is_checked(served, body):
  assert served.client.put('/v1/me/sharing', json=body).status_code == 400


def test_strangers_have_no_switch(served):
  with served.browser(host='example.org') as stranger:
    assert stranger.put('/v1/me/sharing', json={'share': False}).status_code == 401


def test_a_choice_between_answers_to_two_questions_and_a_blank_edit_are_refused(served):
  one, other = (ask(served.client, text).json()['rft']['message_id'] for text in ('one', 'two'))
  value = {'outcome': 'a', 'a': one, 'b': other}
  refused = vote(served.client, one, kind='preference', value=value)
  assert refused.status_code == 422 and 'different questions' in refused.json()['error']['message']
  for content in ('', ' ', '\u3000\n', '\u200b'):
    refused = vote(served.client, one, kind='edit', value={'content': content})
    assert refused.status_code == 400 and refused.json()['error']['param'] == 'value.content'
