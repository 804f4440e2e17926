"""Conversations as text: which part of it the assistant said.

What a turn of the assistant teaches is its content and its end, nothing else. White space that the
template puts before and behind the content belongs to it; what else the template puts there, such
as an empty <think></think>, does not.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from rft_jax.data import templates
from rft_jax.data.ends import PROBE, ends, unlike
from rft_jax.data.extents import extents
from rft_jax.data.templates import Turns, check_template, named, raw
from rft_jax.registry import ConfigError

__all__ = ['Turns', 'check_template']
GENERATION = re.compile(r'\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}')


def render(tokenizer, turns: Turns, ask: bool = False) -> str:
  """The text of a conversation; ask: up to where the assistant's next answer begins. Raises
  ConfigError where there is no template, and where it refuses the conversation."""
  check_template(tokenizer)
  clean = harmless(tokenizer, turns)
  return asked_for(tokenizer, clean) if ask else raw(tokenizer, clean)


def asked_for(tokenizer, turns: Turns) -> str:
  """The text up to where the next answer begins, as an answer shows where the template does not."""
  if not ends(tokenizer).mute:
    return raw(tokenizer, turns, ask=True)
  return raw(tokenizer, [*turns, dict(role='assistant', content=PROBE)]).rpartition(PROBE)[0]


def harmless(tokenizer, turns: Turns) -> list[dict[str, Any]]:
  """Turns in which nobody can begin or end a turn by spelling a special token: each that is
  spelled gets a space behind its first letter, which every tokenizer knows."""
  spelled = marks(tokenizer)
  if spelled is None:
    return list(turns)
  broken = lambda match: f'{match[0][0]} {match[0][1:]}' if match[0][1:] else ''
  clean = lambda content: spelled.sub(broken, content) if isinstance(content, str) else content
  return [{**turn, 'content': clean(turn.get('content'))} for turn in turns]


def marks(tokenizer) -> re.Pattern[str] | None:
  """Finds special tokens in a text, longer ones first; None where spelling them does nothing."""
  return _marks(tokenizer, str(tokenizer.chat_template), tuple(tokenizer.all_special_tokens))


@functools.lru_cache(maxsize=16)
def _marks(tokenizer, template: str, special: tuple[str, ...]) -> re.Pattern[str] | None:
  """Kept: some tokenizers have hundreds."""
  known = sorted(filter(None, special_tokens(tokenizer)), key=len, reverse=True)
  if not known or getattr(tokenizer, 'split_special_tokens', False):
    return None
  return re.compile('|'.join(map(re.escape, known)))


def special_tokens(tokenizer) -> set[str]:
  """The texts that a tokenizer reads as one special token, and the other added tokens that part the
  turns of its template."""
  added = getattr(tokenizer, 'added_tokens_decoder', {}).values()
  found = {str(token) for token in added if token.special} | set(tokenizer.all_special_tokens)
  parting = ends(tokenizer).marks if getattr(tokenizer, 'chat_template', None) else frozenset()
  return (found - templates.ordinary(tokenizer)) | parting


def end_of_turn(tokenizer) -> str:
  """The text that ends the assistant's last turn, such as '<|im_end|>'; '' for a template
  without."""
  return ends(tokenizer).last.strip()


def spans(
  tokenizer, turns: Turns, chosen: Sequence[int] | None = None
) -> tuple[str, list[tuple[int, int]]]:
  """The text of a conversation, and where in it the chosen turns begin and end: by default those of
  the assistant.

  Raises ConfigError, naming template and turn, where a turn's content or its end cannot be found,
  and where the conversation before the last of them is not written as it is where it is asked for.
  """
  if chosen is None:
    chosen = [i for i, turn in enumerate(turns) if turn['role'] == 'assistant']
  check_contents(turns)
  clean = harmless(tokenizer, turns)
  for i in chosen:
    _check_spelling(tokenizer, turns, i)
  text, places = extents(tokenizer, clean, chosen)
  found = []
  for i, place in zip(chosen, places, strict=True):
    start, _ = place.content
    gap = ends(tokenizer).gap if turns[i]['role'] == 'assistant' else ''
    found.append((start - len(gap) if text[:start].endswith(gap) else start, place.end))
  if chosen and turns[chosen[-1]]['role'] == 'assistant':
    return _as_asked(tokenizer, clean, chosen, text, found)
  return text, found


def check_contents(turns: Turns) -> None:
  """Raises ConfigError for a content that is no text."""
  for i, turn in enumerate(turns):
    if not isinstance(turn.get('content'), str):
      raise ConfigError(
        f'turn {i + 1} ({turn.get("role")}) has {str(turn.get("content"))[:40]} as its content, '
        'which is no text: write text, or leave the row out'
      )


def _check_spelling(tokenizer, turns: Turns, i: int) -> None:
  """Raises ConfigError where an answer spells a special token: it would teach another text."""
  spelled = marks(tokenizer)
  match = spelled.search(turns[i]['content']) if spelled else None
  if match:
    kind = (
      "the template's own end-of-turn mark" if match[0] in _ending(tokenizer) else 'a special token'
    )
    raise ConfigError(
      f'turn {i + 1} ({turns[i]["role"]}) contains {match[0]!r}, {kind} of {named(tokenizer)}: '
      'write it in another way, or leave the row out'
    )


def _ending(tokenizer) -> set[str]:
  known = ends(tokenizer)
  return {known.middle.strip(), known.last.strip()}


def _as_asked(
  tokenizer, turns: Turns, chosen: Sequence[int], text: str, found: list[tuple[int, int]]
) -> tuple[str, list[tuple[int, int]]]:
  """Text and spans with the last answer behind what the sampler sees before it, where the template
  writes something else there and this answer ends the conversation. Raises ConfigError where other
  answers would follow something else too, and where a turn is left out."""
  (start, end), i = found[-1], chosen[-1]
  before, last = text[:start], i == len(turns) - 1
  asked = asked_for(tokenizer, turns[:i]) if i else before
  heard = _heard(tokenizer, turns[:i], asked)
  other = before[:heard] != asked[:heard]
  if other and not (last and len(chosen) == 1):
    raise ConfigError(
      f'{named(tokenizer)} writes the first {i} turns of a conversation in another way once more '
      'follow, so what is learned would not be what is asked: keep conversations with one answer, '
      'the last turn, or use another template'
    )
  begun = asked[start:].split() if asked.startswith(before) else []
  own = begun and text[start:end].lstrip().startswith(begun[0])  # The answer begins so itself.
  if other or (last and not own and not before.startswith(asked)):
    before, more = asked, len(asked) - start
    text, found = asked + text[start:], [*found[:-1], (len(asked), end + more)]
  _check_heard(tokenizer, turns[:i], before)
  return text, found


def _heard(tokenizer, turns: Turns, asked: str) -> int:
  """Where in a prompt the content of its last turn ends: behind it the answer begins, in one way or
  another."""
  if not turns:
    return 0
  content = turns[-1]['content']
  core, probe = content.rstrip(), unlike(asked)
  trail = content[len(core) :]
  marked = asked_for(tokenizer, [*turns[:-1], {**turns[-1], 'content': core + probe + trail}])
  at = marked.find(probe)
  if at < 0 or marked[:at] != asked[:at]:
    at = asked.rfind(core.strip()) + len(core.strip())
  return at


def _check_heard(tokenizer, turns: Turns, before: str) -> None:
  """Raises ConfigError where what others said is left out; a template may write it as JSON."""
  for n, turn in enumerate(turns):
    content = turn['content'].strip()
    forms = content, json.dumps(content, ensure_ascii=False)[1:-1]
    if turn['role'] != 'assistant' and not any(form in before for form in forms):
      raise ConfigError(
        f'{named(tokenizer)} leaves out or changes turn {n + 1} ({turn["role"]}: '
        f'{" ".join(content.split())[:40]!r}): leave it out, or use another template'
      )


def learned(
  tokenizer, turns: Turns, encode: Callable[[str], list[int]]
) -> tuple[list[int], list[bool]]:
  """Token ids of a conversation, and which of them are learned: the turns that the template marks
  by {% generation %}, else all of the assistant. Raises ConfigError as `spans` does."""
  check_contents(turns)
  text, found = spans(tokenizer, turns, marked(tokenizer, turns))
  pieces = cut(text, [edge for span in found for edge in span], encode)
  for piece, (start, end) in zip(pieces[1::2], found, strict=True):
    check_faithful(tokenizer, piece, text[start:end])
  said = [bool(i % 2) for i, piece in enumerate(pieces) for _ in piece]
  return [token for piece in pieces for token in piece], said


def last(
  tokenizer, turns: Turns, encode: Callable[[str], list[int]]
) -> tuple[list[int], list[int]]:
  """Token ids of the last turn, and of what comes before it. Raises ConfigError as `spans` does."""
  text, [(start, end)] = spans(tokenizer, turns, [len(turns) - 1])
  before, said = cut(text, (start, end), encode)
  check_faithful(tokenizer, said, text[start:end])
  return before, said


def marked(tokenizer, turns: Turns) -> list[int] | None:
  """The turns whose content the template puts between {% generation %} marks; None without."""
  template = templates.source(tokenizer)
  if not GENERATION.search(template):
    return None
  word = unlike(''.join(turn['content'] for turn in turns))
  begin, end = f'{word}begin', f'{word}end'
  place = lambda match: f'{{{{{match[1]} "{end if match[2] else begin}" {match[3]}}}}}'
  probed = [{**turn, 'content': f'{turn["content"]}{word}{i}x'} for i, turn in enumerate(turns)]
  text = raw(tokenizer, probed, template=GENERATION.sub(place, template))
  inside = [part.partition(end)[0] for part in text.split(begin)[1:]]
  found = [i for i in range(len(turns)) if any(f'{word}{i}x' in part for part in inside)]
  return found or None


def check_faithful(tokenizer, ids: list[int], text: str) -> None:
  """Raises ConfigError where ids do not say the text that they were made of."""
  said = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
  if said != text and _plain(tokenizer, said) != _plain(tokenizer, text):
    raise ConfigError(
      f'the tokenizer cannot write {" ".join(text.split())[:60]!r}: it becomes '
      f'{" ".join(said.split())[:60]!r}; leave the row out, or use another tokenizer'
    )


def _plain(tokenizer, text: str) -> str:
  """Without what tokenizers may do to a text: one form of each letter, and no white space where a
  text or a special token begins and ends."""
  known = '|'.join(map(re.escape, templates.added_tokens(tokenizer)))
  bare = re.sub(rf'\s*({known})\s*', r'\1', text) if known else text
  return unicodedata.normalize('NFKC', bare).strip()


def cut(text: str, edges: Sequence[int], encode: Callable[[str], list[int]]) -> list[list[int]]:
  """Token ids of `text` up to each edge in turn: as in the whole where no token crosses an edge,
  else as the sampler meets them, the later piece by itself."""
  pieces, ids, start = [], [], 0
  for edge in edges:
    whole = encode(text[:edge])
    stable = whole[: len(ids)] == ids
    pieces.append(whole[len(ids) :] if stable else _alone(text[start:edge], encode))
    ids, start = whole, edge
  return pieces


def _alone(piece: str, encode: Callable[[str], list[int]]) -> list[int]:
  """Token ids of a text that does not begin one: some tokenizers put a space before their first
  word."""
  line, both = encode('\n'), encode(f'\n{piece}')
  return both[len(line) :] if both[: len(line)] == line else encode(piece)
