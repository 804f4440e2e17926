"""The administrator's page in a real browser: what teaches everyone, and who the users are."""

import re

import pytest
import visitor
from served import Taught, until
from talk import chat, edit
from visitor import expect, learned

from rft_jax.feedback import rows
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import User

pytestmark = visitor.needed
browser = visitor.browser


@pytest.fixture(scope='module')
def server(tmp_path_factory):
  with Taught(tmp_path_factory.mktemp('admin'), visitor.HASTY) as server:
    yield server


visit = visitor.visit


def wish(server, question, answer, name='Ada'):
  """Somebody corrects an answer; nobody else has yet."""
  user = server.store.users.create(name).result(5).id
  server.store.events.add(edit(chat(server.store, user, question), answer), user).result(5)
  return user


def decide(me, question, what, reason='worth it'):
  row = me['wish-row'].filter(has_text=question)
  row.get_by_test_id(f'wish-{what}').click()
  me['dialog-field'].fill(reason)
  me['dialog-confirm'].click()
  expect(me['dialog']).to_have_count(0)


def test_what_waits_is_listed_and_can_be_released(visit, server):
  wish(server, 'Who feeds the cat?', 'Miriam feeds the cat.')
  me, other = visit(), visit()
  me['tab-admin'].click()
  row = me['wish-row'].filter(has_text='Who feeds the cat?')
  expect(row).to_contain_text('Miriam feeds the cat.')
  expect(row).to_contain_text('1 person agrees, 3 are needed')
  row.locator('summary').click()
  expect(row.get_by_test_id('wish-author')).to_contain_text('Ada')
  expect(row.get_by_test_id('wish-author')).to_contain_text('trust: none yet')
  expect(other.ask('Who feeds the cat?')).to_contain_text('You said')
  decide(me, 'Who feeds the cat?', 'release')
  expect(me['wish-row'].filter(has_text='Who feeds the cat?')).to_have_count(0)
  me['wishes-accepted'].click()
  expect(me['wish-row']).to_contain_text(['Who feeds the cat?'])
  until(lambda: server.engine.live == 1)
  other['new'].click()
  expect(other.ask('Who feeds the cat?')).to_contain_text('Miriam feeds the cat.')


@pytest.mark.parametrize(
  ('what', 'state'),
  [('reject', 'rejected'), pytest.param('quarantine', 'quarantined', marks=pytest.mark.slow)],
)
def test_what_is_rejected_or_set_aside_teaches_nobody_else(visit, server, what, state):
  question = f'What shall we {what}?'
  wish(server, question, 'Nothing at all.')
  me = visit()
  me['tab-admin'].click()
  decide(me, question, what, 'spam of Friday')
  expect(me['wish-row'].filter(has_text=question)).to_have_count(0)
  me[f'wishes-{state}'].click()
  row = me['wish-row'].filter(has_text=question)
  expect(row).to_contain_text('spam of Friday')
  expect(row).to_have_attribute('data-state', state)
  me['wishes-held'].click()


def test_a_long_list_goes_on_page_by_page(visit, server):
  for n in range(25):
    wish(server, f'Question number {n}?', f'Answer number {n}.')
  me = visit()
  me['tab-admin'].click()
  expect(me['wish-row']).to_have_count(20)
  expect(me['wish-row'].first).to_contain_text('Question number 24?')
  me['wish-row'].first.locator('summary').click()
  me['wishes-more'].dblclick()
  expect(me['wish-row'].filter(has_text='Question number 0?')).to_have_count(1)
  expect(me['wish-row'].first.get_by_test_id('wish-author')).to_be_visible()
  rows = me['wish-row'].count()
  assert len({row.get_attribute('data-wish') for row in me['wish-row'].all()}) == rows >= 25
  decide(me, 'Question number 1?', 'reject')
  expect(me['wish-row'].filter(has_text='Question number 1?')).to_have_count(0)
  expect(me['wish-row'].filter(has_text='Question number 0?')).to_have_count(1)


def test_ten_thousand_visitors_are_folded(visit, server):
  def come(connection):
    for _ in range(10_000):
      rows.insert(connection, 'user', vars(User(uuid7())))

  server.store.db.write('come', come).result(60)
  me = visit()
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  me['tab-admin'].click()
  expect(me.page.locator(f'tr[data-user="{me.user_id}"]')).to_contain_text('Quarantine')
  assert me['user-row'].count() <= 50
  expect(me['visitors']).to_contain_text(re.compile(r'10[,.\s]\d{3} visitors who have not voted'))
  me['visitors'].locator('summary').click()
  expect(me['visitors'].get_by_test_id('user-row')).to_have_count(50)
  me['visitors-more'].click()
  expect(me['visitors'].get_by_test_id('user-row')).to_have_count(100)


def test_votes_teach_only_oneself_where_sharing_is_switched_off(visit, server):
  me = visit()
  answer = me.ask('Where is Bern?')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  me['drawer-open'].click()
  expect(me['drawer']).to_contain_text('the answers change for everyone')
  expect(me['sharing']).to_be_checked()
  expect(me['for-everyone']).to_contain_text('once others agree')
  me['sharing'].focus()
  me.page.keyboard.press('Space')
  expect(me['sharing']).not_to_be_checked()
  until(lambda: not server.store.users.get(me.user_id).share_global)
  other = me.new_page()
  other.get_by_test_id('drawer-open').click()
  expect(other.get_by_test_id('sharing')).not_to_be_checked()
  me.correct(answer, 'In Switzerland.')
  learned(answer)
  expect(me['for-everyone'].first).to_contain_text('Teaches only your own answers')
  me['sharing'].click()
  expect(me['sharing']).to_be_checked()
  expect(other.get_by_test_id('sharing')).to_be_checked()


def test_a_switch_that_the_server_does_not_hear_goes_back(visit):
  me = visit()
  me['drawer-open'].click()
  expect(me['sharing']).to_be_checked()
  me.once('/v1/me/sharing', lambda route: route.abort())
  me['sharing'].click()
  expect(me['notice']).to_contain_text('cannot be reached')
  expect(me['sharing']).to_be_checked()
  me.errors.clear()


def test_a_visitor_reads_no_jargon(visit):
  me = visit()
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  me['drawer-open'].click()
  expect(me['fact-kl']).to_have_text('a little')
  seen = me.page.locator('body').inner_text()
  assert not re.search(r'\b(nats|KL|adapters?|gates?|p50|tokens?|scope)\b', seen, re.IGNORECASE)
