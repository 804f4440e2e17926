"""Identifiers and clocks: UUIDv7, which sorts by the time of its making, and microseconds UTC."""

import re
import secrets
import time

FORM = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')


def now_us() -> int:
  """Microseconds UTC."""
  return time.time_ns() // 1000


def uuid7(us: int | None = None) -> str:
  """A UUIDv7 (RFC 9562) for a time in microseconds, now by default.

  The 12 bits after the millisecond hold its fraction, so that ids of one process sort by time.
  """
  us = now_us() if us is None else us
  fraction = us % 1000 * 4096 // 1000
  value = us // 1000 << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
  text = f'{value:032x}'
  return '-'.join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def is_id(value: object) -> bool:
  """Whether a value is a UUID (any version: clients may not have UUIDv7) in lower case."""
  return isinstance(value, str) and bool(FORM.fullmatch(value))
