"""Conversations as text: which part of it the assistant said.

What a turn of the assistant teaches is its content and its end, nothing else. White space that the
template puts before and behind the content belongs to it; what else the template puts there, such
as an empty <think></think>, does not.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from rft_jax.data import templates
from rft_jax.data.ends import PROBE, ends
from rft_jax.data.extents import extents
from rft_jax.data.templates import Turns, check_template, named, raw
from rft_jax.registry import ConfigError

__all__ = ['Turns', 'check_template']
GENERATION = re.compile(r'\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}')
BEGIN, END = f'{PROBE}begin', f'{PROBE}end'


def render(tokenizer, turns: Turns, ask: bool = False) -> str:
  """The text of a conversation; ask: up to where the assistant's next answer begins. Raises
  ConfigError where there is no template, and where it refuses the conversation."""
  check_template(tokenizer)
  return raw(tokenizer, harmless(tokenizer, turns), ask)


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
    _check_before(tokenizer, clean, chosen[-1], text[: places[-1].content[0]])
  return text, found


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


def _check_before(tokenizer, turns: Turns, i: int, before: str) -> None:
  """Raises ConfigError where the sampler would see another conversation before answer i than the
  text has, or where a system prompt or a question is left out of it."""
  asked = raw(tokenizer, turns[:i], ask=True) if i else before
  spoken = turns[i - 1]['content'].strip() if i else ''
  heard = before.rfind(spoken) + len(spoken)  # Behind it the answer begins, in one way or another.
  if before[:heard] != asked[:heard]:
    raise ConfigError(
      f'{named(tokenizer)} writes the first {i} turns of a conversation in another way once more '
      'follow, so what is learned would not be what is asked: use another template'
    )
  for n, turn in enumerate(turns[:i]):
    content = turn['content'].strip()
    if turn['role'] in ('system', 'user', 'developer') and content not in before:
      raise ConfigError(
        f'{named(tokenizer)} leaves out or changes turn {n + 1} ({turn["role"]}: '
        f'{" ".join(content.split())[:40]!r}): leave it out, or use another template'
      )


def learned(
  tokenizer, turns: Turns, encode: Callable[[str], list[int]]
) -> tuple[list[int], list[bool]]:
  """Token ids of a conversation, and which of them are learned: the turns that the template marks
  by {% generation %}, else all of the assistant. Raises ConfigError as `spans` does."""
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
  place = lambda match: f'{{{{{match[1]} "{END if match[2] else BEGIN}" {match[3]}}}}}'
  probed = [{**turn, 'content': f'{turn["content"]}{PROBE}{i}x'} for i, turn in enumerate(turns)]
  text = raw(tokenizer, probed, template=GENERATION.sub(place, template))
  inside = [part.partition(END)[0] for part in text.split(BEGIN)[1:]]
  found = [i for i in range(len(turns)) if any(f'{PROBE}{i}x' in part for part in inside)]
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
