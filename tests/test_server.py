"""The server as its clients see it: answers, streams, feedback and its receipts, over sockets."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import Served, ask, events, until, vote
from test_layers import FILES, imports, inside, layer

from rft_jax.feedback.database import StoreUnavailable
from rft_jax.feedback.ids import is_id, uuid7
from rft_jax.serve import pages


@pytest.fixture
def served(tmp_path):
  with Served(tmp_path) as served:
    yield served


def test_an_answer_has_openais_shape_and_ours(served):
  served.engine.live = 12
  response = ask(served.client, 'hello there', seed=7)
  body = response.json()
  rft = body.pop('rft')
  created = body.pop('created')
  assert abs(created - time.time()) < 10
  assert body == {
    'id': f'chatcmpl-{rft["message_id"]}',
    'object': 'chat.completion',
    'model': 'rft',
    'system_fingerprint': 'rft-g12-u0',
    'choices': [
      {
        'index': 0,
        'message': {'role': 'assistant', 'content': 'You said: hello there'},
        'logprobs': None,
        'finish_reason': 'stop',
      }
    ],
    'usage': {'prompt_tokens': 1, 'completion_tokens': 4, 'total_tokens': 5},
  }
  assert rft['version'] == {'global': 12, 'personal': 0}
  assert all(is_id(rft[name]) for name in ('message_id', 'user_message_id', 'conversation_id'))
  assert response.headers['x-rft-message-id'] == rft['message_id']
  assert response.headers['x-rft-version'] == 'rft-g12-u0'
  generation = served.store.chats.generation(rft['message_id'])
  assert (generation.seed, generation.global_version, len(generation.completion_ids)) == (7, 12, 4)


def test_a_stream_is_framed_as_openai_does(served):
  response = ask(
    served.client, 'hi', stream=True, stream_options={'include_usage': True}, max_tokens=2
  )
  assert response.headers['content-type'].startswith('text/event-stream')
  first = events(response.text)[0]
  head = {name: first[name] for name in ('id', 'object', 'created', 'model', 'system_fingerprint')}
  rft = first['rft']
  assert head['object'] == 'chat.completion.chunk'

  def chunk(delta, finish=None, **more):
    choice = {'index': 0, 'delta': delta, 'logprobs': None, 'finish_reason': finish}
    return {**head, 'choices': [choice], **more}

  usage = {'prompt_tokens': 1, 'completion_tokens': 2, 'total_tokens': 3}
  parts = [
    chunk({'role': 'assistant', 'content': ''}, rft=rft),
    chunk({'content': 'You'}),
    chunk({'content': ' said:'}),
    chunk({}, 'length', rft=rft),
    {**head, 'choices': [], 'usage': usage, 'rft': rft},
  ]
  golden = ''.join(f'data: {json.dumps(part, separators=(",", ":"))}\n\n' for part in parts)
  assert response.text == golden + 'data: [DONE]\n\n'


def test_what_was_answered_is_durable_before_the_last_chunk(served):
  with served.client.stream(
    'POST',
    '/v1/chat/completions',
    json={'model': 'rft', 'stream': True, 'messages': [{'role': 'user', 'content': 'hi'}]},
  ) as response:
    for line in response.iter_lines():
      if '"finish_reason":"stop"' in line:
        message_id = json.loads(line[6:])['rft']['message_id']
        assert served.store.chats.generation(message_id).finish_reason == 'stop'
        return
  pytest.fail('no last chunk')


def test_several_answers_to_one_question(served):
  body = ask(served.client, n=3, seed=5).json()
  assert [c['index'] for c in body['choices']] == [0, 1, 2]
  names = [choice['message_id'] for choice in body['rft']['choices']]
  messages = served.store.chats.messages(body['rft']['conversation_id'])
  assert {m.id for m in messages if m.parent_id == body['rft']['user_message_id']} == set(names)
  assert [r.seed for r in served.engine.requests] == [5, 6, 7]
  streamed = events(ask(served.client, n=2, stream=True).text)
  assert {c['choices'][0]['index'] for c in streamed[:-1]} == {0, 1}


def test_text_completions_and_logprobs(served):
  body = {'model': 'rft:base', 'prompt': 'once', 'logprobs': True}
  answer = served.client.post('/v1/completions', json=body).json()
  (choice,) = answer['choices']
  assert choice['text'] == 'You said: once' and answer['object'] == 'text_completion'
  assert choice['logprobs'] == {
    'tokens': ['You', ' said:', ' once'],
    'token_logprobs': [-0.5] * 3,
    'top_logprobs': None,
    'text_offset': [0, 3, 9],
  }
  assert served.engine.requests[0].user_id is None and served.engine.requests[0].version == 0
  assert served.engine.requests[0].prompt == 'once'


def test_a_conversation_goes_on_branches_and_is_listed(served):
  first = ask(served.client, 'one').json()['rft']
  place = {'conversation_id': first['conversation_id']}
  second = ask(served.client, 'two', metadata=place).json()['rft']
  again = {'parent_message_id': second['user_message_id']}
  third = ask(served.client, 'two', metadata={**again, 'compare': 'b'}).json()['rft']
  other = {**place, 'parent_message_id': first['message_id']}
  fourth = ask(served.client, 'three', metadata=other).json()['rft']
  assert third['user_message_id'] == second['user_message_id']
  got = served.client.get(f'/v1/conversations/{first["conversation_id"]}').json()
  tree = {m['id']: (m['parent_id'], m['role'], m['content']) for m in got['messages']}
  assert tree == {
    first['user_message_id']: (None, 'user', 'one'),
    first['message_id']: (first['user_message_id'], 'assistant', 'You said: one'),
    second['user_message_id']: (first['message_id'], 'user', 'two'),
    second['message_id']: (second['user_message_id'], 'assistant', 'You said: two'),
    third['message_id']: (second['user_message_id'], 'assistant', 'You said: two'),
    fourth['user_message_id']: (first['message_id'], 'user', 'three'),
    fourth['message_id']: (fourth['user_message_id'], 'assistant', 'You said: three'),
  }
  generation = served.store.chats.generation(third['message_id'])
  assert (generation.pair_side, generation.pair_group) == ('b', second['user_message_id'])
  listed = served.client.get('/v1/conversations').json()['data']
  assert [(c['id'], c['title']) for c in listed] == [(first['conversation_id'], 'one')]
  path = f'/v1/conversations/{first["conversation_id"]}'
  assert served.client.delete(path).json()['deleted']
  assert served.client.get(path).status_code == 404


def test_what_a_client_says_was_said_before_is_kept(served):
  history = [
    {'role': 'system', 'content': 'Be brief.'},
    {'role': 'user', 'content': [{'type': 'text', 'text': 'one'}]},
    {'role': 'assistant', 'content': 'two'},
    {'role': 'user', 'content': 'three'},
  ]
  rft = ask(served.client, messages=history).json()['rft']
  path = served.store.chats.path(rft['message_id'])
  assert [m.content for m in path] == ['one', 'two', 'three', 'You said: three']
  assert served.store.chats.get(rft['conversation_id']).system_prompt == 'Be brief.'


def test_feedback_is_kept_once_and_followed_to_its_end(served):
  served.learner.learning = True
  rft = ask(served.client).json()['rft']
  first = vote(served.client, rft['message_id'], feedback_token=rft['feedback_token'])
  receipt = first.json()
  assert first.status_code == 201 and receipt['status'] == 'queued' and receipt['seq'] == 1
  until(lambda: served.learner.noted)
  again = vote(served.client, rft['message_id'], id=receipt['id'])
  assert again.status_code == 200 and again.json()['duplicate']
  other = vote(served.client, rft['message_id'], id=receipt['id'], value={'label': False})
  assert other.status_code == 422 and other.json()['error']['code'] == 'idempotency_conflict'
  seen = events(served.client.get(f'/v1/feedback/{receipt["id"]}/events').text)
  assert seen[-1]['status'] == 'served' and seen[-1]['applied_version'] == 1
  assert set(seen[-1]['latency_ms']) == {'ack', 'queue', 'step', 'publish', 'total'}
  assert served.client.get(f'/v1/feedback/{receipt["id"]}').json() == seen[-1]
  me = served.client.get('/v1/me').json()
  assert me['version'] == {'global': 0, 'personal': 1}
  adapter = served.client.get('/v1/me/adapter').json()
  assert (adapter['version'], adapter['n_events'], adapter['kl_to_ref']) == (1, 1, 0.1)
  assert served.client.get('/v1/me/adapter/export').content == b'weights'
  assert served.client.post('/v1/me/adapter/reset', json={}).json() == {'version': 0}
  assert served.client.get(f'/v1/feedback/{receipt["id"]}').json()['status'] == 'rolled_back'


def test_changes_of_a_receipt_arrive_as_they_happen(served):
  rft = ask(served.client).json()['rft']
  receipt = vote(served.client, rft['message_id']).json()
  path = f'/v1/feedback/{receipt["id"]}/events'
  with served.client.stream('GET', path) as response:
    lines = response.iter_lines()
    first = next(line for line in lines if line.startswith('data'))
    assert json.loads(first[6:])['status'] == 'queued'
    assert ': ping' in [next(lines), next(lines), next(lines)]
    served.browser().delete(f'/v1/feedback/{receipt["id"]}')
    rest = [json.loads(line[6:])['status'] for line in lines if line.startswith('data')]
  assert rest == ['retracted']


def test_64_votes_with_one_id_at_once_are_one(served):
  message_id, vote_id = ask(served.client).json()['rft']['message_id'], uuid7()
  with ThreadPoolExecutor(16) as pool:
    answers = list(pool.map(lambda _: vote(served.client, message_id, id=vote_id), range(64)))
  assert sorted(a.status_code for a in answers) == [200] * 63 + [201]


def test_mine_shows_what_was_said_newest_first(served):
  message_id = ask(served.client, 'why?').json()['rft']['message_id']
  vote(served.client, message_id)
  vote(served.client, message_id, kind='critique', value={'text': ''}, tags=['tone'])
  data = served.client.get('/v1/feedback?mine=1').json()['data']
  assert [one['kind'] for one in data] == ['critique', 'binary']
  assert data[0]['tags'] == ['tone'] and data[1]['prompt'] == 'why?'
  assert data[1]['answer'] == 'You said: why?' and data[1]['value'] == {'label': True}


def start_stream(served):
  """A stream that is halfway; (response, the lines to come, message id)."""
  served.engine.pause()
  body = {'model': 'rft', 'stream': True, 'messages': [{'role': 'user', 'content': 'hi'}]}
  request = served.client.build_request('POST', '/v1/chat/completions', json=body)
  response = served.client.send(request, stream=True)
  lines = response.iter_lines()
  return response, lines, json.loads(next(lines)[6:])['rft']['message_id']


def test_a_client_that_leaves_frees_its_slot_and_its_answer_is_kept_as_broken_off(served):
  response, _, message_id = start_stream(served)
  assert served.engine.slots_busy == 1
  response.close()
  until(lambda: served.engine.slots_busy == 0)
  until(lambda: served.store.chats.generation(message_id))
  assert served.store.chats.generation(message_id).finish_reason == 'abort'
  until(lambda: not served.service.limits.running)
  receipt = vote(served.client, message_id).json()
  assert receipt['status'] == 'rejected' and 'abort' in receipt['reasons'][0]


def test_leaving_before_the_answer_is_whole_frees_the_slot(served):
  served.engine.pause()
  with pytest.raises(Exception, match='timed out'):
    ask(served.browser(timeout=0.3))
  until(lambda: served.engine.requests and served.engine.slots_busy == 0)
  until(lambda: not served.service.limits.running)


def test_feedback_before_the_end_of_its_stream_waits_for_it(served):
  _, lines, message_id = start_stream(served)
  early = vote(served.browser(), message_id)
  assert early.status_code == 201 and early.json()['seq'] is None
  served.engine.resume()
  assert 'data: [DONE]' in list(lines)
  assert served.store.events.receipt(early.json()['id']).seq == 1


def test_a_silent_stream_is_pinged(served):
  served.engine.pause()
  body = {'model': 'rft', 'stream': True, 'messages': [{'role': 'user', 'content': 'hi'}]}
  with served.client.stream('POST', '/v1/chat/completions', json=body) as response:
    lines = response.iter_lines()
    assert ': ping' in [next(lines) for _ in range(4)]
    served.engine.resume()
    assert 'data: [DONE]' in list(lines)


def test_a_failure_in_a_stream_is_an_event_and_no_done(served):
  served.engine.fail_at = 1
  seen = events(ask(served.client, stream=True).text)
  assert seen[-1] == {
    'error': {'message': 'the engine broke', 'type': 'server_error', 'param': None, 'code': None}
  }
  message_id = seen[0]['rft']['message_id']
  assert served.store.chats.generation(message_id).finish_reason == 'error'
  response = ask(served.client)
  assert response.status_code == 500 and response.json()['error']['message'] == 'the engine broke'
  assert served.engine.slots_busy == 0 and not served.service.limits.running


def test_a_full_engine_says_when_to_come_back(served):
  served.engine.slots = 0
  response = ask(served.client)
  assert response.status_code == 429 and response.headers['retry-after'] == '1'
  assert response.json()['error']['code'] == 'queue_full'
  served.engine.slots = 1
  assert ask(served.client, n=2).status_code == 429
  assert served.engine.slots_busy == 0
  assert not served.client.get('/v1/conversations').json()['data']


def test_nothing_is_acknowledged_that_was_not_saved(served, monkeypatch):
  message_id = ask(served.client).json()['rft']['message_id']

  def refuse(*_):
    raise StoreUnavailable('full')

  monkeypatch.setattr(served.store.db, 'write', refuse)
  response = vote(served.client, message_id)
  assert response.status_code == 503 and response.headers['retry-after'] == '1'
  assert ask(served.client).status_code == 503
  assert served.engine.slots_busy == 0


def test_the_openai_client_works_unmodified(served):
  openai = pytest.importorskip('openai')
  served.engine.live = 2
  client = openai.OpenAI(base_url=f'{served.url}/v1', api_key='anything', max_retries=0)
  assert [m.id for m in client.models.list()] == ['rft', 'rft:base', 'rft@v1', 'rft@v2']
  talk = [{'role': 'user', 'content': 'hello'}]
  whole = client.chat.completions.create(model='rft', messages=talk, n=2, seed=1, user='me')
  assert [c.message.content for c in whole.choices] == ['You said: hello'] * 2
  assert whole.usage.completion_tokens == 6 and whole.rft['version']['global'] == 2
  options = {'include_usage': True}
  stream = client.chat.completions.create(
    model='rft@v1', messages=talk, stream=True, stream_options=options, stop=['x']
  )
  chunks = list(stream)
  text = ''.join(c.choices[0].delta.content or '' for c in chunks if c.choices)
  assert text == 'You said: hello' and chunks[-1].usage.total_tokens == 4
  assert served.engine.requests[-1].stop == ('x',) and served.engine.requests[-1].version == 1
  assert client.completions.create(model='rft', prompt='a').choices[0].text == 'You said: a'
  with pytest.raises(openai.NotFoundError):
    client.chat.completions.create(model='gpt', messages=talk)
  with pytest.raises(openai.BadRequestError, match='temperature'):
    client.chat.completions.create(model='rft', messages=talk, temperature=3)


def test_an_administrator_can_go_back_freeze_and_quarantine(served):
  served.learner.learning = True
  rft = ask(served.client).json()['rft']
  given = vote(served.client, rft['message_id']).json()
  served.client.get(f'/v1/feedback/{given["id"]}/events')
  user_id = served.client.get('/v1/me').json()['user_id']
  scope = given['scope']
  versions = served.client.get('/admin/versions', params={'scope': scope}).json()
  assert [(v['version'], v['status']) for v in versions['data']] == [(1, 'live'), (0, 'retired')]
  body = {'scope': scope, 'version': 0, 'reason': 'worse'}
  assert served.client.post('/admin/rollback', json=body).json()['undone'] == [1]
  again = served.client.post('/admin/rollback', json={**body, 'version': 1})
  assert again.status_code == 409
  versions = served.client.get('/admin/versions', params={'scope': scope}).json()
  assert versions['live'] == 0 and versions['frozen']
  thaw = {'scope': scope, 'frozen': False}
  assert served.client.post('/admin/freeze', json=thaw).json() == thaw
  set_aside = {'user_id': user_id, 'reason': 'spam'}
  assert served.client.post('/admin/quarantine', json=set_aside).json() == {'quarantined': 1}
  users = {u['user_id']: u for u in served.client.get('/admin/users').json()['data']}
  assert users[user_id]['quarantined'] and users[user_id]['n_events'] == 1
  metrics = served.client.get('/admin/metrics').json()
  assert set(metrics) == {'latency', 'reflection', 'satisfaction', 'versions'}
  assert metrics['satisfaction'][0]['up'] == 1
  actions = [a['action'] for a in served.store.samples.audit()]
  assert actions == ['quarantine', 'user_state', 'freeze', 'rollback']


def test_an_administrator_can_have_everyone_unlearn_a_user(served):
  given = vote(served.client, ask(served.client).json()['rft']['message_id']).json()
  user_id = served.client.get('/v1/me').json()['user_id']
  body = {'user_id': user_id, 'reason': 'poison'}
  assert served.client.post('/admin/unlearn', json=body).json() == {'version': 0, 'quarantined': 1}
  assert served.learner.unlearned == user_id
  assert served.store.users.get(user_id).state == 'muted'
  assert served.client.get(f'/v1/feedback/{given["id"]}').json()['status'] == 'quarantined'


def test_prometheus_can_read_the_metrics(served):
  vote(served.client, ask(served.client).json()['rft']['message_id'])
  text = served.client.get('/metrics').text
  families = {f.name: f for f in text_string_to_metric_families(text)}
  values = {s.name: s.value for f in families.values() for s in f.samples}
  assert values['rft_feedback_ack_seconds_count'] == 1 and values['rft_pending_events'] == 1
  assert values['rft_store_healthy'] == 1 and values['rft_ttft_seconds_count'] == 1
  wanted = 'feedback feedback_to_served_seconds oldest_pending_seconds train_step_seconds kl_ref'
  wanted += ' canary_fail rollback version satisfaction itl_seconds slots_busy'
  wanted += ' generation_errors adapter_rows'
  assert {f'rft_{name}' for name in wanted.split()} <= set(families)


def test_health_and_status(served):
  assert served.client.get('/healthz').json() == {'status': 'ok'}
  assert served.client.get('/readyz').status_code == 200
  served.engine.ready = False
  assert served.client.get('/readyz').status_code == 503
  status = served.client.get('/v1/status').json()
  assert status['ready'] is False and status['version'] == {'global': 0, 'personal': 0}


def test_the_page_is_served_with_types_and_a_policy(served, tmp_path, monkeypatch):
  web = tmp_path / 'web'
  web.mkdir()
  monkeypatch.setattr(pages, 'WEB', web)
  assert served.client.get('/').status_code == 404
  (web / 'index.html').write_text('<p>page</p>')
  (web / 'app.js').write_text('export {}')
  (tmp_path / 'secret.txt').write_text('x')
  index = served.client.get('/')
  assert "default-src 'self'" in index.headers['content-security-policy']
  script = served.client.get('/web/app.js')
  assert script.headers['content-type'].startswith('text/javascript')
  for path in ('/web/', '/web/nothing.js', '/web/..%2fsecret.txt', '/web/%2e%2e/secret.txt'):
    response = served.client.get(path)
    assert response.status_code == 404 and response.json()['error']['message']


def test_training_does_not_import_the_server():
  """Only what `main` loads by name, a mode, may import it, and nothing else imports that mode."""
  libraries = {'fastapi', 'uvicorn', 'prometheus_client', 'starlette'}
  entries = set()
  apart = {'engine', 'learning', 'serve'}
  everything = [(path, imports(path)) for path in FILES if layer(path) not in apart]
  for path, names in everything:
    assert not libraries & {name.split('.')[0] for name in names}, path
    if any(inside(name) in apart for name in names):
      assert layer(path) == 'modes', path
      entries.add(f'rft_jax.modes.{path.stem}')
  assert not [(p, n) for p, names in everything for n in names if n in entries]
