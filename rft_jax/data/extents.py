"""Where in the text of a conversation a turn's content and its end stand.

A mark of ours behind the content of each turn that is looked for shows where the template puts it;
what stands before the mark must be the content as it was given, but for white space at its ends.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rft_jax.data.ends import PROBE, ends, unlike
from rft_jax.data.templates import Turns, named, raw
from rft_jax.registry import ConfigError

Span = tuple[int, int]


class Changed(ConfigError):
  """The template writes the content of a turn in other words, or not at all."""

  def __init__(self, message: str, turn: int):
    super().__init__(message)
    self.turn = turn


class Place(NamedTuple):
  """content: where it begins and ends, with the white space of it that the template keeps; end: of
  the turn."""

  content: Span
  end: int


def extents(tokenizer, turns: Turns, chosen: Sequence[int]) -> tuple[str, list[Place]]:
  """The text of a conversation, and the places of the chosen turns (by number, in order).

  Raises ConfigError where a content cannot be found as it is, or has no end.
  """
  if not chosen:
    return raw(tokenizer, turns), []
  try:
    text, contents = _contents(tokenizer, turns, chosen)
  except Changed as error:
    if error.turn != len(turns) - 1 or turns[-1]['content'].strip() == PROBE:
      raise
    return _continued(tokenizer, turns, chosen, error)
  following = [*(content[0] for content in contents[1:]), len(text)]
  places = []
  for i, content, limit in zip(chosen, contents, following, strict=True):
    end = _end(tokenizer, text[:limit], content, turns, i)
    places.append(Place(content, end))
  return text, places


def _contents(tokenizer, turns: Turns, chosen: Sequence[int]) -> tuple[str, list[Span]]:
  text = raw(tokenizer, turns)
  cores = [turns[i]['content'].strip() for i in chosen]
  probes = _probes(text, len(chosen))
  ends_ = _located(tokenizer, turns, chosen, text, probes, bare=False)
  found = [(end - len(core), end) for end, core in zip(ends_, cores, strict=True)]
  if all(turns[i]['content'] == core for i, core in zip(chosen, cores, strict=True)):
    return text, found
  kept = _kept(tokenizer, turns, chosen, text, found)
  return text, [(a - lead, b + trail) for (a, b), (lead, trail) in zip(found, kept, strict=True)]


def _probes(text: str, count: int) -> list[str]:
  word = unlike(text)
  return [f'{word}{i}x' for i in range(count)]


def _marked(turns: Turns, chosen: Sequence[int], probes: Sequence[str], bare: bool) -> list[dict]:
  """The turns with a probe behind each chosen content; bare: without the white space around it."""
  marked = list(turns)
  for i, probe in zip(chosen, probes, strict=True):
    content = turns[i]['content']
    core = content.rstrip()
    trail = content[len(core) :]
    marked[i] = {**turns[i], 'content': core.lstrip() + probe if bare else core + probe + trail}
  return marked


def _located(tokenizer, turns, chosen, text: str, probes, bare: bool) -> list[int]:
  """Where each content ends in the text."""
  marked, found, cut = raw(tokenizer, _marked(turns, chosen, probes, bare)), [], 0
  clean = marked
  for probe in probes:
    clean = clean.replace(probe, '')
  for i, probe in zip(chosen, probes, strict=True):
    at = marked.find(probe) - cut
    cut += len(probe)
    core = turns[i]['content'].strip()
    once = marked.count(probe) == 1 and (not found or at >= found[-1])
    if not once or not clean[:at].endswith(core):
      raise _changed(tokenizer, turns, i)
    found.append(at)
  if clean != text:
    raise _changed(tokenizer, turns, _differing(text, clean, chosen, found))
  return found


def _differing(text: str, clean: str, chosen: Sequence[int], found: list[int]) -> int:
  """The turn around the first letter that differs."""
  same = next((n for n, (a, b) in enumerate(zip(text, clean, strict=False)) if a != b), len(text))
  return next((i for i, end in zip(chosen, found, strict=True) if end >= same), chosen[-1])


def _kept(tokenizer, turns, chosen, text: str, found: list[Span]) -> list[Span]:
  """How much white space before and behind each content is in the text: what is longer in it than
  in the text without such white space."""
  bare = [dict(turn) for turn in turns]
  for i in chosen:
    bare[i]['content'] = turns[i]['content'].strip()
  other = raw(tokenizer, bare)
  ends_ = _located(tokenizer, bare, chosen, other, _probes(other, len(chosen)), bare=True)
  cores = [bare[i]['content'] for i in chosen]
  clean = [(end - len(core), end) for end, core in zip(ends_, cores, strict=True)]
  count = len(chosen)
  lead, trail = [0] * count, [0] * count
  for n in range(count + 1):
    behind, before = n - 1, n
    around = lambda text, spans, n=n: text[
      spans[n - 1][1] if n else 0 : spans[n][0] if n < count else len(text)
    ]
    tails = _space(turns[chosen[behind]]['content'])[1] if n else ''
    heads = _space(turns[chosen[before]]['content'])[0] if n < count else ''
    split = _parted(around(text, found), around(other, clean), tails, heads)
    if split is None:
      raise _changed(tokenizer, turns, chosen[min(n, count - 1)])
    if n:
      trail[behind] = split[0]
    if n < count:
      lead[before] = split[1]
  return list(zip(lead, trail, strict=True))


def _space(content: str) -> tuple[str, str]:
  """The white space before and behind."""
  core = content.strip()
  if not core:
    return '', content
  first = content.index(core)
  return content[:first], content[first + len(core) :]


def _parted(whole: str, bare: str, tail: str, head: str) -> Span | None:
  """whole = a beginning of `tail` + bare + an ending of `head`: how long these are."""
  more = len(whole) - len(bare)
  for n in range(min(more, len(tail)), -1, -1):
    rest = more - n
    if rest <= len(head) and whole == tail[:n] + bare + head[len(head) - rest :]:
      return n, rest
  return None


def _end(tokenizer, text: str, content: Span, turns: Turns, i: int) -> int:
  """Where the turn ends that has this content; `text`: up to the next one that is looked for."""
  known = ends(tokenizer)
  last = i == len(turns) - 1
  tail = text[content[1] :]
  gap = len(tail) - len(tail.lstrip())
  for mark in [known.last, known.middle] if last else [known.middle, known.last]:
    if mark and tail.lstrip().startswith(mark.lstrip()):
      end = content[1] + gap + len(mark.lstrip())
      _check_once(tokenizer, text[content[0] : end], content[1] - content[0], mark, i)
      return end
  raise ConfigError(
    f"{named(tokenizer)} does not mark where the assistant's turn {i + 1} of {len(turns)} ends, so "
    'it would never learn to stop: add an end-of-turn token behind the content of every answer'
    + ('' if last or not known.last else ', or keep conversations with one answer, the last turn')
  )


def _check_once(tokenizer, span: str, length: int, mark: str, i: int) -> None:
  """The sampler would stop at the first mark."""
  known = ends(tokenizer)
  early = [m for m in (known.last, known.middle) if m and m in span[:length]]
  if -1 < span.find(mark) < len(span) - len(mark):
    early.append(mark)
  if early:
    raise ConfigError(
      f'turn {i + 1} contains the end-of-turn mark {early[0]!r} of {named(tokenizer)}, where the '
      'answer would stop: write it in another way, or leave the row out'
    )


def _continued(tokenizer, turns: Turns, chosen, error: Changed) -> tuple[str, list[Place]]:
  """Of a template that drops what is thought once it is written down: the last answer as the
  sampler would have given it, which the template may begin where it asks for an answer."""
  content = turns[-1]['content']
  core = content.strip()
  plain = [*turns[:-1], {**turns[-1], 'content': content.replace(core, PROBE)}]
  try:
    text, places = extents(tokenizer, plain, chosen)
  except ConfigError:
    raise error from None
  start, stop = places[-1].content
  asked = raw(tokenizer, turns[:-1], ask=True)
  opening, begun = text[:start], asked[start:].split()[:1]
  if not core or not asked.startswith(opening) or not _dropped(tokenizer, turns, opening):
    raise error
  if not begun or not core.startswith(begun[0]):
    if begun and begun[0] in core:
      raise error
    opening = asked
  said, mark = text[start:stop].replace(PROBE, core), text[stop : places[-1].end]
  end = len(opening) + len(said)
  _check_once(tokenizer, said + mark, len(said), mark, len(turns) - 1)
  place = Place((len(opening), end), end + len(mark))
  return opening + said + text[stop:], [*places[:-1], place]


def _dropped(tokenizer, turns: Turns, opening: str) -> bool:
  """Whether the template writes an ending of the last turn's content and nothing else of it."""
  last = len(turns) - 1
  (probe,) = _probes(opening, 1)
  written = raw(tokenizer, _marked(turns, [last], [probe], bare=False)).partition(probe)[0]
  rest = written[len(opening) :].strip()
  return written.startswith(opening) and turns[last]['content'].strip().endswith(rest)


def _changed(tokenizer, turns: Turns, i: int) -> Changed:
  content = turns[i]['content']
  way = 'write it as the template does, or use a template that keeps it'
  if '</think>' in content:
    way = (
      'leave the reasoning out of it, let the conversation end with this turn, or use a template '
      'that keeps it'
      if i < len(turns) - 1
      else 'write the reasoning as the template does, leave it out, or use one that keeps it'
    )
  return Changed(
    f'{named(tokenizer)} does not write turn {i + 1} of {len(turns)} ({turns[i]["role"]}: '
    f'{" ".join(content.split())[:40]!r}) as it is: {way}',
    i,
  )
