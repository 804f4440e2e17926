"""Takes pictures of the page: python docs/page.py [--url http://127.0.0.1:8000] [--out docs/page]

With `--url`, of a server of configs/feedback_online.py that is running (`--key` where it wants
one): what the pictures show is what that model said. Without, of the tests' server, whose model is
a table that obeys: the page is real, the answers are not. Needs `pip install playwright pillow` and
Debian's chromium.
"""

import argparse
import contextlib
import io
import json
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / 'tests'))

from obedient import BASE, SUGGESTIONS
from served import Taught

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


class Topics(NamedTuple):
  """What the visitors ask, how the first answer could have been, and which of the suggestions they
  take up."""

  question: str
  then: str
  better: str
  lesson: int


OBEDIENT = Topics('How do I make good coffee?', 'Write that as code', SHORT, 1)
SMALL_TALK = Topics(
  'How do I make tea?',
  'What is the capital of Turkey?',
  'Boil some water, then add the tea and wait three minutes.',
  0,
)


expect.set_options(timeout=60_000)  # A model on a CPU takes its time.


class Visit:
  """A new visitor."""

  def __init__(self, browser, to: argparse.Namespace, **options):
    context = browser.new_context(device_scale_factor=1.5, reduced_motion='reduce', **options)
    if to.key:
      context.add_init_script(f"sessionStorage.setItem('rft.key', {json.dumps(to.key)})")
    self.out, self.topics = pathlib.Path(to.out), to.topics
    self.page: Page = context.new_page()
    self.page.goto(to.url)
    expect(self.page.locator('body[data-ready]')).to_be_attached()

  def __getitem__(self, testid: str):
    return self.page.get_by_test_id(testid)

  def ask(self, text: str):
    before = self['answer'].count()
    self['prompt'].fill(text)
    self['prompt'].press('Enter')
    expect(self['answer']).to_have_count(before + 1)
    expect(self['answer'].last).to_have_attribute('data-state', 'done')
    return self['answer'].last

  def read(self) -> None:
    """A vote on what nobody can have read yet is set aside."""
    self.page.wait_for_timeout(400)

  def learned(self) -> None:
    expect(self['receipt'].last).to_have_attribute('data-status', 'served')
    self.page.wait_for_timeout(1000)  # The badge has heard of it.

  def picture(self, name: str) -> None:
    self.page.mouse.move(0, 0)  # Nothing is shown as hovered.
    image = Image.open(io.BytesIO(self.page.screenshot()))
    small = image.convert('RGB').quantize(256, kmeans=2, dither=Image.Dither.NONE)
    small.save(self.out / f'{name}.png', optimize=True)


def welcome_and_lesson(me: Visit, prefix: str = '') -> None:
  me.picture(f'{prefix}welcome')
  me['suggestion'].nth(me.topics.lesson).click()
  expect(me['edit-save']).to_be_visible()
  me.read()
  me['edit-save'].click()
  expect(me['verdict']).to_be_visible()
  me.picture(f'{prefix}teach')


def conversation(me: Visit) -> None:
  """A question, votes of three kinds, a follow-up whose vote is being learned."""
  answer = me.ask(me.topics.question)
  me.read()
  answer.get_by_test_id('star-4').click()
  me.learned()
  answer.get_by_test_id('thumb-up').click()
  me.learned()
  answer = me.ask(me.topics.then)
  answer.get_by_test_id('critique').click()
  me.read()
  answer.get_by_test_id('chip-wrong_format').click()
  answer.get_by_test_id('critique-send').click()
  me.learned()


def drawer(me: Visit) -> None:
  me['drawer-open'].click()
  expect(me['lesson'].first).to_be_visible()
  me.picture('drawer')
  me['drawer-close'].click()


def compare(me: Visit) -> None:
  answer = me.ask(me.topics.question)
  me.read()
  answer.get_by_test_id('edit').click()
  answer.get_by_test_id('edit-text').fill(me.topics.better)
  answer.get_by_test_id('edit-save').click()
  me.learned()
  me['new'].click()
  me.page.evaluate('Math.random = () => 0.1')
  me['compare-mode'].click()
  me['prompt'].fill(me.topics.question)
  me['prompt'].press('Enter')
  expect(me['choose-a']).to_be_enabled()
  me.read()
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
  if me['rollback'].count():
    me['rollback'].first.scroll_into_view_if_needed()
    me['rollback'].first.click()
    me['dialog-field'].fill('worse answers since noon')
    me.picture('rollback')


@contextlib.contextmanager
def stand_in() -> Iterator[str]:
  """The tests' server, where staff has taught everyone some things already; its address."""
  with (
    tempfile.TemporaryDirectory() as folder,
    Taught(pathlib.Path(folder), suggestions=SUGGESTIONS) as served,
  ):
    for question in ('What is an API?', 'Who are you?', 'How late is it?'):
      served.teach_everyone(question, 'Somebody knows.')
    served.learner.step_s = 1.2
    yield served.url


def take_all(browser, to: argparse.Namespace) -> None:
  welcome_and_lesson(Visit(browser, to, **DESK))
  me = Visit(browser, to, **DESK)
  conversation(me)
  me.picture('chat')
  drawer(me)
  compare(Visit(browser, to, **DESK))
  if to.topics is OBEDIENT:
    other_scripts(Visit(browser, to, **DESK))
  me = Visit(browser, to, color_scheme='dark', **DESK)
  conversation(me)
  me.picture('dark')
  me = Visit(browser, to, **PHONE)
  welcome_and_lesson(me, 'phone_')
  me['lesson-continue'].click()
  expect(me['answer']).to_have_count(1)
  conversation(me)
  me.picture('phone')
  admin(Visit(browser, to, **DESK))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--url', default='')
  parser.add_argument('--key', default='')
  parser.add_argument('--out', default=str(HERE / 'page'))
  to = parser.parse_args()
  to.topics = SMALL_TALK if to.url else OBEDIENT
  pathlib.Path(to.out).mkdir(parents=True, exist_ok=True)
  address = contextlib.nullcontext(to.url) if to.url else stand_in()
  with address as to.url, sync_playwright() as driver:
    browser = driver.chromium.launch(executable_path=shutil.which('chromium'))
    take_all(browser, to)
    browser.close()


if __name__ == '__main__':
  main()
