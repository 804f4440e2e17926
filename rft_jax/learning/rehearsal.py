"""A personal candidate answers before anybody is served by it: what was written must come out, and
nothing may come out garbled."""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.engine.codec import Codec
from rft_jax.learning.lessons import KEPT, Lesson, Said
from rft_jax.learning.packed import arrange, fitted, width_of
from rft_jax.learning.programs import Programs
from rft_jax.learning.rewriting import Rewriter
from rft_jax.objectives import feedback as kinds
from rft_jax.sampling import make_rollout
from rft_jax.types import Prompts, PyTree

ROWS = 24  # answers at once
WRITTEN, OTHER = 7, 2  # samples for a question whose answer a user wrote, and for any other
HARDLY = -6.0  # nats of an answer up to which the version before would hardly have given it
LEAST = 3  # of the samples must say what was written
SLIPS = 1  # of them may be garbled: chance alone says something odd now and then
SHORT = 64  # tokens: questions up to there take rows of their own width
ANCHORS = 8  # that are answered, greedily
ROOM = 16  # tokens that an answer may be longer than what was taught
NEWS = 4.0  # nats by which a token must have become likelier than it ever was to be odd,
ODD = 0.02  # and the share of odd tokens from which on an answer is garbled
REPEATED = 0.5  # the share of 3-grams that occurred before, from which on it is

UNSAID = (
  'not_learned: this model could not learn to give this answer; its answers stay as they were'
)
SELDOM = (
  'not_learned: this model learned to give this answer only now and then; its answers stay as they '
  'were'
)
GARBLED = (
  'not_learned: this model could not learn this without garbling its answer to the question; '
  'its answers stay as they were'
)
SPREAD = (
  'not_learned: this model could not learn this without garbling its answers to other questions; '
  'its answers stay as they were'
)


class Tried(NamedTuple):
  """A candidate: adapters before and after, over base, and what it was to learn."""

  base: PyTree
  before: PyTree
  after: PyTree
  lessons: Sequence[Lesson]
  seed: int


class Wanted(NamedTuple):
  """What a user wrote: the whole text, and without regard to case the parts of it that are new."""

  text: str
  new: tuple[str, ...]


class Cue(NamedTuple):
  """A question to a candidate. answers: what may be said, where it is known; anchor: whether it is
  about something else than what was taught."""

  prompt: tuple[int, ...]
  greedy: bool
  answers: tuple[Wanted, ...] = ()
  anchor: bool = False


class Scores(NamedTuple):
  """Log-probabilities f32[T] by the candidate, the reference and the version before."""

  logp: np.ndarray
  ref_logp: np.ndarray
  old_logp: np.ndarray


class Rehearsal:
  def __init__(
    self,
    programs: Programs,
    rewriter: Rewriter,
    codec: Codec,
    anchors: Sequence[Said],
    context: int,
    rows: int,
  ):
    """rewriter: whose ends of an answer are taken; rows: of a part (see `packed.arrange`)."""
    self.programs, self.codec, self.context, self.rows = programs, codec, context, rows
    self.widths = sorted({min(SHORT, context), context})
    self.options, self.most = rewriter.options, context // 2
    self.anchors = list(dict.fromkeys(said.prompt for said in anchors))
    self.usual = max(len(said.answer) for said in anchors)
    rollout = make_rollout(programs.policy.decoder, 1, self.most, chunk=self.most)

    def sample(weights, base, adapter, prompts: Prompts, options, seed):
      params = programs.joined(weights, base, adapter)
      return rollout(params, prompts, options, jax.random.key(seed), jnp.int32(0))

    self.sample = jax.jit(sample)

  def warm_up(self, weights: PyTree, nothing: PyTree, adapter: PyTree) -> None:
    """Compiles what verdicts take."""
    for width in self.widths:
      tried = Tried(nothing, nothing, adapter, [], 0)
      self.say(weights, tried, [Cue((0,) * width, True)], 0)

  def verdicts(
    self, weights: PyTree, tried: Sequence[Tried], heed: Callable[[], None] = lambda: None
  ) -> list[str]:
    """Of each candidate, in words for its user why it may not be served; '' where it may. The same
    arguments give the same verdicts. heed: called before each program."""
    return [self.verdict(weights, one, heed) for one in tried]

  def verdict(self, weights: PyTree, one: Tried, heed: Callable[[], None]) -> str:
    cues = self.cues(one.lessons, self.unknown(weights, one), one.seed)
    said: list[tuple[int, ...]] = []
    for start in range(0, len(cues), ROWS):
      heed()
      said += self.say(weights, one, cues[start : start + ROWS], start)
    replies = list(zip(cues, said, strict=True))
    told = [self.among(ids, cue.answers) for cue, ids in replies]
    if any(cue.answers and cue.greedy and not right for cue, right in zip(cues, told, strict=True)):
      return UNSAID
    samples = Counter(
      cue.prompt for cue, right in zip(cues, told, strict=True) if right and not cue.greedy
    )
    if any(cue.answers and samples[cue.prompt] < LEAST for cue in cues):
      return SELDOM
    heed()
    garbled = self.garbled(weights, one, cues, said)
    bad = [cue for cue, found in zip(cues, garbled, strict=True) if found]
    slips = Counter(cue.prompt for cue in bad if not (cue.greedy or cue.anchor))
    if any(cue.greedy and not cue.anchor for cue in bad) or max(slips.values(), default=0) > SLIPS:
      return GARBLED
    return SPREAD if any(cue.anchor for cue in bad) else ''

  def unknown(self, weights: PyTree, one: Tried) -> set[Said]:
    """What users wrote that the version before would hardly have said: it must come out. What it
    says now and then anyway, such as the same in another style, may take more than one update."""
    texts = [lesson.better for lesson in one.lessons if not lesson.replay and written(lesson)]
    if not texts:
      return set()
    before = self.seen(weights, one, texts)
    return {said for said, seen in zip(texts, before, strict=True) if seen.old_logp.sum() < HARDLY}

  def cues(self, lessons: Sequence[Lesson], unknown: Collection[Said], seed: int) -> list[Cue]:
    """The questions of new lessons, most often those that somebody wrote an answer to, and some
    anchors. unknown: answers that must come out."""
    new = [lesson for lesson in lessons if not lesson.replay]
    found: list[Cue] = []
    for prompt in dict.fromkeys(lesson.better.prompt for lesson in new):
      about = [lesson for lesson in new if lesson.better.prompt == prompt]
      answers = tuple(self.wanted(x.better) for x in about if x.better in unknown and written(x))
      samples = WRITTEN if any(map(written, about)) else OTHER
      found += [Cue(prompt, True, answers), *[Cue(prompt, False, answers)] * samples]
    draw = np.random.default_rng(seed).permutation(len(self.anchors))[:ANCHORS]
    return found + [Cue(self.anchors[i], True, anchor=True) for i in draw]

  def wanted(self, said: Said) -> Wanted:
    """As far as an answer is let speak."""
    ids, emphasis = said.answer[: self.most], said.emphasis or (1.0,) * len(said.answer)
    runs = itertools.groupby(zip(ids, emphasis, strict=False), key=lambda one: one[1] > KEPT)
    texts = [self.codec.text([id for id, _ in run]).strip().casefold() for new, run in runs if new]
    return Wanted(self.codec.text(ids).strip(), tuple(t for t in texts if any(map(str.isalnum, t))))

  def among(self, ids: Sequence[int], answers: Sequence[Wanted]) -> bool:
    """Whether a text is one of the answers, or says what is new in one: other words for the rest
    are as good, since the user had left them as they were."""
    said = self.codec.text(ids).strip()
    holds = lambda one: one.new and all(part in said.casefold() for part in one.new)
    return any(said == one.text or holds(one) for one in answers)

  def say(
    self, weights: PyTree, one: Tried, cues: Sequence[Cue], first: int
  ) -> list[tuple[int, ...]]:
    """The answers of a candidate to at most ROWS cues; first: the number of the first one."""
    longest = max(len(cue.prompt) for cue in cues)
    width = next((width for width in self.widths if width >= longest), self.context)
    tokens = np.zeros((ROWS, width), np.int32)
    valid = np.zeros(tokens.shape, bool)
    warm = np.zeros((ROWS, 1), np.float32)
    for i in range(ROWS):
      prompt = cues[i % len(cues)].prompt[-width:]
      tokens[i, -len(prompt) :], valid[i, -len(prompt) :] = prompt, True
      warm[i] = i < len(cues) and not cues[i].greedy
    both = np.ones((ROWS, 2), np.float32)
    prompts = Prompts(tokens, valid, np.arange(first, first + ROWS, dtype=np.int32))
    prompts = prompts.replace(adapters=both)
    taught = max((len(lesson.better.answer) for lesson in one.lessons), default=0)
    most = np.int32(min(self.most, max(taught, self.usual) + ROOM))
    options = self.options.replace(temperature=warm, max_new=most)
    e = jax.device_get(
      self.sample(weights, one.base, one.after, prompts, options, np.uint32(one.seed))
    )
    return [tuple(map(int, e.tokens[i, e.target[i]])) for i in range(len(cues))]

  def garbled(
    self, weights: PyTree, one: Tried, cues: Sequence[Cue], said: Sequence[tuple[int, ...]]
  ) -> list[bool]:
    """Which answers are no language: empty, repetitive, or with tokens that neither the reference
    nor the version before would have said there and that nobody taught."""
    taught = [self.codec.text(lesson.better.answer).casefold() for lesson in one.lessons]
    texts = [Said(cue.prompt, ids) for cue, ids in zip(cues, said, strict=True)]
    news = self.news(weights, one, texts)
    found = []
    for text, gained in zip(texts, news, strict=True):
      ids = fitted(text, self.context).answer
      odd = [self.odd(id, taught) for id, gain in zip(ids, gained, strict=True) if gain > NEWS]
      found.append(
        not self.codec.text(ids).strip() or sum(odd) > ODD * len(ids) or repeated(ids) > REPEATED
      )
    return found

  def odd(self, token: int, taught: Sequence[str]) -> bool:
    """Whether nothing of a token is in what was taught, whatever its case."""
    text = self.codec.text([token]).strip().casefold()
    return not any(text in other for other in taught)

  def news(self, weights: PyTree, one: Tried, texts: Sequence[Said]) -> list[np.ndarray]:
    """How much likelier each token of each answer is than the reference and the version before had
    it, whichever had it likelier, in nats."""
    return [s.logp - np.maximum(s.ref_logp, s.old_logp) for s in self.seen(weights, one, texts)]

  def seen(self, weights: PyTree, one: Tried, texts: Sequence[Said]) -> list[Scores]:
    """Of each text, of each token of its answer."""
    rows = [Lesson(i, kinds.DEMONSTRATION, 0.0, said) for i, said in enumerate(texts)]
    layout = arrange(rows, [], self.rows, width_of(texts, self.context))
    found = []
    for part in layout.parts:
      look = lambda adapter, share, part=part: self.programs.look(
        weights, one.base, adapter, np.float32(share), part
      )
      states = look(one.after, 1), look(one.before, 0), look(one.before, 1)
      found.append(jax.device_get(self.programs.peek(weights, one.base, one.after, part, *states)))
    targets = [part.rows.target for part in layout.parts]
    of = lambda values, part, slot: values[slot][targets[part][slot]]
    return [
      Scores(
        *(of(x, part, slot) for x in (found[part].logp, found[part].ref_logp, found[part].old_logp))
      )
      for part, slot in layout.places
    ]


def written(lesson: Lesson) -> bool:
  """Whether a user wrote the very answer that is to be given to the lesson's question."""
  return lesson.kind in kinds.WRITTEN and lesson.own


def repeated(ids: Sequence[int]) -> float:
  """The share of 3-grams that have occurred before."""
  grams = list(zip(ids, ids[1:], ids[2:], strict=False))
  return 1 - len(set(grams)) / len(grams) if grams else 0.0
