"""Eight CPU devices, exact matmuls and quick compilation, set before JAX starts."""

import sys
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).parent.parent))
jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_default_matmul_precision', 'highest')
jax.config.update('jax_disable_most_optimizations', True)
jax.config.update('jax_compilation_cache_dir', str(Path.home() / '.cache/rft_jax/tests'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
