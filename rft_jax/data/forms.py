"""What a mathematical answer is made of: tuples, intervals, sets, lists, matrices, equations."""

import re
from typing import NamedTuple

from rft_jax.data.latex import last_boxed, undressed
from rft_jax.data.numerals import COMMAS

PAIRS = {'(': ')', '[': ']', r'\{': r'\}'}
MATRIX = re.compile(r'\\begin\s*\{([bBpvV]?matrix)\}(.*)\\end\s*\{\1\}', re.DOTALL)
RELATION = re.compile(r'(<=|>=|[=<>≤≥≠])')
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
  return re.sub(r'(?<!\.)\.$', '', text).strip()


def form(text: str, depth: int = 0) -> Form:
  """The parts of a trimmed text, as deep as they go."""
  text = text.strip()
  if depth > 5 or len(text) > 400:
    return Form('atom', text)
  make = lambda kind, parts: Form(kind, text, tuple(form(part, depth + 1) for part in parts))
  text = re.sub(r'^[A-Za-z]\s*∈\s*', '', text)
  if found := MATRIX.fullmatch(text):
    rows = [row.split('&') for row in re.split(r'\\\\', found[2].strip()) if row.strip()]
    kind = 'determinant' if found[1][0] in 'vV' else 'matrix'
    return make(f'{kind} {len(rows)}', [cell for row in rows for cell in row])
  if '∪' in text and len(sets := split(text, '∪')) > 1:
    return make('union', sets)
  if len(parts := listed(text)) > 1:
    return make('list', parts)
  if len(sides := RELATION.split(text)) == 3:
    return make({'<=': '≤', '>=': '≥'}.get(sides[1], sides[1]), sides[::2])
  if text.count('±') == 1 and not text.endswith('±'):
    return make('list', [text.replace('±', '+'), text.replace('±', '-')])
  return bracketed(text, make) or Form('atom', text)


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
