"""Visitors of the page as fixtures: a browser, a server that learns, and what a person does."""

import re
import shutil

import pytest
from obedient import SUGGESTIONS
from served import Taught

from rft_jax.feedback.gates import Rules

playwright = pytest.importorskip('playwright.sync_api', reason='needs `pip install playwright`')
expect = playwright.expect
PATIENCE = 20_000  # ms: a loaded machine is slow, and no test that passes waits for it
expect.set_options(timeout=PATIENCE)
CHROMIUM = shutil.which('chromium')
needed = pytest.mark.skipif(CHROMIUM is None, reason='needs `apt-get install chromium`')
LEARNED = re.compile(r'Learned, yours v\d+, \d+\.\d s')
HASTY = Rules(shown_ms=0)  # Tests read faster than people.


@pytest.fixture(scope='module')
def server(tmp_path_factory):
  with Taught(tmp_path_factory.mktemp('server'), HASTY, suggestions=SUGGESTIONS) as server:
    yield server


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
    self.context.set_default_timeout(PATIENCE)
    self.server, self.url, self.errors = server, server.url, []
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

  @property
  def user_id(self):
    return self.context.request.get(f'{self.url}/v1/me').json()['user_id']

  def given(self):
    """The receipts of what this visitor has said, as the store has them, oldest first."""
    return self.server.store.events.of_author(self.user_id)[::-1]

  def event(self, receipt):
    return self.server.store.events.get(receipt.seq)

  def once(self, path, act):
    """The next request to this path goes to `act(route)` instead of to the server."""
    self.page.route(f'**{path}', act, times=1)

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
  server.engine.word_s, server.engine.fail_at, server.learner.step_s = 0.0, -1, 0.05
  server.engine.context = 0
  errors = [error for visitor in visitors for error in visitor.errors]
  for visitor in visitors:
    visitor.context.close()
  assert not errors


def learned(where):
  expect(where.get_by_test_id('receipt').last).to_contain_text(LEARNED)
