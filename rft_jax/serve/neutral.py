"""Fields of OpenAI's requests, and of those like them, for things that this server does not do.

A value that asks for nothing is accepted, since SDKs and front ends write such values out; one that
asks for something is refused with what to do instead.
"""

from collections.abc import Callable, Mapping, Set
from typing import Any

from rft_jax.feedback.schema import Invalid, boolean, text

Fine = Callable[[Any], bool]


def among(*values: object) -> Fine:
  """Not by ==, for which true is 1."""
  return lambda value: any(type(value) is type(v) and value == v for v in values)


def written(value: object) -> object:
  """Without the fields that an SDK has written out as null."""
  if isinstance(value, dict):
    return {name: written(one) for name, one in value.items() if one is not None}
  return value


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
  'thinking': (among({'type': 'disabled'}, False), ALWAYS),
  'think': (among(False), ALWAYS),
  'enable_thinking': (among(False), ALWAYS),
  'chat_template_kwargs': (among({}, {'enable_thinking': False}, {'thinking': False}), ALWAYS),
  'extra_body': (among({}), 'put its fields beside the others'),
  'verbosity': (among('medium'), 'ask for the length in the message, or teach it'),
  'repetition_penalty': (is_number(1), 'use frequency_penalty and presence_penalty'),
  'min_p': (is_number(0), OTHERWISE),
  'typical_p': (is_number(1), OTHERWISE),
  'top_a': (is_number(0), OTHERWISE),
  'tfs_z': (is_number(1), OTHERWISE),
  'mirostat': (is_number(0), OTHERWISE),
  'length_penalty': (is_number(1), OTHERWISE),
  'use_beam_search': (among(False), OTHERWISE),
  'min_tokens': (is_number(0), 'the model decides when it has said all: leave it out'),
  'ignore_eos': (among(False), 'the model decides when it has said all: leave it out'),
  'skip_special_tokens': (among(True), 'an answer is its text: leave it out'),
  'echo': (among(False), 'this is for /v1/completions'),
  'best_of': (is_number(1), 'ask for more answers by n, and choose among them'),
  'suffix': (among(''), 'text cannot be filled in: put all that is known into the prompt'),
}
SWITCHES = {'store', 'parallel_tool_calls'}
"""Have no effect on an answer, either way."""
WORDS = {'service_tier', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'}
HINTS = {'prediction'}
"""Could make an answer faster, and change nothing else."""
CHOICES = {'tool_choice': 'tools', 'function_call': 'functions'}
"""Where the one is "none", the other changes nothing."""


def of_chats(payload: object, own: Set[str] = frozenset()) -> object:
  """A body of /v1/chat/completions without what asks for nothing. `own`: the fields that are read
  there. Raises Invalid."""
  if not isinstance(payload, dict):
    return payload
  unused = {tools for name, tools in CHOICES.items() if payload.get(name) == 'none'}
  calls_none = lambda name: name in unused and isinstance(payload[name], list)
  return asking({name: one for name, one in payload.items() if not calls_none(name)}, own)


def of_texts(payload: object, own: Set[str] = frozenset()) -> object:
  """The same of /v1/completions."""
  return asking(payload, own) if isinstance(payload, dict) else payload


def asking(body: Mapping[str, Any], own: Set[str]) -> dict[str, Any]:
  """Clients write null, or an empty list, for what they leave to the server."""
  found = {}
  for name, value in body.items():
    if value is None or name in HINTS:
      continue
    if name in own:
      found[name] = value
    elif name in SWITCHES:
      boolean(value, name)
    elif name in WORDS:
      text(value, name, 0, 10**4)
    elif name in NEUTRAL:
      fine, way_out = NEUTRAL[name]
      if not fine(written(value)):
        raise Invalid(f'{name}: {way_out}', name, 'unsupported_value')
    elif value != []:
      found[name] = value
  return found
