"""Malformed input: an exact status, OpenAI's envelope, never a 500, and no secret in a log."""

import gzip
import json
import logging

import pytest
from served import Served, ask, vote

from rft_jax.feedback.ids import uuid7

NOBODY = '01900000-0000-7000-8000-000000000000'

HELLO = [{'role': 'user', 'content': 'hello'}]


@pytest.fixture(scope='module')
def served(tmp_path_factory):
  with Served(tmp_path_factory.mktemp('served')) as served:
    yield served


@pytest.fixture(scope='module')
def message_id(served):
  return ask(served.client).json()['rft']['message_id']


def check(response, status, param=None):
  assert response.status_code == status, response.text
  error = response.json()['error']
  assert set(error) == {'message', 'type', 'param', 'code'} and error['message']
  kinds = {403: 'permission_error', 429: 'rate_limit_error', 401: 'authentication_error'}
  assert error['type'] == kinds.get(status, 'invalid_request_error')
  if param:
    assert error['param'] == param


DEEP = b'{"a":' * 10_000 + b'1' + b'}' * 10_000
BODIES = [
  (b'', 400),
  (b'not json', 400),
  (b'[]', 400),
  (b'{}', 400),
  (b'null', 400),
  (b'"text"', 400),
  (b'{"id": 1, "id": 2}', 400),
  (b'{"value": {"label": true, "label": false}}', 400),
  (b'{"value": NaN}', 400),
  (b'{"value": -Infinity}', 400),
  (b'{"value": 1e400}', 400),
  (b'{"value": ' + b'9' * 5000 + b'}', 400),
  (b'{"value": "\xff"}', 400),
  (b'{"value": "\\ud800"}', 400),
  (b'[' * 17 + b']' * 17, 400),
  (b'[' * 10_000, 400),
  (DEEP, 400),
  (b'{"value": "' + b'x' * 300_000 + b'"}', 413),
]


@pytest.mark.parametrize('path', ['/v1/feedback', '/v1/chat/completions', '/admin/freeze'])
@pytest.mark.parametrize('body, status', BODIES, ids=lambda v: str(v)[:24])
def test_a_body_must_be_one_plain_object(served, path, body, status):
  headers = {'Content-Type': 'application/json'}
  check(served.client.post(path, content=body, headers=headers), status)


@pytest.mark.parametrize(
  'headers',
  [
    {},
    {'Content-Type': 'text/plain'},
    {'Content-Type': 'application/x-www-form-urlencoded'},
    {'Content-Type': 'application/json', 'Content-Encoding': 'gzip'},
  ],
)
def test_only_plain_json_is_read(served, headers):
  bomb = gzip.compress(b'{"x": "' + b'0' * 10**7 + b'"}')
  check(served.client.post('/v1/feedback', content=bomb, headers=headers), 415)


def test_a_body_without_a_length_is_cut_off_too(served):
  parts = (b' ' * 65_536 for _ in range(8))
  headers = {'Content-Type': 'application/json'}
  check(served.client.post('/v1/feedback', content=parts, headers=headers), 413)


SAMPLING = [
  ({'messages': []}, 'messages'),
  ({'messages': 'hello'}, 'messages'),
  ({'messages': [{'role': 'robot', 'content': 'x'}]}, 'messages[0].role'),
  ({'messages': [{'role': ['user'], 'content': 'x'}]}, 'messages[0].role'),
  ({'messages': [{'role': 'user', 'content': None}]}, 'messages[0].content'),
  ({'messages': [{'role': 'user', 'content': ''}]}, 'messages[0].content'),
  ({'messages': [{'role': 'user', 'content': 'a\0b'}]}, 'messages[0].content'),
  ({'messages': [{'role': 'user', 'content': 'x' * 32_001}]}, 'messages[0].content'),
  ({'messages': [{'role': 'user', 'content': [{'type': 'image_url'}]}]}, None),
  ({'messages': [{'role': 'user', 'content': 'x', 'tools': 'x'}]}, 'messages[0]'),
  ({'messages': [{'role': 'assistant', 'content': 'x'}]}, 'messages'),
  ({'messages': HELLO * 257}, 'messages'),
  ({'max_tokens': 0}, 'max_tokens'),
  ({'max_tokens': -1}, 'max_tokens'),
  ({'max_tokens': 10**19}, 'max_tokens'),
  ({'max_tokens': 1.5}, 'max_tokens'),
  ({'max_completion_tokens': '5'}, 'max_tokens'),
  ({'n': 0}, 'n'),
  ({'n': 100}, 'n'),
  ({'n': True}, 'n'),
  ({'temperature': -1}, 'temperature'),
  ({'temperature': 100}, 'temperature'),
  ({'temperature': 'hot'}, 'temperature'),
  ({'top_p': 0}, 'top_p'),
  ({'top_p': 2}, 'top_p'),
  ({'top_k': -1}, 'top_k'),
  ({'seed': 2**63}, 'seed'),
  ({'seed': 'x'}, 'seed'),
  ({'stop': 5}, 'stop'),
  ({'stop': ''}, 'stop'),
  ({'stop': ['a'] * 5}, 'stop'),
  ({'stop': [1]}, 'stop'),
  ({'stream': 'yes'}, 'stream'),
  ({'stream': 1}, 'stream'),
  ({'logprobs': 5}, 'logprobs'),
  ({'stream_options': {'include_usage': True}}, 'stream_options'),
  ({'stream': True, 'stream_options': {'x': 1}}, 'stream_options'),
  ({'metadata': 'x'}, 'metadata'),
  ({'metadata': {'x': ['1']}}, 'metadata.x'),
  ({'metadata': {f'{i}': 'x' for i in range(17)}}, 'metadata'),
  ({'metadata': {'conversation_id': "' OR 1=1 --"}}, 'metadata.conversation_id'),
  ({'metadata': {'compare': 'c'}}, 'metadata.compare'),
  ({'frequency_penalty': 3}, 'frequency_penalty'),
  ({'presence_penalty': 'no'}, 'presence_penalty'),
  ({'logit_bias': [1]}, 'logit_bias'),
  ({'logit_bias': {'x': 1}}, 'logit_bias'),
  ({'logit_bias': {'1': 101}}, 'logit_bias.1'),
  ({'logit_bias': {str(i): 1 for i in range(301)}}, 'logit_bias'),
  ({'repeat_penalty': 1.1}, 'body'),
  ({'model': 5}, 'model'),
]


@pytest.mark.parametrize('change, param', SAMPLING, ids=lambda v: str(v)[:40])
def test_a_setting_of_an_answer_is_checked(served, change, param):
  check(ask(served.client, **change), 400, param)


@pytest.mark.parametrize(
  'model', ['gpt-4', 'rft@v', 'rft@v-1', 'rft@v9', 'rft@v٣', '../../etc/passwd']
)
def test_an_unknown_model_is_not_found(served, model):
  check(ask(served.client, model=model), 404)


def test_unknown_places_are_not_found(served):
  gone = uuid7()
  check(ask(served.client, metadata={'conversation_id': gone}), 404)
  check(ask(served.client, metadata={'parent_message_id': gone}), 404)
  rft = ask(served.client).json()['rft']
  other = ask(served.client).json()['rft']
  mixed = {'conversation_id': other['conversation_id'], 'parent_message_id': rft['user_message_id']}
  check(ask(served.client, metadata=mixed), 404)
  for path in (f'/v1/feedback/{gone}', '/v1/feedback/x', f'/v1/conversations/{gone}', '/v1/x'):
    check(served.client.get(path), 404)
  check(served.client.delete(f'/v1/feedback/{gone}'), 404)
  check(served.client.get('/v1/models/gpt'), 404)


@pytest.mark.parametrize(
  'change',
  [
    {'kind': 'applause'},
    {'value': {'label': 'yes'}},
    {'value': {'label': True, 'score': 1}},
    {'kind': 'rating', 'value': {'score': 6}},
    {'kind': 'edit', 'value': {'content': 'x' * 33_000}},
    {'id': '../x'},
    {'target': {'message_id': "'; DROP TABLE user"}},
    {'extra': 1},
    {'shown_ms': -5},
    {'supersedes': NOBODY},
  ],
  ids=lambda v: str(v)[:40],
)
def test_feedback_is_checked(served, message_id, change):
  check(vote(served.client, message_id, **change), 400)


@pytest.mark.parametrize(
  'words', ['<script>alert(1)</script>', "'; DROP TABLE user; --", '{{7*7}}', 'شكرا‏‍\U0001f600']
)
def test_strange_words_are_only_words(served, words):
  rft = ask(served.client, words).json()['rft']
  given = vote(served.client, rft['message_id'], kind='edit', value={'content': words})
  assert given.status_code == 201
  path = f'/v1/conversations/{rft["conversation_id"]}'
  answer = served.client.get(path).json()['messages'][1]
  assert answer['content'] == f'You said: {words}'
  assert answer['feedback'][0]['value']['content'] == words


@pytest.mark.parametrize(
  'body',
  [
    {'scope': 'global'},
    {'scope': 'globe', 'version': 0, 'reason': 'x'},
    {'scope': 'u:x', 'version': 0, 'reason': 'x'},
    {'scope': 'global', 'version': -1, 'reason': 'x'},
    {'scope': 'global', 'version': True, 'reason': 'x'},
    {'scope': 'global', 'version': 0, 'reason': ''},
    {'scope': 7, 'version': 0, 'reason': 'x'},
  ],
)
def test_a_rollback_is_checked(served, body):
  check(served.client.post('/admin/rollback', json=body), 400)


@pytest.mark.parametrize(
  'body, status',
  [
    ({'reason': 'x'}, 400),
    ({'reason': 'x', 'event_ids': [], }, 400),
    ({'reason': 'x', 'event_ids': [NOBODY]}, 404),
    ({'reason': 'x', 'user_id': NOBODY}, 404),
    ({'reason': 'x', 'user_id': 'x'}, 400),
    ({'event_ids': [NOBODY]}, 400),
  ],
)  # fmt: skip
def test_a_quarantine_is_checked(served, body, status):
  check(served.client.post('/admin/quarantine', json=body), status)


@pytest.mark.parametrize(
  'body, status',
  [
    ({'reason': 'x'}, 400),
    ({'user_id': NOBODY}, 400),
    ({'user_id': NOBODY, 'reason': 'x'}, 404),
  ],
)  # fmt: skip
def test_unlearning_is_checked(served, body, status):
  check(served.client.post('/admin/unlearn', json=body), status)


def test_methods_that_are_not_there_are_refused(served):
  for method, path in (('PUT', '/v1/feedback'), ('HEAD', '/v1/models'), ('GET', '/admin/freeze')):
    response = served.client.request(method, path)
    assert response.status_code == 405
    if method != 'HEAD':
      check(response, 405)


def test_an_unexpected_failure_tells_nothing(served, message_id, monkeypatch, caplog):
  def broken(*_):
    raise RuntimeError('the password is hunter2')

  monkeypatch.setattr(served.service.store.events, 'of_author', broken)
  response = served.client.get('/v1/feedback')
  assert response.status_code == 500 and response.json()['error']['type'] == 'server_error'
  assert 'hunter2' not in response.text and 'Traceback' not in response.text


def test_no_words_and_no_keys_reach_a_log(served, message_id, caplog):
  caplog.set_level(logging.DEBUG, 'rft_jax')
  key = 'rft-sk-0123456789abcdef.' + 's' * 43
  served.browser(Authorization=f'Bearer {key}').get('/v1/me')
  vote(served.client, message_id, kind='edit', value={'content': 'my diary'})
  vote(served.client, message_id, kind='rating', value={'score': 'my diary'})
  ask(served.client, 'my diary', temperature=9)
  said = '\n'.join(record.getMessage() for record in caplog.records if 'rft' in record.name)
  assert 'diary' not in said and 's' * 43 not in said


def test_a_header_cannot_be_smuggled_into_an_answer(served):
  response = ask(served.client, 'x\r\nSet-Cookie: a=b', user='x\r\nX: y')
  assert response.status_code == 200 and 'set-cookie' not in response.headers
  assert json.loads(response.text)['choices'][0]['message']['content'].endswith('a=b')
