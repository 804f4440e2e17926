"""A page is told what changes, and asks only where it is not told."""

import re

import visitor
from served import until
from visitor import expect, learned

pytestmark = visitor.needed
browser, server, visit = visitor.browser, visitor.server, visitor.visit


def asked(me, path):
  """The requests to a path from here on."""
  found = []
  me.page.on('request', lambda r: re.search(path, r.url) and found.append(r.url))
  return found


def pages(server):
  return sum(map(len, server.service.live.pages.values()))


def test_a_vote_is_followed_without_asking(visit, server):
  me = visit()
  until(lambda: pages(server) == 1)
  polls = asked(me, '/v1/status|/v1/feedback/')
  for _ in range(4):
    answer = me.ask('Hello')
    answer.get_by_test_id('thumb-up').click()
    learned(answer)
  expect(me['version-personal']).to_have_text('v4')
  me.page.wait_for_timeout(5500)  # A look at the server was due every five seconds.
  assert polls == [] and pages(server) == 1


def test_another_tab_hears_of_the_version_too(visit, server):
  me = visit()
  other = me.new_page()
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  expect(other.get_by_test_id('version-personal')).to_have_text('v1')


def test_where_no_stream_comes_through_the_page_asks(visit, server):
  me = visit()
  me.page.route('**/v1/live*', lambda route: route.fulfill(status=502, body='no streams here'))
  me.page.reload()
  polls = asked(me, '/v1/status')
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  expect(me['version-personal']).to_have_text('v1')
  until(lambda: me.page.wait_for_timeout(50) or polls)
  me.errors[:] = [error for error in me.errors if '502' not in error]


def test_a_stream_that_breaks_off_is_opened_again_and_what_was_missed_is_told(visit, server):
  me = visit()
  answer = me.ask('Hello')
  server.learner.step_s = 1.0
  answer.get_by_test_id('thumb-up').click()
  expect(answer.get_by_test_id('receipt').last).to_contain_text('Learning')
  me.page.route('**/v1/live*', lambda route: route.abort())
  server.hang_up()
  until(lambda: me.page.wait_for_timeout(50) or pages(server) == 0)
  me.page.unroute('**/v1/live*')
  learned(answer)
  until(lambda: me.page.wait_for_timeout(50) or pages(server) == 1)
  me.errors[:] = [error for error in me.errors if 'ERR_' not in error]


def test_only_a_page_that_is_seen_holds_a_connection(visit, server):
  me = visit()
  until(lambda: pages(server) == 1)
  hide = """state => {
    Object.defineProperty(document, 'hidden', { get: () => state, configurable: true })
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))
  }"""
  me.page.evaluate(hide, True)
  until(lambda: me.page.wait_for_timeout(50) or pages(server) == 0)
  me.page.evaluate(hide, False)
  until(lambda: me.page.wait_for_timeout(50) or pages(server) == 1)
