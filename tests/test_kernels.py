"""The vendors' attention kernels compute what the plain form computes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rft_jax.infra.parallel import Mesh
from rft_jax.models import kernels
from rft_jax.models.attention import KV, attend, read_span
from rft_jax.models.config import SLIDING
from tests.tiny import CONFIG

B, G, K, R, T, P, C = 2, 3, 2, 2, 128, 128, 128
PLAIN = dataclasses.replace(
  CONFIG, num_attention_heads=K * R, num_key_value_heads=K, head_dim=C, attention='xla'
)
WINDOW = dataclasses.replace(PLAIN, layer_types=(SLIDING,) * 2, sliding_window=40)


def case(c, shared: bool, packed: bool = False):
  draw = np.random.default_rng(0)
  normal = lambda *shape: jnp.array(draw.standard_normal(shape), jnp.float32)
  valid = np.arange(T) < draw.integers(T // 2, T, (B, G, 1))
  past_valid = jnp.array(np.arange(P) >= draw.integers(1, P // 2, (B, 1))) if shared else None
  if packed:
    valid = valid * (1 + (np.arange(T) > 50))
  span = read_span(c, jnp.array(valid), past_valid)
  own = KV(normal(B, K, G, T, C), normal(B, K, G, T, C))
  past = KV(normal(B, K, P, C), normal(B, K, P, C)) if shared else None
  return normal(B, K, G, R, T, C), own, past, span, valid > 0


def close(found, expected, valid, atol):
  seen = valid[:, None, :, None, :, None]
  np.testing.assert_allclose(np.where(seen, found, 0), np.where(seen, expected, 0), atol=atol)


@pytest.mark.parametrize('c', [PLAIN, WINDOW], ids=['full', 'window'])
@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('kernel', ['fused', 'splash'])
def test_a_kernel_computes_what_the_plain_form_computes(kernel, shared, c):
  """cuDNN's call by its XLA twin, splash attention interpreted."""
  run = dict(
    fused=functools.partial(kernels.fused, implementation='xla'),
    splash=functools.partial(kernels.splash, interpret=True),
  )[kernel]
  q, own, past, span, valid = case(c, shared)
  expected = attend(c, q, own, past, span, span.view(0))
  close(run(c, q, own, past, span, span.view(0)), expected, valid, 2e-3)


@pytest.mark.parametrize('shared', [False, True])
def test_splash_attention_on_a_mesh_is_that_of_one_device(shared):
  """Prompts are cut over two devices, heads over two more; gradients too."""
  q, own, past, span, valid = case(PLAIN, shared)
  seen = jnp.array(valid)[:, None, :, None, :, None]

  def run(q, own, past):
    out = kernels.splash(PLAIN, q, own, past, span, span.view(0), interpret=True)
    return jnp.where(seen, out, 0)

  loss = jax.value_and_grad(lambda *x: (run(*x) ** 2).sum(), argnums=(0, 1))
  alone = jax.jit(loss)(q, own, past)
  with jax.set_mesh(Mesh(jax.devices()[:4], fsdp=2, tensor=2).mesh):
    spread = jax.jit(loss)(q, own, past)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3, rtol=1e-4), alone, spread)


def test_packed_texts_stay_apart_in_a_kernel():
  q, own, _, span, valid = case(PLAIN, False, packed=True)
  expected = attend(PLAIN, q, own, None, span, span.view(0))
  found = kernels.splash(PLAIN, q, own, None, span, span.view(0), interpret=True)
  close(found, expected, valid, 2e-3)


def test_a_kernel_is_chosen_only_for_shapes_that_suit_it():
  q, own, past, *_ = case(PLAIN, True)
  choose = lambda kind, q=q, **more: kernels.choose(
    dataclasses.replace(PLAIN, attention=kind, **more), q, own, past
  )
  assert choose('xla') is None and choose('auto') is None, 'XLA on a CPU'
  assert choose('cudnn') is None, 'cuDNN has no float32'
  assert choose('cudnn', q.astype(jnp.bfloat16)) is kernels.fused
  assert choose('cudnn', q.astype(jnp.bfloat16), attn_logit_softcapping=5.0) is None
  assert choose('cudnn', q.astype(jnp.bfloat16)[..., :127, :]) is None, 'an odd length'
  assert choose('splash') is kernels.splash
  assert choose('splash', q[..., :100, :]) is None, 'no whole blocks'
