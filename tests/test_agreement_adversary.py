"""Attackers who read the code try what comes to their mind, in any order: laws that no sequence of
calls may break."""

import random

import pytest
from talk import LATER, feedback
from test_agreement import Crowd

from rft_jax.feedback import gates
from rft_jax.feedback.gates import DAY_US

WRONG, RIGHT, LIE, FINE = 'It is old.', 'It is new.', 'It is grass.', 'New, as all are.'


class Adversary:
  """Some of a crowd, with young accounts, old ones behind an address, and every call there is."""

  def __init__(self, crowd: Crowd, share: float, seed: int):
    self.crowd, self.noise = crowd, random.Random(seed)
    count = int(len(crowd.ids) * share)
    self.bad, self.honest = crowd.ids[:count], crowd.ids[count:]
    self.sybils = [crowd.newcomer() for _ in range(6)]
    for one in self.sybils:
      crowd.vote(one, answer='Hm.', asked=f'Who is {one}?', origin='lair 0')
    for number, one in enumerate(self.honest):
      crowd.vote(one, answer='Hm.', asked=f'Who is {one}?', origin=f'home {number}')
    for number, one in enumerate(self.bad):
      crowd.vote(one, answer='Hm.', asked=f'Who is {one}?', origin=f'lair {number}')
    crowd.clock.us += 2 * DAY_US
    self.needed = gates.needed(len(crowd.ids), crowd.store.rules)
    self.given = {}
    self.batches = []

  def gang(self) -> list[tuple[str, str | None]]:
    """Some of theirs, and where they are: also where the honest live."""
    noise = self.noise
    old = noise.sample(self.bad, noise.choice([len(self.bad), noise.randint(1, len(self.bad))]))
    new = [self.crowd.newcomer() for _ in range(noise.choice([0, 0, 1, 3]))]
    sybils = noise.sample(self.sybils, noise.choice([0, 0, 2, 6]))
    home = lambda: f'home {noise.randrange(len(self.honest))}'
    found = [(one, noise.choice([None, 'lair 0', home()])) for one in (*old, *new)]
    found += [(one, 'lair 0') for one in sybils]
    noise.shuffle(found)
    return found

  def attack(self, asked: str):
    """All say the same; what that is, depends on chance."""
    kind, value, answer, more = self.plan()
    for user, origin in self.gang():
      given = self.crowd.vote(user, kind, value, origin, answer=answer, asked=asked, **more)
      self.given[given.id] = user
    match self.noise.randrange(6):
      case 0 | 1:
        self.take_back()
      case 2:
        self.crowd.store.users.share(user, False).result(LATER)
        self.crowd.store.users.share(user, True).result(LATER)
      case 3:
        self.erase()
      case 4:
        self.flood(user, asked)

  def plan(self):
    noise = self.noise
    answer = noise.choice([LIE, LIE, RIGHT, FINE, WRONG])
    sign, personal = answer in (LIE, WRONG), {'personal': noise.randrange(2)}
    match noise.randrange(8):
      case 0 | 1:
        return 'edit', {'content': LIE}, noise.choice([WRONG, RIGHT]), personal
      case 2 | 3:  # what is honest, to push down what others like
        return 'edit', {'content': RIGHT}, FINE, {}
      case 4:
        return 'binary', {'label': sign}, answer, personal
      case 5:
        return 'rating', {'score': 4 if sign else 2}, answer, {}
      case 6:
        return 'reward', {'reward': 0.1 if sign else -0.1}, answer, personal
    tags = noise.choice([(), ('wrong_fact',)])
    return 'critique', {'text': '' if tags and noise.random() < 0.5 else LIE}, WRONG, {'tags': tags}

  def chip(self, asked: str):
    """As many as are needed press the same chip, and write nothing."""
    for number in self.noise.sample(range(len(self.honest)), self.needed):
      self.crowd.vote(
        self.honest[number],
        'critique',
        {'text': ''},
        f'home {number}',
        ['wrong_fact'],
        answer=WRONG,
        asked=asked,
      )

  def take_back(self):
    if self.given:
      one = self.noise.choice(list(self.given))
      if self.noise.random() < 0.5:
        self.crowd.store.events.retract(one, self.given[one]).result(LATER)
        return
      store = self.crowd.store
      reply = store.chats.message(store.events.receipt(one).message_id)
      if store.chats.get(reply.conversation_id):
        store.chats.delete(reply.conversation_id).result(LATER)

  def erase(self):
    user = self.crowd.newcomer()
    self.crowd.edit(user, RIGHT, asked=f'{self.noise.random()}')
    self.crowd.store.users.erase(user, user).result(LATER)

  def flood(self, user: str, asked: str):
    """The same again and again, on one answer."""
    reply = self.crowd.reply(user, WRONG, asked)
    for _ in range(4):
      given = feedback(reply, 'edit', {'content': RIGHT})
      self.crowd.store.events.add(given, user).result(LATER)
      self.crowd.store.events.retract(given.id, user).result(LATER)

  def ask(self, number: int):
    """A question, about which as many honest people as are needed want the same."""
    asked = f'What is thing {number}?'
    moves = ['attack'] * self.noise.randint(1, 4) + ['teach'] * self.needed
    people = self.noise.sample(range(len(self.honest)), self.needed + 2)
    self.noise.shuffle(moves)
    for move in moves:
      if move == 'attack':
        self.attack(asked)
      else:
        one = people.pop()
        self.crowd.edit(self.honest[one], RIGHT, WRONG, asked=asked, origin=f'home {one}')
    for one in people:
      self.crowd.vote(self.honest[one], answer=FINE, asked=asked, origin=f'home {one}')
    self.chip(asked)
    self.settle()
    self.check(asked)

  def settle(self):
    """What a server does as time passes."""
    while self.crowd.store.agreements.look_again().result(LATER) == 5:
      pass
    if batch := self.crowd.learn(self.noise.choice([1, 4, 8]), self.noise.choice([0, 3, 6])):
      self.batches.append([item.event.user_id for item in batch.items])

  def check(self, asked: str):
    c, honest = self.crowd, set(self.honest)
    wishes = [one for one in c.store.agreements.page() if one.question == asked]
    taught = [one for one in wishes if any(author.state == 'ok' for author in one.authors)]
    for one in taught:
      assert {author.user_id for author in one.authors} & honest, (one.direction, one.text)
      texts = {author.text for author in one.authors if author.state == 'ok'}
      assert not any(LIE in text for text in texts), (one.direction, texts)
    wish = next(one for one in wishes if one.kind == 'edit' and one.text == RIGHT)
    assert wish in taught, f'blocked: {wish}'
    assert all(c.trust(one) >= 0.5 for one in self.honest), 'trust fell'
    for owners in self.batches:
      share = max(1 / 8, 1 / len(set(owners)))
      assert max(owners.count(one) for one in owners) <= share * len(owners) + 1e-9


@pytest.mark.parametrize('seed', range(6))
def test_no_sequence_of_calls_breaks_the_laws(tmp_path, seed):
  share, people = ((0.05, 20), (0.1, 20), (0.2, 20), (0.2, 50), (0.1, 40), (0.2, 20))[seed]
  crowd = Crowd(tmp_path, people)
  adversary = Adversary(crowd, share, seed)
  for number in range(8):
    adversary.ask(number)
  assert adversary.batches
  crowd.store.close()
