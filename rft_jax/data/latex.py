"""LaTeX and typography around answers: what stands in a box, and a text without its dress."""

import re
import unicodedata

BOX = re.compile(r'\\f?boxed[ ]*(?![A-Za-z])|\\fbox[ ]*(?=\{)')
FONTS = (
  'text textbf textit textrm textsf texttt textnormal mathrm mathbf mathit mathsf mathtt mbox hbox '
  'mathnormal emph boldsymbol bm boxed fbox'
).split()
FONT = re.compile(rf'\\(?:{"|".join(FONTS)}|(?:text|math)?color\s*\{{[^{{}}]*\}})\s*(?=\{{)')
SWITCH = re.compile(
  r'\\(?:displaystyle|textstyle|bf|rm|it|left|right|[Bb]igg?[lrm]?|limits|phantom\s*\{[^{}]*\}|'
  r'[hv]space\s*\{[^{}]*\}|quad|qquad|enspace|thinspace)(?![A-Za-z])'
)
SYMBOLS = {
  'times': '×', 'cdot': '·', 'ast': '*', 'div': '÷', 'pm': '±', 'mp': '∓', 'pi': 'π', 'infty': '∞',
  'sqrt': '√', 'circ': '°', 'degree': '°', 'approx': '≈', 'leq': '≤', 'le': '≤', 'geq': '≥',
  'ge': '≥', 'leqslant': '≤', 'geqslant': '≥', 'lt': '<', 'gt': '>', 'neq': '≠', 'ne': '≠',
  'ldots': '…', 'dots': '…', 'cdots': '…',
  'pounds': '£', 'euro': '€', 'cup': '∪', 'in': '∈', 'emptyset': '∅', 'varnothing': '∅',
  'lvert': '|', 'rvert': '|', 'vert': '|', 'lbrace': r'\{', 'rbrace': r'\}',
}  # fmt: skip
SYMBOL = re.compile(rf'\\({"|".join(SYMBOLS)})(?![A-Za-z])')
DASHES = dict.fromkeys(map(ord, '−–‐‑－﹣'), '-')
RAISED = str.maketrans('⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻', '0123456789+-')
SPACES = re.compile('[\u00a0\u2000-\u200a\u202f\u205f\u3000]')


def last_boxed(text: str) -> tuple[int, str] | None:
  """Where the last box that is closed and not empty begins, and what it holds: \\boxed{...} with
  braces to any depth, \\fbox{...} or `\\boxed 5`."""
  closing = braces(text)
  for found in reversed(list(BOX.finditer(text))):
    start = found.end()
    if start in closing:
      inside = text[start + 1 : closing[start]]
    else:
      bare = re.compile(r'[^\s{}$\\]+').match(text, start)
      inside = bare[0].rstrip('.,;:') if bare else ''
    if inside.strip():
      return found.start(), inside
  return None


def braces(text: str) -> dict[int, int]:
  """Where each brace that is opened is closed."""
  opened, closing = [], {}
  for brace in re.finditer(r'\\.|[{}]', text, re.DOTALL):
    if brace[0] == '{':
      opened.append(brace.start())
    elif brace[0] == '}' and opened:
      closing[opened.pop()] = brace.start()
  return closing


def undressed(text: str) -> str:
  """A text without fonts, delimiters and spacing of LaTeX and Markdown, its symbols in Unicode, and
  raised digits as powers. Digits never come to stand next to others."""
  text = spaced(text)
  text = re.sub(r'\^\s*\{\s*\\(circ|degree)\s*\}|\^\s*\\(circ|degree)(?![A-Za-z])', '°', text)
  text = SYMBOL.sub(
    lambda found: SYMBOLS[found[1]], re.sub(r'\\[dtc](frac|binom)(?![A-Za-z])', r'\\\1', text)
  )
  text = unfonted(SWITCH.sub(' ', text))
  text = re.sub(r'\\([$%#&_])', r'\1', re.sub(r'\\[()\[\]]', ' ', text))
  text = re.sub(r'\^\s*(?:\{\s*([-+]?[0-9]+)\s*\}|\(\s*([-+]?[0-9]+)\s*\))', r'^\1\2', text)
  text = re.sub(r'(?<![0-9])\*\*|\*\*(?![-+]?[0-9])|`', '', text)
  text = re.sub(r'(?<![\w\\}])(__?)(?=[^\s_{])([^_\n]+)(?<=\S)\1(?![\w{])', r'\2', text)
  return text.strip()


def spaced(text: str) -> str:
  """Spacing, dashes, digits of other scripts, fractions of one character and raised digits in the
  one way that the rest of this module expects."""
  text = SPACES.sub('\u2009', text).translate(DASHES).replace('⁄', '/').replace('∕', '/')
  text = re.sub(r'\\!\s*', '', text.replace('{,}', ','))
  text = re.sub(r'(?<!\\)\\[,;: ]|(?<!\\)~', '\u2009', text)
  text = re.sub('[⁰¹²³⁴-⁹⁺⁻]+', lambda raised: '^' + raised[0].translate(RAISED), text)
  text = re.sub(r'[^\W0-9_]|[^\w\s]|\d', plain_character, text)
  return text


def plain_character(found: re.Match) -> str:
  letter = found[0]
  if letter.isascii():
    return letter
  kind = unicodedata.decomposition(letter)
  if kind.startswith('<fraction>'):
    return ' ' + unicodedata.normalize('NFKC', letter).replace('⁄', '/')
  if (digit := unicodedata.decimal(letter, None)) is not None:
    return str(digit)
  return unicodedata.normalize('NFKC', letter) if kind.startswith(('<wide>', '<font>')) else letter


def unfonted(text: str) -> str:
  """\\text{...} and its kin by what they hold, to any depth; what is not closed stays."""
  closing = braces(text)
  gone = []
  for found in FONT.finditer(text):
    if found.end() in closing:
      gone += [(found.start(), found.end() + 1), (closing[found.end()], closing[found.end()] + 1)]
  kept, last = [], 0
  for start, end in sorted(gone):
    kept.append(text[last:start])
    last = end
  return ''.join([*kept, text[last:]])
