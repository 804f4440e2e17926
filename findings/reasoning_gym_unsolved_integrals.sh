#!/usr/bin/env bash
# reasoning-gym 0.1.25, intermediate_integration: where a polynomial stands beside sin or cos, the
# stored answer is the integral unsolved, 3*Integral(x**3*cos(3*x), x) + C, and the set's own scorer
# gives it full marks: the integrand is built with sympy.Function('cos'), an unknown function that
# only prints like the cosine. Whoever trains on the stored answers teaches to give the question back.
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/pip install -q reasoning-gym==0.1.25 sympy==1.14.0
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import reasoning_gym
import sympy

print('reasoning-gym', version('reasoning-gym'), 'sympy', sympy.__version__)
data = reasoning_gym.create_dataset('intermediate_integration', seed=0, size=200)
unsolved = [entry for entry in data if 'Integral' in entry['answer']]
print(f'{len(unsolved)} of 200 stored answers are integrals that are not solved, such as')
first = unsolved[0]
score = data.score_answer(first['answer'], first)
solved = sympy.integrate(sympy.sympify(first['metadata']['integrand']), sympy.Symbol('x'))
print('  asked:', first['question'].split('\n')[0])
print('  stored:', first['answer'], '- its own score:', score)
print('  sympy, with its own cosine and sine:', solved)
assert len(unsolved) > 10 and score == 1.0 and not solved.has(sympy.Integral), 'this has changed'
PYTHON
