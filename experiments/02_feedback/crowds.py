"""What many users' feedback does to the model that answers everyone."""

import concurrent.futures
import time
from collections.abc import Iterable, Iterator

from guest import Guest
from host import Host
from scores import mean, sample
from teaching import teach
from users import AlwaysUp, Flipper, Injector, Replayer, SlowDrip, User, lie, mistaken

from rft_jax.data.smalltalk.answers import say, states
from rft_jax.data.smalltalk.grammar import asked
from rft_jax.data.smalltalk.world import fact
from rft_jax.tasks.smalltalk import probes

TARGET = fact('food', 'a lion')  # No probe of the canary asks for it.
ATTACKS = {
  'injector': lambda seed: Injector(TARGET, lie(TARGET), seed),
  'flipper': lambda seed: Flipper('plain', seed),
  'replayer': lambda seed: Replayer(TARGET, lie(TARGET), seed),
  'slow_drip': lambda seed: SlowDrip(TARGET, lie(TARGET), seed),
  'always_up': lambda seed: AlwaysUp('plain', seed),
}
Rows = Iterator[dict]


def rest(guest: Guest):
  """Until nothing waits to be learned, by anybody's adapter or everyone's. A candidate on trial is
  no event that waits, so nothing may have changed for a while."""
  quiet, version = 0, None
  while quiet < 10:
    status = guest.call('GET', '/v1/status')
    still = not status['pending_events'] and not status['training'] and status['version'] == version
    quiet, version = quiet + 1 if still else 0, status['version']
    time.sleep(0.5)


def everyone(host: Host, lessons: int) -> Rows:
  """Three users write the same correction; how long after the third does somebody else's answer
  come from new weights for everyone, and what is said then?"""
  guests, stranger = [Guest(host.url, key) for key in host.users[:3]], Guest(host.url)
  for one in mistaken()[:lessons]:
    question, value = asked(one, 'train')[0], one.truth
    rest(stranger)  # The next version is of this fact.
    before = stranger.ask(question)[0].version[0]
    answers = [guest.ask(question)[0] for guest in guests]
    began = 0.0
    for guest, answer in zip(guests, answers, strict=True):
      began = time.perf_counter()
      guest.judge(answer, 'edit', dict(content=say(one, 'plain', value)))
    end = time.perf_counter() + 60
    served = None
    while served is None and time.perf_counter() < end:
      time.sleep(0.1)
      if stranger.ask(question)[0].version[0] != before:
        served = 1000 * (time.perf_counter() - began)
    texts = sample(stranger, [question])[question]
    said = mean([states(text, one) == value for text in texts])
    yield dict(fact=f'{one.kind} {one.key}', total=served, said=said)


def forgetting(url: str, people: Iterable[User], events: int, every: int) -> Rows:
  """Users teach for long: how many probes, of which none was ever taught, stay right?"""
  rows = [(user, Guest(url)) for user in people]
  given = 0
  while True:
    for user, guest in rows:
      adapter = guest.call('GET', '/v1/me/adapter')
      right = [p.check(guest.ask(p.prompt, temperature=0.0)[0].text) for p in probes()]
      yield dict(
        user=type(user).__name__,
        about=user.style,
        events=given,
        right=mean(right),
        kl=adapter['kl_to_ref'],
      )
    if given >= events:
      return
    with concurrent.futures.ThreadPoolExecutor(len(rows)) as pool:
      list(pool.map(lambda row: teach(row[1], row[0], every), rows))
    given += every
