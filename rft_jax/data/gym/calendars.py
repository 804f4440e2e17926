"""Durations and days of the week, from the dates as the question writes them."""

import datetime as dt
import re

FIELDS = {
  '%Y': r'\d{4}',
  '%B': r'[A-Z][a-z]+',
  '%b': r'[A-Z][a-z]+',
  '%A': r'[A-Z][a-z]+',
  '%a': r'[A-Z][a-z]+',
  '%f': r'\d{3}',
  '%z': r'[+-]\d{4}',
}
DAY = dt.timedelta(days=1)


def duration(found: dict) -> dict | None:
  """Between the two times in the question; times without a date may pass midnight. What ends before
  it begins, as some with time zones do, is left out."""
  facts = found['metadata']
  start, end = moments(found['question'], facts['format'])
  passed = end - start
  if '%Y' not in facts['format']:
    passed %= DAY
  if passed < dt.timedelta(0):
    return None
  written = spelled(passed, facts['expected_format'])
  return {'answer': written[0], 'readings': written}


def moments(question: str, style: str) -> list[dt.datetime]:
  """The two moments written in a format of `strftime`."""
  pattern = re.escape(style).replace(r'\%', '%')
  pattern = re.sub('%[A-Za-z]', lambda field: FIELDS.get(field[0], r'\d\d'), pattern)
  return [dt.datetime.strptime(text, style) for text in re.findall(pattern, question)[:2]]


def spelled(passed: dt.timedelta, style: str) -> list[str]:
  """As asked; where seconds are not asked for, they are dropped or rounded."""
  milliseconds = passed // dt.timedelta(milliseconds=1)
  if style == 'D days':
    days = passed.days
    return [f'{days} days', *(['1 day'] if days == 1 else [])]
  unit = 1 if style.endswith('mmm') else 1000 if style.endswith('SS') else 60_000
  counts = dict.fromkeys([milliseconds // unit, (milliseconds + unit // 2) // unit])
  return [text for count in counts for text in clock(count * unit, style)]


def clock(milliseconds: int, style: str) -> list[str]:
  seconds, part = divmod(milliseconds, 1000)
  minutes, second = divmod(seconds, 60)
  hours, minute = divmod(minutes, 60)
  days, hour = divmod(hours, 24) if style.startswith('D') else (0, hours)
  text = f'{hour:02d}:{minute:02d}'
  text += f':{second:02d}' if ':SS' in style else ''
  text += f'.{part:03d}' if style.endswith('mmm') else ''
  if not style.startswith('D'):
    return [text]
  return [f'{days} days, {text}', *([f'1 day, {text}'] if days == 1 else [])]


def one_reading(text: str, problem: dict) -> bool:
  return text in problem['facts']['readings']


def day(found: dict) -> dict | None:
  """The library's answer; left out: a range that ends in another year than the question says, and
  a weekday after February that depends on whether the year is a leap year, which is not said."""
  facts = found['metadata']
  if facts['task'] == 'count_business_days':
    if facts['start_date'][:4] != facts['end_date'][:4]:
      return None
  unsaid = facts['task'] == 'weekday_of_date_from_first_date'
  if unsaid and int(facts['target_date'][5:7]) > 2:
    return None
  return {'answer': found['answer']}
