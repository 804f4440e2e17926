"""What a feedback wants of everyone's model, as a key: who wants the same has the same one."""

from typing import NamedTuple

from rft_jax.feedback.sameness import digest, fingerprint, form
from rft_jax.feedback.schema import Feedback


class Wish(NamedTuple):
  """direction: what is wanted, equal for those who agree; raises, lowers: fingerprints of answers
  that it makes likelier or less likely; form: how that which it teaches is written."""

  direction: str
  raises: tuple[str, ...] = ()
  lowers: tuple[str, ...] = ()
  form: str = ''


def wish(feedback: Feedback, answer: str, other: str = '', shaped: bool = False) -> Wish:
  """answer, other: the texts that were voted on; shaped: by an adapter of the author's own, so that
  an edit says nothing against the answer."""
  value, kind = feedback.value, feedback.kind
  match kind:
    case 'edit':
      return edited(value['content'], answer, shaped)
    case 'preference':
      return compared(value['outcome'], answer, other)
    case 'critique':
      said = [fingerprint(one) for one in (*sorted(set(feedback.tags)), value['text'])]
      asked = f'critique:{fingerprint(answer)}:{digest(" ".join(said))}'
      return Wish(asked, (), (fingerprint(answer),))
  return voted(kind, sign(feedback), answer)


def voted(kind: str, found: str, answer: str) -> Wish:
  key = fingerprint(answer)
  raises, lowers = (key,) if found == 'up' else (), (key,) if found == 'down' else ()
  return Wish(f'{kind}:{found}:{key}', raises, lowers, form(answer))


def edited(content: str, answer: str, shaped: bool) -> Wish:
  new, old = fingerprint(content), fingerprint(answer)
  if new == old:  # It is about how the same is written.
    return Wish(f'edit:{new}:{form(content)}', (), (), form(content))
  return Wish(f'edit:{new}', (new,), () if shaped else (old,), form(content))


def compared(outcome: str, answer: str, other: str) -> Wish:
  a, b = fingerprint(answer), fingerprint(other)
  if outcome in ('tie', 'both_bad') or a == b:
    pair = tuple(sorted((a, b)))
    key = f'preference:{outcome}:{"=".join(pair)}'
    return Wish(key, (), pair if outcome == 'both_bad' else ())
  better, worse, text = (b, a, other) if outcome == 'b' else (a, b, answer)
  return Wish(f'preference:{better}>{worse}', (better,), (worse,), form(text))


def sign(feedback: Feedback) -> str:
  """up, down, or neutral, which nobody can agree with."""
  value = feedback.value
  match feedback.kind:
    case 'binary':
      found = 1 if value['label'] else -1
    case 'rating':
      found = value['score'] - 3
    case 'reward':
      found = value['reward']
    case _:
      return 'up'
  return 'up' if found > 0 else 'down' if found < 0 else 'neutral'
