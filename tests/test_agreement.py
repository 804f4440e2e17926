"""What teaches everyone: several independent people who want the same in the same context."""

import dataclasses
import itertools
import random

import numpy as np
import pytest
from talk import LATER, Clock, answered, feedback

from rft_jax.feedback import gates
from rft_jax.feedback.gates import DAY_US, Rules
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.ingest import Refused
from rft_jax.feedback.records import GLOBAL, ApiKey, Conversation, Message, of_user
from rft_jax.feedback.store import Store

TRUTH, LIE = 'A lion eats meat.', 'A lion eats grass.'
ASKED = 'What does a lion eat?'


class Crowd:
  """A store with people who have been there for two days, each of whom has spoken once."""

  def __init__(self, folder, people: int, clock: Clock | None = None, **rules):
    self.clock = clock or Clock()
    self.store = Store(folder / 'store.db', Rules(**rules), self.clock)
    made = [self.store.users.create() for _ in range(people)]
    self.ids = [one.result(LATER).id for one in made]
    self.clock.us += 2 * DAY_US
    for number, one in enumerate(self.ids):
      given = feedback(self.reply(one, 'Fine.', f'How is number {number}?'))
      last = self.store.events.add(given, one)
    if people:
      last.result(LATER)

  def newcomer(self) -> str:
    return self.store.users.create().result(LATER).id

  def reply(
    self, user: str, answer: str = TRUTH, asked: str = ASKED, personal=0, system='', history=()
  ) -> str:
    """The id of an answer in a conversation of its own. history: texts of turns before."""
    conversation = Conversation(uuid7(), user, 'title', system)
    chain: list[Message] = []
    for number, said in enumerate((*history, asked, answer)):
      role, parent = ('assistant' if number % 2 else 'user'), chain[-1].id if chain else None
      chain.append(Message(uuid7(), conversation.id, parent, role, said))
    made = dataclasses.replace(answered(chain[-1].id), personal_version=personal)
    self.store.chats.add(chain, [made], conversation)
    return chain[-1].id

  def vote(self, user, kind='binary', value=None, origin=None, tags=(), **context):
    value = {'label': True} if value is None else value
    given = feedback(self.reply(user, **context), kind, value, tags=list(tags))
    return self.store.events.add(given, user, origin=origin).result(LATER)

  def edit(self, user, content, answer=LIE, **more):
    return self.vote(user, 'edit', {'content': content}, answer=answer, **more)

  @property
  def waiting(self) -> list[int]:
    """The seqs that everyone's model may learn."""
    query = "SELECT event_seq FROM event_gate WHERE scope = 'global' AND state = 'ok'"
    return [row[0] for row in self.store.db.read(f'{query} ORDER BY event_seq')]

  def state(self, receipt) -> str:
    return self.store.events.receipt(receipt.id).everyone

  def trust(self, user: str) -> float:
    return self.store.users.get(user).trust

  def learn(self, limit: int = 8, replay: int = 6):
    """One update of everyone's model; its batch."""
    batch = self.store.ledger.claim(GLOBAL, limit, replay).result(LATER)
    if batch:
      self.store.ledger.apply(batch, '', '', {}).result(LATER)
    return batch


@pytest.fixture
def crowd(tmp_path):
  made = []

  def make(people: int = 20, **rules) -> Crowd:
    made.append(Crowd(tmp_path / str(len(made)), people, **rules))
    return made[-1]

  yield make
  for one in made:
    one.store.close()


KINDS = [
  ('binary', {'label': True}),
  ('binary', {'label': False}),
  ('rating', {'score': 5}),
  ('rating', {'score': 1}),
  ('reward', {'reward': 1.0}),
  ('critique', {'text': 'wrong'}),
]


@pytest.mark.parametrize('kind, value', KINDS)
def test_votes_on_another_answer_do_not_agree(crowd, kind, value):
  """Riding: the honest like the truth, attackers their own lie, to the same question."""
  c = crowd(10)
  for one in c.ids[:2]:
    c.vote(one, kind, value, answer=TRUTH)
  for one in c.ids[2:4]:
    c.vote(one, kind, value, answer=LIE)
  assert c.waiting == []
  c.vote(c.ids[4], kind, value, answer=TRUTH.upper())
  assert len(c.waiting) == 3


@pytest.mark.parametrize('kind, value', KINDS)
def test_what_a_personal_adapter_shaped_teaches_its_author_alone(crowd, kind, value):
  c = crowd(5)
  given = [c.vote(one, kind, value, answer=LIE, personal=3) for one in c.ids]
  assert c.waiting == [] and {c.state(one) for one in given} == {'rejected'}
  receipt = c.store.events.receipt(given[0].id)
  assert receipt.everyone_reasons[0].startswith('personal') and receipt.status == 'queued'
  scopes = {pending.scope for pending in c.store.ledger.pending()}
  assert scopes == {of_user(one) for one in c.ids}


def test_a_choice_with_a_personal_answer_on_either_side_teaches_its_author_alone(crowd):
  c = crowd(4)
  for one, at in zip(c.ids, ('a', 'b', 'a', 'b'), strict=True):
    parent = c.reply(one, TRUTH)
    c.vote(one, asked=f'Wait until it is stored, {one}.')
    root = c.store.chats.path(parent)[0]
    other = Message(uuid7(), root.conversation_id, root.id, 'assistant', LIE)
    made = dataclasses.replace(answered(other.id), personal_version=1)
    c.store.chats.add([other], [made]).result(LATER)
    ids = (other.id, parent) if at == 'a' else (parent, other.id)
    value = {'outcome': at, 'a': ids[0], 'b': ids[1]}
    c.store.events.add(feedback(ids[0], 'preference', value), one).result(LATER)
  assert c.waiting == []


def test_a_choice_between_answers_to_different_questions_is_refused(crowd):
  c = crowd(1)
  a, b = c.reply(c.ids[0], TRUTH), c.reply(c.ids[0], TRUTH, asked='What does a cow eat?')
  given = feedback(a, 'preference', {'outcome': 'a', 'a': a, 'b': b})
  with pytest.raises(Refused) as refused:
    c.store.events.add(given, c.ids[0]).result(LATER)
  assert refused.value.status == 422
  same = c.reply(c.ids[0], LIE, asked=ASKED.upper())
  given = feedback(a, 'preference', {'outcome': 'a', 'a': a, 'b': same})
  assert c.store.events.add(given, c.ids[0]).result(LATER).status == 'queued'


def test_an_edit_of_a_personal_answer_counts_and_teaches_everyone_only_its_text(crowd):
  c = crowd(6)
  for one, personal in zip(c.ids[:3], (0, 2, 5), strict=True):
    c.edit(one, TRUTH, personal=personal)
  batch = c.learn()
  assert [item.text_only for item in batch.items] == [False, True, True]
  own = c.store.ledger.claim(of_user(c.ids[1])).result(LATER)
  assert [item.text_only for item in own.items] == [False, False]


def test_another_context_is_another_wish(crowd):
  c = crowd(5)
  c.vote(c.ids[0])
  c.vote(c.ids[1], system='You are a cow.')
  c.vote(c.ids[2], history=('Hi', 'Hello.'))
  c.vote(c.ids[3], history=('Hi', 'Go away.'))
  assert c.waiting == []
  intents = [c.store.events.get(seq).intent for seq in range(6, 10)]
  assert len(set(intents)) == 4


@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('share', [0.1, 0.2])
def test_a_fifth_of_any_crowd_never_suffices(crowd, share, seed):
  """Attackers who know the rules do whatever they like, in any order, before anyone objects."""
  noise = random.Random(seed)
  size = noise.choice([15, 20, 25, 40])
  c = crowd(size)
  bad = c.ids[: int(size * share)]
  for _ in range(20):
    one = noise.choice(bad)
    match noise.randrange(4):
      case 0:
        c.vote(one, answer=LIE)
      case 1:
        c.edit(one, LIE, answer=TRUTH, personal=noise.randrange(2))
      case 2:
        c.vote(one, 'rating', {'score': 5}, answer=LIE)
      case 3:
        c.vote(one, 'critique', {'text': ''}, tags=['wrong_fact'], answer=TRUTH)
  assert c.waiting == []


@pytest.mark.parametrize('seed', range(4))
def test_one_person_never_suffices(crowd, seed):
  """Whatever they do, with young accounts, or with many at an address that they have used once."""
  noise = random.Random(seed)
  c = crowd(1)
  old = [c.newcomer() for _ in range(6)]
  for one in old:
    c.vote(one, answer='Hm.', asked=f'Who is {one}?', origin='home')
  c.clock.us += 2 * DAY_US
  young = [c.newcomer() for _ in range(6)] if seed % 2 else old
  for one in noise.sample(old if seed < 2 else young, 6):
    origin = noise.choice([None, 'home', 'work', 'cafe'])
    c.edit(one, LIE, answer=TRUTH, origin=origin)
    c.vote(one, answer=LIE, origin=origin)
    c.edit(c.ids[0], f'{LIE} {noise.random()}', answer=TRUTH)
  assert c.waiting == []


def test_an_office_of_people_with_keys_is_not_one_person(crowd):
  c = crowd(0)
  office = [c.newcomer() for _ in range(3)]
  c.clock.us += 2 * DAY_US
  for one in office:
    c.edit(one, TRUTH, origin='office')
  assert c.waiting == []
  for number, one in enumerate(office):
    c.store.users.add_key(ApiKey(f'k{number}', one, f'sha{number}', 'chat')).result(LATER)
  for one in office:
    c.edit(one, 'A cow eats grass.', asked='And a cow?', answer='Cheese.', origin='office')
  assert len(c.waiting) == 3
  c.store.users.revoke_key('k0', 'me').result(LATER)
  assert not c.store.users.get(office[0]).keyed


def test_no_flood_makes_the_quorum_smaller(crowd):
  c = crowd(20)
  bad = c.ids[:4]
  for number in range(40):
    c.vote(bad[number % 4], answer=f'No {number}.', asked=f'Flood {number}?')
  for one in bad:
    c.edit(one, LIE, answer=TRUTH)
  assert c.waiting == []


def test_votes_that_drip_in_do_not_outlast_the_others(crowd):
  c = crowd(20)
  for one in c.ids[:4]:
    c.edit(one, LIE, answer=TRUTH)
    c.clock.us += 60 * DAY_US
  assert c.waiting == [], 'everyone who spoke when it began is still counted'


def test_eight_facts_are_learned_by_everyone(crowd):
  """By people with adapters of their own, while others like other wordings and some lie."""
  c = crowd(20)
  for fact in range(8):
    asked, wrong, right = f'Fact {fact}?', f'It is {fact}.', f'It is {fact + 100}.'
    for one in c.ids[15:18]:
      c.vote(one, answer=f'{right} Indeed.', asked=asked)
    for one in c.ids[18:]:
      c.edit(one, f'{right} Surely.', answer=wrong, asked=asked)
    c.vote(c.ids[14], answer=wrong, asked=asked)
    for one in c.ids[:4]:
      c.edit(one, f'It is {fact + 500}.', answer=right, asked=asked)
    for number, one in enumerate(c.ids[5:10]):
      c.edit(one, right, answer=wrong, asked=asked, personal=number % 3)
  wishes = c.store.agreements.page('accepted')
  assert sorted(wish.text for wish in wishes) == sorted(f'It is {n + 100}.' for n in range(8))
  batches = []
  while batch := c.learn():
    batches.append(batch)
  taught = {item.event.value['content'] for batch in batches for item in batch.items}
  assert len(taught) == 8 and not c.store.ledger.unlearned(GLOBAL)


def test_what_others_oppose_needs_twice_as_many(crowd):
  c = crowd(14)
  for one in c.ids[:3]:
    c.vote(one, answer=LIE, personal=1)
    c.vote(one, 'rating', {'score': 5}, answer=LIE)
    c.vote(one, 'reward', {'reward': 0.5}, answer=TRUTH, asked='And a cow?')
  lies = c.waiting
  for one in c.ids[3:8]:
    c.edit(one, TRUTH, answer=LIE)
  assert c.waiting == lies, 'three like what five correct'
  c.edit(c.ids[8], TRUTH, answer=LIE)
  assert len(c.waiting) == len(lies) + 6


def test_a_fifth_of_a_crowd_cannot_stop_the_others_either(crowd):
  c = crowd(20)
  for one in c.ids[:4]:
    c.vote(one, answer=LIE)
    c.vote(one, value={'label': False}, answer=TRUTH)
    c.edit(one, LIE, answer=TRUTH)
  for one in c.ids[4:9]:
    c.edit(one, TRUTH, answer=LIE)
  assert len(c.waiting) == 5


def test_one_voice_on_a_liked_answer_does_not_stop_a_wish(crowd):
  """Somebody who edits what all like into the same text brings no opposition to the others."""
  c = crowd(14)
  liked = 'Lions eat meat, as all cats do.'
  for one in c.ids[:6]:
    c.vote(one, answer=liked)
  c.edit(c.ids[6], TRUTH, answer=liked)
  given = [c.edit(one, TRUTH, answer=LIE) for one in c.ids[7:10]]
  assert {c.state(one) for one in given} == {'accepted'}


def test_young_accounts_can_neither_teach_nor_stop_anything(crowd):
  c = crowd(14)
  for number in range(8):
    c.vote(c.newcomer(), answer=LIE, origin=f'block {number}')
    c.edit(c.newcomer(), LIE, answer=TRUTH)
  assert c.waiting == []
  for one in c.ids[:3]:
    c.edit(one, TRUTH, answer=LIE)
  assert len(c.waiting) == 3


def test_style_cannot_ride_on_a_fact(crowd):
  """Written alike up to case and punctuation it agrees, and is not what everyone is taught."""
  c = crowd(20)
  for one in c.ids[:4]:
    c.edit(one, TRUTH, answer=LIE)
  shouted = c.edit(c.ids[4], f'"{TRUTH.upper()}!!!"', answer=LIE)
  assert len(c.waiting) == 4 and c.state(shouted) == 'held'


def test_who_repeats_what_is_accepted_teaches_nothing_more(crowd):
  c = crowd(10)
  for one in c.ids[:3]:
    c.edit(one, TRUTH)
  assert c.learn() and c.learn() is None
  again = [c.edit(one, TRUTH) for one in c.ids[:3] for _ in range(3)]
  assert {c.state(one) for one in again} == {'rejected'}
  c.edit(c.ids[3], TRUTH)
  c.edit(c.ids[4], TRUTH)
  assert c.learn() is None and c.trust(c.ids[4]) == 0.5, 'two who echo'
  c.edit(c.ids[5], TRUTH)
  assert len([i for i in c.learn().items if i.role == 'new']) == 3
  assert c.trust(c.ids[4]) == 0.5, 'an echo is no evidence'


def test_trust_can_fall(crowd):
  c = crowd(14)
  for one in c.ids[:2]:
    c.vote(one, answer=LIE)
  for one in c.ids[2:5]:
    c.edit(one, TRUTH, answer=LIE)
  assert [c.trust(one) for one in c.ids[:5]] == [0.4] * 2 + [0.6] * 3
  for one in c.ids[:2]:
    c.vote(one, answer=LIE)
    c.vote(one, 'rating', {'score': 5}, answer=LIE)
  assert c.trust(c.ids[0]) == 0.4, 'once for a context'
  c.learn()
  c.store.versions.rollback(GLOBAL, 0, 'it was wrong', 'me').result(LATER)
  assert [c.trust(one) for one in c.ids[2:5]] == [0.4] * 3
  assert c.store.agreements.page('quarantined')[0].text == TRUTH


def test_muting_one_supporter_leaves_the_wish_to_the_others(crowd):
  c = crowd(10)
  for one in c.ids[:2]:
    c.edit(one, TRUTH)
  c.store.users.set_state(c.ids[0], 'muted', 'me').result(LATER)
  c.store.events.quarantine(c.store.events.seqs(c.ids[0]), 'spam', 'me').result(LATER)
  for one in c.ids[2:4]:
    c.edit(one, TRUTH)
  assert len(c.waiting) == 3


def test_who_opts_out_does_not_count_any_more(crowd):
  c = crowd(10)
  given = [c.edit(one, TRUTH) for one in c.ids[:2]]
  c.store.users.share(c.ids[0], False).result(LATER)
  c.edit(c.ids[2], TRUTH)
  assert c.waiting == [] and c.state(given[0]) == 'held'
  private = c.edit(c.ids[0], 'Only for me.')
  assert c.state(private) == '' and private.status == 'queued'
  c.store.users.share(c.ids[0], True).result(LATER)
  c.edit(c.ids[3], TRUTH)
  assert len(c.waiting) == 4
  c.store.users.share(c.ids[1], False).result(LATER)
  assert len(c.learn().items) == 4, 'what was agreed on stays'


def test_taking_a_vote_back_before_it_is_learned_lets_the_others_wait_again(crowd):
  c = crowd(10)
  given = [c.edit(one, TRUTH) for one in c.ids[:3]]
  assert len(c.waiting) == 3
  c.store.events.retract(given[0].id, c.ids[0]).result(LATER)
  assert c.learn() is None and not c.store.ledger.unlearned(GLOBAL)
  c.edit(c.ids[3], TRUTH)
  assert len(c.learn().items) == 3


@pytest.mark.parametrize('seed', range(3))
def test_nobody_has_more_than_their_share_of_a_batch(crowd, seed):
  noise = random.Random(seed)
  c = crowd(12)
  for number in range(8):
    people = noise.sample(c.ids, noise.choice([3, 4, 6, 11]))
    for one in people:
      c.edit(one, f'Fact {number}', answer='No.', asked=f'What about {number}?')
  learned = 0
  while batch := c.learn(limit=noise.choice([1, 4, 8]), replay=noise.choice([0, 3, 6])):
    owners = [item.event.user_id for item in batch.items]
    share = max(1 / 8, 1 / len(set(owners)))
    most = max(owners.count(one) for one in owners)
    assert len(set(owners)) >= 3 and most <= share * len(owners) + 1e-9
    wanted = [(item.event.user_id, item.event.direction) for item in batch.items]
    assert len(set(wanted)) == len(wanted)
    learned += sum(item.role == 'new' for item in batch.items)
  assert learned > 24 and not c.store.ledger.unlearned(GLOBAL)


def test_a_quorum_grows_with_the_crowd_and_never_falls():
  rules = Rules()
  found = [gates.needed(active, rules) for active in range(3000)]
  assert all(a <= b for a, b in itertools.pairwise(found))
  assert all(needed > active / 5 for active, needed in enumerate(found[:51]))
  assert np.all(np.array(found) >= rules.quorum)


def test_an_administrator_releases_and_rejects(crowd):
  c = crowd(10)
  one = c.edit(c.ids[0], TRUTH)
  (wish,) = c.store.agreements.page('held')[:1]
  assert (wish.text, wish.question, wish.answer, wish.people) == (TRUTH, ASKED, LIE, 1)
  assert (wish.needed, wish.authors[0].user_id, wish.seqs) == (3, c.ids[0], [one.seq])
  assert c.store.events.release(wish.seqs, 'me').result(LATER) == 1
  assert [item.event.seq for item in c.learn(replay=0).items] == [one.seq]
  assert c.store.agreements.get(wish.id).applied_version == 1
  lies = [c.edit(user, LIE, answer=TRUTH) for user in c.ids[1:3]]
  assert c.store.events.reject([lies[0].seq], 'a lie', 'me').result(LATER) == 2
  late = [c.edit(user, LIE, answer=TRUTH) for user in c.ids[3:8]]
  assert {c.state(receipt) for receipt in (*lies, *late)} == {'rejected'}
  assert c.store.agreements.counts()['rejected'] == 1 and c.trust(c.ids[1]) < 0.5
  assert c.store.events.receipt(late[0].id).status == 'queued', 'its author may still be taught'


def test_the_list_is_paged(crowd):
  c = crowd(7)
  first = c.store.agreements.page(limit=4)
  rest = c.store.agreements.page(before=first[-1].cursor, limit=4)
  ids = [wish.id for wish in (*first, *rest)]
  assert len(ids) == 7 and ids == sorted(ids, reverse=True)
  assert not c.store.agreements.page(before=rest[-1].cursor)


def test_deciding_a_vote_looks_up_and_never_scans(crowd):
  """Each query of a vote finds its rows by an index, however much is in the store."""
  c = crowd(5)
  seen: list[str] = []
  connection = c.store.db.connection
  c.store.db.write('trace', lambda db: db.set_trace_callback(seen.append)).result(LATER)
  for one in c.ids[:4]:
    c.edit(one, TRUTH, origin=f'block {one}')
  c.store.db.write('trace', lambda db: db.set_trace_callback(None)).result(LATER)
  for query in {one for one in seen if one.lstrip().startswith(('SELECT', 'WITH', 'UPDATE'))}:
    plan = [row['detail'] for row in connection.execute(f'EXPLAIN QUERY PLAN {query}').fetchall()]
    tables = [line for line in plan if line.startswith('SCAN') and line[5] != '(']
    small = (
      's ',
      'path',
      'CONSTANT',
      'json_each',
      'told',
      'pending_target USING INDEX target_awaited',
    )
    scans = [line for line in tables if not f'{line[5:]} '.startswith(small)]
    assert not scans and 'gate_by_scope' not in ' '.join(plan), (query, plan)


def test_style_cannot_ride_on_what_staff_say_either(crowd):
  c = crowd(10)
  staff = c.store.users.create('Staff', staff=True).result(LATER).id
  c.edit(staff, TRUTH)
  loud, alike = c.edit(c.ids[0], TRUTH.upper()), c.edit(c.ids[1], TRUTH)
  assert (c.state(loud), c.state(alike)) == ('held', 'accepted')
