"""What people wait for is looked at again without a new vote, and what staff say counts at once."""

import pytest
from talk import LATER
from test_agreement import DAY_US, TRUTH, Crowd

from rft_jax.feedback.schema import Invalid, validate


@pytest.fixture
def crowd(tmp_path):
  made = Crowd(tmp_path, 4)
  yield made
  made.store.close()


def test_accounts_that_were_young_when_they_agreed_count_once_they_are_older(crowd):
  new = [crowd.newcomer() for _ in range(3)]
  for one in new:
    crowd.edit(one, TRUTH)
  assert crowd.waiting == []
  assert crowd.store.agreements.look_again().result(LATER) == 1 and crowd.waiting == []
  crowd.clock.us += 2 * DAY_US
  crowd.store.agreements.look_again().result(LATER)
  assert len(crowd.waiting) == 3


def test_all_are_looked_at_in_turn(crowd, monkeypatch):
  monkeypatch.setattr('rft_jax.feedback.agreements.LOOKED', 2)
  for number in range(5):
    for one in crowd.ids[:2]:
      crowd.edit(one, TRUTH, asked=f'What is {number}?')
  assert [crowd.store.agreements.look_again().result(LATER) for _ in range(4)] == [2, 2, 1, 2]


def test_what_staff_say_is_accepted_in_the_list_too(crowd):
  staff = crowd.store.users.create('Staff', staff=True).result(LATER).id
  crowd.edit(staff, TRUTH)
  (found,) = [one for one in crowd.store.agreements.page() if one.kind == 'edit']
  assert found.state == 'accepted' and found.reasons == ('staff',)


@pytest.mark.parametrize('text', ['\u3164', ' \u2800\u2800', '\u115f\u1160', '\u200b\n', '\uffa0'])
def test_an_edit_of_letters_that_show_nothing_is_refused(text):
  body = {
    'id': '0192f0c1-2345-7abc-8def-0123456789ab',
    'target': {'message_id': '0192f0c1-2345-7abc-8def-0123456789ac'},
    'kind': 'edit',
    'value': {'content': text},
  }
  with pytest.raises(Invalid, match='nothing of this one'):
    validate(body)
