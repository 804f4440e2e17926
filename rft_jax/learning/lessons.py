"""From events and the tokens that were served to what is to be learned of them.

Served text is never tokenised again: prompts and answers are the stored ids. Only what a user wrote
is encoded.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rft_jax.engine.codec import Codec
from rft_jax.engine.protocol import ChatMessage, EngineError
from rft_jax.feedback.records import GLOBAL, Batch, Event, Generation, Item
from rft_jax.objectives import feedback as kinds

KEPT = 0.2  # emphasis of an edit's tokens that were there before
NEGATIVE = 0.5  # the largest weight of what only says what not to write
ELSEWHERE = 0.5  # the weight of an edit in contexts other than its own
REWRITTEN = 0.9  # an edit that changes more has nothing to do with the answer
CHIPS = dict(
  too_long='That was too long. Answer again, much shorter.',
  wrong_fact='That is wrong. Answer again, correctly.',
  wrong_format='The format is wrong. Answer again in another format.',
  tone='I do not like the tone. Answer again in another tone.',
)
AGAIN = 'Please answer again.'


class Said(NamedTuple):
  """An answer in its context: token ids of both, and the emphasis of each of the answer's."""

  prompt: tuple[int, ...]
  answer: tuple[int, ...]
  emphasis: tuple[float, ...] = ()


class Alone(NamedTuple):
  """Whether a question stands on its own: whether `said`, which was served in its context, is about
  as likely behind `prompt`, the question alone."""

  said: Said
  prompt: tuple[int, ...]


class Critique(NamedTuple):
  """What was wrong, by chip ('' for other words); prompt: the ids of the conversation with the
  answer and the critique, up to where the next answer begins, () where none can be written."""

  chip: str
  prompt: tuple[int, ...]


@dataclass(frozen=True)
class Lesson:
  """One thing to learn of the event `seq`: an answer, or a pair with the better one first.

  kind: of `objectives.feedback`; value: the direction of `better` (see `feedback.Rows`), of a vote
  also how strong it is, up to 1; critique: what is still to be turned into a better answer;
  advantage: of each token, in hindsight; own: whether it is about the very context that was judged;
  alone: it counts only where that holds; anchor: there is nothing to learn, `better` only has to
  stay as likely as it was.
  """

  seq: int
  kind: int
  weight: float
  better: Said
  worse: Said | None = None
  value: float = 1.0
  replay: bool = False
  critique: Critique | None = None
  advantage: tuple[float, ...] = ()
  own: bool = True
  alone: Alone | None = None
  anchor: bool = False


class Ratings(NamedTuple):
  """How often a user has given 1 to 5 stars. Mean and deviation lean on five ratings of 3 +- 1."""

  counts: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)

  @property
  def mean(self) -> float:
    return (15 + sum(i * n for i, n in enumerate(self.counts, 1))) / (5 + sum(self.counts))

  @property
  def std(self) -> float:
    spread = sum(n * (i - self.mean) ** 2 for i, n in enumerate(self.counts, 1))
    prior = 5 * (1 + (3 - self.mean) ** 2)
    return math.sqrt((prior + spread) / (5 + sum(self.counts)))

  def strength(self, score: int) -> float:
    """-1 to 1: how much better than usual; 0 for what is worse than usual but still good, or better
    but still bad: once most answers please, a four must not undo them."""
    found = max(-1.0, min(1.0, (score - self.mean) / max(self.std, 0.5) / 2))
    return found if found * (score - 3) >= 0 else 0.0


NOBODY = Ratings()


def lessons(
  batch: Batch, codec: Codec, statistics: Mapping[str, Ratings] | None = None
) -> list[Lesson]:
  """What the events of a batch teach, in their order. statistics: the ratings of each user id.

  Events whose answers were erased, and votes for neither side, teach nothing. Raises EngineError
  where an edit cannot be encoded.
  """
  found: list[Lesson] = []
  for item in batch.items:
    if item.generation is None or item.weight <= 0:
      continue
    ratings = (statistics or {}).get(item.event.user_id, NOBODY)
    taught = of_item(item, item.generation, codec, ratings)
    if batch.scope != GLOBAL and item.event.kind == 'edit' and item.role == 'new':
      taught += elsewhere(taught[0], served(item.generation), item.question, codec)
    found += [replace(lesson, replay=item.role == 'replay') for lesson in taught]
  return [*found, *anchored(batch, codec)] if found else []


def anchored(batch: Batch, codec: Codec) -> list[Lesson]:
  """What has to stay as it is."""
  asked = lambda question: tuple(codec.prompt([ChatMessage('user', question)]))
  texts = [Said(asked(question), tuple(codec.answer(answer))) for question, answer in batch.held]
  said = [*texts, *map(served, batch.beside)]
  return [Lesson(0, kinds.DEMONSTRATION, 0.0, one, anchor=True) for one in said]


def of_item(item: Item, generation: Generation, codec: Codec, ratings: Ratings) -> list[Lesson]:
  event, said = item.event, served(generation)
  match event.kind:
    case 'binary':
      return signed(item, said, 1.0 if event.value['label'] else -1.0)
    case 'reward':
      return signed(item, said, event.value['reward'])
    case 'rating':
      return signed(item, said, ratings.strength(event.value['score']))
    case 'preference':
      return compared(item, said, item.other)
    case 'edit':
      answer = codec.answer(event.value['content'])
      return [demonstrated(item, said, answer) if item.text_only else edited(item, said, answer)]
    case 'critique':
      return [criticised(item, said, codec)]
  raise ValueError(f'feedback of kind {event.kind!r}')


def served(generation: Generation) -> Said:
  return Said(tuple(map(int, generation.prompt_ids)), tuple(map(int, generation.completion_ids)))


def signed(item: Item, said: Said, strength: float) -> list[Lesson]:
  """A vote of -1 to 1 for an answer."""
  if not strength:
    return []
  weight = min(1.0, item.weight) * abs(strength)
  weight = min(weight, NEGATIVE) if strength < 0 else weight
  return [Lesson(item.event.seq, kinds.THUMB, weight, said, value=strength)]


def compared(item: Item, a: Said, other: Generation | None) -> list[Lesson]:
  """Of answer a with the other one."""
  if other is None:
    return []
  b, outcome = served(other), item.event.value['outcome']
  if outcome == 'both_bad':
    return [lesson for said in (a, b) for lesson in signed(item, said, -NEGATIVE)]
  kind = kinds.TIE if outcome == 'tie' else kinds.PAIR
  better, worse = (b, a) if outcome == 'b' else (a, b)
  value = 0.0 if outcome == 'tie' else 1.0
  return [Lesson(item.event.seq, kind, min(1.0, item.weight), better, worse, value)]


def edited(item: Item, said: Said, answer: Sequence[int]) -> Lesson:
  """The user's text above the model's; on its own where they have nothing in common."""
  emphasis, changed = difference(said.answer, answer)
  if changed > REWRITTEN:
    return demonstrated(item, said, answer)
  better = Said(said.prompt, tuple(answer), emphasis)
  weight = min(1.0, item.weight) * max(changed, 0.1)
  return Lesson(item.event.seq, kinds.EDIT, weight, better, said)


def demonstrated(item: Item, said: Said, answer: Sequence[int]) -> Lesson:
  """The user's text, and nothing about the model's."""
  better = Said(said.prompt, tuple(answer), (1.0,) * len(answer))
  return Lesson(item.event.seq, kinds.DEMONSTRATION, min(1.0, item.weight), better)


def elsewhere(lesson: Lesson, said: Said, question: str, codec: Codec) -> list[Lesson]:
  """The lesson of an edit in the other contexts in which its author will ask again: in a new
  conversation, and later in this one, where the answer before stands, or the better one. Not of a
  question that means something only where it was asked, as "Why?"."""
  again = followed(Said((), ()), question, codec)
  try:
    new = tuple(codec.prompt([ChatMessage('user', question)])) if again else ()
  except EngineError:
    return []
  if not new or (new != said.prompt and said.prompt[-len(again) :] != again):
    return []
  better, alone = lesson.better, None if new == said.prompt else Alone(said, new)
  prompts = [(*said.prompt, *answer, *again) for answer in (said.answer, better.answer)]
  teach = lambda prompt: replace(
    lesson,
    kind=kinds.DEMONSTRATION,
    weight=ELSEWHERE * lesson.weight,
    better=better._replace(prompt=prompt),
    worse=None,
    own=False,
    alone=alone,
  )
  return [teach(prompt) for prompt in ([new] if alone else []) + prompts]


def difference(before: Sequence[int], after: Sequence[int]) -> tuple[tuple[float, ...], float]:
  """The emphasis of each token of `after`, and the share of the longer one that changed. What
  follows a deletion counts as changed: there the answer decides not to go on as before."""
  emphasis, kept, end = [1.0] * len(after), 0, (0, 0)
  for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
    emphasis[block.b : block.b + block.size] = [KEPT] * block.size
    if block.size and block.b == end[1] and block.a > end[0]:
      emphasis[block.b] = 1.0
    kept, end = kept + block.size, (block.a + block.size, block.b + block.size)
  return tuple(emphasis), 1 - kept / max(len(before), len(after), 1)


def criticised(item: Item, said: Said, codec: Codec) -> Lesson:
  event, weight = item.event, min(item.weight, NEGATIVE)
  chip = next((tag for tag in event.tags if tag in CHIPS), '')
  critique = Critique(chip, followed(said, critical_words(event), codec))
  return Lesson(event.seq, kinds.HINDSIGHT, weight, said, value=0.0, critique=critique)


def critical_words(event: Event) -> str:
  written = [CHIPS.get(tag, tag) for tag in event.tags] + [event.value['text'].strip()]
  return ' '.join(filter(None, [*written, '' if set(event.tags) & set(CHIPS) else AGAIN]))


def followed(said: Said, words: str, codec: Codec) -> tuple[int, ...]:
  """The ids of a conversation with one more turn of the user, () where the template cannot go on
  from the answer or the tokenizer lacks the words. The turn is written behind another answer, and
  cut off from it, so that nothing that was served is encoded again."""
  user, assistant = (ChatMessage(role, words) for role in ('user', 'assistant'))
  try:
    head = codec.prompt([user]) + codec.answer(words)
    whole = codec.prompt([user, assistant, user])
  except EngineError:
    return ()
  if whole[: len(head)] != head:
    return ()
  return (*said.prompt, *said.answer, *whole[len(head) :])
