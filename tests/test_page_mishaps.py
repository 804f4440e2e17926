"""The page in a real browser: what goes wrong around it is said in plain words and gets over."""

import time

import pytest
import visitor
from served import until
from visitor import expect, learned

from rft_jax.serve import auth

pytestmark = visitor.needed
server, browser, visit = visitor.server, visitor.browser, visitor.visit
STARTING = '{"error": {"message": "the server is starting: 3/10", "code": "starting"}}'
BUSY = '{"error": {"message": "too many", "code": "rate_limit"}}'
SLOW = """() => {
  const soon = window.fetch
  let first = true
  window.fetch = async (...given) => {
    const late = first && /conversations\\/./.test(given[0])
    if (late) first = false
    const answer = await soon(...given)
    if (late) await new Promise(resolve => setTimeout(resolve, 700))
    return answer
  }
}"""


def waits(me):
  """How many votes wait in this browser."""
  return me.page.evaluate("Object.keys(localStorage).filter(k => k.includes('outbox')).length")


def test_a_page_that_is_opened_while_the_server_starts_gets_ready_by_itself(visit):
  me = visit()
  me.once('/v1/me', lambda route: route.fulfill(status=503, body=STARTING))
  me.once('/v1/conversations', lambda route: route.abort())
  me.page.reload()
  expect(me['notice']).to_contain_text('still starting')
  expect(me['prompt']).to_be_hidden()
  expect(me.page.locator('body[data-ready]')).to_be_attached()
  expect(me['notice']).to_be_hidden()
  me.ask('Hello')
  me.errors.clear()


def test_of_two_conversations_the_one_that_was_chosen_last_is_shown(visit):
  me = visit()
  for text in ('First', 'Second'):
    me['new'].click()
    me.ask(text)
  me['new'].click()
  me.page.evaluate(SLOW)
  me['conversation'].filter(has_text='First').click()
  me['conversation'].filter(has_text='Second').click()
  me.page.wait_for_timeout(1000)  # The first comes now.
  expect(me['user-message']).to_have_text(['Second'])
  expect(me['conversation'].filter(has_text='Second')).to_have_attribute('aria-current', 'page')
  expect(me.ask('Third')).to_contain_text('You said: Third')
  assert len(me.server.store.chats.of_user(me.user_id)) == 2


@pytest.mark.parametrize('address', ['#/c/', '#/nonsense', '#/c/..'])
def test_an_odd_address_shows_the_welcome(visit, address):
  me = visit()
  me.ask('Hello')
  me.page.goto(f'{me.url}/{address}')
  expect(me['teach']).to_be_visible()
  assert 'iterable' not in me['notice'].inner_text()
  me.errors[:] = [error for error in me.errors if '404' not in error]


def test_what_is_no_key_is_not_taken_for_a_lost_connection(visit):
  me = visit()
  me['key'].click()
  me['dialog-field'].fill('“rft_ключ”')
  me['dialog-confirm'].click()
  expect(me['notice']).to_contain_text('This is no key')
  me['key'].click()
  me['dialog-confirm'].click()
  me.ask('Hello')


def test_a_vote_counts_last_though_the_clock_was_put_back(visit):
  me = visit()
  me.ask('Hello')
  me.page.route('**/v1/feedback', lambda route: route.abort())
  me['thumb-up'].click()
  until(lambda: me.page.wait_for_timeout(20) or waits(me) == 1)
  me.page.add_init_script('const now = Date.now; Date.now = () => now() - 3_600_000')
  me.page.reload()
  me['thumb-down'].click()
  me['star-2'].click()
  until(lambda: me.page.wait_for_timeout(20) or waits(me) == 3)
  me.page.unroute('**/v1/feedback')
  until(lambda: me.page.wait_for_timeout(20) or waits(me) == 0)
  good, bad, _ = me.given()
  assert (good.value, good.status) == ({'label': True}, 'superseded')
  assert bad.value == {'label': False} and bad.reasons == ()
  me.errors.clear()


def test_a_vote_that_waited_for_longer_than_its_token_lasts_counts(visit, monkeypatch):
  me = visit()
  me.ask('Hello')
  me.context.set_offline(True)
  me['thumb-up'].click()
  expect(me['receipt']).to_contain_text('Kept on this device')

  class Later:
    time = staticmethod(lambda: time.time() + 8 * 86_400)

  monkeypatch.setattr(auth, 'time', Later)
  me.context.set_offline(False)
  learned(me['answer'])
  assert len(me.given()) == 1
  me.errors.clear()


def test_news_of_another_tab_leave_the_focus_where_it_is(visit):
  me = visit()
  me.ask('Hello')
  other = me.new_page()
  other.goto(me.page.url)
  me['edit'].click()
  me.page.keyboard.press('Control+A')
  me.page.keyboard.type('Half a')
  other.get_by_test_id('thumb-up').click()
  expect(me['thumb-up']).to_have_attribute('aria-pressed', 'true')
  expect(me['edit-text']).to_be_focused()
  me.page.keyboard.type(' word')
  expect(me['edit-text']).to_have_value('Half a word')


def test_a_choice_after_the_conversation_went_on_takes_nothing_away(visit):
  me = visit()
  me.compare('Where is Bern?')
  me['compare-mode'].click()
  me.ask('And Basel?')
  me['choose-b'].click()
  learned(me['compare'])
  me.ask('And Chur?')
  asked = ['Where is Bern?', 'And Basel?', 'And Chur?']
  expect(me['user-message']).to_have_text(asked)
  me.page.reload()
  expect(me['user-message']).to_have_text(asked)
  expect(me['compared']).to_contain_text('You liked the other one better')


def test_a_conversation_that_is_deleted_elsewhere_says_so_once_its_answer_ends(visit):
  me = visit()
  me.ask('Hello')
  other = me.new_page()
  other.goto(me.page.url)
  me.server.engine.word_s = 0.1
  me['prompt'].fill('one two three four five')
  me['prompt'].press('Enter')
  expect(me['answer'].last).to_contain_text('one')
  other.get_by_test_id('conversation').hover()
  other.get_by_test_id('conversation-delete').click()
  other.get_by_test_id('dialog-confirm').click()
  expect(me['teach']).to_be_visible()
  expect(me['notice']).to_contain_text('deleted in another tab')
  me.errors.clear()


def test_what_went_wrong_is_shown_as_long_as_it_takes_to_read(visit):
  me = visit()
  me.page.clock.install()
  me.page.reload()
  me.ask('Hello')
  me.once('/v1/conversations/*', lambda route: route.fulfill(status=429, body=BUSY))
  me['conversation'].hover()
  me['conversation-delete'].click()
  me['dialog-confirm'].click()
  expect(me['notice']).to_contain_text('That was a lot at once')
  me.page.evaluate("""document.dispatchEvent(new CustomEvent('rft:status', {
    detail: { ready: true, version: { global: 0 } } }))""")
  expect(me['notice']).to_be_visible()
  me.page.clock.run_for(11_000)
  expect(me['notice']).to_be_hidden()
  me.errors.clear()
