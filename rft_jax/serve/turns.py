"""Where a request hangs in the tree of its conversation, and what the model reads for it.

The prompt is always made of what the store has, so that a vote is about nothing else. What a client
sends of a stored conversation may repeat it; what contradicts it is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
  stored; `read` is the prompt of a chat."""

  conversation_id: str
  question_id: str
  new: tuple[Message, ...] = ()
  conversation: Conversation | None = None
  read: tuple[ChatMessage, ...] = ()

  def asked(self, call: Call) -> Call:
    """The call with what the model reads in place of what the client sent."""
    return replace(call, messages=self.read)


def plan(store: Store, user_id: str, call: Call) -> Turn:
  """Under a question that is stored, one more answer; under an answer, or at the end of a named
  conversation, a new question; else a new conversation. Raises ApiError 403, 404, and 409 for
  messages that are not those of the conversation."""
  conversation_id = call.metadata.get('conversation_id')
  parent_id = call.metadata.get('parent_message_id')
  if parent_id:
    parent = owned_message(store, user_id, parent_id)
    if conversation_id not in (None, parent.conversation_id):
      raise ApiError(404, 'no such message in this conversation', 'metadata.parent_message_id')
    if parent.role == 'user':
      return again(store, parent, call)
    return question(store, parent.conversation_id, parent_id, call)
  if conversation_id:
    owned_conversation(store, user_id, conversation_id)
    return question(store, conversation_id, last_answer(store, conversation_id, call), call)
  return fresh(user_id, call)


def again(store: Store, asked: Message, call: Call) -> Turn:
  """One more answer to a stored question: to exactly what the others were given for."""
  read = tuple(ChatMessage(*turn) for turn in store.chats.context(asked.id))
  if asked.raw:
    if call.prompt != asked.content:
      raise contradicts('prompt')
    return Turn(asked.conversation_id, asked.id)
  corrected = store.chats.corrections(asked.conversation_id)
  check(call, read, store.chats.path(asked.id), corrected)
  return Turn(asked.conversation_id, asked.id, read=read)


def question(store: Store, conversation_id: str, parent_id: str | None, call: Call) -> Turn:
  """A new question after a stored answer, which is read as its author has corrected it."""
  if not call.chat:
    raise ApiError(
      409,
      'a text is completed without a history: leave metadata out, or use /v1/chat/completions',
      'metadata',
      'history_mismatch',
    )
  path = store.chats.path(parent_id) if parent_id else []
  known, corrected = {one.id for one in path}, store.chats.corrections(conversation_id)
  edits = {answer: edit for answer, edit in corrected.items() if answer in known}
  asked = Message(
    uuid7(),
    conversation_id,
    parent_id,
    'user',
    call.messages[-1].content,
    corrections=tuple(sorted(seq for seq, _ in edits.values())),
  )
  texts = {answer: text for answer, (_, text) in edits.items()}
  turns = [ChatMessage(m.role, texts.get(m.id, m.content)) for m in (*path, asked)]
  conversation = store.chats.get(conversation_id)
  read = prompted(conversation.system_prompt if conversation else '', turns)
  check(call, read, [*path, asked], corrected)
  return Turn(conversation_id, asked.id, (asked,), read=read)


def last_answer(store: Store, conversation_id: str, call: Call) -> str | None:
  """The newest answer, or where the client tells which one it has before its question, the newest
  that reads so: of several answers people go on from any."""
  answers = [m for m in store.chats.messages(conversation_id) if m.role == 'assistant']
  corrected = store.chats.corrections(conversation_id)
  told = [folded(m.content) for m in call.messages if m.role == 'assistant'][-1:]
  texts = lambda m: {folded(m.content), folded(corrected.get(m.id, (0, m.content))[1])}
  fitting = [m for m in answers if told and told[0] in texts(m)]
  return next((m.id for m in (fitting or answers)[::-1]), None)


def fresh(user_id: str, call: Call) -> Turn:
  """A new conversation with everything that the client says was said before."""
  said = call.messages or (ChatMessage('user', call.prompt or ''),)
  system = '\n'.join(m.content for m in said if m.role == 'system')
  turns = [m for m in said if m.role != 'system']
  title = ' '.join(said[-1].content.split())[:TITLE]
  conversation = Conversation(uuid7(), user_id, title, system)
  chain: list[Message] = []
  for role, content in turns:
    parent = chain[-1].id if chain else None
    chain.append(Message(uuid7(), conversation.id, parent, role, content, raw=not call.chat))
  read = prompted(system, turns) if call.chat else ()
  return Turn(conversation.id, chain[-1].id, tuple(chain), conversation, read)


def prompted(system: str, turns: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
  return (*([ChatMessage('system', system)] if system else []), *turns)


def check(
  call: Call,
  read: Sequence[ChatMessage],
  path: Sequence[Message],
  corrected: Mapping[str, tuple[int, str]],
):
  """Raises ApiError 409 for messages that are neither the question alone nor an end of the branch
  `path`, each as it was given or as it was corrected. The system prompt may be left out."""
  if not call.chat:
    raise contradicts('prompt')
  system = '\n'.join(m.content for m in call.messages if m.role == 'system')
  if system and folded(system) != folded(read[0].content if read[0].role == 'system' else ''):
    raise contradicts('the system prompt')
  numbered = [(i, m) for i, m in enumerate(call.messages) if m.role != 'system']
  if len(numbered) > len(path):
    raise contradicts(f'messages[{numbered[0][0]}]')
  turns = [one for one in read if one.role != 'system']
  for (i, given), stored, one in zip(numbered[::-1], path[::-1], turns[::-1], strict=False):
    texts = stored.content, one.content, corrected.get(stored.id, (0, stored.content))[1]
    if given.role != stored.role or folded(given.content) not in map(folded, texts):
      raise contradicts(f'messages[{i}]')


def contradicts(what: str) -> ApiError:
  return ApiError(
    409,
    f'{what} is not what this conversation has there: send the question alone, for the server has '
    'the rest, or leave metadata out, which begins a new conversation',
    'prompt' if what == 'prompt' else 'messages',
    'history_mismatch',
  )


def folded(text: str) -> str:
  """Clients trim what they show."""
  return ' '.join(text.split())


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
