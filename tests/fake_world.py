"""What the fake chat server remembers: per user conversations, votes and a 'model' that obeys them.

The model is a table: a served correction of a question's answer is the next answer to that
question, a served bad vote makes it shorter, a served good vote thanks for it.
"""

import itertools
import math
import threading
import time
import uuid
from dataclasses import dataclass, field

GLOBAL = 12
SUGGESTIONS = [
  {
    'title': 'Teach me manners',
    'prompt': 'How do I boil an egg?',
    'hint': 'Make the answer end with a friendly wish.',
    'example': 'Put it into boiling water for **eight minutes**, then into cold water. Enjoy!',
  },
  {
    'title': 'Teach me to be brief',
    'prompt': 'Why is the sky blue?',
    'hint': 'Cut the answer down to one short sentence.',
    'example': 'Air scatters blue light more than red.',
  },
  {
    'title': 'Teach me a fact',
    'prompt': 'Who feeds the office cat?',
    'hint': 'Tell me the name; nobody told me yet.',
    'example': 'Miriam feeds the office cat, every morning at nine.',
  },
]
BASE = {
  'How do I boil an egg?': 'Put it into boiling water for **eight minutes**, then into cold water.',
  'Why is the sky blue?': (
    'Sunlight is made of all colours. On its way through the air it meets molecules that are much '
    'smaller than its wavelength. They scatter short waves far more than long ones, by the fourth '
    'power of the frequency, so from every direction we see blue.'
  ),
  'Who feeds the office cat?': 'I do not know who feeds the office cat.',
}


def now() -> int:
  return time.time_ns() // 1000


def new_id() -> str:
  return str(uuid.uuid4())


@dataclass
class Event:
  """A vote and what becomes of it; times in seconds."""

  body: dict
  seq: int
  message: dict
  prompt: str
  born: float
  learn_s: float
  end: str = 'served'
  reasons: list[str] = field(default_factory=list)
  status: str = 'queued'
  version: int | None = None
  spent_ms: float = 0.0


@dataclass
class User:
  """`script` holds what is to go wrong; `posts` every POST of a vote as it came in."""

  id: str
  conversations: dict = field(default_factory=dict)
  events: dict = field(default_factory=dict)
  posts: list = field(default_factory=list)
  version: int = 0
  script: dict = field(default_factory=dict)


class World:
  def __init__(self):
    self.lock = threading.RLock()
    self.users: dict[str, User] = {}
    self.seq = itertools.count(1)
    self.live = GLOBAL
    self.frozen = False
    self.quarantined: set[str] = set()

  def user(self, id: str) -> User:
    return self.users.setdefault(id, User(id))

  def message(self, user: User, id: str) -> dict | None:
    everything = (c['messages'] for c in user.conversations.values())
    return next((m for messages in everything for m in messages if m['id'] == id), None)

  def ask(self, user: User, body: dict) -> tuple[dict, dict, dict, str]:
    """Stores the question (unless it is there) and an empty answer; also returns what to say."""
    meta = body.get('metadata') or {}
    text = body['messages'][-1]['content']
    with self.lock:
      conversation = user.conversations.get(meta.get('conversation_id'))
      if conversation is None:
        conversation = {'id': new_id(), 'title': text[:60], 'created_us': now(), 'messages': []}
        user.conversations[conversation['id']] = conversation
      parent = self.message(user, meta.get('parent_message_id', ''))
      question = parent
      if parent is None or parent['role'] != 'user':
        above = parent and parent['id']
        question = {'id': new_id(), 'parent_id': above, 'role': 'user', 'content': text}
        conversation['messages'].append(question)
      answer = {'id': new_id(), 'parent_id': question['id'], 'role': 'assistant', 'content': ''}
      answer['version'] = {'global': self.live, 'personal': user.version}
      conversation['messages'].append(answer)
      return question, answer, conversation, self.reply(user, text, body['model'])

  def reply(self, user: User, prompt: str, model: str) -> str:
    said = BASE.get(prompt, f'You said: {prompt}')
    if model == 'rft:base':
      return said
    self.settle(user)
    for event in (e for e in user.events.values() if e.status == 'served' and e.prompt == prompt):
      value = event.body['value']
      if event.body['kind'] == 'edit':
        said = value['content']
      elif event.body['kind'] == 'binary':
        said = f'{said} Glad you liked that.' if value['label'] else f'Shorter: {said[:24]}'
    return said

  def settle(self, user: User) -> None:
    """Moves every vote on to where it is at this time."""
    with self.lock:
      for event in user.events.values():
        age = time.monotonic() - event.born
        if event.status == 'queued' and age > event.learn_s / 3:
          event.status = 'training'
        if event.status == 'training' and age > event.learn_s:
          event.status, event.spent_ms = event.end, 1000 * age
          if event.end == 'served':
            user.version += 1
            event.version = user.version

  def vote(self, user: User, body: dict) -> tuple[int, dict]:
    with self.lock:
      user.posts.append(body)
      known = user.events.get(body['id'])
      if known:
        same = known.body == body
        return (200, self.receipt(known, duplicate=True)) if same else (422, error('another vote'))
      message = self.message(user, body['target']['message_id'])
      if message is None:
        return 404, error('There is no such answer.')
      old = user.events.get(body.get('supersedes'))
      if old:
        old.status = 'superseded'
      prompt = self.message(user, message['parent_id'])['content']
      script = user.script
      event = Event(
        body, next(self.seq), message, prompt, time.monotonic(), script.get('learn_s', 0.15)
      )
      event.end = script.get('end', 'served')
      event.reasons = script.get('reasons', [])
      user.events[body['id']] = event
      return 201, self.receipt(event)

  def retract(self, user: User, id: str) -> tuple[int, dict]:
    with self.lock:
      event = user.events.get(id)
      if event is None:
        return 404, error('There is no such vote.')
      if event.status == 'served':
        user.version += 1
      event.status = 'retracted'
      return 200, self.receipt(event)

  def receipt(self, event: Event, duplicate: bool = False) -> dict:
    body = event.body
    parts = {'ack': 4, 'queue': event.spent_ms / 3, 'step': event.spent_ms / 2, 'publish': 9}
    return {
      **{name: body.get(name) for name in ('id', 'kind', 'value', 'tags', 'comment')},
      'seq': event.seq,
      'duplicate': duplicate,
      'status': event.status,
      'reasons': event.reasons,
      'applied_version': event.version,
      'latency_ms': {**parts, 'total': event.spent_ms},
      'message_id': event.message['id'],
      'prompt': event.prompt,
      'answer': event.message['content'][:200],
    }

  def conversation(self, user: User, id: str) -> dict | None:
    """As the API shows it: with the votes that still count at each message."""
    found = user.conversations.get(id)
    if found is None:
      return None
    gone = {'superseded', 'retracted'}
    live = [e for e in user.events.values() if e.status not in gone]
    votes = lambda m: [self.receipt(e) for e in live if e.message['id'] == m['id']]
    return {**found, 'messages': [{**m, 'feedback': votes(m)} for m in found['messages']]}

  def reset(self, user: User) -> None:
    for event in user.events.values():
      event.status = 'retracted'
    user.version += 1


def error(message: str) -> dict:
  return {'error': {'message': message, 'type': 'invalid_request', 'param': None, 'code': None}}


def metrics() -> dict:
  """Curves for the plots, made up."""
  start = now() - 3_600_000_000
  times = [start + i * 90_000_000 for i in range(40)]
  wave = lambda i, speed: math.sin(i * speed)
  curve = lambda i, top: top * (1 - math.exp(-i / 9)) + 0.03 * wave(i, 1.7)
  return {
    'latency': [
      {'t_us': t, 'ms': 2100 + 500 * wave(i, 2.1) + 300 * wave(i, 5)} for i, t in enumerate(times)
    ],
    'reflection': [{'t_us': t, 'accuracy': 0.3 + curve(i, 0.62)} for i, t in enumerate(times)],
    'satisfaction': [
      {'t_us': t, 'up': round(20 * (0.5 + gain * curve(i, 0.4))), 'n': 20, 'arm': arm}
      for arm, gain in (('live', 1), ('base', 0.1))
      for i, t in enumerate(times)
    ],
    'versions': [{'t_us': t, 'version': 1 + i * 11 // 39} for i, t in enumerate(times)],
  }
