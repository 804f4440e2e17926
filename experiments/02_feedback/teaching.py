"""What one user's feedback does to the model that answers them, event by event.

Each experiment takes the address of a server and yields rows of numbers; whoever takes part is a
new user.
"""

import concurrent.futures
from collections.abc import Callable, Iterable, Iterator

from guest import Guest
from scores import Sheet, mean, measure, sample, sheet, styles
from users import KINDS, Careful, Corrector, Critic, Drifter, Editor, Lazy, Noisy, User, mistaken

from rft_jax.data.smalltalk.answers import STYLES
from rft_jax.data.smalltalk.grammar import NOTES

EVENTS = 0, 1, 2, 4, 8, 16, 30
STAGES = 'ack', 'queue', 'step', 'publish', 'total'
Rows = Iterator[dict]


def reflection(url: str, seeds: int, events: Iterable[int] = EVENTS) -> Rows:
  """How much of what is taught is said, by the number of events: on the same prompts, in other
  words, on others, and by the model of somebody else."""
  bystander = Guest(url)
  for seed in range(seeds):
    style = STYLES[seed % len(STYLES)]
    for kind, make in KINDS.items():
      for row in curve(url, make(style, seed), bystander, events):
        yield dict(kind=kind, about=style, seed=seed) | row
  for one in mistaken():
    for row in curve(url, Corrector(one), bystander, (0, 1)):
      yield dict(kind='fact', about=one.key, seed=0) | row


def curve(url: str, user: User, bystander: Guest, events: Iterable[int]) -> Rows:
  """Scores of a new user's model after so many events; before and after, the bystander's too."""
  guest, asked_for, steps = Guest(url), sheet(user), sorted(events)
  given = 0
  for wanted in steps:
    given += teach(guest, user, wanted - given)
    score = measure(guest, user, asked_for)
    edge = wanted in (steps[0], steps[-1])
    others = measure(bystander, user, asked_for).same if edge else None
    yield dict(events=given, **score._asdict(), others=others)
  guest.close()


def teach(guest: Guest, user: User, count: int) -> int:
  """So many events, each learned before the next; how many were given in at most ten times as many
  turns."""
  given = 0
  for _ in range(10 * count):
    if given == count:
      break
    receipt = user.turn(guest)
    if receipt:
      given += 1
      guest.settle()
  return given


def robustness(url: str, seeds: int, events: Iterable[int] = EVENTS) -> Rows:
  """Users who err, who seldom say anything, and who change their mind after sixteen events."""
  bystander = Guest(url)
  for seed in range(seeds):
    style, then = (STYLES[(seed + i) % len(STYLES)] for i in (1, 2))
    drifter = Drifter(style, then, seed, after=16)
    people = dict(noisy=Noisy(style, seed), lazy=Lazy(style, seed), drifter=drifter)
    for kind, user in people.items():
      steps = tuple(events) if kind != 'drifter' else (*events, 46)
      for row in curve(url, user, bystander, steps):
        yield dict(kind=kind, about=style, seed=seed) | row


def retention(url: str, seeds: int, votes: Iterable[int] = (0, 8, 16, 32, 64)) -> Rows:
  """What a user has corrected, once each, before they vote on style: how much of it is still said
  after so many votes, and how much of the style."""
  for seed in range(seeds):
    user, guest = Careful(STYLES[seed % len(STYLES)], seed), Guest(url)
    asked_for = sheet(user)
    facts = [(fixer.question(fixer.fact), fixer) for fixer in user.corrected]
    teach(guest, user, len(facts))
    given = 0
    for wanted in votes:
      given += teach(guest, user, wanted - given)
      texts = sample(guest, [question for question, _ in facts])
      kept = [one.likes(t, one.fact) > 0 for question, one in facts for t in texts[question]]
      hold = measure(guest, user, asked_for).hold
      yield dict(about=user.style, seed=seed, votes=given, kept=mean(kept), hold=hold)
    guest.close()


def together(url: str, events: int) -> Rows:
  """Five users who contradict one another learn at the same time: whose model says what in which
  style, and how content each is, beside the model that learns nothing, with and without a note."""
  people = [Critic(style, 7) if style == 'terse' else User(style, 7) for style in STYLES]
  guests = [Guest(url) for _ in people]
  with concurrent.futures.ThreadPoolExecutor(len(people)) as pool:
    list(pool.map(lambda guest, user: teach(guest, user, events), guests, people))
  rows = [*zip([user.style for user in people], guests, people, strict=True)]
  bystander = Guest(url)
  for owner, guest, user in rows:
    prompts = unseen(sheet(user))
    arms = dict(
      live=sample(guest, prompts),
      frozen=sample(guest, prompts, 'rft:base'),
      notes=sample(guest, prompts, 'rft:base', NOTES[owner][0]),
      bystander=sample(bystander, prompts),
    )
    for arm, texts in arms.items():
      shares = {style: styles(texts, style) for style in STYLES}
      yield dict(owner=owner, arm=arm, n=sum(map(len, texts.values())), **shares)


def unseen(parts: Sheet) -> list[str]:
  return [text for text, _ in (*parts.para, *parts.hold)]


def latency(url: str, events: int) -> Rows:
  """A row for each event of a user of every kind: the milliseconds of each stage until it is
  served, one event at a time."""
  for kind, make in KINDS.items():
    guest = Guest(url)
    teach(guest, make('lower', 3), events)
    for receipt in guest.settle():
      yield dict(kind=kind, status=receipt['status']) | stages(receipt)


def stages(receipt: dict) -> dict:
  return {name: receipt['latency_ms'].get(name) for name in STAGES}


def once(url: str) -> Callable[[], object]:
  """Gives one piece of feedback at each call, and waits until it is served."""
  guest, user = Guest(url), Editor('friendly', 5)

  def event():
    teach(guest, user, 1)

  return event
