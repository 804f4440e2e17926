"""The page in a real browser: what a visitor does and must see."""

import re

import pytest
import visitor
from served import until
from visitor import expect, learned

pytestmark = visitor.needed
server, browser, visit = visitor.server, visitor.browser, visitor.visit
SIDES = {'a': 0.1, 'b': 0.9}  # What chance says when the learned model becomes this side.


def test_a_vote_is_learned_and_a_new_conversation_shows_it(visit):
  me = visit()
  me.server.learner.step_s = 0.3
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
  me.server.engine.word_s = 0.02
  me['prompt'].fill('word ' * 600)
  me['prompt'].press('Enter')
  expect(me['answer']).to_contain_text('word word')
  expect(me['answer']).to_have_attribute('data-state', 'streaming')
  me['stop'].click()
  expect(me['answer']).to_have_attribute('data-state', 'stopped')
  assert len(me['answer'].get_by_test_id('answer-text').inner_text()) < 2000
  expect(me['send']).to_be_visible()
  until(lambda: me.server.engine.slots_busy == 0)
  me.page.reload()
  expect(me['answer']).to_have_attribute('data-state', 'stopped')
  expect(me['answer']).to_contain_text('Stopped')
  assert me['thumb-up'].count() == 0, 'half an answer teaches nothing'


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
  me['edit-text'].fill('Put it into boiling water for  **eight minutes**, then into cold water.')
  me['edit-save'].click()
  expect(me['verdict']).to_contain_text('No visible change yet')


def test_a_correction_is_shown_sent_and_learned(visit):
  me = visit()
  answer = me.ask('Where is Bern?')
  me.correct(answer, 'In **Switzerland**.')
  expect(answer.get_by_test_id('answer-text')).to_have_text('In Switzerland.')
  learned(answer)
  assert me.given()[0].value == {'content': 'In **Switzerland**.'}
  answer.get_by_test_id('show-original').click()
  expect(answer.get_by_test_id('answer-text')).to_have_text('You said: Where is Bern?')
  answer.get_by_test_id('regenerate').click()
  expect(me['branch']).to_have_text('2/2')
  expect(me['answer'].get_by_test_id('answer-text')).to_have_text('In Switzerland.')
  me['branch-left'].click()
  expect(me['edited']).to_be_visible()
  me.ask('Are you sure?')
  history = [('user', 'Where is Bern?'), ('assistant', 'In **Switzerland**.')]
  assert list(me.server.engine.requests[-1].messages) == [*history, ('user', 'Are you sure?')]


@pytest.mark.parametrize('side', ['a', pytest.param('b', marks=pytest.mark.slow)])
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
  assert me['version-personal'].inner_text() == 'v1'  # The other answer came without adapters.
  assert me['reveal'].count() == 0 and 'rft:base' not in me['compare'].inner_text()
  me[f'choose-{side}'].click()
  expect(me[f'side-{side}'].get_by_test_id('reveal')).to_contain_text('With what it has learned')
  learned(me['compare'])
  value = me.given()[-1].value
  pair = {s: me.server.store.chats.generation(value[s]) for s in 'ab'}
  assert value['outcome'] == side and pair[side].adapter_user == me.user_id
  assert [pair[s].pair_side for s in 'ab'] == ['a', 'b']
  assert pair['a'].pair_group == pair['b'].pair_group
  me.page.reload()
  expect(me['answer']).to_contain_text('In Switzerland.')


@pytest.mark.slow
def test_neither_answer_need_win(visit):
  me = visit()
  me['compare-mode'].click()
  me['prompt'].fill('Where is Bern?')
  me['prompt'].press('Enter')
  me['choose-both_bad'].click()
  learned(me['compare'])
  (receipt,) = me.given()
  assert receipt.value['outcome'] == 'both_bad' and receipt.message_id == receipt.value['a']


def test_a_changed_vote_supersedes_and_a_second_press_takes_it_back(visit):
  me = visit()
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  answer.get_by_test_id('thumb-down').click()
  expect(answer.get_by_test_id('thumb-up')).to_have_attribute('aria-pressed', 'false')
  learned(answer)
  up, down = me.given()
  assert up.status == 'superseded' and down.value == {'label': False}
  me.page.wait_for_timeout(500)  # Longer than a double-click.
  answer.get_by_test_id('thumb-down').click()
  expect(answer.get_by_test_id('thumb-down')).to_have_attribute('aria-pressed', 'false')
  expect(answer.get_by_test_id('receipt').last).to_contain_text('Undone')
  until(lambda: [r.status for r in me.given()] == ['superseded', 'retracted'])


@pytest.mark.slow
def test_a_vote_taken_back_stays_undone_while_the_server_does_not_know_yet(visit):
  me = visit()
  answer = me.ask('Hello')
  me.server.learner.step_s = 1.0
  answer.get_by_test_id('thumb-up').click()
  expect(answer.get_by_test_id('receipt')).to_have_attribute('data-status', 'training')
  me.once(f'/v1/feedback/{me.given()[0].id}', lambda route: route.fulfill(status=503))
  me.page.wait_for_timeout(500)  # Longer than a double-click.
  answer.get_by_test_id('thumb-up').click()
  until(lambda: me.given()[0].applied_version == 1)  # Learned, and then taken back.
  expect(answer.get_by_test_id('receipt').last).to_contain_text('Undone')
  until(lambda: me.given()[0].status == 'retracted')
  expect(me['version-personal']).to_have_text('v0')
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
  rating, critique = me.given()
  assert rating.kind == 'rating' and rating.value == {'score': 4}
  assert critique.value == {'text': 'Not so loud'} and critique.tags == ('too_long', 'tone')
  shown = me.event(rating).shown_ms
  assert shown is not None and shown >= 0


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
  expect(me['version-personal']).to_have_text('v0')
  expect(me['fact-events']).to_have_text('0')
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
  me['drawer-close'].click()
  answer = me.ask('Hello again')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)


def test_the_adapter_can_be_taken_along(visit):
  me = visit()
  answer = me.ask('Hello')
  answer.get_by_test_id('thumb-up').click()
  learned(answer)
  me['drawer-open'].click()
  with me.page.expect_download() as download:
    me['adapter-export'].click()
  assert download.value.suggested_filename == 'adapter.safetensors'
  assert 'Hello' in download.value.path().read_text()


def test_a_conversation_can_be_deleted(visit):
  me = visit()
  me.ask('Hello')
  me['conversation'].hover()
  me['conversation-delete'].click()
  me['dialog-confirm'].click()
  expect(me['conversation']).to_have_count(0)
  expect(me['teach']).to_be_visible()
  assert not me.server.store.chats.of_user(me.user_id)
