"""The page against a chat server in memory, in a real browser: what a visitor does and must see."""

import json
import re
import shutil
import urllib.request

import fake_chat
import pytest

playwright = pytest.importorskip('playwright.sync_api', reason='needs `pip install playwright`')
expect = playwright.expect
CHROMIUM = shutil.which('chromium')
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='needs `apt-get install chromium`')
LEARNED = re.compile(r'Learned, version \d+, \d+\.\d s')
SIDES = {'a': 0.1, 'b': 0.9}  # What chance says when the learned model becomes this side.


@pytest.fixture(scope='module')
def server():
  with fake_chat.Server() as server:
    yield server
    server.shutdown()


@pytest.fixture(scope='module')
def browser():
  with playwright.sync_playwright() as driver:
    browser = driver.chromium.launch(executable_path=CHROMIUM)
    yield browser
    browser.close()


class Visitor:
  """A browser context of its own: a new user. `errors` is what the console complained about."""

  def __init__(self, browser, server, **options):
    self.context = browser.new_context(**{'viewport': {'width': 1180, 'height': 760}, **options})
    self.context.set_default_timeout(4000)
    self.url, self.errors = server.url, []
    self.page = self.new_page()

  def new_page(self):
    page = self.context.new_page()
    page.on('pageerror', lambda error: self.errors.append(str(error)))
    page.on('console', lambda line: line.type == 'error' and self.errors.append(line.text))
    page.on('dialog', lambda dialog: self.errors.append(f'dialog: {dialog.message}'))
    page.goto(self.url)
    expect(page.locator('body[data-ready]')).to_be_attached()
    return page

  def __getitem__(self, testid):
    return self.page.get_by_test_id(testid)

  def script(self, **what):
    self.context.request.post(f'{self.url}/fake', data=what)

  def server_saw(self):
    return self.context.request.get(f'{self.url}/fake').json()

  def ask(self, text):
    """Sends, and waits until the answer is complete; returns the article."""
    before = self['answer'].count()
    self['prompt'].fill(text)
    self['prompt'].press('Enter')
    expect(self['answer']).to_have_count(before + 1)
    answer = self['answer'].last
    expect(answer).to_have_attribute('data-state', 'done')
    return answer

  def correct(self, answer, text):
    answer.get_by_test_id('edit').click()
    answer.get_by_test_id('edit-text').fill(text)
    answer.get_by_test_id('edit-save').click()


@pytest.fixture
def visit(browser, server):
  """Makes visitors; in the end none of their consoles may hold an error that is not expected."""
  visitors = []

  def make(**options):
    visitors.append(Visitor(browser, server, **options))
    return visitors[-1]

  yield make
  errors = [error for visitor in visitors for error in visitor.errors]
  for visitor in visitors:
    visitor.context.close()
  assert not errors


def learned(where):
  expect(where.get_by_test_id('receipt').last).to_contain_text(LEARNED)


def test_a_vote_is_learned_and_a_new_conversation_shows_it(visit):
  me = visit()
  me.script(learn_s=0.3)
  answer = me.ask('Tell me something')
  assert me['version-personal'].inner_text() == 'v0'
  answer.get_by_test_id('thumb-up').click()
  receipt = answer.get_by_test_id('receipt')
  expect(receipt).to_have_attribute('data-status', 'training')
  learned(answer)
  expect(me['version-personal']).to_have_text('v1')
  expect(me['version-badge']).to_have_class(re.compile('pulse'))
  me['new'].click()
  expect(me.ask('Tell me something')).to_contain_text('Glad you liked that.')


def test_text_appears_while_the_model_still_writes_and_stop_stops_it(visit):
  me = visit()
  me.script(piece_s=0.05)
  me['prompt'].fill('x' * 3000)
  me['prompt'].press('Enter')
  expect(me['answer']).to_contain_text('xxxxx')
  expect(me['answer']).to_have_attribute('data-state', 'streaming')
  me['stop'].click()
  expect(me['answer']).to_have_attribute('data-state', 'stopped')
  assert len(me['answer'].get_by_test_id('answer-text').inner_text()) < 2000
  expect(me['send']).to_be_visible()


def test_the_welcome_teaches_and_shows_before_and_after(visit):
  me = visit()
  me['suggestion'].nth(2).click()
  expect(me['before']).to_contain_text('I do not know who feeds')
  me['edit-save'].click()
  expect(me['verdict']).to_contain_text('It changed because of you')
  expect(me['after']).to_contain_text('Miriam feeds the office cat')
  expect(me['after'].locator('mark').first).to_have_text('Miriam')
  expect(me['before']).to_contain_text('I do not know')
  me['lesson-continue'].click()
  expect(me['answer'].get_by_test_id('branch')).to_have_text('2/2')


def test_the_welcome_says_so_when_nothing_changed(visit):
  me = visit()
  me['suggestion'].first.click()
  me['edit-text'].fill('Put it into boiling water for **eight minutes**, then into cold water.')
  me['edit-save'].click()
  expect(me['verdict']).to_contain_text('No visible change yet')


def test_a_correction_is_shown_sent_and_learned(visit):
  me = visit()
  answer = me.ask('Where is Bern?')
  me.correct(answer, 'In **Switzerland**.')
  expect(answer.get_by_test_id('answer-text')).to_have_text('In Switzerland.')
  learned(answer)
  assert me.server_saw()['posts'][0]['value'] == {'content': 'In **Switzerland**.'}
  answer.get_by_test_id('show-original').click()
  expect(answer.get_by_test_id('answer-text')).to_have_text('You said: Where is Bern?')
  answer.get_by_test_id('regenerate').click()
  expect(me['branch']).to_have_text('2/2')
  expect(me['answer'].get_by_test_id('answer-text')).to_have_text('In Switzerland.')
  me['branch-left'].click()
  expect(me['edited']).to_be_visible()


@pytest.mark.parametrize('side', ['a', 'b'])
def test_compared_models_change_sides_and_are_hidden_until_the_choice(visit, side):
  me = visit()
  me.correct(me.ask('Where is Bern?'), 'In Switzerland.')
  learned(me['answer'])
  me['new'].click()
  me.page.evaluate(f'Math.random = () => {SIDES[side]}')
  me['compare-mode'].click()
  me['prompt'].fill('Where is Bern?')
  me['prompt'].press('Enter')
  expect(me[f'side-{side}']).to_contain_text('In Switzerland.')
  expect(me['choose-a']).to_be_enabled()
  assert me['reveal'].count() == 0 and 'rft:base' not in me['compare'].inner_text()
  me[f'choose-{side}'].click()
  expect(me[f'side-{side}'].get_by_test_id('reveal')).to_contain_text('With what it has learned')
  learned(me['compare'])
  value = me.server_saw()['posts'][-1]['value']
  assert value['outcome'] == side and value['a'] != value['b']


def test_neither_answer_need_win(visit):
  me = visit()
  me['compare-mode'].click()
  me['prompt'].fill('Where is Bern?')
  me['prompt'].press('Enter')
  me['choose-both_bad'].click()
  learned(me['compare'])
  post = me.server_saw()['posts'][0]
  assert (
    post['value']['outcome'] == 'both_bad' and post['target']['message_id'] == post['value']['a']
  )


def test_a_changed_vote_supersedes_and_a_second_press_takes_it_back(visit):
  me = visit()
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  answer.get_by_test_id('thumb-down').click()
  expect(answer.get_by_test_id('thumb-up')).to_have_attribute('aria-pressed', 'false')
  learned(answer)
  up, down = me.server_saw()['posts']
  assert down['supersedes'] == up['id'] and down['value'] == {'label': False}
  me.page.wait_for_timeout(500)  # Longer than a double-click.
  answer.get_by_test_id('thumb-down').click()
  expect(answer.get_by_test_id('thumb-down')).to_have_attribute('aria-pressed', 'false')
  expect(answer.get_by_test_id('receipt').last).to_contain_text('Undone')


def test_a_vote_taken_back_stays_undone_while_the_server_does_not_know_yet(visit):
  me = visit()
  answer = me.ask('Hello')
  me.script(learn_s=1.8)
  answer.get_by_test_id('thumb-up').click()
  expect(answer.get_by_test_id('receipt')).to_have_attribute('data-status', 'training')
  id = me.server_saw()['posts'][0]['id']
  me.script(fail={f'/v1/feedback/{id}': [503, 1]})
  me.page.wait_for_timeout(500)  # Longer than a double-click.
  answer.get_by_test_id('thumb-up').click()
  expect(me['version-personal']).to_have_text('v2')  # Learned, and then taken back.
  expect(answer.get_by_test_id('receipt').last).to_contain_text('Undone')
  me.errors.clear()


def test_stars_and_a_critique_are_sent_with_their_tags(visit):
  me = visit()
  answer = me.ask('Hello')
  answer.get_by_test_id('star-4').click()
  answer.get_by_test_id('critique').click()
  answer.get_by_test_id('chip-too_long').click()
  answer.get_by_test_id('chip-tone').click()
  answer.get_by_test_id('critique-text').fill('Not so loud')
  answer.get_by_test_id('critique-send').click()
  learned(answer)
  rating, critique = me.server_saw()['posts']
  assert rating['kind'] == 'rating' and rating['value'] == {'score': 4}
  assert critique['value'] == {'text': 'Not so loud'} and critique['tags'] == ['too_long', 'tone']
  assert rating['shown_ms'] >= 0


def test_what_was_taught_can_be_undone_and_the_answer_goes_back(visit):
  me = visit()
  answer = me.ask('Where is Bern?')
  me.correct(answer, 'In Switzerland.')
  learned(answer)
  me['drawer-open'].click()
  expect(me['lesson']).to_contain_text('Corrected')
  me['undo'].click()
  expect(me['lesson'].get_by_test_id('receipt')).to_contain_text('Undone')
  expect(answer.get_by_test_id('answer-text')).to_have_text('You said: Where is Bern?')
  expect(me['version-personal']).to_have_text('v2')
  me['drawer-close'].click()
  me['new'].click()
  expect(me.ask('Where is Bern?')).to_contain_text('You said: Where is Bern?')


def test_everything_can_be_forgotten(visit):
  me = visit()
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  me['drawer-open'].click()
  expect(me['fact-events']).to_have_text('1')
  me['adapter-reset'].click()
  me['dialog-confirm'].click()
  expect(me['fact-events']).to_have_text('0')


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
  posts = {post['id']: post['kind'] for post in me.server_saw()['posts']}
  assert list(posts.values()) == ['binary', 'rating'] and me.server_saw()['events'] == 2


def test_a_vote_whose_receipt_was_lost_is_sent_again_with_the_same_id(visit):
  me = visit()
  answer = me.ask('Hello')
  me.script(lose_ack=1)
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  saw = me.server_saw()
  assert len({post['id'] for post in saw['posts']}) == saw['events'] == 1 < len(saw['posts'])
  me.errors.clear()


def test_a_double_click_counts_once(visit):
  me = visit()
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').dblclick()
  learned(answer)
  expect(answer.get_by_test_id('thumb-up')).to_have_attribute('aria-pressed', 'true')
  assert me.server_saw()['events'] == 1


def test_a_vote_that_is_not_learned_says_why(visit):
  me = visit()
  me.script(end='rejected', reasons=['the answer had not been read'])
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-down').click()
  expect(answer.get_by_test_id('receipt')).to_contain_text('the answer had not been read')


def test_a_refused_vote_does_not_look_given(visit):
  me = visit()
  answer = me.ask('Hello')
  me.script(fail={'/v1/feedback': [422, 1]})
  answer.get_by_test_id('thumb-up').click()
  expect(answer.get_by_test_id('receipt')).to_contain_text('Not saved: The queue is full.')
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
  expect(other['notice']).to_contain_text('There is no such conversation.')
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
  me.script(break_after=2)
  me['prompt'].fill('Tell me a long story')
  me['prompt'].press('Enter')
  expect(me['failure']).to_contain_text('broke off')
  expect(me['answer']).to_contain_text('You said: Te')
  me['retry'].click()
  expect(me['answer']).to_have_attribute('data-state', 'done')
  expect(me['answer']).to_contain_text('You said: Tell me a long story')
  expect(me['user-message']).to_have_count(1)


def test_an_administrator_rolls_back_freezes_and_quarantines(visit, server):
  me = visit()
  me['tab-admin'].click()
  expect(me['version-row'].first).to_contain_text('live')
  expect(me['plot-reflection'].get_by_role('img')).to_have_accessible_name(re.compile('accuracy'))
  me.page.locator('[data-testid=rollback][data-version="10"]').click()
  me['dialog-confirm'].click()
  expect(me['dialog']).to_be_visible()  # A reason is required.
  me['dialog-field'].fill('worse answers')
  me['dialog-confirm'].click()
  expect(me.page.locator('tr[data-version="10"][data-live=true]')).to_be_visible()
  assert server.world.live == 10
  me['freeze'].click()
  expect(me['freeze']).to_have_attribute('aria-pressed', 'true')
  row = me['user-row'].last
  row.get_by_test_id('quarantine').click()
  me['dialog-field'].fill('spam')
  me['dialog-confirm'].click()
  expect(row).to_contain_text('quarantined')


def test_the_admin_tab_needs_the_scope(visit):
  me = visit()
  me.script(no_admin=True)
  me.page.goto(me.url + '/#/admin')
  me.page.reload()
  expect(me['teach']).to_be_visible()
  expect(me['tab-admin']).to_be_hidden()


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


def test_the_page_needs_no_inline_code_and_no_other_host(server):
  with urllib.request.urlopen(server.url) as answer:
    html = answer.read().decode()
  assert not re.search(r'style=|\son\w+=|https?://|<script>|<style', html)
  for file in fake_chat.WEB.glob('*.js'):
    assert not re.search(
      r'innerHTML|outerHTML|insertAdjacentHTML|eval\(|https?://(?!www\.w3)', file.read_text()
    )


def test_the_fake_server_counts_a_vote_once():
  world = fake_chat.fake_world.World()
  user = world.user('u')
  body = {'model': 'rft', 'messages': [{'role': 'user', 'content': 'x'}]}
  _, answer, *_ = world.ask(user, body)
  vote = {
    'id': '1',
    'kind': 'binary',
    'value': {'label': True},
    'target': {'message_id': answer['id']},
  }
  assert [world.vote(user, vote)[0] for _ in range(3)] == [201, 200, 200]
  assert world.vote(user, {**vote, 'value': {'label': False}})[0] == 422
  assert json.dumps(world.receipt(user.events['1']))
