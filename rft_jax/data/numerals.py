"""Numbers as people write them, each read exactly and whole or not at all.

A text is cut into clusters, the longest pieces that belong to one number or expression. A cluster
is a number from end to end, or it is none (12:30, 1.2.3, x^2, 10_2, 5k): a part of it is never
taken for the number.
"""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from rft_jax.data.latex import last_boxed, undressed
from rft_jax.data.plain import spoken

Value = Decimal | Fraction
LONGEST = 1000  # digits, and exponents: beyond, arithmetic on what a model wrote could take long
MIXED = '\x1f'  # stands between the whole and the fraction of a mixed number
MONEY = '$€£¥₹₩₽₺₫₦฿¢'
SCALE = dict(hundred=2, thousand=3, million=6, billion=9, trillion=12, k=3, K=3)
PARTS = dict(half='1/2', third='1/3', quarter='1/4')
DECIMAL, INTEGER = r'(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)', '[-+]?[0-9]+'

COMMAS = re.compile(
  r"(?<![\w.,'’])(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3})"
  r"(?!(?:\.[0-9]++)?+[,_'’]?[0-9])"
)
GAPS = re.compile(
  "(?<![\\w.,'’])(?<![0-9][ \u2009])[1-9][0-9]{0,2}(?P<gap>[ \u2009_'’])[0-9]{3}"
  '(?:(?P=gap)[0-9]{3})*(?!(?P=gap)[0-9]|[0-9,/:])'
)
FRACTION = re.compile(
  rf'(?:(?P<digit>[0-9])\s*)?\\frac\s*(?:\{{\s*(?P<a>{INTEGER}|{DECIMAL})\s*\}}|(?P<b>[0-9]))\s*'
  rf'(?:\{{\s*(?P<c>{DECIMAL})\s*\}}|(?P<d>[0-9]))'
)
WRITTEN = re.compile(rf'(?<=[0-9]) and (?:an?|one) ({"|".join(PARTS)})\b')
WITH_PART = re.compile(
  r"(?<![\w.,/:'’^])([0-9]+)(?:[ \u2009]+(?:and )?|(-))([0-9]+[ ]?/[ ]?[0-9]+)(?![\w/]|[.,][0-9])"
)
DATE = re.compile(r'(?<![\w-])[0-9]+(?:-[0-9]+){2,}')
MINUS = re.compile(rf'(?i:\bnegative|(?:^|(?<=\bis)|(?<=[=:]))\s*\bminus)\s+(?=[{MONEY}.0-9])')
CODE = re.compile(r'\b(?:US\$|(?:USD|EUR|GBP|INR|Rs\.?) ?(?=[-+.0-9]))')

NUMBER = re.compile(
  rf"""(?P<sign>[-+]?)[{MONEY}]?[ ]?(?P<inner>[-+]?)
  (?: (?P<whole>[0-9]+){MIXED}(?P<top>[0-9]+)/(?P<under>[0-9]+)
    | (?P<above>{DECIMAL})[ ]?/[ ]?[{MONEY}]?(?P<below>{DECIMAL})
    | 10(?:\^|\*\*)(?P<power>{INTEGER})
    | (?P<decimal>{DECIMAL})
      (?:[eE](?P<exponent>{INTEGER})|[ ]?[x×*·][ ]?10(?:\^|\*\*)(?P<times>{INTEGER}))?
  )(?P<unit>[A-Za-z]+(?:\^-?[0-9])?)?""",
  re.VERBOSE,
)
# Not units: other single letters, which may be variables or short for thousands, and their kin.
NO_UNIT = re.compile(r'[^mgshlLdpcCFAVWJN]$|(?:bn|mn|tn|mil|mln|mio|mrd|[xyzn]+)$|[xyzn]\^')
ATOM = re.compile(
  rf"""(?P<name>[^\W\d_]\w*(?:[\^_]\{{?[-+]?\w+\}}?)*)
  | (?:(?<![\w)\]}}.+-])[-+])?(?:[{MONEY}][ ]?[-+]?)?(?:(?<![\w.])\.)?[0-9]
    (?:(?<=[0-9][eE])[-+](?=[0-9])|(?<=[/^])[-+]|[\w{MIXED}]|[.,'’:/^](?=[-+]?[0-9]))*""",
  re.VERBOSE,
)
JOIN = re.compile('[ \u2009]*(?:\\*\\*|[/×·÷+*^])[ \u2009]*| : |[ ]?x[ ]?|\\}/\\{|\\{')
BEFORE = re.compile(
  r'(?:(?<![-=<>\n])[<>≠]|[±∓]|[-+]{2}|\+/-|√[({]?|[\^_][({]?|\\[A-Za-z]+\s*[({\[]|[0-9]\.\(|'
  r'(?<![\w)])[-+][ ]?[({])[ ]*$'
)
AFTER = re.compile(r'[ ]?[π√∞±∓^\\]|[_({]|\.\(|[ ][xyzn]\b|[ ]\+/-')
SCALED = re.compile(rf'[ -]({"|".join(word for word in SCALE if len(word) > 1)})\b')


class Numeral(NamedTuple):
  """A cluster of a text: its value, None where it is no number that is known here, and the power of
  ten that a word says after it."""

  value: Value | None
  scale: int
  start: int
  end: int


def number(text: str, prompt: str = '') -> Value | None:
  """The answer of a text that ends in a number: what is marked by '####' or \\boxed{}, whichever
  comes later, else the last number. None for none, and where it is part of something else."""
  said, scale = bare(text)
  return said if said is None or not scale else plain(Fraction(said) * 10**scale)


def same_number(completion: str, example: Any) -> float:
  """1.0 where a completion and `example.answer` have the same number, else 0.0. If only one of them
  says 'million' or the like, the other may be a number of millions."""
  (said, scale), (known, other) = bare(completion), bare(example.answer)
  same = said is not None and number(completion) == number(example.answer)
  return float(same or (said is not None and said == known and (not scale) != (not other)))


def bare(text: str) -> tuple[Value | None, int]:
  """As `number`: without the power of ten, and that."""
  text = spoken(text)
  line, box = text.rfind('####'), last_boxed(text)
  if box and box[0] > line:
    return marked(box[1], -1)
  if line >= 0:
    return marked(text[line:].lstrip('#').strip().partition('\n')[0], 0)
  found = numerals(prepared(text))
  return found[-1][:2] if found else (None, 0)


def marked(place: str, which: int) -> tuple[Value | None, int]:
  """The number that a marked place holds, after its last '='; its first or last where there are
  words between several. None for lists, ranges and sums."""
  place = re.split('[=≈]', prepared(place))[-1].strip()
  place = re.sub(rf'^([-+])\s+(?=[{MONEY}.0-9])', r'\1', place)
  found = numerals(place)
  if not found or re.search(r'\\[A-Za-z]|[√π∞∪]', place):
    return None, 0
  near = found[-2:] if which else found[:2]
  listed = r'\W*(?:(?:and|or|to|x)\W*)?'
  if len(near) > 1 and re.fullmatch(listed, place[near[0].end : near[1].start]):
    return None, 0
  chosen = found[which]
  return (None, 0) if which and place.startswith('!', chosen.end) else chosen[:2]


def prepared(text: str) -> str:
  """A text in which each number is of one piece: without separators of thousands and LaTeX."""
  text = re.sub(r'<<[^<>]*>>|</?[A-Za-z][^<>]*>', ' ', undressed(text))
  text = CODE.sub('$', FRACTION.sub(fraction, text))
  text = re.sub(rf'([=({{:])[ ]*-[ ]+(?=[{MONEY}.0-9])', r'\1 -', text)
  text = MINUS.sub('-', text)
  text = COMMAS.sub(lambda found: found[0].replace(',', ''), text)
  text = GAPS.sub(lambda found: found[0].replace(found['gap'], ''), text)
  text = DATE.sub(lambda found: found[0].replace('-', '_'), text)
  text = WRITTEN.sub(lambda found: ' ' + PARTS[found[1]], text)
  return WITH_PART.sub(lambda found: f'{found[1]}{"_" if found[2] else MIXED}{found[3]}', text)


def fraction(found: re.Match) -> str:
  above = (found['a'] or found['b']).strip()
  if found['digit'] and not above[0].isdigit():
    return found[0]
  written = f'{above}/{(found["c"] or found["d"]).strip()}'
  return f'{found["digit"]} {written}' if found['digit'] else written


def numerals(text: str) -> list[Numeral]:
  """The clusters with digits of a prepared text, in order."""
  spans: list[list[int]] = []
  for atom in ATOM.finditer(text):
    if atom['name']:
      continue
    if spans and JOIN.fullmatch(text, spans[-1][1], atom.start()):
      spans[-1][1] = atom.end()
    else:
      spans.append([atom.start(), atom.end()])
  return [Numeral(*read(text, *span), *span) for span in spans]


def read(text: str, start: int, end: int) -> tuple[Value | None, int]:
  """The value of a cluster and its power of ten; None where it, or what it stands in, is more than
  a number."""
  cluster = text[start:end]
  endless = '.' in cluster and text.startswith(('...', '…'), end)
  if endless or AFTER.match(text, end) or BEFORE.search(text[max(0, start - 40) : start]):
    return None, 0
  found = NUMBER.fullmatch(cluster)
  unit = (found and found['unit']) or ''
  if not found or (unit not in SCALE and NO_UNIT.match(unit)):
    return None, 0
  scaled = SCALED.match(text, end)
  return value(found), SCALE[scaled[1]] if scaled else SCALE.get(unit, 0)


def value(found: re.Match) -> Value | None:
  """What NUMBER has found. None beyond LONGEST, and for a fraction without a value."""
  if len(found[0]) > LONGEST or (found['sign'] and found['inner']):
    return None
  sign = '-' if '-' in (found['sign'], found['inner']) else ''
  if found['below']:
    below = Fraction(found['below'])
    return plain(Fraction(sign + found['above']) / below) if below else None
  if found['whole']:
    whole, top, under = (int(found[name]) for name in ('whole', 'top', 'under'))
    return plain(Fraction(f'{sign}{whole * under + top}/{under}')) if top < under else None
  exponent = int(found['power'] or found['exponent'] or found['times'] or 0)
  return Decimal(f'{sign}{found["decimal"] or 1}e{exponent}') if abs(exponent) <= LONGEST else None


def plain(value: Fraction) -> Value:
  """A fraction as a decimal where it is one."""
  rest, places = value.denominator, 0
  for prime in (2, 5):
    power = 0
    while rest % prime == 0:
      rest, power = rest // prime, power + 1
    places = max(places, power)
  return value if rest > 1 else Decimal(f'{(value * 10**places).numerator}e-{places}')


def written(value: Value) -> str:
  """A number in one way, without an exponent: 0.5, 12, 1/3."""
  if isinstance(value, Fraction):
    return f'{value.numerator}/{value.denominator}'
  text = f'{value:f}'
  text = text.rstrip('0').rstrip('.') if '.' in text else text
  return text if value else '0'
