"""Names to functions: `'ppo_clip(eps=0.2)'` in a config becomes a function with its options bound.

A family is a `Registry`; a function joins it by decoration and is found by its own name. A config string is a name,
optionally with options in parentheses, whose values are Python literals. Whatever is unknown is an error that suggests the
nearest known name; options that are not given keep their defaults.
"""
import ast
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable


class ConfigError(ValueError):
  """A setting that cannot work: the message is one line with the value, the rule and the way out."""


def nearest(word: str, known: Iterable[str]) -> str:
  """The end of an error message: what was probably meant, and what there is."""
  known = sorted(known)
  close = difflib.get_close_matches(word, known, 1, 0.5)
  return (f'did you mean {close[0]!r}? ' if close else '') + 'Known: ' + ', '.join(known)


def parse(spec: str) -> tuple[str, dict]:
  """`'name(k=v, ...)'` -> name, options. Raises ConfigError on anything else."""
  try:
    node = ast.parse(spec.strip(), mode='eval').body
    if isinstance(node, ast.Name):
      return node.id, {}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
      return node.func.id, {str(k.arg): ast.literal_eval(k.value) for k in node.keywords if k.arg}
  except (SyntaxError, ValueError):
    pass
  raise ConfigError(f'{spec!r} is not of the form name or name(option=literal, ...)')


def bind(function: Callable, options: dict, what: str) -> Callable:
  """Binds keyword-only `options`; an option that `function` does not have is an error."""
  known = [p.name for p in inspect.signature(function).parameters.values() if p.kind == p.KEYWORD_ONLY]
  for option in options:
    if option not in known:
      raise ConfigError(f'{what} has no option {option!r}: ' + (nearest(option, known) if known else 'it has none'))
  return functools.partial(function, **options)


class Registry:
  """A family of interchangeable functions. `needs` names what a member reads beyond the minimum of its family."""

  def __init__(self, family: str):
    self.family = family
    self.members: dict[str, Callable] = {}
    self.needs: dict[str, frozenset[str]] = {}

  def register(self, needs: Iterable[str] = ()) -> Callable[[Callable], Callable]:
    def add(function):
      self.members[function.__name__] = function
      self.needs[function.__name__] = frozenset(needs)
      return function
    return add

  def lookup(self, spec: str) -> Callable:
    """The member that `spec` names, with its options bound. Raises ConfigError for unknown names and options."""
    name, options = parse(spec)
    return bind(self.members[self.check(name)], options, f'{self.family} {name!r}')

  def needed(self, spec: str) -> frozenset[str]:
    return self.needs[self.check(parse(spec)[0])]

  def check(self, name: str) -> str:
    if name not in self.members:
      raise ConfigError(f'unknown {self.family} {name!r}: {nearest(name, self.members)}')
    return name
