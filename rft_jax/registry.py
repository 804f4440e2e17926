"""Names to functions: `'ppo_clip(eps=0.2)'` in a config becomes a function with its options bound.

A family is a `Registry`; a function joins it by decoration and is found by its own name. A config
string is a name, optionally with options in parentheses, whose values are Python literals. Whatever
is unknown is an error that suggests the nearest known name; options that are not given keep their
defaults.
"""

import ast
import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable

DOTTED = re.compile(r'[^\W\d]\w*(\.[^\W\d]\w*)*')


class UserError(Exception):
  """What a person can mend: one line with the value, the rule and the way out.

  Any other exception is a bug, and keeps its traceback.
  """


class ConfigError(UserError, ValueError):
  """A setting that cannot work."""


def nearest(word: str, known: Iterable[str]) -> str:
  """The end of an error message: what was probably meant, and what there is."""
  known = sorted(known)
  shortened = [k for k in known if word and (word.startswith(k) or k.startswith(word))]
  close = shortened or difflib.get_close_matches(word, known, 1, 0.5)
  return (f'did you mean {close[0]!r}? ' if close else '') + 'Known: ' + ', '.join(known)


def parse(spec: str) -> tuple[str, dict]:
  """`'name(k=v, ...)'` -> name (perhaps dotted), options. Raises ConfigError on anything else."""
  try:
    node = ast.parse(spec.strip(), mode='eval').body
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    name = ast.unparse(call.func)
    if DOTTED.fullmatch(name) and not call.args and all(k.arg for k in call.keywords):
      return name, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
  except (SyntaxError, ValueError):
    pass
  raise ConfigError(f'{spec!r} is not of the form name or name(option=literal, ...)')


def bind(function: Callable, options: dict, what: str) -> Callable:
  """Binds keyword-only `options`; an option that `function` does not have is an error."""
  parameters = inspect.signature(function).parameters.values()
  options_of = {p.name: p for p in parameters if p.kind == p.KEYWORD_ONLY}
  known = {name: p.default for name, p in options_of.items()}
  for option, value in options.items():
    if option not in known:
      raise ConfigError(
        f'{what} has no option {option!r}: ' + (nearest(option, known) if known else 'it has none')
      )
    optional = value is None and 'None' in str(options_of[option].annotation)
    if not optional and not same_kind(value, known[option]):
      raise ConfigError(
        f'{what}: {option}={value!r} must be of the kind of its default, {known[option]!r}'
      )
  return functools.partial(function, **options)


def same_kind(value: object, default: object) -> bool:
  """Whether a number replaces a number, a flag a flag and a text a text; other defaults allow
  anything."""
  for kind in (bool, (int, float), str):
    if isinstance(default, kind):
      return isinstance(value, kind) and isinstance(value, bool) == isinstance(default, bool)
  return True


class Registry:
  """A family of interchangeable functions. `needs` names what a member reads beyond the minimum of
  its family."""

  def __init__(self, family: str):
    self.family = family
    self.members: dict[str, Callable] = {}
    self.needs: dict[str, frozenset[str]] = {}

  def register(self, needs: Iterable[str] = (), name: str = '') -> Callable[[Callable], Callable]:
    """`name` where the function's own will not do, because Python uses it."""

    def add(function):
      self.members[name or function.__name__] = function
      self.needs[name or function.__name__] = frozenset(needs)
      return function

    return add

  def joined(self, *others: 'Registry') -> 'Registry':
    """One family whose members are written in several files."""
    whole = Registry(self.family)
    for part in (self, *others):
      whole.members |= part.members
      whole.needs |= part.needs
    return whole

  def lookup(self, spec: str) -> Callable:
    """The member that `spec` names, with its options bound. Raises ConfigError for unknown names
    and options."""
    name, options = parse(spec)
    return bind(self.members[self.check(name)], options, f'{self.family} {name!r}')

  def needed(self, spec: str) -> frozenset[str]:
    return self.needs[self.check(parse(spec)[0])]

  def check(self, name: str) -> str:
    if name not in self.members:
      raise ConfigError(f'unknown {self.family} {name!r}: {nearest(name, self.members)}')
    return name


def shorten(text: object, limit: int = 60) -> str:
  """The beginning of a text, on one line."""
  line = ' '.join(str(text).split())
  return line if len(line) <= limit else line[:limit] + '...'
