"""Answers to questions of reasoning-gym about dates and times, worked out from their text."""

import datetime as dt
import re

from gym_numbers import answers, ints


@answers
def time_intervals(q):
  form = re.search(r'(D days(?:, )?)?(HH:MM(?::SS)?(?:\.mmm)?)?\.$', q)
  start, end = moments(q)
  passed = end - start
  if not form[1]:
    passed %= dt.timedelta(days=1)
  hours, rest = divmod(
    (passed - dt.timedelta(days=passed.days if form[1] else 0)), dt.timedelta(hours=1)
  )
  minutes, rest = divmod(rest, dt.timedelta(minutes=1))
  clock = f'{hours:02d}:{minutes:02d}'
  clock += f':{rest.seconds:02d}' if ':SS' in q[form.start() :] else ''
  clock += f'.{rest.microseconds // 1000:03d}' if '.mmm' in q else ''
  days = f'{passed.days} days' if form[1] else ''
  return ', '.join(filter(None, [days, clock if form[2] else '']))


MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split()


def moments(question: str) -> list[dt.datetime]:
  """Both, by their numbers and names."""
  months = '|'.join(f'{m}[a-z]*' for m in MONTHS)
  date = (
    rf'\d{{4}}-\d\d-\d\d|\d\d/\d\d/\d{{4}}|(?:{months}) \d\d,? \d{{4}}|\d\d (?:{months}) \d{{4}}'
  )
  clock = r'\d\d:\d\d(?::\d\d)?(?:\.\d{3})?(?: [+-]\d{4})?'
  dates, clocks = re.findall(date, question), re.findall(clock, question)
  dates, clocks = dates or ['2000-01-01'] * 2, clocks or ['00:00'] * 2
  return [day(d) + time(c) for d, c in zip(dates, clocks, strict=True)]


def day(text: str) -> dt.datetime:
  named = [i + 1 for i, name in enumerate(MONTHS) if name in text]
  numbers = list(map(int, re.findall(r'\d+', text)))
  if named:
    return dt.datetime(max(numbers), named[0], min(numbers))
  year, month, date = numbers if '-' in text else (numbers[2], numbers[0], numbers[1])
  return dt.datetime(year, month, date)


def time(text: str) -> dt.timedelta:
  clock, _, zone = text.partition(' ')
  hours, minutes, *seconds = clock.split(':')
  passed = dt.timedelta(
    hours=int(hours), minutes=int(minutes), seconds=float(seconds[0]) if seconds else 0
  )
  ahead = (
    dt.timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[3:])) if zone else dt.timedelta(0)
  )
  return passed - ahead


DAYS = 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split()


@answers
def calendar_arithmetic(q):
  date = r'(?:\w+, )?([A-Z]\w+) (\d+)(?:, (\d{4}))?'
  month = lambda name: dt.datetime.strptime(name, '%B').month
  if 'leap' in q:
    year = ints(q)[0]
    return 'yes' if year % 4 == 0 and (year % 100 or year % 400 == 0) else 'no'
  if given := re.search(rf'(?:was a|fell on a|where) ({"|".join(DAYS)})', q):
    name, number = re.findall(rf'(?:will|on|of) {date}', q)[-1][:2]
    passed = (dt.date(2022, month(name), int(number)) - dt.date(2022, 1, 1)).days
    return DAYS[(DAYS.index(given[1]) + passed) % 7]
  if given := re.search(rf'(first|second|third|fourth|last) ({"|".join(DAYS)})', q):
    name, year = re.search(r'(?:of|in|In) ([A-Z]\w+) (\d{4})', q).groups()
    first = dt.date(int(year), month(name), 1)
    every = [first + dt.timedelta(n) for n in range(31)]
    fit = [d.day for d in every if d.month == first.month and DAYS[d.weekday()] == given[2]]
    return str(
      fit['first second third fourth'.split().index(given[1]) if given[1] != 'last' else -1]
    )
  if slashed := re.search(r'(\d\d)/(\d\d)/(\d{4})', q):
    return DAYS[dt.date(int(slashed[3]), int(slashed[1]), int(slashed[2])).weekday()]
  found = [
    x
    for x in re.findall(date, q)
    if x[0]
    in 'January February March April May June July August September October November December'
  ]
  dates = [dt.date(int(found[-1][2]), month(name), int(n)) for name, n, _ in found]
  if len(dates) == 1:
    step = re.search(r'(?:in|after a|forward|was it|backward) (\d+)', q)
    back = 'ago' in q or 'before' in q or 'backward' in q
    return DAYS[
      (dates[0] + dt.timedelta(int(step[1]) * (-1 if back else 1) if step else 0)).weekday()
    ]
  every = [dates[0] + dt.timedelta(n) for n in range((dates[1] - dates[0]).days + 1)]
  weekday = re.search(
    rf'({"|".join(DAYS)})s are|of ({"|".join(DAYS)}) from|does ({"|".join(DAYS)})', q
  )
  wanted = [DAYS.index(next(filter(None, weekday.groups())))] if weekday else range(5)
  return str(sum(d.weekday() in wanted for d in every))
