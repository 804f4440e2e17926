"""What a mathematical answer is made of: tuples, intervals, sets, lists, matrices, equations."""

import re
from typing import NamedTuple

from rft_jax.data.latex import last_boxed, undressed
from rft_jax.data.numerals import COMMAS
from rft_jax.data.plain import spoken

LEFT, RIGHT = ({'<': a, '>': a, '≤': b, '≥': b} for a, b in ('([', ')]'))
TURNED = {'<': '>', '>': '<', '≤': '≥', '≥': '≤'}
PAIRS = {'(': ')', '[': ']', r'\{': r'\}'}
MATRIX = re.compile(r'\\begin\s*\{([bBpvV]?matrix)\}(.*)\\end\s*\{\1\}', re.DOTALL)
ARRAY = re.compile(
  r'[(\[]\s*\\begin\s*\{array\}\s*(?:\{[^{}]*\})?(.*)\\end\s*\{array\}\s*[)\]]', re.DOTALL
)
REPEATING = re.compile(r'(?<![0-9.])([0-9]*)\.([0-9]*)\\(?:overline|bar)\s*\{\s*([0-9]+)\s*\}')
REALS = re.compile(r'(?i:(?:[a-z]\s*∈\s*)?\\mathbb\s*(?:\{R\}|R)|all real numbers)')
NOTHING = re.compile(r'(?i)\\\{\s*\\\}|(?:the )?empty set|∅')
RELATION = re.compile(r'([=<>≤≥≠])')
WORDS = re.compile(r'\s(?:and|or)\s|\\cup\b')
STATED = re.compile(r'\banswer\b(?:\s+(?:is|are)\b)?[\s:*]*(.*)', re.IGNORECASE)
MATHS = re.compile(
  r'(?<![\\$])\$((?:\\.|[^$\n\\])+)\$(?!\$)|\\\((.+?)\\\)|\$\$(.+?)\$\$|\\\[(.+?)\\\]', re.DOTALL
)


class Form(NamedTuple):
  """kind: 'atom', or how the parts are joined: '(]', 'set', 'list', 'union', '=', 'matrix 2'."""

  kind: str
  text: str
  parts: tuple['Form', ...] = ()


def final(text: str) -> str:
  """What a text says is the answer: in its last box or the line after its last '####', whichever
  comes later, else after its last 'answer is', else the last formula; a text of one line as a
  whole. '' for none."""
  text = spoken(text)
  line, box = text.rfind('####'), last_boxed(text)
  if box and box[0] > line:
    return box[1].strip()
  if line >= 0:
    return text[line:].lstrip('#').strip().partition('\n')[0]
  stated = [said for said in STATED.findall(text) if said.strip()]
  place = stated[-1] if stated else text.strip()
  formulas = [''.join(found) for found in MATHS.findall(place)]
  if formulas:
    return formulas[-1].strip()
  return place.strip() if stated or '\n' not in place else ''


def trimmed(text: str) -> str:
  """A text without what surrounds a formula, in the form that `form` reads."""
  inside = re.fullmatch(r'\s*(\$\$?)(.+?)(?<!\\)\1\s*', text, re.DOTALL)
  text = undressed(inside[2] if inside else text)
  text = re.sub(r'(?<!\.)[.,]$', '', text).strip()
  if REALS.fullmatch(text):
    return '(-∞,∞)'
  return '∅' if NOTHING.fullmatch(text) else REPEATING.sub(as_fraction, text)


def as_fraction(found: re.Match) -> str:
  """The fraction that a repeating decimal is."""
  whole, once, again = found.groups()
  if len(found[0]) > 40:
    return found[0]
  above = int(whole + once + again) - int(f'0{whole}{once}')
  return f'\\frac{{{above}}}{{{(10 ** len(again) - 1) * 10 ** len(once)}}}'


def form(text: str, depth: int = 0) -> Form:
  """The parts of a trimmed text, as deep as they go."""
  text = text.strip()
  if depth > 5 or len(text) > 400:
    return Form('atom', text)
  make = lambda kind, parts: Form(kind, text, tuple(form(part, depth + 1) for part in parts))
  text = re.sub(r'^[A-Za-z]\s*∈\s*', '', text)
  text = ARRAY.sub(r'\\begin{matrix}\1\\end{matrix}', text)
  if found := MATRIX.fullmatch(text):
    rows = [row.split('&') for row in re.split(r'\\\\', found[2].strip()) if row.strip()]
    kind = 'determinant' if found[1][0] in 'vV' else 'matrix'
    return make(f'{kind} {len(rows)}', [cell for row in rows for cell in row])
  if '∪' in text and len(sets := split(text, '∪')) > 1:
    return make('union', sets)
  if len(parts := listed(text)) > 1:
    return make('list', parts)
  if len(sides := RELATION.split(text.replace('<=', '≤').replace('>=', '≥'))) > 1:
    return related(sides[::2], ''.join(sides[1::2]), make) or Form('atom', text)
  if text.count('±') == 1 and not text.endswith('±'):
    return make('list', [text.replace('±', '+'), text.replace('±', '-')])
  return bracketed(text, make) or Form('atom', text)


def related(sides: list[str], signs: str, make) -> Form | None:
  """A relation, a chain of equations, or the interval that two bounds of a letter say."""
  if len(signs) == 1 or set(signs) == {'='}:
    return make(signs[0], sides)
  if len(signs) > 2 or not re.fullmatch(r'\s*[A-Za-z]\s*', sides[1]):
    return None
  if set(signs) <= set('<≤'):
    return make(LEFT[signs[0]] + RIGHT[signs[1]], sides[::2])
  return make(LEFT[signs[1]] + RIGHT[signs[0]], sides[::-2]) if set(signs) <= set('>≥') else None


def bounded(form: Form) -> Form:
  """The interval that an inequality of a letter says; any other form as it is."""
  if form.kind not in LEFT or not any(re.fullmatch('[A-Za-z]', part.text) for part in form.parts):
    return form
  one, other = form.parts
  sign = form.kind
  if re.fullmatch('[A-Za-z]', other.text):
    one, other, sign = other, one, TURNED[sign]
  if sign in '<≤':
    return Form('(' + RIGHT[sign], form.text, (Form('atom', '-∞'), other))
  return Form(LEFT[sign] + ')', form.text, (other, Form('atom', '∞')))


def bracketed(text: str, make) -> Form | None:
  """A tuple, an interval or a set, which is in brackets from end to end."""
  for opening in PAIRS:
    for closing in PAIRS.values():
      if text.startswith(opening) and text.endswith(closing) and len(text) > 2:
        inside = text[len(opening) : -len(closing)]
        parts = split(inside, ',;')
        if r'\{' == opening and closing == r'\}':
          return make('set', parts)
        if len(parts) > 1:
          return make(opening + closing, parts)
  return None


def listed(text: str) -> list[str]:
  """What commas, 'and' and 'or' separate outside of brackets; commas of thousands do not."""
  plain = COMMAS.sub(lambda found: found[0].replace(',', '\x00'), text)
  parts = [part for piece in WORDS.split(plain) for part in split(piece, ',;')]
  return [part.replace('\x00', ',') for part in parts if part.strip()] if len(parts) > 1 else [text]


def split(text: str, marks: str) -> list[str]:
  """A text cut at the marks that are outside of all brackets; as it is where these do not close."""
  parts, depth, start = [], 0, 0
  for i, letter in enumerate(text):
    depth += (letter in '([{') - (letter in ')]}')
    if depth < 0:
      return [text]
    if letter in marks and not depth:
      parts.append(text[start:i])
      start = i + 1
  return [*parts, text[start:]] if not depth else [text]
