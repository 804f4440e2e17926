"""Eight CPU devices, exact matmuls and quick compilation, set before JAX starts."""

import gc
import sys
from pathlib import Path

import jax
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_default_matmul_precision', 'highest')
jax.config.update('jax_disable_most_optimizations', True)
jax.config.update('jax_compilation_cache_dir', str(Path.home() / '.cache/rft_jax/tests'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)

MAPS = Path('/proc/self/maps')
MANY = 30_000
"""Of the 65,530 parts of memory that a Linux process may have; each compiled program takes a few."""


@pytest.fixture(scope='module', autouse=True)
def few_programs():
  """Compiled programs of earlier files go before they are too many: XLA aborts at the limit."""
  if MAPS.exists() and MAPS.read_bytes().count(b'\n') > MANY:
    jax.clear_caches()
    gc.collect()
  yield
