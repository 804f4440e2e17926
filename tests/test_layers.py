"""Law 12: imports point one way, what is above the purity line is pure, no name is vague."""

import ast
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'rft_jax'
LAYERS = (
  {'types', 'registry'},
  {'algorithms', 'models'},
  {'sampling', 'collecting'},
  {'objectives'},
  {'steps'},
  {'infra', 'data', 'config'},
  {'tasks', 'evaluators', 'feedback'},
  {'engine'},
  {'learning'},
  {'serve'},
  {'modes'},
  {'main'},
)
RANK = {name: i for i, layer in enumerate(LAYERS) for name in layer}
PURE = RANK['steps']
IMPURE = {
  'os',
  'io',
  'logging',
  'absl',
  'orbax',
  'time',
  'threading',
  'random',
  'pathlib',
  'subprocess',
  'socket',
  'multiprocessing',
  'sys',
  'shutil',
  'tempfile',
}
EFFECTS = {'print', 'open', 'input'}
VAGUE = re.compile(r'(?:^|_)(?:utils?|helpers?|base|managers?|misc|common)(?:$|_)')
FILES = sorted(path for path in PACKAGE.rglob('*.py') if path != PACKAGE / '__init__.py')


def layer(path: Path) -> str:
  return path.relative_to(PACKAGE).with_suffix('').parts[0]


def imports(path: Path) -> list[str]:
  """The dotted names that a file imports, also inside functions."""
  found = []
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path}:{node.lineno}: a relative import'
      found += [f'{node.module}.{alias.name}' for alias in node.names]
  return found


def inside(name: str) -> str | None:
  """'rft_jax.infra.optim.x' -> 'infra'."""
  parts = name.split('.')
  return parts[1] if parts[0] == 'rft_jax' and len(parts) > 1 else None


every_file = pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(PACKAGE)))


@every_file
def test_imports_point_to_the_same_layer_or_below(path):
  assert layer(path) in RANK, f'{path} belongs to no layer: add it to LAYERS, in its place'
  here = RANK[layer(path)]
  above = [name for name in imports(path) if inside(name) and RANK[inside(name)] > here]
  assert not above


@pytest.mark.parametrize(
  'path',
  [p for p in FILES if RANK.get(layer(p), 0) <= PURE],
  ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_what_is_above_the_purity_line_touches_nothing_outside(path):
  assert not {name.split('.')[0] for name in imports(path)} & IMPURE
  calls = {
    node.func.id
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
  }
  assert not calls & EFFECTS


def test_families_of_one_layer_do_not_import_each_other():
  crossing = [
    (str(path), name)
    for path in FILES
    for name in imports(path)
    if inside(name) and {layer(path), inside(name)} == {'algorithms', 'models'}
  ]
  assert not crossing


def test_no_name_is_vague():
  names = [path.stem for path in FILES] + [path.name for path in PACKAGE.iterdir() if path.is_dir()]
  for path in FILES:
    names += [
      node.name
      for node in ast.walk(ast.parse(path.read_text()))
      if isinstance(node, ast.ClassDef | ast.FunctionDef)
    ]
  snake = {re.sub(r'(?<=[a-z])(?=[A-Z])', '_', name).lower() for name in names} - {'base'}
  assert not [name for name in snake if VAGUE.search(name)]
  assert not [path for path in FILES if VAGUE.search(path.stem)]


def test_no_comment_silences_a_checker():
  silencer = re.compile(r'#\s*(?:noqa|type:\s*ignore|pyright:|ruff:|pylint:)')
  files = itertools.chain(*((ROOT / top).rglob('*.py') for top in ('rft_jax', 'configs', 'tests')))
  assert not [str(path) for path in files if silencer.search(path.read_text())]
