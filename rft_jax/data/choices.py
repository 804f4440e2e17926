"""The letter of a choice, in a completion and in a column of answers."""

import re

from rft_jax.data.latex import last_boxed, undressed
from rft_jax.data.plain import normalised, spoken

# Bounded, for completions may be all quotes.
OPEN, SHUT = r'[\s({\[<"“‘\'*$:#]{0,9}', r'[)}\]"”’\'*$]{0,9}'
NAMED = r'(?:the\s+)?(?:(?:correct|right|best|final)\s+)?(?:answer|option|choice|letter)\s*'
BE = (
  r'(?:(?:is|are|(?:would|must|should|will|has\s+to)\s+be|ist|est?|es|è|é)\b|是|为|為|'
  r'[:=]|[-=]*>|→|-(?=\s))'
)
# Where a letter is said to be the answer: 'answer: B', 'the correct choice is option B'.
SAID = re.compile(
  rf"""(?:(?<!wrong\s)(?<!incorrect\s)\b
    (?:answer|ans\.?|antwort|respuesta|risposta|resposta|réponse|solution|response
    |(?:correct|right|best)\s+(?:option|choice|letter|statement)
    |choose|pick|select(?:ed)?|go\s+with)
  |答案|(?<!不)(?:选择?|選擇?))
  (?:\s+(?:to|for|of)\b[^.?!:;\n]{{0,80}}?(?=\s{BE}|:)|\s+(?:option|choice)\b)?
  (?>[\s*_"]{{0,9}})(?:{BE}[\s*_]{{0,9}}){{0,3}}
  (?:(?:indeed|clearly|therefore)\s+)?(?:{NAMED})?(?:{BE}\s*)?
  (?P<open>{OPEN})(?P<letter>[A-Za-z])(?!\w|['’]\w|-\w)(?P<shut>{SHUT})""",
  re.VERBOSE | re.IGNORECASE,
)
JUDGED = re.compile(
  r'(?P<open>[(\[]?)(?<![\w\'’])(?P<letter>[A-Z])(?P<shut>[)\]]?)\s+is\s+(?:the\s+)?'
  r'(?:(?:correct|right|best)\b|answer\b)'
)
# What a text ends with: 'so it is B', 'hence (B).'
CONCLUDED = re.compile(
  rf"""\b(?:is|be|it['’]s|hence|thus|so|therefore|think|leaves|get|guess),?(?:\s+(?:option|choice))?
  (?P<open>{OPEN})(?P<letter>[A-Z])(?P<shut>{SHUT})[.!。]?\s*$""",
  re.VERBOSE | re.IGNORECASE,
)
DENIED = re.compile(
  r"\b(?:not?|cannot|never|n?either|n?or|could|may|might|if|wrong|incorrect|false)\b|n['’]t\b",
  re.IGNORECASE,
)
WHOLE = re.compile(
  rf'{OPEN}(?:{NAMED}:?)?{OPEN}(?P<letter>[A-Za-z])\s?[.:,]?{SHUT}[.:,!。]?', re.IGNORECASE
)
BEGUN = re.compile(
  r'(?:(?:[Oo]ption|[Cc]hoice)\s+)?[(\["]*(?:(?P<letter>[A-Z])(?:[)\]".:]+|\s[-–—]|,?(?=\s(?:because|since)\b))|'
  r'(?P<small>[a-z])\))(?:\s|$)'
)
LABEL = re.compile(r'(?:^|(?<=\s))[(\[]?([A-Z])[)\].:](?=\s)', re.MULTILINE)
NUMBERED = re.compile(r'(?:^|(?<=\s))[(\[]?1[)\].:]\s', re.MULTILINE)
ANOTHER = re.compile(
  r'\s*(?:[,/&|+]|and\b|or\b)\s*(?:option\s+|choice\s+)?[(\["]*[A-Za-z](?![\w\'’])'
)
CLAUSE = r'because|since|as|and|which|for|due|with|not|rather|from|in|on|by|so|but|if'
ARTICLE = re.compile(rf'\s+(?!(?:{CLAUSE})\b)[\w\'’]')


def letter(text: str, prompt: str = '') -> str | None:
  """The letter that a completion chooses: in its last box, else the last that it says is the
  answer, else what it is, starts with or ends with. Where the prompt lists options by letters, the
  text of one stands for its letter."""
  text = spoken(text)
  box = last_boxed(text)
  place = undressed(box[1] if box else text).replace('$', '')
  found = (None if box else said(place)) or dressed(place, not box)
  listed = options(prompt)
  if found and (not listed or found in listed):
    return found
  return by_text(place, listed) or found


def known(answer: str, prompt: str = '') -> str | None:
  """The letter that a column of answers means by a letter, by the text of an option of the prompt,
  or by an index from 0. None for anything else, and where two of these could be meant."""
  listed = options(prompt)
  if not re.fullmatch(r'\s*[0-9]+(?:\.0+)?\s*', answer):
    return letter(answer, prompt)
  index = int(float(answer))
  found = {by_text(answer, listed)} - {None}
  if index < (len(listed) or 26) and not NUMBERED.search(prompt):
    found.add(chr(ord('A') + index))
  return found.pop() if len(found) == 1 else None


def said(text: str) -> str | None:
  """The last letter that the text says is the answer."""
  found = [m for pattern in (SAID, JUDGED) for m in pattern.finditer(text) if meant(m)]
  found += concluded(text)
  return max(found, key=lambda m: m.start('letter'))['letter'].upper() if found else None


def concluded(text: str) -> list[re.Match]:
  """The letter that the last clause ends with, where that clause neither denies nor doubts."""
  end = CONCLUDED.search(text, max(0, len(text.rstrip()) - 60))
  if not end or not end['letter'].isupper():
    return []
  clause = re.split(r'[.,;!?\n]', text[: end.start('letter')])[-1]
  return [] if DENIED.search(clause) else [end]


def meant(found: re.Match) -> bool:
  """Whether a letter is a choice: no article, no pronoun, not one of several."""
  rest, enclosed = found.string[found.end() :], bool(re.search(r'[({\["“]', found['open']))
  if found.re is JUDGED:
    return enclosed or found['letter'] != 'I'
  if ANOTHER.match(rest) or rest.startswith('?'):
    return False
  ends = not rest.strip() or bool(re.match(r'[.,;!]?\s*(?:\n|$)|[.,;:!)]', rest))
  if enclosed or ends or found['shut']:
    return True
  return found['letter'].isupper() and not (found['letter'] in 'AI' and ARTICLE.match(rest))


def dressed(text: str, long: bool) -> str | None:
  """The letter that a text is or starts with; of a long one also the one that its first or last
  line is."""
  lines = text.strip().splitlines() or ['']
  for line in (text.strip(), *([lines[-1], lines[0]] if long else [])):
    if whole := WHOLE.fullmatch(line.strip()):
      return whole['letter'].upper()
  begun = BEGUN.match(text.strip())
  if not begun or ANOTHER.match(text.strip(), begun.end()):
    return None
  found = (begun['letter'] or begun['small']).upper()
  return found if not set(LABEL.findall(text)) - {found} else None


def options(prompt: str) -> dict[str, str]:
  """The options that a prompt lists as A, B, C ..., each on a line or with its mark before it."""
  labels = []
  for label in LABEL.finditer(prompt):
    if label[1] == chr(ord('A') + len(labels)):
      labels.append(label)
  ends = [label.start() for label in labels[1:]]
  if not ends:
    return {}
  ends.append(prompt.find('\n', labels[-1].end()) % (len(prompt) + 1))
  return {
    label[1]: normalised(prompt[label.end() : end]) or ''
    for label, end in zip(labels, ends, strict=True)
  }


def by_text(text: str, listed: dict[str, str]) -> str | None:
  """The letter of the one option with this text."""
  plain = normalised(re.split(r'(?i)\banswer\s*(?:is\b|:)', text)[-1])
  found = [letter for letter, option in listed.items() if plain and option == plain]
  return found[0] if len(found) == 1 else None
