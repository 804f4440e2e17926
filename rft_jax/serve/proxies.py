"""Where a request really comes from, and by which name the server was called."""

import ipaddress
import logging
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from rft_jax.registry import ConfigError
from rft_jax.serve.errors import ApiError, respond

log = logging.getLogger(__name__)
LOOPBACK = {'127.0.0.1', '::1', 'localhost'}
SIGNS = {'via', 'x-amzn-trace-id', 'x-cloud-trace-context', 'x-envoy-external-address'}
PARTS = (
  'forwarded',
  'real-ip',
  'client-ip',
  'user-ip',
  'connecting-ip',
  'x-original-',
  'cdn-',
  'cf-',
)
"""Of names of headers that proxies add."""
PROBES = '/healthz', '/readyz'  # which call a server by its address
PORTS = {'http': 80, 'https': 443}
LOCAL = 'rft.local'  # in a scope: whether whoever asks is on this machine
STRANGERS = 16  # proxies that are warned of


class Proxies:
  """An ASGI app that sets the client, scheme and Host of what trusted proxies pass on: the address
  in X-Forwarded-For that is the last one of no trusted proxy, X-Forwarded-Proto and -Host. What
  others say in these headers counts for nothing.

  proxies: addresses and networks; hosts: names, such as chat.example.org or *.example.org, others
  are refused; none = any.
  """

  def __init__(self, app: ASGIApp, proxies: Sequence[str] = (), hosts: Sequence[str] = ()):
    self.app, self.hosts = app, tuple(host.lower().removesuffix('.') for host in hosts)
    self.resolve: Any = ProxyHeadersMiddleware(cast(Any, self.resolved), list(proxies))
    self.warned: set[str] = set()

  async def __call__(self, scope: Scope, receive: Receive, send: Send):
    if scope['type'] != 'http':
      return await self.app(scope, receive, send)
    host, port = scope.get('client') or ('', 0)
    peer, headers = plain(host), MutableHeaders(scope=scope)
    scope['client'] = (peer, port)
    known = peer in self.resolve.trusted_hosts
    scope[LOCAL] = not known and is_local(scope)
    if known and (scheme := headers.get('x-forwarded-proto')):  # Of a chain, the visitor's.
      headers['x-forwarded-proto'] = scheme.partition(',')[0].strip().lower()
    if known and (name := headers.get('x-forwarded-host')):
      headers['host'] = name.rpartition(',')[2].strip()
    elif not known and is_forwarded(headers):
      self.warn(peer)
    await self.resolve(scope, receive, send)

  async def resolved(self, scope: Scope, receive: Receive, send: Send):
    host, port = scope['client']
    scope['client'] = (plain(host), port)
    name = hostname(Headers(scope=scope))
    if self.hosts and scope['path'] not in PROBES and not any(fits(name, h) for h in self.hosts):
      error = ApiError(421, f'this server is not {name!a}: see serve.hosts', code='unknown_host')
      return await respond(error)(scope, receive, send)
    await self.app(scope, receive, send)

  def warn(self, peer: str):
    if peer not in self.warned and len(self.warned) < STRANGERS:
      self.warned.add(peer)
      log.warning(
        'a proxy at %s passes requests on, but serve.proxies does not name it: all that come '
        'through it count as from one address, and nobody there is an administrator without a key',
        peer,
      )


def is_local(scope: Scope) -> bool:
  """From this machine, and addressed as this machine: a foreign name that resolves here is not, nor
  what a proxy passes on. Old proxies say nothing of it, but speak HTTP/1.0."""
  peer, headers = scope['client'][0], Headers(scope=scope)
  here = peer in LOOPBACK and hostname(headers) in LOOPBACK
  return here and scope['http_version'] != '1.0' and not is_forwarded(headers)


def is_forwarded(headers: Headers) -> bool:
  return any(name in SIGNS or any(part in name for part in PARTS) for name in headers)


def plain(host: str) -> str:
  """An address as its proxy or its network calls it: IPv4 on a socket of IPv6 is IPv4."""
  try:
    address = ipaddress.IPv6Address(host)
  except ValueError:
    return host
  return str(address.ipv4_mapped or address)


def household(host: str) -> str:
  """What one connection has at its disposal: an address of IPv4, 2**64 of IPv6."""
  try:
    address = ipaddress.ip_address(host)
  except ValueError:
    return host
  return host if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def hostname(headers: Headers) -> str:
  return place(f'//{headers.get("host", "")}')[0]


def place(url: str) -> tuple[str, int]:
  """(name, port) that a URL means: without case, the dot at the end of a whole name, and with the
  port that is meant where none is written. ('', 0) for what is none."""
  try:
    parts = urlsplit(url)
    name, port = (parts.hostname or '').removesuffix('.'), parts.port
  except ValueError:
    return '', 0
  return (name, PORTS.get(parts.scheme, 0) if port is None else port) if name else ('', 0)


def is_foreign(origin: str, host: str) -> bool:
  """Whether a page at `origin` is not one of the server that was called by `host`."""
  theirs, ours = place(origin), place(f'{origin.partition(":")[0]}://{host}')
  return not theirs[0] or theirs != ours


def fits(name: str, allowed: str) -> bool:
  return name.endswith(allowed[1:]) if allowed.startswith('*.') else name == allowed


def check_proxies(proxies: Sequence[str]) -> tuple[str, ...]:
  """The same, if all are addresses or networks. Raises ConfigError."""
  for one in proxies:
    try:
      ipaddress.ip_network(one)
    except ValueError as error:
      raise ConfigError(
        f'serve.proxies has {one!r}, which is no address or network like 127.0.0.1 or 10.0.0.0/8: '
        f'{error}'
      ) from None
  return tuple(proxies)
