"""How to add many adapters to one matmul: all at once and masked, or gathered row by row.

python experiments/05_adapters/forms.py        # writes results.csv

One matrix D x D in float32, rank 8. `masked` is what the decoder does (`models.layers.adapted`);
`gather` takes each token's own a and b. Both add the same; figures are the median of rounds in
which the two take turns.
"""

import csv
import pathlib
import platform
import statistics
import sys
import time

import jax
import jax.numpy as jnp

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from rft_jax.models.config import Lora, ModelConfig
from rft_jax.models.layers import Use, adapted

HERE = pathlib.Path(__file__).parent
D, RANK, ROUNDS = 512, 8, 30
CASES = [
  (tokens, bank, train) for tokens in (16, 1024) for bank in (2, 8, 32, 64) for train in (0, 1)
]


def masked(x, a, b, row):
  bank = len(b)
  config = ModelConfig(8, D, D, 1, 8, 8, D // 8, lora=Lora(rank=RANK, alpha=RANK, adapters=bank))
  use = Use(jax.nn.one_hot(row, bank))
  modules = {'mlp.down_proj': dict(a=a, b=b)}
  return adapted(config, 'down', modules, x, (D,), use)


def gather(x, a, b, row):
  h = jnp.einsum('md,mdr->mr', x, a[row])
  return jnp.einsum('mr,mrf->mf', h, b[row])


def gradient(form):
  return jax.grad(lambda ab, x, row: (form(x, *ab, row) ** 2).sum())


def seconds(function, args) -> float:
  began = time.perf_counter()
  jax.block_until_ready([function(*args) for _ in range(3)])
  return (time.perf_counter() - began) / 3


def measure(tokens: int, bank: int, train: int) -> dict:
  keys = jax.random.split(jax.random.key(0), 4)
  x = jax.random.normal(keys[0], (tokens, D))
  a, b = jax.random.normal(keys[1], (bank, D, RANK)), jax.random.normal(keys[2], (bank, RANK, D))
  row = jax.random.randint(keys[3], (tokens,), 0, bank)
  forms, args = [masked, gather], (x, a, b, row)
  found = [jax.jit(form)(*args) for form in forms]
  assert jnp.allclose(*found, atol=1e-2), 'the forms must add the same'
  if train:
    forms, args = [gradient(form) for form in forms], ((a, b), x, row)
  compiled = [jax.jit(form) for form in forms]
  for form in compiled:
    seconds(form, args)
  times = [[seconds(form, args) for form in compiled] for _ in range(ROUNDS)]
  first, second = (statistics.median(t) * 1e3 for t in zip(*times, strict=True))
  ratio = statistics.median(g / m for m, g in times)
  work = 'gradient' if train else 'forward'
  return dict(
    work=work,
    tokens=tokens,
    adapters=bank,
    masked_ms=round(first, 3),
    gather_ms=round(second, 3),
    gather_over_masked=round(ratio, 2),
  )


def main():
  print(platform.processor() or platform.machine(), jax.devices()[0].device_kind, jax.__version__)
  with open(HERE / 'results.csv', 'w', newline='') as text:
    writer = None
    for case in CASES:
      figures = measure(*case)
      writer = writer or csv.DictWriter(text, list(figures))
      if text.tell() == 0:
        writer.writeheader()
      writer.writerow(figures)
      print(figures, flush=True)


if __name__ == '__main__':
  main()
