import numpy as np
import pytest

from rft_jax.data import text
from rft_jax.registry import ConfigError
from rft_jax.types import Example


@pytest.fixture(scope='module')
def tokenizer():
  return text.characters()


def test_characters_number_specials_first_and_then_the_alphabet_in_order():
  tokenizer = text.characters(alphabet='ba1')
  assert [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id] == [0, 1, 2]
  assert text.encode(tokenizer, 'ab1b') == [4, 3, 5, 3]
  assert len(tokenizer) == 6


def test_every_text_over_the_alphabet_survives_the_round_trip(tokenizer):
  rng = np.random.default_rng(0)
  drawn = [''.join(rng.choice(list(text.PRINTABLE), 40)) for _ in range(50)]
  for line in ['', ' ', '  two  ', "a , b . c ! don't", '<eos><pad> <bos>', '\n\n x \n', *drawn]:
    ids = text.encode(tokenizer, line)
    assert len(ids) == len(line)
    assert text.decode(tokenizer, ids) == line


def test_decoding_skips_special_tokens(tokenizer):
  assert text.decode(tokenizer, [1, *text.encode(tokenizer, 'a b'), 2, 0, 0]) == 'a b'


def test_an_unknown_character_is_named():
  with pytest.raises(ConfigError, match=r"character 'z' .*alphabet"):
    text.encode(text.characters(alphabet='ab'), 'abz')


@pytest.mark.parametrize(
  'spec, message',
  [
    ('characters(alphabt="ab")', "did you mean 'alphabet'"),
    ('characters(alphabet="aa")', 'each character once'),
    ('characters(alphabet="")', 'non-empty'),
    ('/no/such/directory', 'no tokenizer at'),
  ],
)
def test_a_tokenizer_that_cannot_be_made_is_a_config_error(spec, message):
  with pytest.raises(ConfigError, match=message):
    text.load_tokenizer(spec)


def test_a_saved_tokenizer_without_a_pad_token_loads_and_encodes_alike(tokenizer, tmp_path):
  plain = text.characters()
  plain.pad_token = None
  plain.save_pretrained(tmp_path)
  loaded = text.load_tokenizer(str(tmp_path))
  assert loaded.pad_token is None
  assert text.encode(loaded, 'a b\n<eos>') == text.encode(tokenizer, 'a b\n<eos>')
  batch = text.batch_prompts(loaded, ['ab'], [0], [None], 3)
  assert np.asarray(batch.valid).tolist() == [[False, True, True]]


def test_prompts_are_padded_on_the_left_with_zeros(tokenizer):
  batch = text.batch_prompts(tokenizer, ['ab', 'c'], [7, 8], [1, 2], 3)
  a, b, c = text.encode(tokenizer, 'abc')
  assert np.asarray(batch.tokens).tolist() == [[0, a, b], [0, 0, c]]
  assert np.asarray(batch.valid).tolist() == [[False, True, True], [False, False, True]]
  assert np.asarray(batch.ids).tolist() == [7, 8]
  assert (batch.tokens.dtype, batch.ids.dtype) == (np.int32, np.int32)


def test_answers_are_stacked_where_they_are_numbers_and_dropped_otherwise(tokenizer):
  stacked = lambda *answers: text.batch_prompts(tokenizer, ['a', 'b'], [0, 1], [*answers], 1).answer
  assert stacked(np.int32(3), np.int32(4)).tolist() == [3, 4]
  assert stacked({'x': np.ones(2)}, {'x': np.zeros(2)})['x'].shape == (2, 2)
  assert stacked({'x': 'one'}, {'x': 'two'}) is None
  assert stacked([1], [1, 2]) is None
  assert stacked(None, None) is None


@pytest.mark.parametrize(
  'prompt, message',
  [('abcd', r"'abcd' has 4 tokens, the limit is 3: raise max_prompt"), ('', 'no tokens')],
)
def test_a_prompt_that_does_not_fit_is_a_config_error(tokenizer, prompt, message):
  with pytest.raises(ConfigError, match=message):
    text.batch_prompts(tokenizer, [prompt], [0], [0], 3)


def test_demonstrations_learn_the_response_and_its_end_only(tokenizer):
  rows = text.demonstrations(tokenizer, [Example('ab', None, 'c'), Example('a', None, 'bc')], 5)
  a, b, c = text.encode(tokenizer, 'abc')
  assert np.asarray(rows.tokens).tolist() == [[a, b, c, 2, 0], [a, b, c, 2, 0]]
  assert np.asarray(rows.valid).sum(1).tolist() == [4, 4]
  assert np.asarray(rows.target).astype(int).tolist() == [[0, 0, 1, 1, 0], [0, 1, 1, 1, 0]]
  assert (rows.group, rows.prefix, rows.version.dtype) == (1, 0, np.int32)
  assert not np.any(rows.rewards) and not np.any(rows.behaviour_logp)


@pytest.mark.parametrize(
  'example, message',
  [
    (Example('abc', None, 'de'), r"'abc' has 3 \+ 3 tokens .* the limit is 5: raise max_prompt"),
    (Example('', None, 'de'), 'no tokens'),
    (Example('abc', None), 'no response'),
  ],
)
def test_a_demonstration_that_does_not_fit_is_a_config_error(tokenizer, example, message):
  with pytest.raises(ConfigError, match=message):
    text.demonstrations(tokenizer, [example], 5)
