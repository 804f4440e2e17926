"""What a vote is about is all that the model read before the answer, as the store has it."""

import contextlib

import pytest
from talk import LATER, answered, edit, feedback

from rft_jax.feedback.ids import uuid7
from rft_jax.feedback.records import Conversation, Message
from rft_jax.feedback.store import Store


@pytest.fixture
def store(tmp_path):
  with contextlib.closing(Store(tmp_path / 'store.db')) as store:
    yield store


def talked(store: Store, *turns: str, system: str = '', mended: str = '', raw: bool = False) -> str:
  """The intent of a thumb for the last answer; mended: how the first one was corrected before."""
  user = store.users.create().result(LATER).id
  talk, parent, seqs, reply = Conversation(uuid7(), user, '', system), None, (), ''
  for number, (question, answer) in enumerate(zip(turns[::2], turns[1::2], strict=True)):
    asked = Message(uuid7(), talk.id, parent, 'user', question, raw=raw, corrections=seqs)
    told = Message(uuid7(), talk.id, asked.id, 'assistant', answer)
    first = talk if number == 0 else None
    store.chats.add([asked, told], [answered(told.id)], first).result(LATER)
    parent, reply = told.id, told.id
    if mended and number == 0:
      seq = store.events.add(edit(told.id, mended), user).result(LATER).seq
      seqs = (seq,) if seq else ()
  seq = store.events.add(feedback(reply), user).result(LATER).seq
  event = store.events.get(seq or 0)
  assert event
  return event.intent


def test_the_same_was_read_and_it_is_one_context(store):
  assert talked(store, 'a', 'b', 'why?', 'so') == talked(store, ' A', 'b.', 'Why', 'because')
  assert talked(store, 'a', 'b', system='be kind') == talked(store, 'a', 'c', system='Be kind.')


def test_whatever_else_was_read_makes_it_another(store):
  found = [
    talked(store, 'why?', 'so'),
    talked(store, 'a', 'b', 'why?', 'so'),
    talked(store, 'a', 'c', 'why?', 'so'),
    talked(store, 'why?', 'so', system='be kind'),
    talked(store, 'why?', 'so', raw=True),
    talked(store, 'a', 'b', 'why?', 'so', mended='not b'),
  ]
  assert len(set(found)) == len(found)


def test_a_corrected_answer_counts_as_what_the_model_read(store):
  corrected = talked(store, 'a', 'b', 'why?', 'so', mended='c')
  assert corrected == talked(store, 'a', 'c', 'why?', 'so')
