"""`pip install .` installs the library, `pip install '.[test]'` what its tests need besides."""

import re

from setuptools import find_packages, setup

with open('rft_jax/__init__.py') as file:
  version = re.search(r"__version__ = '(.+)'", file.read())[1]
with open('README.md') as file:
  readme = file.read()

maths = ['math-verify>=0.9,<0.10']  # what a wrong reading may be differs by version
serve = ['fastapi>=0.120', 'prometheus-client>=0.22', 'uvicorn>=0.48']

setup(
  name='rft_jax',
  version=version,
  description='Reinforcement fine-tuning of language models in JAX',
  long_description=readme,
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  packages=find_packages(include=['rft_jax', 'rft_jax.*']),
  package_data={'rft_jax': ['serve/web/*']},
  python_requires='>=3.11',
  install_requires=[
    'absl-py',
    'datasets>=4',
    'flax>=0.12',
    'huggingface-hub>=1',
    'jax>=0.10,<0.13',
    'jinja2>=3.1',
    'matplotlib>=3.8',
    'ml-collections>=1.1',
    'numpy>=2',
    'optax>=0.2.6',
    'orbax-checkpoint>=0.12',
    'reasoning-gym>=0.1.25,<0.2',
    'safetensors>=0.6',
    'sympy>=1.13',
    'tensorboardX>=2.6',
    'tokenizers>=0.22',
    'tqdm',
    'transformers>=5',
    *serve,
  ],
  extras_require={
    'test': [
      'httpx>=0.28',
      'openai>=2',
      'playwright>=1.50',
      'pyright',
      'pytest-xdist>=3.6',
      'pytest>=8',
      'ruff',
      *maths,
    ],
    'math': maths,
    'serve': serve,
    'tpu': ['jax[tpu]>=0.10,<0.13'],
    'gpu': ['jax[cuda13]>=0.10,<0.13'],
  },
)
