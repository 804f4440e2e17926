"""The compiled programs of learning from feedback: few, each for any mixture of lessons.

A batch is cut into parts of one shape, whose gradients add up. Adapter 0 of the decoder is what
lies beneath, adapter 1 is trained.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rft_jax.learning.packed import Part
from rft_jax.models.config import ModelConfig
from rft_jax.models.lora import no_adapter
from rft_jax.models.policy import LOGITS, Policy, in_chunks, make_policy
from rft_jax.objectives.feedback import Losses, Seen, strayed, weighted
from rft_jax.registry import ConfigError
from rft_jax.types import Array, Experience, PyTree

DECAY, EPS = 0.95, 1e-8
CLIP = 1.0
SOFT = 0.5
"""Of the root mean square of all gradients: what has smaller ones moves less than the rest."""


class Facts(NamedTuple):
  """What a pull saw: of each token, the loss by kind f32[len(KINDS)]."""

  seen: Seen
  losses: Array


class Programs:
  """`weights`: the policy's params without adapters. base, adapter: trees without the axis of
  adapters, as everywhere outside of `models`."""

  def __init__(self, config: ModelConfig, losses: Losses, lr: float):
    if config.lora is None or config.lora.adapters != 2:
      raise ConfigError('learning from feedback needs model.lora with adapters=2')
    self.config, self.policy = config, make_policy(config)
    self.look = jax.jit(self._look)
    self.pull = jax.jit(lambda *args: self._pull(losses, *args))
    self.peek = jax.jit(self._peek)
    self.push = jax.jit(lambda *args: self._push(lr, *args))
    self.between = jax.jit(_between)

  def nothing(self) -> PyTree:
    """An adapter of zeros, which changes nothing; on the host."""
    return no_adapter(self.config)

  def joined(self, weights: PyTree, base: PyTree, adapter: PyTree) -> PyTree:
    """Parameters of the policy with both adapters."""
    return weights | {'adapters': jax.tree.map(lambda *x: jnp.stack(x, 1), base, adapter)}

  def _look(self, weights, base, adapter, share, part: Part) -> Array:
    """States f32[R,T,D] with `share` of the adapter: 0 for the reference, 1 for the policy."""
    params = self.joined(weights, base, adapter)
    return self.policy.states(params, _experience(part, share))

  def _peek(self, weights, base, adapter, part: Part, now, ref, old) -> Seen:
    """What states of `look` say."""
    return see(self.policy, self.joined(weights, base, adapter), part, now, ref, old)

  def _pull(self, losses, weights, base, adapter, part: Part, ref, old, pulled):
    """(`pulled` plus the gradient of the part's loss, Facts); ref, old: states of `look`."""

    def loss(adapter):
      params = self.joined(weights, base, adapter)
      states = self.policy.states(params, _experience(part, 1.0))
      seen = see(self.policy, params, part, states, ref, old)
      value, of_kind = weighted(part.rows, seen, losses)
      return value, Facts(seen, of_kind)

    gradient, facts = jax.grad(loss, has_aux=True)(adapter)
    return jax.tree.map(jnp.add, pulled, gradient), facts

  def _push(self, lr, adapter, opt, gradient):
    """One step of RMSProp, at most CLIP of gradient; opt: {'count', 'nu'}. Momentum would carry on
    what earlier feedback wanted. What hardly matters beside the rest hardly moves: it would else
    move as far as what does, with every update, and in the end much would be forgotten."""
    norm = optax.global_norm(gradient)
    gradient = jax.tree.map(lambda g: g * jnp.minimum(1, CLIP / jnp.maximum(norm, 1e-9)), gradient)
    count = opt['count'] + 1
    nu = optax.tree.update_moment(gradient, opt['nu'], DECAY, 2)
    sizes = jax.tree.map(jnp.sqrt, optax.tree.bias_correction(nu, DECAY, count))
    usual = optax.tree.norm(sizes) / optax.tree.size(sizes) ** 0.5
    step = lambda x, g, size: x - lr * g / (size + SOFT * usual + EPS)
    return jax.tree.map(step, adapter, gradient, sizes), dict(count=count, nu=nu)


def see(policy: Policy, params: PyTree, part: Part, *states: Array) -> Seen:
  """states [R,T,D]: of the policy now, of the reference, of the old policy."""

  def head(tokens, *states):
    now, ref, old = (jax.nn.log_softmax(policy.logits(params, x)) for x in states)
    said = lambda x: jnp.take_along_axis(x, tokens[..., None], -1)[..., 0]
    away = lambda other: strayed(now, other, ref)
    return Seen(said(now), said(ref), said(old), away(ref), away(old))._asdict()

  target, limit = part.rows.target, LOGITS // policy.decoder.config.vocab_size
  wanted = target.any(0).reshape(part.tokens.shape)
  found: dict[str, Any] = in_chunks(head, wanted, limit, part.tokens, *states)
  return Seen(**{name: jnp.where(target, x.reshape(1, -1), 0) for name, x in found.items()})


def _experience(part: Part, share) -> Experience:
  """Rows that take all of adapter 0 and `share` of adapter 1."""
  use = jnp.stack([jnp.ones(len(part.tokens)), jnp.full(len(part.tokens), share)], 1)
  nothing, target = jnp.zeros(part.tokens.shape), jnp.zeros(part.tokens.shape, bool)
  facts = {'adapters': use}
  return Experience(part.tokens, part.texts, target, nothing, nothing, part.tokens, facts)


def _between(parent, candidate, share):
  return jax.tree.map(lambda a, b: a + share * (b - a), parent, candidate)
