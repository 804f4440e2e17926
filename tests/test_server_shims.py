"""Rewards as clients of other frameworks send them."""

import pytest
from served import Taught, ask, until

from rft_jax.serve import shims

NOBODY = '01900000-0000-7000-8000-000000000000'


@pytest.fixture
def served(tmp_path):
  with Taught(tmp_path) as served:
    yield served


def rewards(served):
  user = served.client.get('/v1/me').json()['user_id']
  given = served.store.events.of_author(user)[::-1]
  return [(r.message_id, r.value['reward'], r.status) for r in given]


def test_trinitys_feedback_rewards_answers_by_the_ids_of_their_completions(served):
  one, two = (ask(served.client).json() for _ in range(2))
  names = [one['id'], two['rft']['message_id']]
  sent = {'reward': 1, 'msg_ids': names, 'task_id': 7, 'run_id': 0}
  answer = served.client.post('/feedback', json=sent).json()
  assert answer['status'] == 'success' and len(answer['ids']) == 2
  assert served.client.post('/commit', json={}).json() == {'status': 'success', 'pending': 0}
  ids = [body['rft']['message_id'] for body in (one, two)]
  until(lambda: rewards(served) == [(ids[0], 1.0, 'served'), (ids[1], 1.0, 'served')])
  served.client.post('/feedback', json={'reward': -0.5, 'msg_ids': names[:1]})
  assert rewards(served)[0][2] == 'superseded', 'a corrected reward counts'
  assert served.store.events.get(1).source == 'shim'


def test_a_commit_says_what_is_not_learned(served, monkeypatch):
  monkeypatch.setattr(shims, 'COMMIT_SECONDS', 0.3)
  served.learner.step_s = 1.0
  served.client.post('/feedback', json={'reward': 1, 'msg_ids': [ask(served.client).json()['id']]})
  assert served.client.post('/commit').json()['pending'] == 1


def test_areals_reward_is_for_the_last_answer_or_a_named_one(served):
  early = served.client.post('/rl/set_reward', json={'reward': 0.0})
  assert early.status_code == 400 and 'no answer yet' in early.json()['error']['message']
  first, last = (ask(served.client).json()['rft']['message_id'] for _ in range(2))
  said = served.client.post('/rl/set_reward', json={'reward': 1.0}).json()
  assert said['message'] == 'success' and said['interaction_id'] == last
  named = {'reward': 0.5, 'interaction_id': f'chatcmpl-{first}'}
  assert served.client.post('/rl/set_reward', json=named).json()['interaction_id'] == first
  assert [(m, r) for m, r, _ in rewards(served)] == [(last, 1.0), (first, 0.5)]


@pytest.mark.parametrize(
  'path, body',
  [
    ('/feedback', {'reward': 1}),
    ('/feedback', {'msg_ids': ['x'], 'reward': 1}),
    ('/feedback', {'msg_ids': [], 'reward': 1}),
    ('/feedback', {'msg_ids': [NOBODY, 'x'], 'reward': 1}),
    ('/feedback', {'msg_ids': 'x', 'reward': 1}),
    ('/rl/set_reward', {}),
    ('/rl/set_reward', {'reward': True}),
    ('/rl/set_reward', {'reward': 5}),
    ('/rl/set_reward', {'reward': 1, 'interaction_id': 7}),
  ],
)
def test_a_reward_that_makes_no_sense_is_refused(served, path, body):
  ask(served.client)
  assert served.client.post(path, json=body).status_code == 400
  assert not rewards(served)
