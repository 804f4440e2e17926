"""The body of a request as JSON, read strictly: size, type, depth, duplicate keys, numbers."""

import asyncio
import json
import math
from typing import Any, NoReturn

from fastapi import Request

from rft_jax.serve.errors import ApiError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
BODY_SECONDS = 30.0  # until it has come


async def json_body(request: Request) -> Any:
  """Raises ApiError: 415 (not plain JSON), 413 (too large), 400 (not the JSON that we accept)."""
  kind = request.headers.get('content-type', '').split(';')[0].strip().lower()
  if kind != 'application/json':
    raise ApiError(415, 'the content type must be application/json')
  if request.headers.get('content-encoding', 'identity') != 'identity':
    raise ApiError(415, 'the body must not be compressed')
  return parsed(await limited(request))


async def limited(request: Request) -> bytes:
  """The body, of which no more is read than may be."""
  length = request.headers.get('content-length', '0')
  parts, size = [], int(length) if length.isdecimal() else 0
  read = 0
  if size <= MAX_BYTES:
    try:
      async with asyncio.timeout(BODY_SECONDS):
        async for part in request.stream():
          read += len(part)
          if read > MAX_BYTES:
            break
          parts.append(part)
    except TimeoutError:
      raise ApiError(408, f'the body was not whole after {BODY_SECONDS:g} s') from None
  if max(size, read) > MAX_BYTES:
    raise ApiError(413, f'the body must have at most {MAX_BYTES} bytes')
  return b''.join(parts)


def parsed(body: bytes) -> Any:
  try:
    text = body.decode('utf-8-sig')  # .NET begins with a mark of the byte order.
    check_depth(text)
    return json.loads(
      text, object_pairs_hook=unique, parse_constant=not_a_number, parse_float=finite
    )
  except (ValueError, RecursionError):
    raise ApiError(400, 'the body is not valid JSON', code='invalid_json') from None


def check_depth(text: str):
  """Counts brackets outside strings, before a parser recurses into them."""
  depth, quoted, escaped = 0, False, False
  for letter in text:
    if quoted:
      quoted, escaped = escaped or letter != '"', letter == '\\' and not escaped
    elif letter == '"':
      quoted = True
    elif letter in '[{':
      depth += 1
      if depth > MAX_DEPTH:
        raise ApiError(400, f'the body is nested deeper than {MAX_DEPTH}', code='too_deep')
    elif letter in ']}':
      depth -= 1


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):
    raise ApiError(400, 'a key occurs twice in one object', code='duplicate_key')
  return found


def not_a_number(name: str) -> NoReturn:
  raise ApiError(400, f'{name} is not a number in JSON', code='invalid_number')


def finite(digits: str) -> float:
  value = float(digits)
  if not math.isfinite(value):
    raise ApiError(400, 'a number is too large', code='invalid_number')
  return value
