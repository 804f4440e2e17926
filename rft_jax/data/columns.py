"""From a row of a data set to an Example: which column is what."""

import numbers
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from rft_jax.data.filling import check_template, checked_text, filled, number, text
from rft_jax.data.sources import BadRow, column
from rft_jax.data.turns import Turns, last_answer, listed, turns
from rft_jax.registry import ConfigError
from rft_jax.types import Example


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
      check_template(name, str(value))

  @property
  def conversational(self) -> bool:
    return bool(self.messages) or self.chat

  @property
  def main(self) -> str:
    """The column that an example is found by."""
    return self.text or self.messages or self.prompt

  def example(self, row: Mapping[str, Any]) -> Example:
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
    if '{' not in self.prompt and isinstance(listed(column(row, self.prompt)), list):
      return turns(row, self.prompt)
    prompt = text(row, self.prompt)
    return (dict(role='user', content=prompt),) if self.chat else prompt

  def _with_system(self, asked: Turns, row) -> Turns:
    if not self.system or asked[0]['role'] == 'system':
      return asked
    content = checked_text(filled(row, self.system), 'the system prompt')
    return (dict(role='system', content=content), *asked)

  def _answer(self, row) -> str | None:
    if not self.answer:
      return None
    if '{' in self.answer:
      return text(row, self.answer)
    value = column(row, self.answer)
    if isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool):
      return number(value, self.answer)
    return text(row, self.answer)


def reply(row: Mapping[str, Any], name: str) -> tuple[Turns, str]:
  """A response: a text, or a conversation that ends with it, after what comes before."""
  if '{' in name or not isinstance(listed(column(row, name)), list):
    return (), text(row, name)
  *before, last = turns(row, name)
  if last['role'] != 'assistant':
    raise BadRow(f'column {name!r} must end with a turn of the assistant, not {last["role"]}')
  return tuple(before), last['content']
