"""Text in, text out."""

import jax
import pytest

from rft_jax.data.text import load_tokenizer
from rft_jax.infra.generate import make_generate
from rft_jax.models.config import ModelConfig
from rft_jax.models.policy import make_policy
from rft_jax.registry import ConfigError

ALPHABET = '0123456789+='


@pytest.fixture(scope='module')
def generate():
  """generate(prompt, ...) of a decoder with large random weights."""
  tokenizer = load_tokenizer(f'characters(alphabet="{ALPHABET}")')
  policy = make_policy(ModelConfig(len(tokenizer), 16, 32, 1, 2, 1, 8, initializer_range=0.3))
  params = policy.init(jax.random.key(0))
  call = make_generate(policy, tokenizer, max_prompt=6, max_new=12)
  return lambda prompt, **options: call(params, prompt, **options)


def test_a_completion_is_text_of_the_alphabet_without_the_prompt(generate):
  texts = [generate(prompt, seed=i) for i, prompt in enumerate(('1+1=', '2', '345678') * 3)]
  assert all(
    isinstance(text, str) and len(text) <= 12 and set(text) <= set(ALPHABET) for text in texts
  )
  assert any(texts)


def test_the_seed_decides_the_text(generate):
  assert len({generate('1+1=', seed=3) for _ in range(3)}) == 1
  assert len({generate('1+1=', seed=seed) for seed in range(10)}) > 3


def test_without_temperature_the_seed_does_not_matter(generate):
  assert len({generate('1+1=', seed=seed, temperature=0.0) for seed in range(5)}) == 1
  assert generate('1+1=', seed=1, top_k=1) == generate('1+1=', temperature=0.0)


def test_bounds_on_the_length_hold(generate):
  assert all(len(generate('1', seed=seed, max_new=2)) <= 2 for seed in range(10))
  # Padding and BOS may be sampled too; they are tokens, but no text.
  lengths = [len(generate('1', seed=seed, min_new=12)) for seed in range(10)]
  assert sum(lengths) > sum(len(generate('1', seed=seed)) for seed in range(10))


def test_no_option_prompt_or_seed_compiles_again(generate, caplog):
  generate('1', seed=0)
  with jax.log_compiles(), caplog.at_level('WARNING'):
    for i, prompt in enumerate(('1+1=', '7', '123456')):
      generate(
        prompt, seed=i, temperature=0.5 + i, top_k=i, top_p=1 / (i + 1), min_new=i, max_new=9
      )
  assert not [record for record in caplog.records if 'rollout' in record.getMessage()]


@pytest.mark.parametrize(
  'prompt, message',
  [('1234567', '7 tokens, the limit is 6'), ('', 'at least one'), ('a', "character 'a'")],
)
def test_a_prompt_that_does_not_fit_is_an_error_with_the_limit(generate, prompt, message):
  with pytest.raises(ConfigError, match=message):
    generate(prompt)


def test_an_option_out_of_range_is_an_error_with_the_range(generate):
  with pytest.raises(ConfigError, match=r'top_p=0.0 must be in \(0, 1\]'):
    generate('1', top_p=0.0)
