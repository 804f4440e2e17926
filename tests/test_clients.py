"""What unmodified clients and front ends send: accepted, or refused with the parameter's name."""

import json
from pathlib import Path

import pytest
from served import Served, ask, events

from rft_jax.registry import ConfigError
from rft_jax.serve.names import Names

RECORDED = sorted((Path(__file__).parent / 'data' / 'clients').glob('*.json'))
HELLO = [{'role': 'user', 'content': 'hello'}]
DUMPED = {
  'role': 'assistant',
  'content': 'You said: hello',
  'refusal': None,
  'annotations': [],
  'audio': None,
  'function_call': None,
  'tool_calls': None,
}


@pytest.fixture(scope='module')
def served(tmp_path_factory):
  folder = tmp_path_factory.mktemp('served')
  with Served(folder, models=('gpt-4o', 'gpt-*', 'team/plain=rft:base'), most_tokens=50) as served:
    served.engine.slots = 64
    yield served


def recorded():
  for path in RECORDED:
    client = json.loads(path.read_text())
    for number, request in enumerate(client['requests']):
      yield pytest.param(request, id=f'{client["client"]} {number} {request["what"]}')


@pytest.mark.parametrize('request_', recorded())
def test_a_front_end_is_answered(served, request_):
  response = served.client.post(request_['path'], json=request_['body'])
  if 'refused' in request_:
    status, param = request_['refused']
    error = response.json()['error']
    assert (response.status_code, error['param']) == (status, param), response.text
    return
  assert response.status_code == 200, response.text
  if not request_['body'].get('stream'):
    return check_whole(response.json(), request_['body'])
  *chunks, done = events(response.text)
  assert done == '[DONE]'
  if request_['body'].get('stream_options'):
    assert chunks[-1]['usage']['completion_tokens'] and not chunks[-1]['choices']


def check_whole(answer: dict, body: dict):
  prompts = body.get('prompt')
  count = len(prompts) if isinstance(prompts, list) else 1
  assert [c['index'] for c in answer['choices']] == list(range(count * body.get('n', 1)))
  for choice in answer['choices']:
    text = choice['text'] if prompts else choice['message']['content']
    assert text.startswith('You said: ')


NEUTRAL = [
  {'frequency_penalty': 0, 'presence_penalty': 0.0, 'logit_bias': {}},
  {'top_logprobs': 0},
  {'logprobs': True, 'top_logprobs': 0},
  {'response_format': {'type': 'text'}},
  {'tools': [], 'tool_choice': 'none', 'functions': [], 'function_call': 'none'},
  {'tools': [{'type': 'function', 'function': {'name': 'f'}}], 'tool_choice': 'none'},
  {'tool_choice': 'auto', 'parallel_tool_calls': True},
  {'parallel_tool_calls': False, 'store': False},
  {'stop': [], 'seed': None, 'n': 1, 'stream_options': None},
  {'store': True, 'service_tier': 'auto', 'safety_identifier': 'x', 'prompt_cache_key': 'y'},
  {'modalities': ['text'], 'audio': None, 'prediction': {'type': 'content', 'content': 'x'}},
  {'reasoning_effort': 'none', 'verbosity': 'medium', 'web_search_options': None},
  {'metadata': {'chat_id': 'abc', 'turn': '3'}, 'user': 'ann'},
  {'metadata': {}},
  {'temperature': None, 'top_p': None, 'max_tokens': None, 'made_up_later': None},
  {'repetition_penalty': 1.0, 'min_p': 0},
  {'top_a': 0, 'length_penalty': 1.0, 'stop_token_ids': [], 'min_tokens': 0},
  {'use_beam_search': False, 'ignore_eos': False, 'skip_special_tokens': True, 'best_of': 1},
  {'thinking': {'type': 'disabled'}, 'chat_template_kwargs': {'enable_thinking': False}},
  {'functions': [{'name': 'f'}], 'function_call': 'none'},
  {'response_format': {'type': 'text', 'json_schema': None}, 'reasoning': {'effort': None}},
  {'stream_options': {'include_usage': False, 'continuous_usage_stats': False}},
  {'seed': 2**63 - 1, 'n': 3},
  {'messages': [*HELLO, {'role': 'system', 'content': 'Be kind.'}]},
  {'messages': [*HELLO, {**DUMPED, 'content': None}, *HELLO]},
  {'messages': [*HELLO, {**DUMPED, 'reasoning_content': '', 'prefix': False}, *HELLO]},
  {'messages': [{'role': 'developer', 'content': 'Be kind.'}, *HELLO]},
  {'messages': [{**HELLO[0], 'name': 'ann'}]},
  {'messages': [*HELLO, DUMPED, *HELLO]},
  {'messages': [{'role': 'user', 'content': [{'type': 'text', 'text': t} for t in ('hel', 'lo')]}]},
  {'messages': [{'role': 'system', 'content': 'hello'}]},
]  # fmt: skip


@pytest.mark.parametrize('stream', [False, True])
@pytest.mark.parametrize('fields', NEUTRAL, ids=str)
def test_what_asks_for_nothing_changes_nothing(served, fields, stream):
  response = ask(served.client, **{'stream': stream, 'seed': 1, **fields})
  assert response.status_code == 200, response.text
  assert served.engine.requests[-1].messages[-1] == ('user', 'hello')


DEMANDS = [
  ({'tools': [{'type': 'function', 'function': {'name': 'f'}}]}, 'tools'),
  ({'tool_choice': 'required'}, 'tool_choice'),
  ({'functions': [{'name': 'f'}]}, 'functions'),
  ({'response_format': {'type': 'json_object'}}, 'response_format'),
  ({'modalities': ['text', 'audio']}, 'modalities'),
  ({'audio': {'voice': 'ash', 'format': 'wav'}}, 'audio'),
  ({'web_search_options': {}}, 'web_search_options'),
  ({'reasoning_effort': 'high'}, 'reasoning_effort'),
  ({'verbosity': 'low'}, 'verbosity'),
  ({'min_p': 0.1}, 'min_p'),
  ({'repetition_penalty': True}, 'repetition_penalty'),
  ({'ignore_eos': True}, 'ignore_eos'),
  ({'chat_template_kwargs': {'enable_thinking': True}}, 'chat_template_kwargs'),
  ({'logit_bias': {'03': 1, '3': 2}}, 'logit_bias'),
  ({'top_logprobs': 3}, 'top_logprobs'),
  ({'logprobs': True, 'top_logprobs': 21}, 'top_logprobs'),
  ({'n': 17}, 'n'),
  ({'store': 'yes'}, 'store'),
  ({'messages': [{**DUMPED, 'tool_calls': [{'id': 'x'}]}, *HELLO]}, 'messages[0].tool_calls'),
  ({'messages': [{'role': 'tool', 'content': 'x', 'tool_call_id': 'y'}]}, 'messages[0].role'),
  ({'messages': [{**HELLO[0], 'content': [{'type': 'file'}]}]}, 'messages[0].content[0].type'),
]  # fmt: skip


@pytest.mark.parametrize('fields, param', DEMANDS, ids=str)
def test_what_cannot_be_done_is_refused_by_name(served, fields, param):
  error = ask(served.client, **fields)
  assert error.status_code == 400, error.text
  assert error.json()['error']['param'] == param and param in error.json()['error']['message']


def test_instructions_after_the_question_are_read_before_it(served):
  messages = [{'role': 'system', 'content': 'A.'}, *HELLO, {'role': 'developer', 'content': 'B.'}]
  rft = ask(served.client, messages=messages).json()['rft']
  assert served.engine.requests[-1].messages == (('system', 'A.\nB.'), ('user', 'hello'))
  on = ask(served.client, messages=messages, metadata={'conversation_id': rft['conversation_id']})
  assert on.status_code == 200 and served.engine.requests[-1].messages[-1] == ('user', 'hello')


def test_the_last_of_all_seeds_has_others_beside_it(served):
  rft = ask(served.client, seed=2**63 - 1, n=2).json()['rft']
  stored = [served.store.chats.generation(one['message_id']) for one in rft['choices']]
  assert [one.seed for one in stored] == [2**63 - 1, -(2**63)]


def test_a_body_may_begin_with_a_byte_order_mark(served):
  body = json.dumps({'model': 'rft', 'messages': HELLO}).encode('utf-8-sig')
  headers = {'Content-Type': 'application/json'}
  sent = served.client.post('/v1/chat/completions', content=body, headers=headers)
  assert sent.status_code == 200


def test_settings_reach_the_engine(served):
  ask(
    served.client,
    frequency_penalty=0.5,
    presence_penalty=-1,
    logit_bias={'3': 2, '4': -100},
    max_completion_tokens=3,
  )
  request = served.engine.requests[-1]
  assert (request.frequency_penalty, request.presence_penalty) == (0.5, -1)
  assert request.logit_bias == {3: 2, 4: -100} and request.max_tokens == 3


def test_what_an_answer_was_sampled_with_is_stored(served):
  rft = ask(served.client, presence_penalty=1, logit_bias={'3': 2.5}).json()['rft']
  stored = served.store.chats.generation(rft['message_id'])
  assert (stored.frequency_penalty, stored.presence_penalty) == (0, 1)
  assert stored.logit_bias == {3: 2.5}


def test_more_tokens_than_fit_are_cut_and_the_usage_says_so(served):
  words = ' '.join('word' for _ in range(100))
  answer = ask(served.client, words, max_tokens=10**6).json()
  assert answer['choices'][0]['finish_reason'] == 'length'
  assert answer['usage']['completion_tokens'] == answer['usage']['max_tokens'] == 50
  for fits in (ask(served.client, max_tokens=10**6), ask(served.client, words, max_tokens=7)):
    assert 'max_tokens' not in fits.json()['usage']


def test_sixteen_answers_and_their_stream(served):
  whole = ask(served.client, n=16, seed=3).json()
  assert len({one['message_id'] for one in whole['rft']['choices']}) == 16
  assert [request.seed for request in served.engine.requests[-16:]] == list(range(3, 19))
  assert len({request.group for request in served.engine.requests[-16:]}) == 1
  *chunks, _ = events(ask(served.client, n=16, stream=True).text)
  texts = [''] * 16
  for chunk in chunks:
    (choice,) = chunk['choices']
    texts[choice['index']] += choice['delta'].get('content') or ''
  assert texts == ['You said: hello'] * 16


ABSENT = ['/v1/embeddings', '/v1/responses', '/chat/completions', '/v1/v1/chat/completions']


@pytest.mark.parametrize('path', ABSENT)
def test_what_there_is_not_says_so(served, path):
  response = served.client.post(path, json={'model': 'rft', 'input': 'x'})
  error = response.json()['error']
  assert response.status_code == 404 and error['type'] == 'invalid_request_error'
  assert path in error['message'] and error['code'] == 'unknown_url'


def test_other_names_of_models_are_mapped_and_the_list_is_honest(served):
  ids = [model['id'] for model in served.client.get('/v1/models').json()['data']]
  assert ids == ['rft', 'rft:base', 'gpt-4o', 'team/plain']
  for name in (*ids, 'gpt-3.5-turbo'):
    assert served.client.get(f'/v1/models/{name}').json()['id'] == name
    answer = ask(served.client, model=name).json()
    assert answer['model'] == name
    base = name in ('rft:base', 'team/plain')
    assert served.engine.requests[-1].version == (0 if base else None)
  for name in ('claude', 'GPT-4o', 'rft@v9', 'team'):
    assert ask(served.client, model=name).status_code == 404
    assert served.client.get(f'/v1/models/{name}').status_code == 404


def test_any_name_can_be_mapped_but_ours_stay_ours():
  names = Names(['*'])
  assert names.named('anything') == (None, True) and names.named('rft:base') == (0, False)
  assert names.named('rft@v3') == (3, False) and names.listed([2]) == ['rft', 'rft:base', 'rft@v2']
  assert Names(['old=rft@v3']).listed([2]) == ['rft', 'rft:base', 'rft@v2']


@pytest.mark.parametrize('alias', ['rft=rft:base', 'x=gpt-4', '=rft', 'rft@v3', ''])
def test_an_alias_must_stand_for_one_of_ours(alias):
  with pytest.raises(ConfigError, match=r'serve\.models'):
    Names([alias])


def test_the_openai_client_can_do_all_of_it(served):
  openai = pytest.importorskip('openai')
  client = openai.OpenAI(base_url=f'{served.url}/v1', api_key='anything', max_retries=0)
  first = client.chat.completions.create(model='gpt-4o', messages=HELLO, logprobs=True)
  assert bytes(first.choices[0].logprobs.content[0].bytes) == b'You'
  message = first.choices[0].message.model_dump()
  messages = [*HELLO, message, {'role': 'user', 'content': 'and?'}]
  second = client.chat.completions.create(
    model='gpt-4o', messages=messages, tools=[], tool_choice='none', stop=[], store=False, seed=None
  )
  assert second.choices[0].message.content == 'You said: and?'
  assert [tuple(m) for m in served.engine.requests[-1].messages][1][1] == 'You said: hello'
  text = client.completions.create(model='rft', prompt=['a', 'b'], logprobs=0, best_of=1)
  assert [c.text for c in text.choices] == ['You said: a', 'You said: b']
  assert text.choices[1].logprobs.text_offset == [0, 3, 9]
  assert client.models.retrieve('gpt-4o').id == 'gpt-4o'
  with pytest.raises(openai.NotFoundError, match='embeddings'):
    client.embeddings.create(model='rft', input='x')
  with pytest.raises(openai.NotFoundError, match='chat/completions'):
    client.responses.create(model='rft', input='x')
  with pytest.raises(openai.BadRequestError, match='calls no tools'):
    tool = {'type': 'function', 'function': {'name': 'f', 'parameters': {}}}
    client.chat.completions.create(model='rft', messages=HELLO, tools=[tool])
