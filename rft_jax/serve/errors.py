"""Every failure as a status and OpenAI's envelope, and nothing that a client should not see."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from rft_jax.engine.protocol import EngineError
from rft_jax.feedback.database import StoreUnavailable
from rft_jax.feedback.ingest import Conflict, Refused
from rft_jax.feedback.ledger import LedgerError
from rft_jax.feedback.schema import Invalid
from rft_jax.infra.progress import Stopped

log = logging.getLogger(__name__)
TYPES = {401: 'authentication_error', 403: 'permission_error', 429: 'rate_limit_error'}


class ApiError(Exception):
  def __init__(
    self,
    status: int,
    message: str,
    param: str | None = None,
    code: str | None = None,
    retry_after: int | None = None,
  ):
    super().__init__(message)
    self.status, self.message, self.param, self.code = status, message, param, code
    self.retry_after = retry_after


def envelope(error: ApiError) -> dict[str, Any]:
  kind = TYPES.get(error.status, 'server_error' if error.status >= 500 else 'invalid_request_error')
  parts = {'message': error.message, 'type': kind, 'param': error.param, 'code': error.code}
  return {'error': parts}


def as_api_error(error: Exception) -> ApiError:
  """What a client is told of an exception; of an unexpected one, only that there was one."""
  match error:
    case ApiError():
      return error
    case Invalid():
      return ApiError(400, error.message, error.param, error.code)
    case Conflict():
      return ApiError(422, str(error), 'id', 'idempotency_conflict')
    case Refused():
      return ApiError(error.status, str(error), 'target.message_id')
    case LedgerError():
      return ApiError(409, str(error), code='ledger_conflict')
    case StoreUnavailable():
      return ApiError(503, 'nothing was saved: try again', None, 'store_unavailable', 1)
    case EngineError():
      wait = 1 if error.status in (429, 503) else None
      return ApiError(error.status, error.message, error.param, error.code, wait)
    case Stopped():
      return ApiError(503, 'the server is stopping', None, 'stopping', 1)
    case ClientDisconnect():
      return ApiError(499, 'the client left')
    case HTTPException():
      return ApiError(error.status_code, str(error.detail))
    case _:
      log.error('%s while answering a request', type(error).__name__, exc_info=error)
      return ApiError(500, 'internal error')


def respond(error: Exception) -> JSONResponse:
  problem = as_api_error(error)
  headers = {'Retry-After': str(problem.retry_after)} if problem.retry_after is not None else {}
  if problem.status == 401:
    headers['WWW-Authenticate'] = 'Bearer'
  return JSONResponse(envelope(problem), problem.status, headers)


def install(app: FastAPI):
  async def handle(request: Request, error: Exception) -> JSONResponse:
    return respond(error)

  known = (ApiError, Invalid, Conflict, Refused, LedgerError, StoreUnavailable, EngineError)
  for kind in (*known, Stopped, ClientDisconnect, HTTPException, Exception):
    app.add_exception_handler(kind, handle)
