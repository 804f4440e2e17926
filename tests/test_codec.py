"""Text to ids and back: what is asked, what an answer teaches, and letters that come in parts."""

import numpy as np
import pytest
import talking
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rft_jax.data.stops import byte_letters
from rft_jax.data.text import characters, stop_tokens
from rft_jax.engine.codec import Codec, Stream
from rft_jax.engine.protocol import ChatMessage, EngineError

ASKED = (ChatMessage('user', 'what?'),)
ENDS = dict(llama='<|eot_id|>', chatml='<|im_end|>', gemma='<end_of_turn>')


def codec(tokenizer) -> Codec:
  return Codec(tokenizer, stop_tokens(tokenizer))


def by_bytes(metaspace: bool = False) -> PreTrainedTokenizerFast:
  """A token per byte, as byte-level tokenizers or those of Llama 2 write them."""
  if metaspace:
    names = ['<eos>', *(f'<0x{i:02X}>' for i in range(256)), '▁hi', '▁', 'hi']
    chain = [decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse()]
    decoder = decoders.Sequence([*chain, decoders.Strip(' ', 1, 0)])
  else:
    names = ['<eos>', *sorted(pre_tokenizers.ByteLevel.alphabet())]
    decoder = decoders.ByteLevel()
  backend = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
  backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  backend.decoder = decoder
  return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token='<eos>')


@pytest.mark.parametrize('kind', ENDS)
def test_an_answer_is_the_assistants_whole_turn_and_reads_back(kind):
  tokenizer = talking.talking(kind)
  it = codec(tokenizer)
  ids = it.answer('so be it')
  assert tokenizer.decode(ids) == f'so be it{ENDS[kind]}' and ids[-1] in it.stop
  assert it.text(ids) == 'so be it'
  whole = tokenizer.decode(it.prompt(ASKED) + ids)
  assert 'what?' in whole and whole.endswith(f'so be it{ENDS[kind]}')


def test_without_a_template_an_answer_ends_with_eos_and_messages_are_refused():
  it = codec(characters())
  assert it.answer('yes') == [*it.raw('yes'), it.tokenizer.eos_token_id]
  with pytest.raises(EngineError, match='chat template') as refused:
    it.prompt(ASKED)
  assert refused.value.status == 400


@pytest.mark.parametrize('text', ['', 'é'])
def test_what_cannot_be_written_is_refused(text):
  with pytest.raises(EngineError) as refused:
    codec(characters()).raw(text)
  assert refused.value.status == 400


@pytest.mark.parametrize('metaspace', [False, True])
def test_pieces_hold_back_half_letters_and_add_up_to_the_text_of_all_ids(metaspace):
  it = codec(by_bytes(metaspace))
  said = ' hé  €🙂 hi'
  name = '<0x{:02X}>'.format if metaspace else dict(bytes_to_letters()).get
  ids = it.tokenizer.convert_tokens_to_ids([name(byte) for byte in said.encode()])
  stream = Stream(it)
  pieces = [stream.push(id) for id in [*ids, it.stop[0]]]
  whole = said[1:] if metaspace else said
  assert [piece for piece in pieces if piece] == list(whole) and not stream.flush()
  assert it.text(ids) == whole


def bytes_to_letters():
  level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  for text in [*map(chr, range(0x800)), '€🙂']:
    yield from zip(text.encode(), level.pre_tokenize_str(text)[0][0], strict=True)


def test_any_bytes_at_all_add_up_too():
  it = codec(by_bytes())
  for seed in range(20):
    ids = np.random.default_rng(seed).integers(1, 257, 60).tolist()
    stream = Stream(it)
    given = ''.join(stream.push(id) for id in ids)
    assert it.text(ids).startswith(given)
    assert given + stream.flush() == it.text(ids)


def test_a_space_that_a_decoder_strips_from_the_first_word_stays_before_the_others():
  it = codec(by_bytes(metaspace=True))
  ids = it.tokenizer.convert_tokens_to_ids(['▁hi', '▁hi', '▁', 'hi'])
  stream = Stream(it)
  assert [stream.push(id) for id in ids] == ['hi', ' hi', ' ', 'hi']


WORDS = 'héllo 世界 🦊!'


@pytest.mark.parametrize('metaspace', [False, True])
def test_the_bytes_of_a_token_are_its_own(metaspace):
  """Those of a letter that has several are not those of the replacement character."""
  tokenizer = by_bytes(metaspace)
  it = codec(tokenizer)
  names = [f'<0x{b:02X}>' if metaspace else byte_name(b) for b in WORDS.encode()]
  ids = tokenizer.convert_tokens_to_ids(names)
  assert [it.token_bytes(id) for id in ids] == [bytes([b]) for b in WORDS.encode()]
  every = [it.token_bytes(id) for id in range(len(tokenizer))]
  assert every.count('\ufffd'.encode()) == 0 and {bytes([b]) for b in range(256)} <= set(every)
  assert it.token_bytes(tokenizer.eos_token_id) == it.token_bytes(10**6) == b''


def byte_name(byte: int) -> str:
  return next(name for name, spelled in byte_letters().items() if spelled == bytes([byte]))


def test_pieces_of_words_have_the_bytes_that_they_add_to_a_text():
  tokenizer = by_bytes(metaspace=True)
  spelled = lambda name: codec(tokenizer).token_bytes(tokenizer.convert_tokens_to_ids(name))
  assert [spelled(name) for name in ('▁hi', '▁', 'hi')] == [b' hi', b' ', b'hi']
  plain = codec(characters())
  assert b''.join(map(plain.token_bytes, plain.raw('a b?'))) == b'a b?'


def test_ids_are_spelled_with_special_tokens_and_strange_ones_refused():
  it = codec(characters())
  text = f'ab{it.tokenizer.eos_token}'
  assert it.spell([*it.raw('ab'), it.tokenizer.eos_token_id]) == text
  with pytest.raises(EngineError, match='999') as refused:
    it.spell([999])
  assert (refused.value.status, refused.value.param) == (400, 'prompt')
