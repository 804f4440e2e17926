"""Which feedback may teach, and whom: pure rules over records, each with a reason that is kept."""

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rft_jax.feedback.records import Event, User
from rft_jax.feedback.schema import Feedback
from rft_jax.feedback.wishes import wish

SECRETS = {
  'private key': re.compile(r'-----BEGIN [A-Z ]*PRIVATE KEY-----'),
  'access key': re.compile(r'\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{36,}|(?:rft-)?sk-[\w.-]{20,})'),
  'password': re.compile(r'(?i)\b(?:password|passwd|api[_ -]?key|secret)\b\s*[:=]\s*\S{6,}'),
  'email': re.compile(r'\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b'),
  'phone': re.compile(r'(?<![\w.])\+\d{1,3}[ -]?(?:\(?\d{2,4}\)?[ -]?){2,4}\d{2,4}\b'),
  'card': re.compile(r'\b(?:\d[ -]?){13,16}\b'),
}
KIND_WEIGHT = 0.5  # of a thumbs-down: alone it says only what not to write
STAFF, RELEASED = 'staff', 'released'  # reasons of what needs nobody else
DAY_US = 86_400_000_000
CROWD = 50  # people up to whom more than a fifth must agree; beyond, it grows by the square root


@dataclass(frozen=True)
class Rules:
  """Thresholds. `quorum` 1 lets a single user teach everyone: only for a single tenant."""

  shown_ms: int = 300  # an answer shown for less was not read
  edit_ratio: float = 4.0  # an edit may be this many times as long
  edit_floor: int = 200  # characters that any edit may have
  quorum: int = 3  # distinct users before the global model learns, at least
  quorum_trust: float = 1.5  # and the sum of their trust
  mute_below: float = 0.2  # trust under which a user teaches only their own adapter
  active_us: int = 90 * DAY_US  # who spoke in this time makes the quorum larger
  young_us: int = DAY_US  # accounts younger than this count once when they want the same
  user_share: float = 1 / 8  # of a batch of the global model, or an equal share of fewer people


class Verdict(NamedTuple):
  state: str  # ok | held | quarantined | rejected
  reasons: tuple[str, ...]
  weight: float


class Cast(NamedTuple):
  """What matters of an event where people are counted."""

  seq: int
  user_id: str
  recv_us: int
  origin: str | None


class Vote(NamedTuple):
  """An event on its way to the quorum. `origins`: address blocks that its author used lately."""

  event: Event | Cast
  user: User
  origins: frozenset[str] = frozenset()


def personal(feedback: Feedback, original: str, finish_reason: str, rules: Rules) -> Verdict:
  """May it teach its author's adapter? `original` is the text of the answer."""
  rejected = incomplete(finish_reason) + unchanged(feedback, original)
  doubtful = unread(feedback, rules) + swollen(feedback, original, rules) + secrets(feedback)
  state = 'rejected' if rejected else 'quarantined' if doubtful else 'ok'
  return Verdict(state, tuple(rejected + doubtful), kind_weight(feedback))


def shared(
  verdict: Verdict, user: User, rules: Rules, barred: tuple[str, str] | None = None
) -> Verdict:
  """May it teach everyone? A sound one is held until enough users agree; staff need nobody.
  barred: a state, and the reason why what it wants may not."""
  weight = verdict.weight if user.staff else verdict.weight * user.trust
  if verdict.state != 'ok':
    return verdict._replace(weight=weight)
  if user.state == 'muted' or user.trust < rules.mute_below:
    return Verdict('quarantined', (f'muted: trust {user.trust:.2f}',), weight)
  if barred:
    return Verdict(barred[0], (barred[1],), weight)
  if user.staff:
    return Verdict('ok', (STAFF,), weight)
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


def quorum(
  votes: Sequence[Vote], now_us: int, rules: Rules, active: Callable[[], int] = lambda: 0
) -> bool:
  """Whether these votes, all for one wish, may teach everyone; `active()`: how many people have
  spoken lately, asked only where it matters."""
  if any(vote.user.staff for vote in votes):
    return True
  voters = independent(votes, now_us, rules)
  if rules.quorum == 1 or len(voters) < rules.quorum:
    return len(voters) >= rules.quorum
  trust = sum(max(vote.user.trust for vote in voter) for voter in voters)
  return trust >= rules.quorum_trust and len(grown(voters, now_us, rules)) > minority(active())


def needed(active: int, rules: Rules) -> int:
  """How many people must agree in a crowd of `active`: a fixed number would be cheap in it."""
  return max(rules.quorum, minority(active) + 1)


def minority(active: int) -> int:
  """How many of a crowd may be of one mind without deciding anything for it, neither yes nor no."""
  return active // 5 if active <= CROWD else math.isqrt(active * CROWD) // 5


def independent(votes: Iterable[Vote], now_us: int, rules: Rules) -> list[list[Vote]]:
  """The votes by who may be one and the same person.

  A user counts once; so do users who share an address block, unless a key is their own, and all
  young accounts, since new ones cost nothing. Who shares blocks with two people is one of them, and
  makes them no single one: else whoever goes about could join others. Those with fewest blocks are
  looked at first, so that there are as many people as blocks are apart.
  """
  votes = sorted(votes, key=lambda vote: vote.event.seq)
  marks: dict[str, set[str]] = {}
  for vote in votes:
    marks.setdefault(vote.user.id, set()).update(traces(vote, now_us, rules))
  found: dict[str, str] = {}  # of a mark: the first user who has it
  first: dict[str, str] = {}  # of a user: the one whose person they are
  for user in sorted(marks, key=lambda one: ('young' in marks[one], len(marks[one]))):
    known = min((mark for mark in marks[user] if mark in found), default=None)
    first[user] = found[known] if known else user
    if not known:
      found |= dict.fromkeys(marks[user], user)
  people: dict[str, list[Vote]] = {}
  for vote in votes:
    people.setdefault(first[vote.user.id], []).append(vote)
  return list(people.values())


def traces(vote: Vote, now_us: int, rules: Rules) -> set[str]:
  """What somebody has in common with other accounts that may be theirs."""
  young = {'young'} if is_young(vote, now_us, rules) else set()
  blocks = set() if vote.user.keyed else {vote.event.origin, *vote.origins} - {None}
  return young | {f'origin:{block}' for block in blocks}


def is_young(vote: Vote, now_us: int, rules: Rules) -> bool:
  return now_us - vote.user.created_us < rules.young_us


def grown(people: Iterable[list[Vote]], now_us: int, rules: Rules) -> list[list[Vote]]:
  """Those with an account that is not young: a new one is no part of the crowd yet."""
  return [one for one in people if not all(is_young(vote, now_us, rules) for vote in one)]


def outweighed(
  supporters: Sequence[Vote],
  opponents: Sequence[Vote],
  now_us: int,
  rules: Rules,
  active: Callable[[], int] = lambda: 0,
) -> bool:
  """Whether more than half as many people are against something as for it, and more than a minority
  that could stop everything; who is on both sides counts for neither."""
  ours, theirs = ({vote.user.id for vote in votes} for votes in (supporters, opponents))
  pro, against = (
    len(grown(independent(alone, now_us, rules), now_us, rules))
    for alone in (
      [vote for vote in supporters if vote.user.id not in theirs],
      [vote for vote in opponents if vote.user.id not in ours],
    )
  )
  return against > 0 and 2 * against > pro and against > minority(active())


def chosen(people: Sequence[Sequence[Vote]], forms: Mapping[int, str], least: int) -> list[Vote]:
  """One vote of each person, which is to teach everyone: without those that say the same in a form
  that much fewer use, unless fewer than `least` were left. forms: by seq."""
  first = [
    min(person, key=lambda vote: (vote.user.created_us, vote.event.seq)) for person in people
  ]
  counts = Counter(forms[vote.event.seq] for vote in first)
  common = [v for v in first if 2 * counts[forms[v.event.seq]] >= max(counts.values())]
  return common if len(common) >= least else first


def influence(limit: int, rules: Rules) -> int:
  """Events in a batch of `limit` of one user who needs nobody else."""
  return max(1, int(limit * rules.user_share))


def fair(owners: Sequence[Hashable], rules: Rules) -> bool:
  """Whether a batch of these people's events, one entry for each event, is of enough people, with
  nobody above their share of it."""
  counts = Counter(owners)
  share = max(rules.user_share, 1 / max(len(counts), 1))
  most = max(counts.values(), default=0)
  return not owners or (len(counts) >= rules.quorum and most <= share * len(owners) + 1e-9)


def direction(feedback: Feedback, answer: str = '', other: str = '') -> str:
  """What a feedback on these answers asks for: those on one intent agree where it is equal."""
  return wish(feedback, answer, other).direction
