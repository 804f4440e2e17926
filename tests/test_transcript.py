"""Where an answer ends: at a stop token, at a stop string however tokens cut it, at its limit."""

import itertools

import numpy as np
import pytest
from engines import CODEC, ask

from rft_jax.engine.tickets import Ticket, Transcript

TEXT = 'abcabcabd, and so on'


def pieces(text: str, *stop: str) -> tuple[list[str], bool]:
  """What is given out for each character."""
  transcript, given = Transcript(CODEC, stop), []
  for id in CODEC.raw(text):
    piece, ended = transcript.push(id)
    given.append(piece)
    if ended:
      return given, True
  return [*given, transcript.flush()], False


@pytest.mark.parametrize('stop', ['abd', 'cab', 'a', ', and so on', 'on', 'b', 'abcabca'])
def test_the_text_ends_before_the_first_stop_string(stop):
  given, ended = pieces(TEXT, stop)
  assert ended and ''.join(given) == TEXT[: TEXT.index(stop)]
  assert len(given) == TEXT.index(stop) + len(stop)


def test_of_several_the_one_that_begins_first_ends_it():
  for stops in itertools.permutations(['cabd', 'abd', 'so', 'zzz']):
    assert ''.join(pieces(TEXT, *stops)[0]) == 'abcab'


def test_only_what_may_become_a_stop_string_is_held_back():
  assert pieces('aabx', 'abc', 'bd') == (['', 'a', '', 'abx', ''], False)
  assert pieces('ab', 'abc') == (['', '', 'ab'], False)
  assert pieces('ab') == (['a', 'b', ''], False)


def heard(text: str, limit: int, *stop: str, chunk: int = 3):
  ticket, ids = Ticket(ask(stop=stop), [1], limit, CODEC), np.array(CODEC.raw(text))
  found = []
  for start in range(0, len(ids), chunk):
    found.append(ticket.hear(ids[start : start + chunk], np.zeros(len(ids[start : start + chunk]))))
    if found[-1].finish_reason:
      break
  return ''.join(p.text for p in found), sum(len(p.tokens) for p in found), found[-1].finish_reason


def test_tokens_behind_the_end_are_left_out():
  end = CODEC.tokenizer.eos_token
  ids = [*CODEC.raw('abc'), CODEC.stop[0], *CODEC.raw('de')]
  ticket = Ticket(ask(stop=('cd',)), [1], 9, CODEC)
  piece = ticket.hear(np.array(ids), np.arange(6.0))
  assert (piece.text, piece.finish_reason) == ('abc', 'stop') and end not in piece.text
  assert [(t.id, t.logp) for t in piece.tokens] == list(zip(ids[:4], range(4), strict=True))
  assert heard('abcdefgh', 99, 'de') == ('abc', 5, 'stop')
  assert heard('abcdefgh', 4) == ('abcd', 4, 'length')
  assert heard('abcdefgh', 4, 'dx') == ('abcd', 4, 'length')
  assert heard('abcdefgh', 4, 'cd') == ('ab', 4, 'stop')
