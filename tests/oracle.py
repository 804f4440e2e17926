"""What the tests against recorded numbers share; oracles/README.md says where those come from."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rft_jax.algorithms.families import FAMILIES
from rft_jax.steps import make_total
from rft_jax.types import Experience, Scores, Targets

TOTAL = make_total(None)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
close_gradient = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)


def recorded(name: str) -> dict:
  return json.loads((Path(__file__).parent / f'oracles/{name}.json').read_text())


def arrays(inputs: dict) -> dict:
  """The numbers among the inputs, float32."""
  numbers = {k: v for k, v in inputs.items() if not isinstance(v, str)}
  return {k: jnp.array(v, jnp.float32) for k, v in numbers.items()}


def lookup(family: str, spec: str):
  return FAMILIES[family].lookup(spec)


def experience(mask, rewards, group: int, logp=None, **facts) -> Experience:
  """Completions without prompts; what nobody declares to read is NaN."""
  mask = jnp.array(mask, bool)
  nothing = jnp.full(mask.shape, jnp.nan)
  tokens = jnp.zeros(mask.shape, jnp.int32)
  return Experience(
    tokens,
    mask,
    mask,
    nothing if logp is None else logp,
    jnp.array(rewards, jnp.float32),
    tokens,
    {name: jnp.asarray(x) for name, x in facts.items()},
    group,
  )


def summed(mode: str, mask, per_token, **options):
  """The loss in a mode as the libraries name it."""
  weights = FAMILIES['aggregator'].lookup(mode.replace('-', '_'))
  weights = weights(mask, TOTAL, **options)
  return (weights * jnp.where(mask, per_token, 0)).sum()


def value_and_gradient(spec: str, mode: str, mask, logp, advantages, old, **options):
  """Of a policy loss by the present log-probabilities."""
  loss = lookup('policy_loss', spec)
  t = Targets(mask.astype(bool), advantages=advantages, old_logp=old)
  return jax.value_and_grad(lambda logp: summed(mode, t.mask, loss(Scores(logp), t)[0], **options))(
    logp
  )


def check_loss(found, expected: dict) -> None:
  """Value, and of the gradient what is recorded."""
  value, gradient = found
  close(value, expected['loss'])
  if 'grad' in expected:
    close_gradient(gradient, expected['grad'])
  if 'grad_row0' in expected:
    close_gradient(gradient[0], expected['grad_row0'])
    close(jnp.linalg.norm(gradient), expected['grad_norm'])
