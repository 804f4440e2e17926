"""Ruses of accounts that are new, move, leave or repeat themselves: they gain nothing, and cost
nobody anything."""

import pytest
from talk import LATER, feedback
from test_agreement import LIE, TRUTH, Crowd

from rft_jax.feedback.gates import DAY_US


@pytest.fixture
def crowd(tmp_path):
  made = []

  def make(people: int = 20) -> Crowd:
    made.append(Crowd(tmp_path / str(len(made)), people))
    return made[-1]

  yield make
  for one in made:
    one.store.close()


@pytest.mark.parametrize('new', [1, 5])
def test_new_accounts_beside_a_fifth_neither_teach_nor_stop_anything(crowd, new):
  c = crowd(20)
  for one in (*c.ids[:4], *(c.newcomer() for _ in range(new))):
    c.edit(one, LIE, answer=TRUTH)
    c.vote(one, answer=LIE)
  assert c.waiting == []
  for one in c.ids[4:9]:
    c.edit(one, TRUTH, answer=LIE)
  assert len(c.waiting) == 5


def test_who_goes_about_joins_no_others(crowd):
  """One account that has been where the others are makes them no single person."""
  c = crowd(14)
  for number in range(3):
    c.vote(c.ids[3], answer=f'{number}', asked='Where?', origin=f'home {number}')
  c.edit(c.ids[3], TRUTH, origin='home 3')
  for number, one in enumerate(c.ids[:3]):
    c.edit(one, TRUTH, origin=f'home {number}')
  assert len(c.waiting) == 3


def test_the_crowd_is_not_made_smaller_or_larger_by_moving_and_leaving(crowd):
  c = crowd(0)
  people = [c.newcomer() for _ in range(20)]
  for number, one in enumerate(people):
    c.vote(one, answer='Hm.', asked=f'Who is {one}?', origin=f'home {number}')
  c.clock.us += 2 * DAY_US
  for number, one in enumerate(people[:4]):
    c.edit(one, LIE, answer=TRUTH, origin=f'home {number + 10}')
  assert c.waiting == []
  for _ in range(20):
    one = c.newcomer()
    c.vote(one, answer='Hm.', asked=f'Who is {one}?', origin='den')
    c.store.users.erase(one, one).result(LATER)
  c.clock.us += 2 * DAY_US
  for one in people[10:15]:
    c.edit(one, 'Meat.', answer='Cheese.')
  assert len(c.waiting) == 5


def test_words_cannot_ride_on_a_chip(crowd):
  c = crowd(20)
  ridden = c.vote(c.ids[5], 'critique', {'text': LIE}, tags=['wrong_fact'], answer=LIE)
  for one in c.ids[:5]:
    c.vote(one, 'critique', {'text': ''}, tags=['wrong_fact'], answer=LIE)
  assert len(c.waiting) == 5 and c.state(ridden) == 'held'


def test_what_few_push_down_beside_a_wish_costs_nobody_trust(crowd):
  c = crowd(20)
  liked = 'Meat, as all cats do.'
  fans = c.ids[10:13]
  c.vote(fans[0], answer=liked)
  for one in c.ids[:3]:
    c.edit(one, TRUTH, answer=liked)
  for one in c.ids[4:9]:
    c.edit(one, TRUTH, answer=LIE)
  for one in fans[1:]:
    c.vote(one, answer=liked)
  assert c.waiting and all(c.trust(one) == 0.5 for one in fans)


def test_what_a_muted_account_said_alone_is_for_others_to_say(crowd):
  c = crowd(10)
  c.edit(c.ids[0], TRUTH)
  c.store.users.set_state(c.ids[0], 'muted', 'me').result(LATER)
  c.store.events.quarantine(c.store.events.seqs(c.ids[0]), 'spam', 'me').result(LATER)
  for one in c.ids[1:4]:
    c.edit(one, TRUTH)
  assert len(c.waiting) == 3


@pytest.mark.parametrize('how', ['erase', 'delete', 'quarantine'])
def test_who_leaves_before_a_wish_is_learned_lets_the_others_wait_again(crowd, how):
  c = crowd(14)
  given = [c.edit(one, TRUTH) for one in c.ids[:3]]
  match how:
    case 'erase':
      c.store.users.erase(c.ids[0], 'me').result(LATER)
    case 'delete':
      answer = c.store.chats.message(given[0].message_id)
      c.store.chats.delete(answer.conversation_id).result(LATER)
    case 'quarantine':
      c.store.events.quarantine([given[0].seq], 'spam', 'me').result(LATER)
  assert c.waiting == [] and c.store.agreements.page('held')[0].text == TRUTH
  c.edit(c.ids[0 if how == 'delete' else 3], TRUTH)
  assert len(c.learn().items) == 3


def test_the_same_vote_over_and_over_delays_no_look_at_a_wish(crowd):
  c = crowd(14)
  reply = c.reply(c.ids[0], LIE)
  for _ in range(40):
    given = feedback(reply, 'edit', {'content': TRUTH})
    c.store.events.add(given, c.ids[0]).result(LATER)
    c.store.events.retract(given.id, c.ids[0]).result(LATER)
  for one in c.ids[1:4]:
    c.edit(one, TRUTH)
  assert len(c.waiting) == 3
