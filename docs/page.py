"""Takes the pictures in docs/page/, of the page served by the tests' server: python docs/page.py

Needs `pip install playwright` and Debian's chromium. What the pictures show is the page; the
answers, times and curves in them are the test server's inventions.
"""

import io
import pathlib
import shutil
import sys

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / 'tests'))

import fake_chat
from fake_world import BASE

DESK = {'viewport': {'width': 1200, 'height': 760}}
PHONE = {'viewport': {'width': 360, 'height': 740}, 'is_mobile': True, 'has_touch': True}
SHORT = 'Grind beans for **30 g** of coffee, pour 500 g of water at 94 °C, wait four minutes.'
BASE |= {
  'How do I make good coffee?': """Good coffee needs few things, done with care:

1. **Grind** 30 g of fresh beans, as coarse as sea salt.
2. **Pour** 500 g of water, just off the boil, in two goes.
3. **Wait** four minutes, stir once, and press.

Weigh both; `ratio = water / coffee` should be between 15 and 17.""",
  'Write that as code': """```python
def water(coffee: float, ratio: float = 16.5) -> float:
  return coffee * ratio
```

`water(30)` is 495 g.""",
  'كيف أصنع القهوة؟': 'اطحن البن، ثم أضف الماء الساخن وانتظر **أربع دقائق**.',
  'Name a long word': 'Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz' * 2,
}


class Visit:
  """A new visitor, whose votes take `learn_s` to be learned."""

  def __init__(self, browser, url: str, learn_s: float = 1.2, **options):
    context = browser.new_context(device_scale_factor=1.5, reduced_motion='reduce', **options)
    self.page: Page = context.new_page()
    self.page.goto(url)
    expect(self.page.locator('body[data-ready]')).to_be_attached()
    context.request.post(f'{url}/fake', data={'learn_s': learn_s})

  def __getitem__(self, testid: str):
    return self.page.get_by_test_id(testid)

  def ask(self, text: str):
    before = self['answer'].count()
    self['prompt'].fill(text)
    self['prompt'].press('Enter')
    expect(self['answer']).to_have_count(before + 1)
    expect(self['answer'].last).to_have_attribute('data-state', 'done')
    return self['answer'].last

  def learned(self) -> None:
    expect(self['receipt'].last).to_have_attribute('data-status', 'served')
    self.page.wait_for_timeout(100)

  def picture(self, name: str) -> None:
    self.page.mouse.move(0, 0)  # Nothing is shown as hovered.
    image = Image.open(io.BytesIO(self.page.screenshot()))
    small = image.convert('RGB').quantize(256, kmeans=2, dither=Image.Dither.NONE)
    small.save(HERE / 'page' / f'{name}.png', optimize=True)


def welcome_and_lesson(me: Visit, prefix: str = '') -> None:
  me.picture(f'{prefix}welcome')
  me['suggestion'].nth(1).click()
  me['edit-save'].click()
  expect(me['verdict']).to_be_visible()
  me.picture(f'{prefix}teach')


def conversation(me: Visit) -> None:
  """A question, votes of three kinds, a follow-up whose vote is being learned."""
  answer = me.ask('How do I make good coffee?')
  answer.get_by_test_id('star-4').click()
  me.learned()
  answer.get_by_test_id('thumb-up').click()
  me.learned()
  answer = me.ask('Write that as code')
  answer.get_by_test_id('critique').click()
  answer.get_by_test_id('chip-wrong_format').click()
  answer.get_by_test_id('critique-send').click()
  me.learned()


def drawer(me: Visit) -> None:
  me['drawer-open'].click()
  expect(me['lesson'].first).to_be_visible()
  me.picture('drawer')
  me['drawer-close'].click()


def compare(me: Visit) -> None:
  answer = me.ask('How do I make good coffee?')
  answer.get_by_test_id('edit').click()
  answer.get_by_test_id('edit-text').fill(SHORT)
  answer.get_by_test_id('edit-save').click()
  me.learned()
  me['new'].click()
  me.page.evaluate('Math.random = () => 0.1')
  me['compare-mode'].click()
  me['prompt'].fill('How do I make good coffee?')
  me['prompt'].press('Enter')
  expect(me['choose-a']).to_be_enabled()
  me.picture('compare')
  me['choose-a'].click()
  me.learned()
  me.picture('compared')


def other_scripts(me: Visit) -> None:
  me.ask('كيف أصنع القهوة؟')
  me.ask('Name a long word').get_by_test_id('critique').click()
  me.picture('scripts')


def admin(me: Visit) -> None:
  me['tab-admin'].click()
  expect(me['version-row'].first).to_be_visible()
  me.picture('admin')
  me['rollback'].first.scroll_into_view_if_needed()
  me['rollback'].first.click()
  me['dialog-field'].fill('worse answers since noon')
  me.picture('rollback')


def main() -> None:
  (HERE / 'page').mkdir(exist_ok=True)
  url = fake_chat.Server().url
  with sync_playwright() as driver:
    browser = driver.chromium.launch(executable_path=shutil.which('chromium'))
    welcome_and_lesson(Visit(browser, url, **DESK))
    me = Visit(browser, url, **DESK)
    conversation(me)
    me.picture('chat')
    drawer(me)
    admin(me)
    compare(Visit(browser, url, **DESK))
    other_scripts(Visit(browser, url, **DESK))
    me = Visit(browser, url, color_scheme='dark', **DESK)
    conversation(me)
    me.picture('dark')
    me = Visit(browser, url, **PHONE)
    welcome_and_lesson(me, 'phone_')
    me['lesson-continue'].click()
    expect(me['answer']).to_have_count(1)
    conversation(me)
    me.picture('phone')
    browser.close()


if __name__ == '__main__':
  main()
