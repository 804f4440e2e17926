"""Text in, text out: sampling on its own."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.data.stops import stop_table
from rft_jax.data.text import batch_prompts, completion, stop_tokens
from rft_jax.models.policy import Policy
from rft_jax.sampling import make_rollout, sampling
from rft_jax.types import PyTree


def make_generate(policy: Policy, tokenizer, max_prompt: int, max_new: int) -> Callable[..., str]:
  """generate(params, prompt, seed=0, **options) -> the completion; options as in
  `sampling.sampling`.

  The same seed gives the same text. One compilation serves all prompts, seeds and options. Raises
  ConfigError for a prompt that is empty or longer than `max_prompt` tokens.
  """
  stop, text = stop_tokens(tokenizer), stop_table(tokenizer, policy.decoder.config.vocab_size)
  rollout = jax.jit(make_rollout(policy.decoder, 1, max_new, truncate=True))

  def generate(params: PyTree, prompt: str, seed: int = 0, **options) -> str:
    prompts = batch_prompts(tokenizer, [prompt], [0], [None], max_prompt)
    out = rollout(
      params, prompts, sampling(stop, text=text, **options), jax.random.key(seed), jnp.int32(0)
    )
    return completion(tokenizer, np.asarray(out.tokens[0])[np.asarray(out.target[0])].tolist())

  return generate
