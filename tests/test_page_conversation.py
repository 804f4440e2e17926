"""The page in a real browser: a conversation goes on, whatever happened to it before."""

import pytest
import visitor
from served import until
from visitor import expect, learned

from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import Message

pytestmark = visitor.needed
server, browser, visit = visitor.server, visitor.browser, visitor.visit
COPIED = "document.addEventListener('copy', () => window.copied = getSelection().toString())"


def send(me, text):
  me['prompt'].fill(text)
  me['prompt'].press('Enter')


def texts(me):
  """What the store has of the visitor's newest conversation, as (role, text)."""
  newest = me.server.store.chats.of_user(me.user_id)[0]
  return [(m.role, m.content) for m in me.server.store.chats.messages(newest.id)]


def refuse(me):
  """As where the model is busy: before anything is stored."""
  body = '{"error": {"message": "busy", "code": "queue_full"}}'
  me.once('/v1/chat/completions', lambda route: route.fulfill(status=429, body=body))


def cut_off(me):
  me.once('/v1/chat/completions', lambda route: route.abort())


def break_down(me):
  me.server.engine.fail_at = 2


SLOW = pytest.mark.slow
TROUBLES = (
  (refuse, True),
  (cut_off, False),
  (break_down, False),
  pytest.param(refuse, False, marks=SLOW),
  pytest.param(cut_off, True, marks=SLOW),
  pytest.param(break_down, True, marks=SLOW),
)


@pytest.mark.parametrize(('trouble', 'first'), TROUBLES)
def test_after_an_answer_that_failed_the_conversation_goes_on(visit, trouble, first):
  me = visit()
  if not first:
    me.ask('How are you?')
  trouble(me)
  send(me, 'Where is Bern?')
  expect(me['failure']).to_be_visible()
  me.server.engine.fail_at = -1
  expect(me.ask('And where is Basel?')).to_contain_text('You said: And where is Basel?')
  expect(me.ask('And Chur?')).to_contain_text('You said: And Chur?')
  assert texts(me)[-4:] == [
    ('user', 'And where is Basel?'),
    ('assistant', 'You said: And where is Basel?'),
    ('user', 'And Chur?'),
    ('assistant', 'You said: And Chur?'),
  ]
  me.page.reload()
  expect(me['user-message'].last).to_have_text('And Chur?')
  expect(me.ask('And Zug?')).to_contain_text('You said: And Zug?')
  assert len(me.server.store.chats.of_user(me.user_id)) == 1
  me.errors.clear()


@pytest.mark.parametrize('trouble', [refuse, break_down])
def test_what_failed_can_be_tried_again_after_more_was_asked(visit, trouble):
  me = visit()
  me.ask('How are you?')
  trouble(me)
  send(me, 'Where is Bern?')
  expect(me['failure']).to_be_visible()
  me.server.engine.fail_at = -1
  me.ask('And where is Basel?')
  me['retry'].click()
  expect(me['answer'].last).to_contain_text('You said: Where is Bern?')
  expect(me['failure']).to_have_count(0)
  expect(me.ask('And Chur?')).to_contain_text('You said: And Chur?')
  me.errors.clear()


def test_offline_a_question_waits_for_the_visitor_to_try_again(visit):
  me = visit()
  me.ask('How are you?')
  me.context.set_offline(True)
  send(me, 'Where is Bern?')
  expect(me['failure']).to_contain_text('cannot be reached')
  me.context.set_offline(False)
  me['retry'].click()
  expect(me['answer'].last).to_contain_text('You said: Where is Bern?')
  expect(me['answer']).to_have_count(2)
  me.errors.clear()


def test_a_question_that_was_stored_but_never_answered_can_be_answered(visit):
  me = visit()
  me.ask('How are you?')
  store = me.server.store.chats
  asked = store.messages(store.of_user(me.user_id)[0].id)
  lost = Message(uuid7(), asked[1].conversation_id, asked[1].id, 'user', 'Why?')
  store.add([lost]).result(5)  # The server was killed before it could answer.
  me.page.reload()
  expect(me['failure']).to_contain_text('No answer was written')
  me['retry'].click()
  expect(me['answer'].last).to_contain_text('You said: Why?')
  expect(me.ask('And?')).to_contain_text('You said: And?')


def test_a_message_that_is_too_long_says_so_and_can_be_changed(visit):
  me = visit()
  me.server.engine.context = 40
  me.ask('How are you?')
  send(me, 'word ' * 60)
  expect(me['failure']).to_contain_text('too long for me')
  me['reword'].click()
  expect(me['prompt']).to_be_focused()
  assert me['prompt'].input_value().split() == ['word'] * 60
  expect(me.ask('Shorter')).to_contain_text('You said: Shorter')
  expect(me['user-message']).to_have_text(['How are you?', 'Shorter'])
  me.errors.clear()


def test_a_long_conversation_goes_on_without_its_oldest_turns_and_says_so(visit):
  me = visit()
  me.server.engine.context = 60
  for n in range(9):
    expect(me.ask(f'Question {n} has six words')).to_contain_text(f'You said: Question {n}')
  read = [m.content for m in me.server.engine.requests[-1].messages]
  assert read[-1] == 'Question 8 has six words' and 1 < len(read) < 17
  assert read[0].startswith('Question'), 'a whole exchange is dropped, never half of one'
  expect(me['horizon']).to_have_count(1)
  below = '[data-testid=horizon] + [data-testid=user-message]'
  expect(me.page.locator(below)).to_have_text(read[0])
  me.page.reload()
  expect(me['user-message']).to_have_count(9)
  expect(me.page.locator(below)).to_have_text(read[0])


def test_a_conversation_that_is_gone_is_no_dead_end(visit):
  me = visit()
  me.ask('How are you?')
  store = me.server.store.chats
  store.delete(store.of_user(me.user_id)[0].id).result(5)
  send(me, 'Where is Bern?')
  me['restart'].click()
  expect(me['teach']).to_be_visible()
  expect(me['prompt']).to_have_value('Where is Bern?')
  me['prompt'].press('Enter')
  expect(me['answer']).to_contain_text('You said: Where is Bern?')
  me.errors.clear()


def compared(me, question='Where is Bern?'):
  me['compare-mode'].click()
  send(me, question)
  expect(me['choose-a']).to_be_enabled()


def test_a_comparison_survives_a_reload(visit):
  me = visit()
  me.correct(me.ask('Where is Bern?'), 'In Switzerland.')
  learned(me['answer'])
  me['new'].click()
  me.page.evaluate('Math.random = () => 0.9')
  compared(me)
  sides = [me[f'side-{side}'].get_by_test_id('answer-text').inner_text() for side in 'ab']
  assert sides == ['You said: Where is Bern?', 'In Switzerland.']
  me.page.reload()
  for side, text in zip('ab', sides, strict=True):
    expect(me[f'side-{side}'].get_by_test_id('answer-text')).to_have_text(text)
  assert me['reveal'].count() == 0
  me['choose-b'].click()
  expect(me['side-b'].get_by_test_id('reveal')).to_contain_text('With what it has learned')
  learned(me['compare'])
  me.page.reload()
  expect(me['answer'].get_by_test_id('answer-text')).to_have_text('In Switzerland.')
  expect(me['compared']).to_contain_text('You liked this one better')
  me['show-both'].click()
  expect(me['side-b']).to_have_attribute('data-chosen', 'true')
  expect(me['side-b'].get_by_test_id('reveal')).to_contain_text('With what it has learned')
  expect(me.ask('And Basel?')).to_contain_text('You said: And Basel?')
  assert me.given()[-1].value['outcome'] == 'b'


def test_a_choice_that_is_taken_back_is_open_again(visit):
  me = visit()
  compared(me)
  me['choose-a'].click()
  learned(me['compare'])
  me['drawer-open'].click()
  me['undo'].click()
  expect(me['choose-b']).to_be_enabled()
  me.page.reload()
  expect(me['choose-b']).to_be_enabled()


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


def test_a_vote_in_a_deleted_conversation_comes_to_an_end(visit):
  me, other = visit(), visit()
  slow = other.ask('Hello')
  answer = me.ask('Where is Bern?')
  me.server.learner.step_s = 3.0
  slow.get_by_test_id('thumb-up').click()
  expect(slow.get_by_test_id('receipt')).to_have_attribute('data-status', 'training')
  answer.get_by_test_id('thumb-up').click()
  expect(answer.get_by_test_id('receipt')).to_have_attribute('data-status', 'queued')
  me['conversation'].hover()
  me['conversation-delete'].click()
  me['dialog-confirm'].click()
  me['drawer-open'].click()
  expect(me['lesson'].get_by_test_id('receipt')).to_contain_text(
    'Not learned: its conversation was deleted'
  )


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
  compared(me, 'Where is Basel?')
  me['choose-a'].click()
  learned(me['compare'])
  assert not me.errors
  me.context.close()


def test_variety_and_length_are_sent_and_kept(visit):
  me = visit()
  me['settings'].click()
  me['temperature'].fill('0')
  me['length'].select_option('short')
  me['dialog-confirm'].click()
  send(me, 'word ' * 200)
  expect(me['answer']).to_have_attribute('data-state', 'done')
  request = me.server.engine.requests[-1]
  assert request.temperature == 0 and request.max_tokens == 64
  me.page.reload()
  expect(me['answer']).to_have_count(1)
  me.ask('Again')
  assert me.server.engine.requests[-1].temperature == 0
  me['settings'].click()
  expect(me['length']).to_have_value('short')
  me['temperature'].fill('1')
  me['length'].select_option('long')
  me['dialog-confirm'].click()
  me.ask('Again')
  request = me.server.engine.requests[-1]
  assert request.temperature == 1 and request.max_tokens == 1024


def test_a_blank_correction_is_not_sent_and_says_why(visit):
  me = visit()
  answer = me.ask('Where is Bern?')
  answer.get_by_test_id('edit').click()
  for blank in ('', '   \n', '\u200b\u2060', '\u3164', '\u2800 \xad'):
    me['edit-text'].fill('x')
    me['edit-text'].fill(blank)
    me['edit-save'].click()
    expect(me['edit-note']).to_contain_text('Please write the answer')
    expect(me['edit-text']).to_be_focused()
  me['edit-text'].fill('You said: Where is Bern?')
  me['edit-save'].click()
  expect(me['edit-note']).to_contain_text('Nothing is changed yet')
  assert not me.given()


def test_the_original_text_takes_a_correction_back(visit):
  me = visit()
  answer = me.ask('Where is Bern?')
  me.correct(answer, 'In Switzerland.')
  learned(answer)
  me.correct(answer, 'You said: Where is Bern?')
  expect(answer.get_by_test_id('receipt').last).to_contain_text('Undone')
  until(lambda: me.given()[0].status == 'retracted')
  assert len(me.given()) == 1
