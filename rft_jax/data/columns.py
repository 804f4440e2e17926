"""From a row of a data set to an Example: which column is what."""

import numbers
import string
from decimal import Decimal
from typing import Any, NamedTuple

from rft_jax.data.sources import BadRow, column
from rft_jax.registry import ConfigError
from rft_jax.types import Example

SPEAKERS = dict(human='user', gpt='assistant')  # ShareGPT's names
Turns = tuple[dict[str, str], ...]


class Columns(NamedTuple):
  """The columns of a data set by what they hold; '' for none. Each may be a template of several
  instead, such as '{context}\\n{question}'; system is a text, or such a template."""

  prompt: str
  response: str
  rejected: str
  messages: str
  text: str
  answer: str
  system: str
  chat: bool

  def check(self) -> None:
    """Raises ConfigError for columns that contradict each other, and for a broken template."""
    whole = [name for name in ('text', 'messages') if getattr(self, name)]
    if len(whole) > 1 or (whole and (self.response or self.rejected)):
      raise ConfigError(
        f'{whole[0]}={getattr(self, whole[0])!r} holds the whole example: set either text, or '
        'messages, or prompt with response and rejected'
      )
    if self.rejected and not self.response:
      raise ConfigError(f'rejected={self.rejected!r} needs the better response too: set response')
    for name, value in self._asdict().items():
      try:
        list(string.Formatter().parse(str(value)))
      except ValueError as error:
        raise ConfigError(
          f'{name}={value!r} is no template ({error}): write {{{{ for {{'
        ) from error

  @property
  def conversational(self) -> bool:
    return bool(self.messages) or self.chat

  @property
  def main(self) -> str:
    """The column that an example is found by."""
    return self.text or self.messages or self.prompt

  def example(self, row: dict[str, Any]) -> Example:
    """Raises BadRow where a column is missing, empty or of the wrong type."""
    answer = self._answer(row)
    if self.text:
      return Example('', answer, text(row, self.text))
    rejected = ''
    if self.messages:
      before, response = last_answer(turns(row, self.messages), self.messages)
    else:
      before, response = reply(row, self.response) if self.response else ((), '')
      if self.rejected:
        other, rejected = reply(row, self.rejected)
        if other != before:
          raise BadRow(
            f'column {self.rejected!r} answers another conversation than {self.response!r}'
          )
    asked = before or self._asked(row)
    if isinstance(asked, str):
      return Example(asked, answer, response, rejected)
    said = '\n'.join(turn['content'] for turn in asked if turn['role'] != 'system')
    return Example(said, answer, response, rejected, self._with_system(asked, row))

  def _asked(self, row) -> str | Turns:
    if '{' not in self.prompt and isinstance(column(row, self.prompt), list):
      return turns(row, self.prompt)
    prompt = text(row, self.prompt)
    return (dict(role='user', content=prompt),) if self.chat else prompt

  def _with_system(self, asked: Turns, row) -> Turns:
    if not self.system or asked[0]['role'] == 'system':
      return asked
    return (dict(role='system', content=filled(row, self.system)), *asked)

  def _answer(self, row) -> str | None:
    if not self.answer:
      return None
    if '{' in self.answer:
      return text(row, self.answer)
    value = column(row, self.answer)
    is_number = isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool)
    return digits(value, self.answer) if is_number else text(row, self.answer)


def digits(value: Any, name: str) -> str:
  """A number as the text that is read back as the same number, without an exponent. Raises BadRow
  for one that is not finite."""
  exact = Decimal(int(value) if isinstance(value, numbers.Integral) else str(value))
  if not exact.is_finite():
    raise BadRow(f'column {name!r} must be a finite number, not {value}')
  return f'{exact:f}'


class Filling(dict):
  """A row as the fields of a template."""

  def __missing__(self, name: str):
    return column(self, name)


def filled(row: dict[str, Any], template: str) -> str:
  there = {name: value for name, value in row.items() if value is not None}
  return template.format_map(Filling(there))


def text(row: dict[str, Any], name: str) -> str:
  """The text of a column or template. Raises BadRow where there is none."""
  value = filled(row, name) if '{' in name else column(row, name)
  if not isinstance(value, str):
    raise BadRow(f'column {name!r} must be a text, not {type(value).__name__}: {str(value)[:60]}')
  if not value.strip():
    raise BadRow(f'column {name!r} is empty')
  return value


def turns(row: dict[str, Any], name: str) -> Turns:
  """A conversation [{role, content}] or [{from, value}]. Raises BadRow for anything else."""
  value = column(row, name)
  if not isinstance(value, list) or not value:
    raise BadRow(f'column {name!r} must be a list of turns, not {type(value).__name__}')
  return tuple(turn(item, f'column {name!r}, turn {i}') for i, item in enumerate(value, 1))


def turn(item: Any, what: str) -> dict[str, str]:
  if not isinstance(item, dict):
    raise BadRow(f'{what} must be {{role, content}} or {{from, value}}, not {type(item).__name__}')
  keys = ('from', 'value') if item.get('from') is not None else ('role', 'content')
  role, content = map(item.get, keys)
  for key, value in zip(keys, (role, content), strict=True):
    if not isinstance(value, str):
      raise BadRow(f'{what}: {key} must be a text, not {type(value).__name__}')
  if item.get('tool_calls'):
    raise BadRow(f'{what}: tool_calls are not supported')
  return dict(role=SPEAKERS.get(str(role), str(role)), content=str(content))


def last_answer(conversation: Turns, name: str) -> tuple[Turns, str]:
  """What comes before the assistant's last turn, and what that says; '' where there is none."""
  spoken = [i for i, turn in enumerate(conversation) if turn['role'] == 'assistant']
  if not spoken:
    return conversation, ''
  if not any(turn['role'] != 'system' for turn in conversation[: spoken[-1]]):
    raise BadRow(f'column {name!r} begins with the assistant: a turn to answer must come first')
  if not conversation[spoken[-1]]['content'].strip():
    raise BadRow(f'column {name!r}, turn {spoken[-1] + 1} is empty')
  return conversation[: spoken[-1]], conversation[spoken[-1]]['content']


def reply(row: dict[str, Any], name: str) -> tuple[Turns, str]:
  """A response: a text, or a conversation that ends with it, after what comes before."""
  if '{' in name or not isinstance(column(row, name), list):
    return (), text(row, name)
  *before, last = turns(row, name)
  if last['role'] != 'assistant':
    raise BadRow(f'column {name!r} must end with a turn of the assistant, not {last["role"]}')
  return tuple(before), last['content']
