"""Which feedback may teach, and whom: pure rules over records, each with a reason that is kept."""

import hashlib
import math
import re
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rft_jax.feedback.records import Event, User
from rft_jax.feedback.schema import Feedback

SECRETS = {
  'private key': re.compile(r'-----BEGIN [A-Z ]*PRIVATE KEY-----'),
  'access key': re.compile(r'\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{36,}|(?:rft-)?sk-[\w.-]{20,})'),
  'password': re.compile(r'(?i)\b(?:password|passwd|api[_ -]?key|secret)\b\s*[:=]\s*\S{6,}'),
  'email': re.compile(r'\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b'),
  'phone': re.compile(r'(?<![\w.])\+\d{1,3}[ -]?(?:\(?\d{2,4}\)?[ -]?){2,4}\d{2,4}\b'),
  'card': re.compile(r'\b(?:\d[ -]?){13,16}\b'),
}
KIND_WEIGHT = 0.5  # of a thumbs-down: alone it says only what not to write
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Rules:
  """Thresholds. `quorum` 1 lets a single user teach everyone: only for a single tenant."""

  shown_ms: int = 300  # an answer shown for less was not read
  edit_ratio: float = 4.0  # an edit may be this many times as long
  edit_floor: int = 200  # characters that any edit may have
  quorum: int = 3  # distinct users before the global model learns, at least
  quorum_trust: float = 1.5  # and the sum of their trust
  mute_below: float = 0.2  # trust under which a user teaches only their own adapter
  active_us: int = 30 * DAY_US  # who spoke in this time makes the quorum larger
  young_us: int = DAY_US  # accounts younger than this count once when they write the same
  user_share: float = 1 / 8  # of a batch of the global model


class Verdict(NamedTuple):
  state: str  # ok | held | quarantined | rejected
  reasons: tuple[str, ...]
  weight: float


class Vote(NamedTuple):
  """An event on its way to the quorum."""

  event: Event
  user: User


def personal(feedback: Feedback, original: str, finish_reason: str, rules: Rules) -> Verdict:
  """May it teach its author's adapter? `original` is the text of the answer."""
  rejected = incomplete(finish_reason) + unchanged(feedback, original)
  doubtful = unread(feedback, rules) + swollen(feedback, original, rules) + secrets(feedback)
  state = 'rejected' if rejected else 'quarantined' if doubtful else 'ok'
  return Verdict(state, tuple(rejected + doubtful), kind_weight(feedback))


def shared(verdict: Verdict, user: User, rules: Rules) -> Verdict:
  """May it teach everyone? A sound one is held until enough users agree; staff need nobody."""
  weight = verdict.weight if user.staff else verdict.weight * user.trust
  if verdict.state != 'ok':
    return verdict._replace(weight=weight)
  if user.state == 'muted' or user.trust < rules.mute_below:
    return Verdict('quarantined', (f'muted: trust {user.trust:.2f}',), weight)
  if user.staff:
    return Verdict('ok', ('staff',), weight)
  return Verdict('held', (f'waits for at least {rules.quorum} users who agree',), weight)


def incomplete(finish_reason: str) -> list[str]:
  broken = finish_reason not in ('stop', 'length')
  return [f'incomplete: the answer ended with {finish_reason}'] if broken else []


def unchanged(feedback: Feedback, original: str) -> list[str]:
  same = feedback.kind == 'edit' and feedback.value['content'] == original
  return ['unchanged: the edit equals the answer'] if same else []


def unread(feedback: Feedback, rules: Rules) -> list[str]:
  shown = feedback.shown_ms
  hasty = shown is not None and shown < rules.shown_ms
  return [f'unread: shown for {shown} ms, at least {rules.shown_ms} are needed'] if hasty else []


def swollen(feedback: Feedback, original: str, rules: Rules) -> list[str]:
  if feedback.kind != 'edit':
    return []
  length = len(feedback.value['content'])
  limit = max(len(original) * rules.edit_ratio, rules.edit_floor)
  return [f'swollen: {length} characters instead of {len(original)}'] if length > limit else []


def secrets(feedback: Feedback) -> list[str]:
  """Names of what looks like a secret or personal data, never the thing itself."""
  found = [
    name for name, form in SECRETS.items() if any(form.search(text) for text in feedback.texts)
  ]
  return [f'secret: looks like it holds a {name}' for name in found]


def kind_weight(feedback: Feedback) -> float:
  return KIND_WEIGHT if feedback.value.get('label') is False else 1.0


def intent(prompt: str) -> str:
  """The same for prompts that differ only in case, spaces and punctuation."""
  return fingerprint(prompt)


def direction(feedback: Feedback) -> str:
  """What a feedback asks for: feedback on one intent agrees when its directions are equal.

  Edits and critiques agree only when they say the same, so nobody's words ride on others' votes.
  """
  value = feedback.value
  match feedback.kind:
    case 'binary':
      return 'up' if value['label'] else 'down'
    case 'rating':
      return sign(value['score'] - 3)
    case 'reward':
      return sign(value['reward'])
    case 'preference':
      return f'preference:{value["outcome"]}'
    case 'edit':
      return f'edit:{fingerprint(value["content"])}'
    case _:
      said = ' '.join(sorted(feedback.tags)) or value.get('text', '')
      return f'critique:{fingerprint(said)}'


def sign(value: float) -> str:
  return 'up' if value > 0 else 'down' if value < 0 else 'neutral'


def fingerprint(text: str) -> str:
  """Hash of the words of a text."""
  words = text.casefold().translate(str.maketrans('', '', string.punctuation)).split()
  return hashlib.sha256(' '.join(words).encode()).hexdigest()[:16]


def quorum(
  votes: Sequence[Vote], now_us: int, rules: Rules, active: Callable[[], int] = lambda: 0
) -> bool:
  """Whether these votes, all for one intent and direction, may teach everyone; `active()`: how many
  people have spoken lately, asked only where it matters.

  The more do, the more it takes, by the square root: a fixed number would be cheap in a crowd.
  """
  if any(vote.user.staff for vote in votes):
    return True
  voters = independent(votes, now_us, rules)
  if rules.quorum == 1 or len(voters) < rules.quorum:
    return len(voters) >= rules.quorum
  trust = sum(max(vote.user.trust for vote in voter) for voter in voters)
  return trust >= rules.quorum_trust and len(voters) >= math.sqrt(active())


def independent(votes: Iterable[Vote], now_us: int, rules: Rules) -> list[list[Vote]]:
  """The votes by who may be one and the same person.

  A user counts once; so do the users of one address block, and young accounts that write the same.
  """
  people: dict[str, list[Vote]] = defaultdict(list)
  for vote in sorted(votes, key=lambda v: v.event.seq):
    young = now_us - vote.user.created_us < rules.young_us
    written = vote.event.kind in ('edit', 'critique')
    twin = f'young:{vote.event.direction}' if young and written else f'user:{vote.user.id}'
    people[f'origin:{vote.event.origin}' if vote.event.origin else twin].append(vote)
  return merged(list(people.values()))


def merged(groups: list[list[Vote]]) -> list[list[Vote]]:
  """Groups without those whose users are all in an earlier one (a user with several addresses)."""
  seen: set[str] = set()
  kept = []
  for group in groups:
    users = {vote.user.id for vote in group}
    if not users <= seen:
      kept.append(group)
    seen |= users
  return kept


def influence(limit: int, rules: Rules) -> int:
  """Events that one user may have in a batch of `limit` of the global model."""
  return max(1, int(limit * rules.user_share))


def agreement(own: str, others: Sequence[str]) -> int:
  """Evidence for trust from other users' directions on the same intent: 1, -1 or 0 (none).

  Only up and down can contradict each other, and only two others who are of one mind are evidence.
  """
  others = [other for other in others if other in ('up', 'down')]
  if own not in ('up', 'down') or len(others) < 2 or len(set(others)) > 1:
    return 0
  return 1 if own == others[0] else -1
