"""Writes docs/algorithms.md from the registries: python docs/algorithms.py

What is read: the families, their docstrings, options and needs; the presets; the compat table.
"""

import inspect
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from rft_jax.algorithms import presets
from rft_jax.algorithms.families import FAMILIES

INTRO = """# Algorithms

Written by `docs/algorithms.py` from the code; change that, not this.

An algorithm is data: where an iteration's experience comes from, and one piece of each family that
it uses. `--config.STAGE.algorithm.preset=NAME` names the whole, `--config.STAGE.algorithm.FAMILY=
'piece(option=value)'` replaces a piece, `'none'` removes it. `--config.STAGE.algorithm.compat=trl`
(`verl`, `trinity`) takes that framework's defaults for the options that are not named.
`configs/probe.py:NAME` runs any preset on the smallest task; how fast each learns it is in
`experiments/01_algorithms`.

rho is pi / pi_old of a token, A its advantage, R the reward of an answer, c and r the log-ratios of
the chosen and the rejected answer of a pair to the reference.

Worth knowing:

* On-policy, in the first update of an iteration, rho is 1 and the loss is -mean A: near 0 for
  advantages that are centred. That says nothing about learning.
* A `k1` penalty in the loss has no expected gradient on-policy; it belongs in the reward. `k2`,
  `k3_plus` and `unbiased_k3` pull towards the reference as KL(policy || reference) does, `k3` as
  the reverse.
* A preset keeps in memory what its pieces need, and nothing else (last column of the presets).
* Rows whose reward is NaN have no verdict: they are left out of statistics and of the loss.
"""
MEMORY = {
  'ref_logp': 'a copy of the decoder (reference)',
  'values': 'a value head',
  'teacher': 'a teacher, run at each update',
  'teacher_logp': 'a teacher',
}
TIME = {
  'recomputed': 'a forward pass for old log-probabilities',
  'coupled': 'a forward pass at each update',
  'baseline': 'a greedy answer per prompt',
  'mismatch': 'a forward pass of mismatched pairs',
}
KINDS = {
  'REINFORCEMENT': 'Reinforcement',
  'SUPERVISED': 'Imitation and text',
  'UNSUPERVISED': 'Without labels',
  'DISTILLATION': 'Distillation',
  'PREFERENCE': 'Preferences and reward models',
}


def main():
  (HERE / 'algorithms.md').write_text(text())


def text() -> str:
  parts = [INTRO, '## Presets\n', *map(preset_table, KINDS)]
  parts += ['## Pieces\n', *map(family_table, FAMILIES), '## Other frameworks\n', compat_table()]
  return '\n'.join(parts)


def preset_table(kind: str) -> str:
  rows = ['| preset | learns from | pieces | besides the policy |', '|---|---|---|---|']
  for name, parts in getattr(presets, kind).items():
    pieces = ', '.join(f'{k} `{v}`' for k, v in parts.items() if k in FAMILIES)
    pieces += ''.join(f', {k} {parts[k]}' for k in ('nll', 'refill') if k in parts)
    rows.append(f'| `{name}` | {parts.get("source", "samples")} | {pieces} | {costs(parts)} |')
  return f'### {KINDS[kind]}\n\n' + '\n'.join(rows) + '\n'


def costs(parts: dict) -> str:
  needs = set()
  for family, spec in parts.items():
    if family in FAMILIES:
      needs |= FAMILIES[family].needed(spec)
  return words(needs) or 'nothing'


def words(needs) -> str:
  return '; '.join(meaning for need, meaning in (MEMORY | TIME).items() if need in needs)


def family_table(family: str) -> str:
  rows = ['| piece and defaults | what it is | papers | needs |', '|---|---|---|---|']
  for name, function in sorted(FAMILIES[family].members.items()):
    options = [
      f'{p.name}={p.default!r}'
      for p in inspect.signature(function).parameters.values()
      if p.kind == p.KEYWORD_ONLY
    ]
    said = ' '.join(inspect.getdoc(function).split())
    links = ', '.join(
      f'[{paper}](https://arxiv.org/abs/{paper})'
      for paper in dict.fromkeys(re.findall(r'arXiv:(\d{4}\.\d{5})', said))
    )
    needs = ', '.join(sorted(FAMILIES[family].needed(name)))
    signature = f'`{name}({", ".join(options)})`' if options else f'`{name}`'
    rows.append(f'| {signature} | {cell(said)} | {links} | {needs} |')
  return f'### {family}\n\n' + '\n'.join(rows) + '\n'


def cell(said: str) -> str:
  return said.replace('|', r'\|').replace('*', r'\*').replace('<', r'\<')


def compat_table() -> str:
  rows = ['| compat | piece | options |', '|---|---|---|']
  for framework, families in presets.COMPAT.items():
    for family, defaults in families.items():
      for name, options in defaults.items():
        written = ', '.join(f'{k}={v!r}' for k, v in options.items())
        rows.append(f'| {framework} | {family} `{name}` | `{written}` |')
  return '\n'.join(rows) + '\n'


if __name__ == '__main__':
  main()
