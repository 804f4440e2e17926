"""What must be set before JAX starts: the C allocator, the number of CPU devices, the compilation
cache."""

import os
import pathlib
import sys
import tempfile

ALLOCATOR = {
  'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
  'MALLOC_MMAP_THRESHOLD_': str(2**30),
  'MALLOC_TRIM_THRESHOLD_': str(2**40),
  'MALLOC_TOP_PAD_': str(2**26),
}
"""glibc otherwise returns a step's large temporaries to the kernel and faults them in again at the
next step."""


def prepare_process() -> None:
  """Starts this very command anew under ALLOCATOR, before JAX is imported; settings that the user
  made stay."""
  missing = {k: v for k, v in ALLOCATOR.items() if k not in os.environ}
  if sys.platform == 'linux' and missing and 'RFT_JAX_PREPARED' not in os.environ:
    os.environ |= missing | {'RFT_JAX_PREPARED': '1'}
    os.execv(sys.executable, sys.orig_argv)


def prepare_jax(cpu_devices: int = 0) -> None:
  """So many CPU devices (0: one per core), unless XLA_FLAGS says otherwise; compiled programs are
  kept in the user's cache folder."""
  import jax

  if 'xla_force_host_platform_device_count' not in os.environ.get('XLA_FLAGS', ''):
    jax.config.update('jax_num_cpu_devices', cpu_devices or os.cpu_count() or 1)
  if not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    jax.config.update('jax_compilation_cache_dir', str(cache_folder() / 'compiled'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)


def cache_folder() -> pathlib.Path:
  """The user's, or one of this machine where the user has no folder."""
  base = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  if base.startswith('~'):
    base = os.path.join(tempfile.gettempdir(), f'cache-{os.getuid()}')
  return pathlib.Path(base) / 'rft_jax'
