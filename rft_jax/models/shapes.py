"""What a layer of each family consists of: parameters, and the modules that are fused in them."""

from rft_jax.models.config import ModelConfig

Matrix = tuple[str, tuple[int, ...], tuple[int, ...]]
MATRICES = 'qkv', 'attention_out', 'gate_up', 'down'


def layer_shapes(c: ModelConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
  """Name -> (initialiser, shape) of a layer's parameters. Queries, keys and values are one matrix,
  gate and up another."""
  family = c.family
  unit = 'zeros' if family.plus_one else 'ones'
  shapes: dict[str, tuple[str, tuple[int, ...]]] = {
    name: (unit, (c.hidden_size,)) for name in family.norms
  }
  if family.norm == 'layer':
    shapes |= {f'{name}_bias': ('zeros', (c.hidden_size,)) for name in family.norms}
  for name, (start, inputs, outputs) in matrix_shapes(c).items():
    shapes[name] = (start, (*inputs, *outputs))
    if name in biased(c):
      shapes[f'{name}_bias'] = ('zeros', outputs)
  kv, heads = c.num_key_value_heads, dict(q_norm=c.repeat, k_norm=1)
  if family.qk_norm != 'none':
    lead = {name: (kv, n) if family.qk_norm == 'width' else () for name, n in heads.items()}
    shapes |= {name: (unit, (*lead[name], c.head_dim)) for name in heads}
  return shapes


def matrix_shapes(c: ModelConfig) -> dict[str, Matrix]:
  """Name -> (initialiser, input axes, output axes)."""
  d, kv, halves = c.hidden_size, c.num_key_value_heads, 2 if c.family.gated else 1
  shapes: dict[str, Matrix] = dict(
    qkv=('wide', (d,), (kv, c.repeat + 2, c.head_dim)),
    attention_out=('narrow', (kv, c.repeat, c.head_dim), (d,)),
  )
  if not c.family.experts:
    inner = c.intermediate_size
    mlp: dict[str, Matrix] = dict(
      gate_up=('wide', (d,), (halves, inner)), down=('narrow', (inner,), (d,))
    )
    return shapes | mlp
  e, inner = c.num_experts, c.moe_intermediate_size or c.intermediate_size
  mixture: dict[str, Matrix] = dict(
    router=('wide', (d,), (e,)),
    experts_gate_up=('wide', (e, d), (halves, inner)),
    experts_down=('narrow', (e, inner), (d,)),
  )
  return shapes | mixture


def biased(c: ModelConfig) -> set[str]:
  """The matrices that have a bias."""
  found = set(c.family.biased)
  if c.attention_bias:
    found |= {'qkv', 'attention_out'}
  if c.mlp_bias:
    found |= {'gate_up', 'down'}
  return found - set(c.family.unbiased)


def parts(c: ModelConfig, name: str) -> list[tuple[str, int]]:
  """The modules that are fused in a matrix, and how much of its output's last axis but one each
  has (0 where it has one axis only)."""
  modules = c.family.names[name]
  if isinstance(modules, str):
    return [(modules, 0)]
  sizes = (c.repeat, 1, 1) if name == 'qkv' else (1,) * (2 if c.family.gated else 1)
  if len(modules) == 1:
    return [(modules[0], sum(sizes))]
  return list(zip(modules, sizes, strict=True))
