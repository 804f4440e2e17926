"""Where a request hangs in the tree of its conversation."""

from dataclasses import dataclass

from rft_jax.engine.protocol import ChatMessage
from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import Conversation, Message
from rft_jax.feedback.store import Store
from rft_jax.serve.errors import ApiError
from rft_jax.serve.openai import Call

TITLE = 60  # characters


@dataclass(frozen=True)
class Turn:
  """`question_id` is the message that answers hang under; `new` and `conversation` are still to be
  stored."""

  conversation_id: str
  question_id: str
  new: tuple[Message, ...] = ()
  conversation: Conversation | None = None


def plan(store: Store, user_id: str, call: Call) -> Turn:
  """Under a question that is stored, one more answer; under an answer, or at the end of a named
  conversation, a new question; else a new conversation. Raises ApiError 403, 404."""
  said = call.messages or (ChatMessage('user', call.prompt or ''),)
  conversation_id = call.metadata.get('conversation_id')
  parent_id = call.metadata.get('parent_message_id')
  if parent_id:
    parent = owned_message(store, user_id, parent_id)
    if conversation_id not in (None, parent.conversation_id):
      raise ApiError(404, 'no such message in this conversation', 'metadata.parent_message_id')
    if parent.role == 'user':
      return Turn(parent.conversation_id, parent.id)
    return question(parent.conversation_id, parent.id, said)
  if conversation_id:
    owned_conversation(store, user_id, conversation_id)
    answers = [m.id for m in store.chats.messages(conversation_id) if m.role == 'assistant']
    return question(conversation_id, answers[-1] if answers else None, said)
  return fresh(user_id, said)


def question(conversation_id: str, parent_id: str | None, said: tuple[ChatMessage, ...]) -> Turn:
  message = Message(uuid7(), conversation_id, parent_id, 'user', said[-1].content)
  return Turn(conversation_id, message.id, (message,))


def fresh(user_id: str, said: tuple[ChatMessage, ...]) -> Turn:
  """A new conversation with everything that the client says was said before."""
  system = '\n'.join(m.content for m in said if m.role == 'system')
  title = ' '.join(said[-1].content.split())[:TITLE]
  conversation = Conversation(uuid7(), user_id, title, system)
  chain: list[Message] = []
  for role, content in (m for m in said if m.role != 'system'):
    parent = chain[-1].id if chain else None
    chain.append(Message(uuid7(), conversation.id, parent, role, content))
  return Turn(conversation.id, chain[-1].id, tuple(chain), conversation)


def owned_conversation(store: Store, user_id: str, conversation_id: str) -> Conversation:
  found = store.chats.get(conversation_id)
  if not found:
    raise ApiError(404, 'there is no such conversation', 'conversation_id')
  if found.user_id != user_id:
    raise ApiError(403, 'this conversation belongs to another user', 'conversation_id')
  return found


def owned_message(store: Store, user_id: str, message_id: str) -> Message:
  owner, message = store.chats.owner(message_id), store.chats.message(message_id)
  if not owner or not message:
    raise ApiError(404, 'there is no such message', 'metadata.parent_message_id')
  if owner != user_id:
    raise ApiError(403, 'this message belongs to another user', 'metadata.parent_message_id')
  return message
