"""When two texts say the same: a form that keeps what changes a meaning and folds how it is typed.

Kept: letters and digits, signs, decimal points, operators, units (5 mW is not 5 MW), negation,
apostrophes inside words (well is not we'll), quotes and punctuation inside of a text. Folded:
normal form, width, digits of other scripts, case, kinds of quotes, dashes and stops, spaces, what
cannot be seen, quotes around the whole and punctuation at its end.
"""

import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable

WIDTH = (
  '<wide>',
  '<narrow>',
  '<initial>',
  '<medial>',
  '<final>',
  '<isolated>',
  '<vertical>',
  '<square>',
)
UNSEEN = dict.fromkeys(
  itertools.chain(
    (0xAD, 0x61C, 0x640, 0x200B, 0x2060, 0xFEFF, 0xA1, 0xBF),  # and signs that open a ¿question?
    (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x34F, 0x180E),
    (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)),
  )
)
KINDS = {
  '"': '“”„‟«»「」『』〝〞〟❝❞',
  "'": '‘’‚‛‹›ʼ´`',
  '′': '‵',
  '-': '‐‑‒−﹣⁃',
  '—': '―⸺⸻',
  '.': '。｡।॥۔։።',
  ',': '、､،،٬',
  ';': '؛',
  '?': '؟',
  '%': '٪',
  '/': '∕',
}
FOLDED = UNSEEN | {ord(sign): to for to, signs in KINDS.items() for sign in signs}
FOLDED |= {
  ord('٫'): '.',
  ord('µ'): 'μ',
  ord('…'): '...',
  ord('‼'): '!!',
  ord('⁇'): '??',
  ord('⁉'): '?!',
}
PREFIXES = ('', *'yzafpnμmcdhkMGTPEZY', 'da', 'Ki', 'Mi', 'Gi', 'Ti')
UNITS = ('m g s A K mol cd Hz N Pa J W C V F S Wb T H lm lx Bq Gy Sv l b B bit eV Wh Ah VA bps Bps '
  'cal M bar Ω').split()  # fmt: skip
SYMBOLS = {unicodedata.normalize('NFC', p + u) for p in PREFIXES for u in UNITS}
TYPED = {symbol.casefold() for symbol in SYMBOLS}
AFTER_NUMBER = re.compile(r'(?<=\d)( ?)([^\W\d_]+(?:[/·*][^\W\d_]+)*)(?![\w\'])')
LETTERS = re.compile(r'[^\W\d_]+')
IDEOGRAPH = '\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff'
ENDS = '.?!,;: '
DIGITS = 32  # of a fingerprint


def ambiguous() -> frozenset[str]:
  """Symbols of units that another one is written like but for its case: mW, MW."""
  kinds: dict[str, set[str]] = {}
  for symbol in SYMBOLS:
    kinds.setdefault(symbol.casefold(), set()).add(symbol)
  return frozenset(s for several in kinds.values() if len(several) > 1 for s in several)


CASED = ambiguous()


def fingerprint(text: str) -> str:
  """Equal for texts that say the same."""
  return digest(folded(text))


def form(text: str) -> str:
  """Equal for texts that are also written alike, to the spaces at the ends and the normal form."""
  return digest(unicodedata.normalize('NFC', text).strip())


def context(system: str, turns: Iterable[tuple[str, str]]) -> str:
  """Of all that was said before an answer; turns: (role, text) from the first one on."""
  said = [['system', folded(system)], *([role, folded(text)] for role, text in turns)]
  return digest(json.dumps(said))


def digest(text: str) -> str:
  return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:DIGITS]


def folded(text: str) -> str:
  """What is compared."""
  text = unicodedata.normalize('NFC', ''.join(map(narrow, unicodedata.normalize('NFC', text))))
  text = ' '.join(text.translate(FOLDED).split())
  text = quoted(spaced(text)).strip()
  text = unicodedata.normalize('NFC', cased(text))
  return trimmed(text) or text


def narrow(letter: str) -> str:
  """Without width and shape; a digit of any script is the number that it means."""
  kind, _, codes = unicodedata.decomposition(letter).partition(' ')
  if kind in WIDTH:
    letter = ''.join(chr(int(code, 16)) for code in codes.split())
  digits = [unicodedata.decimal(one, None) for one in letter]
  return ''.join(
    one if digit is None else str(digit) for one, digit in zip(letter, digits, strict=True)
  )


def spaced(text: str) -> str:
  """With one way to set spaces around dashes, operators, stops and ideographs."""
  text = re.sub(r'\s*—\s*|\s+--\s+|\s+[–-]\s+(?=\D)|(?<=\D)\s+[–-]\s+', ' — ', text)
  text = text.replace('–', '-')
  text = re.sub(r'(?<=\d)\s+-\s+(?=\d)', '-', text)
  text = re.sub(r'\s*([=<>+*/×÷≤≥≠≈^|&])\s*|(?<=\d)\s+(%)', r'\1\2', text)
  text = re.sub(r'\s+(?=[,;:!?.](?:\s|$))', '', text)
  return re.sub(rf'(?<=[{IDEOGRAPH}])\s+|\s+(?=[{IDEOGRAPH}])', '', text)


def quoted(text: str) -> str:
  """Both kinds of quotes as one; an apostrophe and a prime (5', 6'2") stay what they are."""
  found, open_at = list(text), {"'": -1, '"': -1}
  for at, sign in enumerate(text):
    if sign not in open_at:
      continue
    before, after = text[at - 1 : at] or ' ', text[at + 1 : at + 2] or ' '
    if sign == "'" and before.isalnum() and after.isalnum():
      continue
    if open_at[sign] >= 0 and not before.isspace():
      found[open_at[sign]] = found[at] = '"'
      open_at[sign] = -1
    elif before.isdigit():
      found[at] = '′' if sign == "'" else '″'
    elif not before.isalnum():
      open_at[sign] = at
  return ''.join(found)


def cased(text: str) -> str:
  """In lower case but for units that would become others."""
  kept = lambda found: found[0] if found[0] in CASED else found[0].casefold()
  parts, at = [], 0
  for found in AFTER_NUMBER.finditer(text):
    gap = '' if LETTERS.findall(found[2])[0].casefold() in TYPED else found[1]
    parts += [text[at : found.start()].casefold(), gap, LETTERS.sub(kept, found[2])]
    at = found.end()
  return ''.join([*parts, text[at:].casefold()])


def trimmed(text: str) -> str:
  """Without punctuation at its end and quotes around it; a factorial (5!, n!) is no punctuation."""
  while True:
    before = text
    if not re.search(r'(?:\d|\)|(?:^|\W)[a-z])!$', text):
      text = text.rstrip(ENDS)
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
      text = text[1:-1].strip()
    if text == before:
      return text
