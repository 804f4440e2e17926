"""Requests for /v1/completions as clients send them: prompts of all forms, echo, logprobs."""

import pytest
from served import Served, events


@pytest.fixture(scope='module')
def served(tmp_path_factory):
  with Served(tmp_path_factory.mktemp('served')) as served:
    yield served


def complete(served, prompt, **fields):
  return served.client.post('/v1/completions', json={'model': 'rft', 'prompt': prompt, **fields})


@pytest.mark.parametrize(
  'prompt, asked',
  [
    ('a', ['a']),
    (['a'], ['a']),
    (['a', 'b c'], ['a', 'b c']),
    ([5, 6], ['5 6']),
    ([[5, 6], [7]], ['5 6', '7']),
  ],
)
def test_texts_come_alone_in_lists_and_as_ids(served, prompt, asked):
  answer = complete(served, prompt, n=2, best_of=2, suffix=None, echo=False, seed=4).json()
  said = [f'You said: {text}' for text in asked for _ in range(2)]
  assert [choice['text'] for choice in answer['choices']] == said
  requests = served.engine.requests[-len(said) :]
  assert [request.seed for request in requests] == [4, 5] * len(asked)
  names = [one['message_id'] for one in answer['rft']['choices']]
  paths = [served.store.chats.path(name)[0].content for name in names]
  assert paths == [text for text in asked for _ in range(2)]


@pytest.mark.parametrize('stream', [False, True])
def test_a_text_can_be_echoed(served, stream):
  response = complete(served, ['a', 'b'], echo=True, stream=stream)
  found = events(response.text)[:-1] if stream else [response.json()]
  texts = {0: '', 1: ''}
  for part in found:
    for choice in part['choices']:
      texts[choice['index']] += choice['text']
  assert texts == {0: 'aYou said: a', 1: 'bYou said: b'}


@pytest.mark.parametrize(
  'fields, param',
  [
    ({'prompt': []}, 'prompt'),
    ({'prompt': ''}, 'prompt'),
    ({'prompt': ['a', '']}, 'prompt[1]'),
    ({'prompt': [[]]}, 'prompt'),
    ({'prompt': [-1]}, 'prompt[0]'),
    ({'prompt': ['a', 1]}, 'prompt[1]'),
    ({'prompt': ['a'] * 17}, 'prompt'),
    ({'prompt': ['a'] * 5, 'n': 4}, 'prompt'),
    ({'best_of': 3}, 'best_of'),
    ({'suffix': 'end'}, 'suffix'),
    ({'logprobs': 6}, 'logprobs'),
    ({'echo': True, 'logprobs': 1}, 'echo'),
    ({'echo': 'yes'}, 'echo'),
  ],
  ids=str,
)
def test_a_text_that_cannot_be_completed_is_refused_by_name(served, fields, param):
  error = complete(served, **{'prompt': 'a', **fields})
  assert error.status_code == 400 and error.json()['error']['param'] == param, error.text


@pytest.mark.parametrize('stream', [False, True])
def test_logprobs_of_texts_have_their_own_shape(served, stream):
  response = complete(served, 'é you', logprobs=0, stream=stream)
  found = events(response.text)[:-1] if stream else [response.json()]
  parts = [one['choices'][0]['logprobs'] for one in found if one['choices'][0]['logprobs']]
  assert [token for part in parts for token in part['tokens']] == ['You', ' said:', ' é', ' you']
  assert [at for part in parts for at in part['text_offset']] == [0, 3, 9, 11]
  assert {value for part in parts for value in part['token_logprobs']} == {-0.5}
  assert complete(served, 'a', logprobs=None).json()['choices'][0]['logprobs'] is None
