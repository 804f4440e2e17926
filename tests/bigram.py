"""The smallest policy: what follows a token depends on that token alone. Quick to differentiate."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tiny

from rft_jax.algorithms.algorithm import Algorithm, resolve
from rft_jax.models.policy import MEASURES, Policy, token_scores
from rft_jax.objectives import make_objective
from rft_jax.types import Experience, Scores, TrainState

VOCAB = 7


def make_bigram() -> Policy:
  """Nothing precedes column 0, which is scored as if token 0 did."""

  def before(e):
    return jnp.pad(e.tokens, ((0, 0), (1, 0)))[:, :-1]

  def logits(params, tokens):
    return params['decoder'][tokens]

  def score(params, experience, temperature=1.0, needs=frozenset(), rng=None):
    e, last = experience, before(experience)
    measures = tuple(name for name in MEASURES if name in needs)
    shared = jnp.arange(e.tokens.shape[1]) < e.prefix
    found = token_scores(logits(params, last) / temperature, e.tokens, measures)
    values = params['value_head'][last] if 'values' in needs else None
    hide = lambda x: jnp.where(shared, 0, x)
    return Scores(**{k: hide(x) for k, x in found.items()}, values=values)

  def judge(params, experience):
    last = experience.valid.shape[1] - 1 - jnp.argmax(experience.valid[:, ::-1] > 0, 1)
    final = jnp.take_along_axis(experience.tokens, last[:, None], 1)[:, 0]
    return params['value_head'][final]

  def compare(params, other, other_params, experience, temperature, divergence):
    last = before(experience)
    pair = logits(params, last), other.logits(other_params, last)
    return divergence(*(jax.nn.log_softmax(x / temperature) for x in pair))

  init = lambda rng: {'decoder': jax.random.normal(rng, (VOCAB, VOCAB))}
  return Policy(init, score, judge, compare, lambda params, e: before(e), logits, None)


class Learner:
  """A preset with everything that it needs, and experience that suits it."""

  def __init__(self, preset: str, prompts: int = 12, **overrides):
    self.algorithm = resolve(preset, **overrides)
    self.policy = make_bigram()
    self.objective = make_objective(self.policy, self.algorithm)
    self.tx = optax.sgd(0.1)
    key = jax.random.split(jax.random.key(0), 4)
    params = {'decoder': jax.random.normal(key[0], (VOCAB, VOCAB))}
    if 'values' in self.algorithm.needs:
      params['value_head'] = jax.random.normal(key[1], (VOCAB,))
    frozen = {
      name: {'decoder': jax.random.normal(k, (VOCAB, VOCAB))}
      for name, k in zip(('ref', 'teacher'), key[2:], strict=True)
    }
    tuned = {name: jnp.float32(x) for name, x in self.objective.tuned.items()}
    self.state = TrainState(jnp.int32(0), params, self.tx.init(params), frozen, tuned)
    own = experience(self.algorithm, self.policy, params, prompts)
    expert = experience(resolve('sft'), self.policy, params, prompts)
    self.experience = (own, expert) if self.algorithm.parts['mix'] else own


def experience(algorithm: Algorithm, policy: Policy, params, prompts: int) -> Experience:
  """Rows of a prompt of three columns and up to six tokens, sampled by a policy near `params`."""
  draw = np.random.default_rng(3)
  group = dict(samples=4, turns=4, pairs=2, self_play=2).get(algorithm.source, 1)
  group = 2 if algorithm.parts['preference'] and algorithm.samples else group
  n, width, prefix = prompts * group, 9, 3
  prompt = np.repeat(draw.integers(0, VOCAB, (prompts, prefix)), group, 0)
  tokens = np.concatenate([prompt, draw.integers(0, VOCAB, (n, width - prefix))], 1)
  length = draw.integers(1, width - prefix + 1, n)
  column, rows = np.arange(width), np.arange(n)
  target = (column >= prefix) & (column < prefix + length[:, None])
  valid = column < prefix + length[:, None]
  last = target & (column == prefix + length[:, None] - 1)
  reward = draw.choice([0.0, 0.25, 0.5, 1.0], n)
  if algorithm.source in ('pairs', 'self_play', 'labels'):
    reward = rows % 2
  facts = dict(
    truncated=rows % 5 == 0,
    baseline=np.full(n, 0.4, np.float32),
    answer=(draw.integers(-1, 3, n)).astype(np.int32),
    run=(rows % group // 2).astype(np.int32),
    turn=(rows % 2).astype(np.int32),
    anchor=draw.integers(0, 2, n).astype(np.int32),
  )
  e = Experience(
    tokens.astype(np.int32),
    valid,
    target,
    np.zeros(target.shape, np.float32),
    np.where(last, reward[:, None], 0).astype(np.float32),
    np.zeros(target.shape, np.int32),
    facts,
    group,
    prefix,
  )
  noisy = jax.tree.map(lambda x: x + 0.3 * draw.normal(size=x.shape), params)
  logp = np.where(target, policy.score(noisy, e).logp, 0).astype(np.float32)
  return jax.tree.map(jnp.asarray, e.replace(behaviour_logp=logp))


def widened(e: Experience, left: int, right: int) -> Experience:
  """More columns of padding on both sides, of arbitrary ids."""

  def pad(x):
    if x.ndim == 1:
      return x
    fill = 5 if x is e.tokens else 0
    return jnp.pad(x, ((0, 0), (left, right)), constant_values=fill)

  wide = jax.tree.map(pad, e)
  return wide.replace(tokens=pad(e.tokens), prefix=e.prefix + left)


def close(a, b):
  tiny.assert_close(a, b, atol=2e-6)
