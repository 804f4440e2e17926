"""Templates of columns, such as '{context}\\n{meta[title]}': they reach into rows, never into
objects."""

import datetime
import decimal
import math
import numbers
import string
from collections.abc import Mapping, Sequence
from typing import Any

from rft_jax.data.sources import BadRow, column
from rft_jax.registry import ConfigError

PLAIN = (str, bool, int, float, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta)


class Filling(string.Formatter):
  """Fields are columns; '.name' and '[name]' both are a key of an object, '[0]' an item."""

  def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    row: Any = kwargs
    if row.get(field_name) is not None:
      return row[field_name], field_name
    first, rest = field_path(field_name)
    value = column(row, first)
    for step in rest:
      value = inside(value, step, field_name)
    return value, first

  def format_field(self, value: Any, format_spec: str) -> str:
    if not isinstance(value, PLAIN):
      raise BadRow(f'a template needs texts and numbers, not {type(value).__name__}')
    if isinstance(value, float) and not math.isfinite(value):
      raise BadRow(f'a template needs texts and finite numbers, not {value}')
    return format(value, format_spec)


FILLING = Filling()


def field_path(name: str) -> tuple[str, list[str]]:
  """'a[0].b' -> 'a', ['0', 'b']. Raises ValueError for anything else."""
  first, *steps = name.replace('[', '.[').split('.')
  if not first or any(step in ('', '[]') or (step[-1:] != ']' and '[' in step) for step in steps):
    raise ValueError(f'field {name!r} names no column')
  return first, [step.strip('[]') for step in steps]


def inside(value: Any, step: str, name: str) -> Any:
  """Raises BadRow where there is nothing."""
  found = None
  if isinstance(value, dict):
    found = value.get(step)
  elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
    found = value[int(step)]
  if found is None:
    raise BadRow(
      f'column {name!r}: there is no {step!r} in {type(value).__name__} of {len_of(value)}'
    )
  return found


def len_of(value: Any) -> str:
  return f'{len(value)} items' if isinstance(value, dict | list | str) else f'{str(value)[:20]!r}'


def check_template(name: str, template: str) -> None:
  """Raises ConfigError for a broken template, and for fields without a name."""
  try:
    for _, field, spec, conversion in FILLING.parse(template):
      if field is not None:
        field_path(field)
        check_template(name, spec or '')
        FILLING.convert_field('', conversion) if conversion else None
  except ValueError as error:
    raise ConfigError(f'{name}={template!r} is no template ({error}): write {{{{ for {{') from error


def filled(row: Mapping[str, Any], template: str) -> str:
  """Raises BadRow where a field is missing, or cannot be written as the template asks."""
  try:
    return FILLING.vformat(template, (), row)
  except (ValueError, TypeError) as error:
    if isinstance(error, BadRow):
      raise
    raise BadRow(f'template {template!r} does not fit ({error})') from error


def checked_text(value: str, what: str) -> str:
  """The text. Raises BadRow for one that is not made of characters."""
  try:
    value.encode()
  except UnicodeEncodeError as error:
    raw = 0xDC80 <= ord(value[error.start]) <= 0xDCFF
    why = 'is not UTF-8: save the file as UTF-8' if raw else 'holds half a character (a surrogate)'
    raise BadRow(f'{what} {why}: {value[max(0, error.start - 20) : error.start + 9]!r}') from error
  if '\0' in value:
    raise BadRow(f'{what} holds a NUL character, as damaged files do')
  return value


def text(row: Mapping[str, Any], name: str) -> str:
  """The text of a column or template. Raises BadRow where there is none."""
  value = filled(row, name) if '{' in name else column(row, name)
  if not isinstance(value, str):
    raise BadRow(f'column {name!r} must be a text, not {type(value).__name__}: {str(value)[:60]}')
  if not value.strip():
    raise BadRow(f'column {name!r} is empty')
  return checked_text(value, f'column {name!r}')


def number(value: numbers.Real | decimal.Decimal, name: str) -> str:
  """As people write it, without an exponent. Raises BadRow for one that is not finite."""
  whole = isinstance(value, numbers.Integral)
  exact = decimal.Decimal(int(value) if whole else str(value))
  if not exact.is_finite():
    raise BadRow(f'column {name!r} must be a finite number, not {value}')
  return f'{exact:f}'
