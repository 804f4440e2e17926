"""The page in a real browser: lost connections, refusals, hostile text, phones, administrators."""

import re

import visitor
from obedient import SUGGESTIONS
from served import Taught, until
from visitor import expect, learned

from rft_jax.serve.auth import make_key
from rft_jax.serve.pages import WEB

pytestmark = visitor.needed
server, browser, visit = visitor.server, visitor.browser, visitor.visit


def test_votes_given_offline_arrive_once_after_a_reload(visit):
  me = visit()
  answer = me.ask('Hello')
  me.context.set_offline(True)
  answer.get_by_test_id('thumb-up').click()
  answer.get_by_test_id('star-5').click()
  expect(answer.get_by_test_id('receipt').last).to_contain_text('Kept on this device')
  expect(answer.get_by_test_id('thumb-up')).to_have_attribute('aria-pressed', 'true')
  me.errors.clear()  # The browser's own lines about requests that failed.
  me.context.set_offline(False)
  me.page.reload()
  learned(me['answer'])
  assert [receipt.kind for receipt in me.given()] == ['binary', 'rating']


def test_a_reload_shows_votes_that_have_not_reached_the_server(visit):
  me = visit()
  answer = me.ask('Where is Bern?')
  answer.get_by_test_id('thumb-down').click()
  learned(answer)
  me.page.route('**/v1/feedback', lambda route: None)  # Held until the route is taken away.
  me.correct(answer, 'In Switzerland.')
  answer.get_by_test_id('thumb-up').click()
  with me.page.expect_request('**/v1/feedback'):
    me.page.reload()
  expect(me['answer'].get_by_test_id('answer-text')).to_have_text('In Switzerland.')
  expect(answer.get_by_test_id('thumb-up')).to_have_attribute('aria-pressed', 'true')
  expect(answer.get_by_test_id('thumb-down')).to_have_attribute('aria-pressed', 'false')
  expect(answer.get_by_test_id('receipt').last).to_contain_text('Saving')
  me.page.unroute('**/v1/feedback')
  learned(answer)
  assert sorted(receipt.kind for receipt in me.given()) == ['binary', 'binary', 'edit']


def test_a_vote_whose_receipt_was_lost_is_sent_again_with_the_same_id(visit):
  me = visit()
  answer = me.ask('Hello')
  sent = []

  def lose_the_answer(route):
    sent.append(route.fetch().status)
    route.abort()

  me.once('/v1/feedback', lose_the_answer)
  me.page.on('response', lambda r: r.url.endswith('/v1/feedback') and sent.append(r.status))
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  assert sent == [201, 200] and len(me.given()) == 1
  me.errors.clear()


def test_a_double_click_counts_once(visit):
  me = visit()
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').dblclick()
  learned(answer)
  expect(answer.get_by_test_id('thumb-up')).to_have_attribute('aria-pressed', 'true')
  assert len(me.given()) == 1


def test_a_vote_that_is_not_learned_says_why(visit):
  me = visit()
  answer = me.ask('Hello')
  me.correct(answer, 'Write to someone@example.com')
  receipt = answer.get_by_test_id('receipt')
  expect(receipt).to_have_text('Kept aside for review: looks like it holds a email')


def test_a_vote_that_could_not_be_learned_says_why(visit):
  me = visit()
  me.server.learner.step_s = 1.0
  answer = me.ask('Hello')
  me.correct(answer, 'Zyx wvu!')
  expect(answer.get_by_test_id('receipt')).to_have_attribute('data-status', 'training')
  why = '["not_learned: this model cannot write it"]'
  query = "UPDATE event_gate SET state = 'quarantined', reasons_json = ? WHERE event_seq = ?"
  seq = me.given()[0].seq
  me.server.store.db.write('test', lambda c: c.execute(query, (why, seq))).result(5)
  expect(answer.get_by_test_id('receipt')).to_have_text('Not learned: this model cannot write it')
  expect(answer.get_by_test_id('receipt')).to_have_attribute('data-status', 'not_learned')


def test_a_refused_vote_does_not_look_given(visit):
  me = visit()
  answer = me.ask('Hello')
  me.server.store.chats.delete(me.server.store.chats.of_user(me.user_id)[0].id).result(5)
  answer.get_by_test_id('thumb-up').click()
  expect(answer.get_by_test_id('receipt')).to_contain_text('Not saved: the conversation of this')
  expect(answer.get_by_test_id('thumb-up')).to_have_attribute('aria-pressed', 'false')
  me.errors.clear()


def test_a_reload_keeps_history_votes_and_corrections(visit):
  me = visit()
  answer = me.ask('Where is Bern?')
  me.correct(answer, 'In Switzerland.')
  answer.get_by_test_id('star-3').click()
  learned(answer)
  me.ask('And Basel?')
  me.page.reload()
  expect(me['user-message']).to_have_text(['Where is Bern?', 'And Basel?'])
  expect(me['answer'].first.get_by_test_id('answer-text')).to_have_text('In Switzerland.')
  expect(me['answer'].first.get_by_test_id('star-3')).to_have_attribute('aria-pressed', 'true')
  expect(me['conversation']).to_have_text(['Where is Bern?'])


def test_two_visitors_do_not_see_each_other(visit):
  one, other = visit(), visit()
  one.correct(one.ask('Where is Bern?'), 'In Switzerland.')
  learned(one['answer'])
  expect(other.ask('Where is Bern?')).to_contain_text('You said: Where is Bern?')
  expect(other['version-personal']).to_have_text('v0')
  other.page.goto(one.page.url)
  expect(other['notice']).to_contain_text('this conversation belongs to another user')
  other.errors.clear()


HOSTILE = (
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '**<svg onload=alert(1)>**',
  '```html\n<script>alert(1)</script>\n```',
  '[a](javascript:alert(1)) <a href="javascript:alert(1)">b</a>',
  '`</code><iframe srcdoc="<script>alert(1)</script>">`',
  '- <details open ontoggle=alert(1)>',
  '"><style>*{display:none}</style>',
  '\u202e<b onmouseover=alert(1)>rtl</b>\u0000',
)


def test_text_never_becomes_markup(visit):
  me = visit()
  text = '\n\n'.join(HOSTILE)
  answer = me.ask(text)
  expect(answer.get_by_test_id('answer-text')).to_contain_text('<img src=x onerror=alert(1)>')
  me.correct(answer, text + '!')
  learned(answer)
  me['drawer-open'].click()
  expect(me['lesson']).to_contain_text('<script>')
  made = ['script', 'img', 'iframe', 'style', 'a', 'details', 'svg:not(.icon)']
  inside = [f'#{id} {tag}' for tag in made for id in ('log', 'lessons')]
  assert me.page.locator(', '.join(inside)).count() == 0
  me.page.reload()
  expect(me['answer']).to_contain_text('<img src=x onerror=alert(1)>')
  assert answer.locator('code').count() == 2


def test_an_answer_that_breaks_off_says_so_and_can_be_tried_again(visit):
  me = visit()
  me.server.engine.fail_at = 4
  me['prompt'].fill('Tell me a long story')
  me['prompt'].press('Enter')
  expect(me['failure']).to_contain_text('the engine broke')
  expect(me['answer']).to_contain_text('You said: Tell me')
  me.server.engine.fail_at = -1
  me['retry'].click()
  expect(me['answer']).to_have_attribute('data-state', 'done')
  expect(me['answer']).to_contain_text('You said: Tell me a long story')
  expect(me['user-message']).to_have_count(1)
  assert not me.errors


def test_a_connection_that_is_lost_says_so_and_the_answer_can_be_asked_for_again(visit):
  me = visit()
  me.server.engine.word_s = 0.05
  me['prompt'].fill('Tell me a long story of a fox who walked around the whole world')
  me['prompt'].press('Enter')
  expect(me['answer']).to_contain_text('You said: Tell')
  me.server.hang_up()
  expect(me['failure']).to_contain_text('The connection was lost')
  until(lambda: me.server.engine.slots_busy == 0)
  me.server.engine.word_s = 0
  me['retry'].click()
  expect(me['answer']).to_contain_text('the whole world')
  me.errors.clear()


def test_an_administrator_rolls_back_freezes_and_quarantines(visit, server):
  for fox in ('red', 'grey'):
    version = server.teach_everyone('Which colour has a fox?', fox)
  me = visit()
  expect(me.ask('Which colour has a fox?')).to_contain_text('grey')
  me['tab-admin'].click()
  expect(me['version-row'].first).to_contain_text('live')
  expect(me['plot-reflection'].get_by_role('img')).to_have_accessible_name(re.compile('accuracy'))
  me.page.locator(f'[data-testid=rollback][data-version="{version - 1}"]').click()
  me['dialog-confirm'].click()
  expect(me['dialog']).to_be_visible()  # A reason is required.
  me['dialog-field'].fill('worse answers')
  me['dialog-confirm'].click()
  now = me.page.locator(f'tr[data-version="{version - 1}"][data-live=true]')
  expect(now).to_be_visible()
  undone = me.page.locator(f'tr[data-version="{version}"]')
  expect(undone).to_contain_text('rolled back')
  assert server.engine.live == version - 1 and undone.get_by_test_id('rollback').count() == 0
  expect(me['freeze']).to_have_attribute('aria-pressed', 'true')  # A rollback freezes.
  me['freeze'].click()
  expect(me['freeze']).to_have_attribute('aria-pressed', 'false')
  row = me.page.locator(f'tr[data-user="{me.user_id}"]')
  row.get_by_test_id('quarantine').click()
  me['dialog-field'].fill('spam')
  me['dialog-confirm'].click()
  expect(row).to_contain_text('quarantined')
  me['tab-chat'].click()
  me['new'].click()
  expect(me.ask('Which colour has a fox?')).to_contain_text('red')


def test_the_admin_tab_needs_a_key_once_there_are_keys(browser, tmp_path):
  with Taught(tmp_path, suggestions=SUGGESTIONS) as server:
    user = server.store.users.create('me').result(5).id
    key = make_key(server.store, user, ('chat', 'feedback', 'admin'))
    me = visitor.Visitor(browser, server)
    me.page.goto(f'{me.url}/#/admin')
    me.page.reload()
    expect(me['teach']).to_be_visible()
    expect(me['tab-admin']).to_be_hidden()
    me['key'].click()
    me['dialog-field'].fill(f'{key}x')
    me['dialog-confirm'].click()
    expect(me['notice']).to_contain_text('the API key is wrong or was revoked')
    me['key'].click()
    me['dialog-field'].fill(key)
    me['dialog-confirm'].click()
    me['tab-admin'].click()
    expect(me['version-row']).to_have_count(1)
    me.context.close()


def test_the_keyboard_suffices(visit):
  me = visit()
  keys = me.page.keyboard
  expect(me['prompt']).to_be_focused()
  keys.type('Hello')
  keys.press('Enter')
  expect(me['answer']).to_have_attribute('data-state', 'done')
  me['thumb-up'].focus()
  keys.press('Enter')
  expect(me['thumb-up']).to_have_attribute('aria-pressed', 'true')
  expect(me['thumb-up']).to_be_focused()
  for _ in range(7):  # Bad, five stars, then the pencil.
    keys.press('Tab')
  expect(me['edit']).to_be_focused()
  keys.press('Enter')
  expect(me['edit-text']).to_be_focused()
  keys.type('!')
  keys.press('Control+Enter')
  expect(me['edit']).to_be_focused()
  expect(me['edited']).to_be_visible()
  me['drawer-open'].focus()
  keys.press('Enter')
  expect(me['drawer-close']).to_be_focused()
  keys.press('Escape')
  expect(me['drawer-open']).to_be_focused()


LONG = 'Donaudampfschiffahrt' * 12
RTL = 'مرحبا، كيف حالك اليوم؟ \n\n1. واحد\n2. اثنان'


def test_a_phone_never_scrolls_sideways(visit):
  me = visit(viewport={'width': 360, 'height': 740}, has_touch=True, is_mobile=True)
  wide = 'document.documentElement.scrollWidth > 360 || document.scrollingElement.scrollLeft > 0'
  inner = "document.querySelector('#scroller').scrollWidth > 360"
  assert not me.page.evaluate(wide)
  answer = me.ask(f'{LONG}\n\n```\n{"y " * 200}\n```\n\n{RTL}')
  answer.get_by_test_id('critique').click()
  assert not me.page.evaluate(f'{wide} || {inner}')
  boxes = [button.bounding_box() for button in answer.get_by_role('button').all()]
  assert all(0 <= box['x'] and box['x'] + box['width'] <= 360 for box in boxes)
  me.page.goto(me.url + '/#/admin')
  expect(me['version-row'].first).to_be_visible()
  assert not me.page.evaluate(wide)
  direction = "getComputedStyle(document.querySelector('.text > p:last-of-type')).direction"
  assert me.page.evaluate(direction) == 'rtl'


def test_the_page_needs_no_inline_code_and_no_other_host():
  html = (WEB / 'index.html').read_text()
  assert not re.search(r'style=|\son\w+=|https?://|<script>|<style', html)
  for file in WEB.glob('*.js'):
    assert not re.search(
      r'innerHTML|outerHTML|insertAdjacentHTML|eval\(|https?://(?!www\.w3)', file.read_text()
    )
