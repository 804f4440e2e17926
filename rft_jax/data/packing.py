"""Plain text for causal language modelling: texts one after the other, cut into full rows."""

import numpy as np

from rft_jax.data.text import encode, recorded
from rft_jax.registry import ConfigError
from rft_jax.types import Experience


class Packed:
  """batch(step) -> Experience of `stream.batch` rows of `width` tokens, without padding.

  Texts, each with its EOS, follow one another in an order that is new in each epoch; a text is cut
  where a row ends. `valid` numbers the texts of a row from 1 on, so that none attends to another.
  The first token of each is given, not learned: nothing precedes it. An example's text is its
  response, after its prompt if it has one. Raises ConfigError for a task without an end, or with
  less text than a batch.
  """

  def __init__(self, stream, tokenizer, width: int):
    self.rows, self.width, self.seed = stream.batch, width, stream.seed
    if stream.size is None:
      raise ConfigError("source='text' packs a finite collection: give the task a size")
    examples = (stream.task.example(stream.split, i) for i in range(stream.size))
    self.texts = [
      np.array([*encode(tokenizer, e.prompt + e.response), tokenizer.eos_token_id], np.int32)
      for e in examples
    ]
    self.batches = sum(map(len, self.texts)) // (self.rows * width)
    if not self.batches:
      raise ConfigError(
        f'the texts hold {sum(map(len, self.texts))} tokens, fewer than one batch of '
        f'{self.rows} x {width}: lower prompts, max_prompt or max_new'
      )
    self._epoch = None

  def batch(self, step: int) -> Experience:
    epoch, index = divmod(step, self.batches)
    if epoch != self._epoch:
      order = np.random.default_rng((self.seed, epoch)).permutation(len(self.texts))
      self._tokens = np.concatenate([self.texts[i] for i in order])
      self._text = np.concatenate([np.full(len(self.texts[i]), n) for n, i in enumerate(order)])
      self._epoch = epoch
    size = self.rows * self.width
    cut = slice(index * size, (index + 1) * size)
    tokens, text = (x[cut].reshape(self.rows, self.width) for x in (self._tokens, self._text))
    target = np.zeros(tokens.shape, bool)
    target[:, 1:] = text[:, 1:] == text[:, :-1]
    numbers = (text - text[:, :1] + 1).astype(np.int32)
    return recorded(tokens, numbers, target)
