"""Conversations as text: a tokenizer's chat template, and which part of it the assistant said.

A turn of the assistant begins where the template asks for an answer and ends with the first
end-of-turn mark after it, which it learns too; white space behind that mark is nobody's.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from rft_jax.registry import ConfigError

Turns = Sequence[dict[str, Any]]
"""[{'role': 'system' | 'user' | 'assistant' | ..., 'content': text}, ...]"""
GENERATION = re.compile(r'\{%-?\s*generation\s*-?%\}')
PROBE = 'qWxZj'
"""An answer that no template contains."""


def check_template(tokenizer) -> None:
  """Raises ConfigError where the tokenizer has no chat template."""
  if not getattr(tokenizer, 'chat_template', None):
    raise ConfigError(
      'messages need a chat template, which this tokenizer lacks: use the tokenizer of a chat '
      'model, put a chat_template.jinja beside its tokenizer.json, or map plain columns '
      '(prompt=, response=)'
    )


def render(tokenizer, turns: Turns, ask: bool = False) -> str:
  """The text of a conversation; ask: up to where the assistant's next answer begins. Raises
  ConfigError where there is no template, and where it refuses the conversation."""
  check_template(tokenizer)
  turns = harmless(tokenizer, turns)
  try:
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask)
  except (TemplateError, TypeError) as error:
    roles = ', '.join(str(turn.get('role')) for turn in turns)
    raise ConfigError(
      f'the chat template refuses a conversation of {roles} ({error}): change the turns, leave '
      'the system prompt out, or use another chat template'
    ) from error


def harmless(tokenizer, turns: Turns) -> list[dict[str, Any]]:
  """Turns in which nobody can begin or end a turn by spelling a special token: each that is
  spelled gets a space behind its first letter, which every tokenizer knows."""
  spelled = marks(tokenizer)
  if spelled is None:
    return list(turns)
  broken = lambda match: f'{match[0][0]} {match[0][1:]}' if match[0][1:] else ''
  clean = lambda content: spelled.sub(broken, content) if isinstance(content, str) else content
  return [{**turn, 'content': clean(turn.get('content'))} for turn in turns]


@functools.lru_cache(maxsize=8)
def marks(tokenizer) -> re.Pattern[str] | None:
  """Finds special tokens in a text, longer ones first; None where spelling them does nothing. Kept:
  some tokenizers have hundreds."""
  known = sorted(filter(None, special_tokens(tokenizer)), key=len, reverse=True)
  if not known or getattr(tokenizer, 'split_special_tokens', False):
    return None
  return re.compile('|'.join(map(re.escape, known)))


def special_tokens(tokenizer) -> set[str]:
  """The texts that a tokenizer reads as one special token."""
  added = getattr(tokenizer, 'added_tokens_decoder', {}).values()
  return {str(token) for token in added if token.special} | set(tokenizer.all_special_tokens)


def end_of_turn(tokenizer) -> str:
  """The text that ends the assistant's turns, such as '<|im_end|>'; '' for a template without."""
  turns = [dict(role='user', content='hi'), dict(role='assistant', content=PROBE)]
  return render(tokenizer, turns).rpartition(PROBE)[2].strip()


def spans(tokenizer, turns: Turns) -> tuple[str, list[tuple[int, int]]]:
  """The text of a conversation, and where in it each turn of the assistant begins and ends.

  Raises ConfigError where the beginning of a conversation is not written like the beginning of the
  whole: then nobody can say which part is whose.
  """
  whole, mark, found = render(tokenizer, turns), end_of_turn(tokenizer), []
  if not mark:
    raise ConfigError(
      "the chat template does not mark where the assistant's turn ends, so it would never learn to "
      'stop: add the end-of-turn token behind its content'
    )
  for i, turn in enumerate(turns):
    if turn['role'] != 'assistant':
      continue
    if mark in turn['content']:
      raise ConfigError(f"an answer contains the template's own end-of-turn mark {mark!r}")
    before = render(tokenizer, turns[:i], ask=True)
    end = whole.find(mark, len(before))
    if not whole.startswith(before) or end < 0:
      raise ConfigError(
        f'the chat template writes the first {i} turns of a conversation in another way once more '
        'follow, so the answers cannot be found in it: mark them by {% generation %} in the '
        'template, or use another one'
      )
    found.append((len(before), end + len(mark)))
  return whole, found


def learned(
  tokenizer, turns: Turns, encode: Callable[[str], list[int]]
) -> tuple[list[int], list[bool]]:
  """Token ids of a conversation, and which of them the assistant said: by the template's own
  {% generation %} if it has one. Raises ConfigError as `spans` does."""
  if GENERATION.search(str(tokenizer.chat_template)):
    render(tokenizer, turns)  # its errors
    out = tokenizer.apply_chat_template(
      harmless(tokenizer, turns), return_dict=True, return_assistant_tokens_mask=True
    )
    return list(out['input_ids']), [bool(x) for x in out['assistant_masks']]
  text, found = spans(tokenizer, turns)
  pieces = cut(text, [edge for span in found for edge in span], encode)
  said = [bool(i % 2) for i, piece in enumerate(pieces) for _ in piece]
  return [token for piece in pieces for token in piece], said


def cut(text: str, edges: Sequence[int], encode: Callable[[str], list[int]]) -> list[list[int]]:
  """Token ids of `text` up to each edge in turn: as in the whole where no token crosses an edge,
  else as the sampler meets them, the later piece by itself."""
  pieces, ids, start = [], [], 0
  for edge in edges:
    whole = encode(text[:edge])
    stable = whole[: len(ids)] == ids
    pieces.append(whole[len(ids) :] if stable else encode(text[start:edge]))
    ids, start = ids + pieces[-1], edge
  return pieces
