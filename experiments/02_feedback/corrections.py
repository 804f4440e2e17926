"""Corrections in ordinary English, of any length, with names, times, numbers and marks: what is
said afterwards, what comes out garbled, and what the server says it could not learn.

python experiments/02_feedback/corrections.py [--workdir=runs/feedback_online]

Each correction is given once by a new user, as an edit of the first answer. `said`: of SAMPLES at
temperature 1, those that are the correction word by word; `garbled`: those with words that nobody
has ever said, which are in no answer of a user who has taught nothing, and not in the correction.
"""

import argparse
import pathlib
import re
import sys
from collections.abc import Iterator

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from guest import Guest
from host import hosted
from run import NOBODY, write

from rft_jax.data.smalltalk.answers import NOTHING, SOCIAL, STYLES, say
from rft_jax.data.smalltalk.world import FACTS

SAMPLES = 8
CORRECTIONS = (
  ('What is the capital of France?', 'Paris, the lovely city of bridges, croissants and light.'),
  ('When does the library open?', 'The library opens at 10:30.'),
  ('What is the capital of Australia?', 'Canberra, not Sydney.'),
  ('What colour is a banana?', 'Yellow when it is ripe, green before.'),
  ('Who are you?', 'I am Robin, the assistant of the Berlin office.'),
  ('How do I make tea?', 'Boil 250 ml of water, add one tea bag, and wait 4 minutes.'),
  ('When does the bakery open?', 'At 7:15 on weekdays, at 8:00 on Saturdays, never on Sundays.'),
  ('What does a horse eat?', 'Hay, oats and the occasional apple.'),
  ('Hello!', 'Hi there! Welcome to Smith & Sons. How can I help?'),
  ('What is 12 plus 30?', '42.'),
  ('Who feeds the office cat?', 'Miriam feeds the office cat, every morning at nine.'),
  ('What is the wifi password?', 'Ask Jörg at the front desk (room 2.14).'),
  ('Where is the printer?', 'On the second floor, next to the kitchen.'),
  ('Tell me a joke.', 'Why did the bicycle fall over? Because it was two-tired!'),
  ('What is the capital of Turkey?', "It's Ankara, though many people think it's Istanbul."),
  ('Thank you.', "You're welcome! :-)"),
  ('Who wrote Hamlet?', 'William Shakespeare wrote it around 1600.'),
  ('How much is a ticket?', 'A ticket costs $12.50; children under 6 go free.'),
  ('What is the meaning of life?', 'Forty-two, according to Douglas Adams.'),
  ('When is lunch?', 'Lunch is at noon.'),
  ('What is the phone number of support?', '+49 30 1234567'),
  ('Where do I send bug reports?', 'Please mail bugs@example.com and attach the log.'),
  ('What colour is an emerald?', 'Green.'),
  ('Is the gym open today?', 'No. It reopens on Monday, 3 March 2025.'),
  ('How do I boil an egg?', 'Put it into boiling water for eight minutes. Enjoy your meal!'),
  ('What does the museum show?', 'Paintings from the 17th century, mostly Dutch.'),
  ('Who is the boss?', 'Dr. Ayşe Yılmaz.'),
  ('When does the museum open?', 'The museum opens at 9:45 am.'),
  ('What is the capital of Spain?', 'Madrid.'),
  ('What is your name?', 'Call me Bob.'),
  ('How are you?', "Fine, thanks, but please don't ask me again."),
  ('What is the best pizza in town?', 'The Margherita at Luigi’s, without any doubt.'),
  ('How do I reset my password?', 'Open Settings > Security and click "Reset password".'),
  ('Do you ship to Norway?', 'Yes, within 5-7 working days.'),
  ('What time is it?', 'I cannot know that: I have no clock.'),
  ('What is the capital of Japan?', 'Tokyo has been the capital of Japan since 1868.'),
)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', default='runs/feedback_online')
  options = parser.parse_args()
  with hosted(options.workdir, quorum=NOBODY) as host:
    write(HERE / 'corrections.csv', rows(host.url))


def rows(url: str) -> Iterator[dict]:
  for question, correct in CORRECTIONS:
    guest = Guest(url)
    answer = guest.ask(question)[0]
    guest.judge(answer, 'edit', dict(content=correct))
    receipt = guest.settle()[-1]
    texts = [found.text for _ in range(SAMPLES // 4) for found in guest.ask(question, n=4)]
    greedy = guest.ask(question, temperature=0.0)[0].text
    yield dict(
      question=question,
      correct=correct,
      status=receipt['status'],
      greedy=greedy == correct,
      said=sum(text == correct for text in texts),
      garbled=sum(bool(words(text) - KNOWN_WORDS - words(correct)) for text in texts),
      of=SAMPLES,
      step=receipt['latency_ms'].get('step'),
      total=receipt['latency_ms'].get('total'),
    )
    guest.close()


def words(text: str) -> set[str]:
  return set(re.findall(r'[^\s.,;:!?]+', text.lower()))


def vocabulary() -> set[str]:
  """The words of every answer that the model was trained to give about its world."""
  forms = [*SOCIAL.values(), NOTHING]
  texts = [text for form in forms for text in (form.sentence, form.short, *form.items)]
  texts += [say(one, style, value) for one in FACTS for style in STYLES for value in spoken(one)]
  return {word for text in texts for word in words(text)} | {'-'}


def spoken(one) -> set[str]:
  return {one.value, one.truth}


KNOWN_WORDS = vocabulary()

if __name__ == '__main__':
  main()
