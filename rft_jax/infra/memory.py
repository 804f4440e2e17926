"""What a compiled program takes of each device, known before it runs."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from rft_jax.registry import UserError

GIB = 2**30
EXHAUSTED = 'RESOURCE_EXHAUSTED'
"""What the message of a runtime error begins with where memory ran out."""


class OutOfMemory(UserError):
  """A program does not fit: one line with what it takes, what there is, and the way out."""


class Footprint(NamedTuple):
  """Bytes on each device: of what goes in and stays (state, batch), and of what it needs beside."""

  arguments: int
  beside: int

  @property
  def total(self) -> int:
    return self.arguments + self.beside

  def __str__(self):
    return (
      f'a step takes {size(self.total)} of each device, {size(self.arguments)} of it the state and '
      'the batch'
    )


def size(count: int) -> str:
  return f'{count / GIB:.2f} GiB' if count >= GIB else f'{count / 2**20:.1f} MiB'


def footprint(program: Any) -> Footprint:
  """Of a compiled program: results that take the place of an argument count once."""
  m = program.memory_analysis()
  results = m.output_size_in_bytes - m.alias_size_in_bytes
  code = m.generated_code_size_in_bytes
  return Footprint(m.argument_size_in_bytes, m.temp_size_in_bytes + results + code)


def room(devices: list) -> int:
  """Bytes that each of these devices has; those of a CPU share the machine's."""
  mine = next(d for d in devices if d.process_index == jax.process_index())
  stats = mine.memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit']
  whole = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  return whole // len(devices)


def measured(function: Any, watch: Callable[[Any], None]) -> Callable:
  """A jitted function, compiled once for each shape of its arguments; watch(program) is called
  before a program runs for the first time, and may raise."""
  programs = {}

  def call(*args):
    leaves, tree = jax.tree.flatten(args)
    shapes = tree, tuple((x.shape, x.dtype) for x in leaves)
    if shapes not in programs:
      program = function.lower(*args).compile()
      watch(program)
      programs[shapes] = program
    return programs[shapes](*args)

  return call


@contextlib.contextmanager
def explained(way_out: str) -> Iterator[None]:
  """Where memory runs out in spite of the plan, raises OutOfMemory with the way out."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if EXHAUSTED not in str(error):
      raise
    reason = ' '.join(str(error).split())[:200]
    raise OutOfMemory(f'a device is out of memory ({reason}): {way_out}') from error
