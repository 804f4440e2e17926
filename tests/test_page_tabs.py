"""The page in a real browser: several tabs of one visitor, and plain http by name."""

import pytest
import visitor
from visitor import expect, learned

pytestmark = visitor.needed
server, browser, visit = visitor.server, visitor.browser, visitor.visit
COPIED = "document.addEventListener('copy', () => window.copied = getSelection().toString())"


def test_tabs_show_what_happens_in_each_other(visit):
  me = visit()
  answer = me.ask('Where is Bern?')
  first, other = me.page, me.new_page()
  other.goto(first.url)
  there = lambda testid: other.get_by_test_id(testid)
  expect(there('answer')).to_have_count(1)
  answer.get_by_test_id('thumb-up').click()
  expect(there('thumb-up')).to_have_attribute('aria-pressed', 'true')
  learned(there('answer'))
  me.correct(answer, 'In Switzerland.')
  expect(there('answer-text')).to_have_text('In Switzerland.')
  me.ask('And Basel?')
  expect(there('answer-text').last).to_have_text('You said: And Basel?')
  me.page = other
  expect(me.ask('And Chur?')).to_contain_text('You said: And Chur?')
  me.page = first
  expect(me['answer']).to_have_count(3)
  me['answer'].first.get_by_test_id('thumb-up').click()
  expect(there('thumb-up').first).to_have_attribute('aria-pressed', 'false')
  expect(there('answer').first.get_by_test_id('receipt').first).to_contain_text('Undone')
  me['new'].click()
  me.ask('Something new')
  expect(there('conversation')).to_have_text(['Something new', 'Where is Bern?'])
  expect(there('answer')).to_have_count(3)


def test_what_is_being_written_in_a_tab_is_not_lost_to_news_from_another(visit):
  me = visit()
  me.ask('Where is Bern?')
  first, other = me.page, me.new_page()
  other.goto(first.url)
  other.get_by_test_id('edit').click()
  other.get_by_test_id('edit-text').fill('Half a correc')
  me['thumb-up'].click()
  expect(other.get_by_test_id('thumb-up')).to_have_attribute('aria-pressed', 'true')
  expect(other.get_by_test_id('edit-text')).to_have_value('Half a correc')


def test_a_conversation_deleted_in_one_tab_goes_in_the_other(visit):
  me = visit()
  me.ask('Where is Bern?')
  first, other = me.page, me.new_page()
  other.goto(first.url)
  expect(other.get_by_test_id('answer')).to_have_count(1)
  me['conversation'].hover()
  me['conversation-delete'].click()
  me['dialog-confirm'].click()
  expect(other.get_by_test_id('teach')).to_be_visible()
  expect(other.get_by_test_id('conversation')).to_have_count(0)
  me.errors.clear()


@pytest.fixture(scope='module')
def named_browser(browser):
  """A browser that finds the test's server under a name, as others in an office do."""
  rules = '--host-resolver-rules=MAP office.lan 127.0.0.1'
  kind = browser.browser_type
  found = kind.launch(executable_path=visitor.CHROMIUM, args=[rules])
  yield found
  found.close()


class ByName(visitor.Visitor):
  def new_page(self):
    self.url = self.server.url.replace('127.0.0.1', 'office.lan')
    return super().new_page()


def test_the_page_works_over_plain_http_by_name(named_browser, server):
  me = ByName(named_browser, server)
  assert not me.page.evaluate('isSecureContext || "randomUUID" in crypto || "locks" in navigator')
  answer = me.ask('Where is Bern?')
  me.correct(answer, 'In Switzerland.')
  learned(answer)
  me.page.evaluate(COPIED)
  answer.get_by_test_id('copy').click()
  expect(me.page.locator('#announcer')).to_have_text('Copied')
  me.compare('Where is Basel?')
  me['choose-a'].click()
  learned(me['compare'])
  assert not me.errors
  me.context.close()
