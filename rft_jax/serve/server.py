"""The server: an app over a store, an engine and a learner, and the address that it listens on."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from fastapi import FastAPI

from rft_jax.feedback.store import Store
from rft_jax.registry import UserError
from rft_jax.serve import (
  admin,
  agreements,
  completions,
  errors,
  judging,
  keys,
  mine,
  pages,
  shims,
  status,
)
from rft_jax.serve.backups import keep_copies
from rft_jax.serve.proxies import LOOPBACK, Proxies
from rft_jax.serve.service import Service

SWEEP_SECONDS = 5.0  # between looks for feedback whose answer never came


def create_app(service: Service) -> FastAPI:
  @contextlib.asynccontextmanager
  async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await service.auth.ensure_local()
    copies = keep_copies(service.backups, service.metrics.backup.set)
    proofs, news = service.readiness.keep_proving(), service.live.keep_looking()
    tasks = [asyncio.ensure_future(work) for work in (sweep(service), copies, proofs, news)]
    try:
      yield
    finally:
      service.stopping.set()
      service.store.db.leave()
      for task in tasks:
        task.cancel()
      await asyncio.gather(*tasks, return_exceptions=True)

  app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
  errors.install(app)
  options = service.options
  app.add_middleware(Proxies, proxies=options.proxies, hosts=options.hosts)
  for part in (completions, judging, mine, status, admin, agreements, keys, shims, pages):
    app.include_router(part.routes(service))
  return app


async def sweep(service: Service):
  """Rejects feedback that has waited too long for its answer, and looks again at what several
  people wait for."""
  while True:
    await asyncio.sleep(SWEEP_SECONDS)
    with contextlib.suppress(errors.StoreUnavailable):
      await asyncio.wrap_future(service.store.events.expire())
      await asyncio.wrap_future(service.store.agreements.look_again())


def listen(store: Store, host: str, port: int) -> socket.socket:
  """The address, taken before the work of getting ready. UserError where it is taken already, and
  where anyone could do anything: beyond this machine, only with keys."""
  if host not in LOOPBACK and not store.users.has_keys():
    raise UserError(
      f'host={host!r} would let everyone on the network in: make an API key first, by '
      '--config.mode=keys --config.key.name=me --config.key.scopes=chat,feedback,admin, '
      'or serve on 127.0.0.1'
    )
  both = host == '::' and socket.has_dualstack_ipv6()  # All addresses are those of IPv4 too.
  try:
    return socket.create_server((host, port), family=family_of(host), dualstack_ipv6=both)
  except OSError as error:
    raise UserError(
      f'serve.host={host!r} serve.port={port} cannot be listened on ({error.strerror}): choose '
      'another port, 0 for any that is free'
    ) from error


def family_of(host: str) -> socket.AddressFamily:
  return socket.AF_INET6 if ':' in host else socket.AF_INET
