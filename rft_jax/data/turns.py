"""Conversations of data sets: [{role, content}], or [{from, value}] as ShareGPT writes them."""

from collections.abc import Mapping
from typing import Any

from rft_jax.data.filling import checked_text
from rft_jax.data.sources import BadRow, column

ROLES = ('system', 'developer', 'user', 'assistant', 'tool', 'function', 'ipython')
ALSO = dict(human='user', prompter='user', gpt='assistant', chatgpt='assistant', bot='assistant')
ALSO |= dict(model='assistant', ai='assistant')
CALLS = ('tool_calls', 'function_call')
APART = ('reasoning_content', 'reasoning', 'thinking')
WEIGHTS = ('weight', 'train', 'training', 'loss')
Turns = tuple[dict[str, str], ...]


def turns(row: Mapping[str, Any], name: str) -> Turns:
  """The conversation of a column. Raises BadRow for anything else."""
  value = listed(column(row, name))
  if not isinstance(value, list) or not value:
    kind = 'an empty one' if value == [] else type(value).__name__
    raise BadRow(f'column {name!r} must be a list of turns, not {kind}')
  return tuple(turn(item, f'column {name!r}, turn {i}') for i, item in enumerate(value, 1))


def listed(value: Any) -> Any:
  """A list of objects where the hub keeps an object of lists, one per key."""
  columns = list(value.values()) if isinstance(value, dict) else []
  if not columns or not all(isinstance(x, list) and len(x) == len(columns[0]) for x in columns):
    return value
  return [dict(zip(value, items, strict=True)) for items in zip(*columns, strict=True)]


def turn(item: Any, what: str) -> dict[str, str]:
  if not isinstance(item, dict):
    raise BadRow(f'{what} must be {{role, content}} or {{from, value}}, not {type(item).__name__}')
  keys = ('from', 'value') if item.get('from') is not None else ('role', 'content')
  role, content = map(item.get, keys)
  if not isinstance(role, str):
    raise BadRow(f'{what}: {keys[0]} must be a text, not {type(role).__name__}')
  who = speaker(role, what)
  check_plain(item, who, what)
  if isinstance(content, list):
    content = joined(content, what)
  if not isinstance(content, str):
    raise BadRow(f'{what}: {keys[1]} must be a text, not {type(content).__name__}')
  if who == 'assistant' and not content.strip():
    raise BadRow(f'{what} is empty')
  return dict(role=who, content=checked_text(content, what))


def speaker(role: str, what: str) -> str:
  """The role as chat templates spell it, however it is written here."""
  name = role.strip().lower()
  if name not in (*ROLES, *ALSO):
    raise BadRow(
      f'{what}: role {role!r} is unknown: use one of {", ".join(ROLES)} '
      f'(or {", ".join(ALSO)}), in capitals or not'
    )
  return ALSO.get(name, name)


def check_plain(item: dict[str, Any], who: str, what: str) -> None:
  """Raises BadRow for what a turn says besides its content and nobody would learn, or learn too."""
  for key in CALLS:
    if item.get(key):
      raise BadRow(f'{what}: {key} are not supported')
  for key in APART:
    if item.get(key):
      raise BadRow(f'{what}: {key} is not supported beside the content: write it into the content')
  for key in WEIGHTS if who == 'assistant' else ():
    if item.get(key) is not None and item[key] != 1:
      raise BadRow(f"{what}: {key}={item[key]!r} is not supported: all the assistant's turns count")


def joined(parts: list[Any], what: str) -> str:
  """The text of OpenAI's [{'type': 'text', 'text': ...}]. Raises BadRow for images and the like."""
  for part in parts:
    if (
      not isinstance(part, dict) or part.get('type') != 'text' or type(part.get('text')) is not str
    ):
      kind = part.get('type') if isinstance(part, dict) else type(part).__name__
      raise BadRow(f'{what}: a part of its content is {kind!r}: only texts are supported')
  return ''.join(part['text'] for part in parts)


def last_answer(conversation: Turns, name: str) -> tuple[Turns, str]:
  """What comes before the assistant's last turn, and what that says; '' where there is none."""
  spoken = [i for i, turn in enumerate(conversation) if turn['role'] == 'assistant']
  if not spoken:
    return conversation, ''
  if not any(turn['role'] not in ROLES[:2] for turn in conversation[: spoken[-1]]):
    raise BadRow(f'column {name!r} begins with the assistant: a turn to answer must come first')
  return conversation[: spoken[-1]], conversation[spoken[-1]]['content']
