"""Fields of OpenAI's requests, and of those like them, for things that this server does not do.

A value that asks for nothing is accepted, since SDKs and front ends write such values out; one that
asks for something is refused with what to do instead.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rft_jax.feedback.schema import Invalid, boolean, text

Fine = Callable[[Any], bool]


def among(*values: object) -> Fine:
  """Not by ==, for which true is 1."""
  return lambda value: any(type(value) is type(v) and value == v for v in values)


def is_number(neutral: float) -> Fine:
  return lambda value: type(value) in (int, float) and value == neutral


NO_TOOLS = 'this model calls no tools: leave it out, or send tool_choice: "none"'
PLAIN = 'answers are plain text: ask for the form in the message, and check what comes'
TEXT_ONLY = 'this model writes text only: leave it out'
OTHERWISE = 'it cannot be set here: leave it out, or use temperature, top_p and top_k'
ALWAYS = 'there is no reasoning to control: leave it out'
NEUTRAL: dict[str, tuple[Fine, str]] = {
  'tools': (among([]), NO_TOOLS),
  'functions': (among([]), NO_TOOLS),
  'tool_choice': (among('none', 'auto'), NO_TOOLS),
  'function_call': (among('none', 'auto'), NO_TOOLS),
  'response_format': (among({'type': 'text'}), PLAIN),
  'modalities': (among(['text'], []), TEXT_ONLY),
  'audio': (among(), TEXT_ONLY),
  'web_search_options': (among(), 'this server searches nothing: leave it out'),
  'reasoning_effort': (among('none'), ALWAYS),
  'reasoning': (among({}, {'effort': 'none'}, {'enabled': False}), ALWAYS),
  'verbosity': (among('medium'), 'ask for the length in the message, or teach it'),
  'repetition_penalty': (is_number(1), 'use frequency_penalty and presence_penalty'),
  'min_p': (is_number(0), OTHERWISE),
  'typical_p': (is_number(1), OTHERWISE),
  'suffix': (among(''), 'text cannot be filled in: put all that is known into the prompt'),
}
SWITCHES = {'store', 'parallel_tool_calls'}
"""Have no effect on an answer, either way."""
WORDS = {'service_tier', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'}
HINTS = {'prediction'}
"""Could make an answer faster, and change nothing else."""
OF_TEXTS = {'suffix', 'repetition_penalty', 'min_p', 'typical_p'}


def of_chats(payload: object) -> object:
  """A body of /v1/chat/completions without what asks for nothing. Raises Invalid."""
  if not isinstance(payload, dict):
    return payload
  if payload.get('tool_choice') == 'none' and isinstance(payload.get('tools'), list):
    payload = {name: value for name, value in payload.items() if name != 'tools'}
  return asking(payload, set(NEUTRAL) - {'suffix'})


def of_texts(payload: object) -> object:
  """The same of /v1/completions."""
  return asking(payload, OF_TEXTS) if isinstance(payload, dict) else payload


def asking(body: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
  """Clients write null for what they leave to the server."""
  found = {}
  for name, value in body.items():
    if value is None:
      continue
    if name in known:
      fine, way_out = NEUTRAL[name]
      if not fine(value):
        raise Invalid(f'{name}: {way_out}', name, 'unsupported_value')
    elif name in SWITCHES:
      boolean(value, name)
    elif name in WORDS:
      text(value, name, 0, 10**4)
    elif name not in HINTS:
      found[name] = value
  return found
