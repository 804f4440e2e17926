"""The messages of a chat, as clients send them and as SDKs dump the answers that they got."""

from collections.abc import Mapping
from typing import Any

from rft_jax.engine.protocol import ChatMessage
from rft_jax.feedback.schema import Invalid, choice, mapping, required, text

ROLES = ('system', 'developer', 'user', 'assistant')
TOOLS = ('tool', 'function')
EMPTY = '', [], {}, False
MAX_MESSAGES = 256


def read_messages(value: object) -> tuple[ChatMessage, ...]:
  """Where a client sends nothing but instructions, the last of them is the question. Those that
  come after the question are instructions all the same, and the question is the last."""
  if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
    raise Invalid(f'messages must be a list of 1 to {MAX_MESSAGES}', 'messages')
  messages = tuple(read_message(one, f'messages[{i}]') for i, one in enumerate(value))
  if all(message.role == 'system' for message in messages) and messages[-1].content:
    messages = (*messages[:-1], messages[-1]._replace(role='user'))
  last = next((i for i, m in reversed(list(enumerate(messages))) if m.role != 'system'), -1)
  messages = (*messages[:last], *messages[last + 1 :], messages[last])
  if messages[-1].role != 'user':
    raise Invalid('the last message must be of the user', 'messages')
  return messages


def read_message(value: object, param: str) -> ChatMessage:
  if isinstance(value, dict) and value.get('role') in TOOLS:
    raise Invalid(
      f'{param}.role {value["role"]}: this model calls no tools, put what they gave into a message '
      'of the user',
      f'{param}.role',
    )
  body = said(value, param, {'role', 'content', 'name'})
  role = choice(required(body, 'role', f'{param}.role'), f'{param}.role', ROLES)
  text(body.get('name', ''), f'{param}.name', 0, 256)
  content = required(body, 'content', f'{param}.content')
  if isinstance(content, list):
    parts = [read_part(one, f'{param}.content[{i}]') for i, one in enumerate(content)]
    content = ''.join(parts)
  words = text(content, f'{param}.content', 1 if role == 'user' else 0)
  return ChatMessage('system' if role == 'developer' else role, words)


def said(value: object, param: str, known: set[str]) -> Mapping[str, Any]:
  """Without the fields that say nothing, as of a message that an SDK has dumped."""
  if isinstance(value, dict):
    if value.get('role') == 'assistant' and value.get('content', '') is None:
      value = {**value, 'content': ''}  # Of an answer that was nothing but a refusal or a call.
    unsaid = lambda name, one: one is None or (name not in known and one in EMPTY)
    value = {name: one for name, one in value.items() if not unsaid(name, one)}
    if called := set(value) & {'tool_calls', 'function_call', 'audio'}:
      name = min(called)
      raise Invalid(f'{param}.{name}: this model writes text only, leave it out', f'{param}.{name}')
  return mapping(value, param, known)


def read_part(value: object, param: str) -> str:
  if isinstance(value, dict) and value.get('type', 'text') != 'text':
    kind = value['type'] if isinstance(value['type'], str) else ''
    raise Invalid(
      f'{param}.type {kind[:40]!a}: this model reads text only, send parts of type text',
      f'{param}.type',
    )
  body = said(value, param, {'type', 'text', 'cache_control'})
  required(body, 'type', f'{param}.type')
  return text(required(body, 'text', f'{param}.text'), f'{param}.text')
