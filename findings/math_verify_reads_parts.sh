#!/usr/bin/env bash
# math-verify 0.9.0 reads a part of an answer and calls it equal to a wrong one: 1e3 is 1, 2 1/2 is 1,
# 12:30 is 12, 0.(3) is 0, 5 m is 5 cm; letters in capitals are the small ones, and numbers that differ
# below 5e-7, or by less than 1e-15 in an expression, are the same. As a reward it pays such answers, so
# the reward `math` gives it only expressions of a grammar, in one spelling.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q 'math-verify==0.9.0' 'latex2sympy2_extended==1.11.0' 'sympy==1.14.0'
"$place/venv/bin/python" - <<'EOF'
import importlib.metadata
from math_verify import parse, verify

print('math-verify', importlib.metadata.version('math-verify'))
WRONG = [
  ('1', '1e3'), ('1', '2 1/2'), ('12', '12:30'), ('0', '0.(3)'), ('101', '101_2'), ('1.23', '1,23'),
  ('5 cm', '5 m'), ('$x$', '$X$'), ('1e-7', '1e-9'), ('$0.0000001$', '$0.0000002$'),
  (r'$\frac{\pi}{10^{20}}$', r'$\frac{2\pi}{10^{20}}$'), ('$3$', '$1 2$'),
]
paid = [(gold, said, bool(verify(parse(gold), parse(said)))) for gold, said in WRONG]
for row in paid:
  print(*row)
assert all(row[2] for row in paid), 'math-verify reads more of these now'
EOF
