"""Who is calling, and what they may do: keys, browser cookies, tokens for one answer's feedback."""

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from rft_jax.feedback.ids import is_id
from rft_jax.feedback.records import ApiKey, User
from rft_jax.feedback.store import Store
from rft_jax.infra import durable
from rft_jax.registry import UserError
from rft_jax.serve.errors import ApiError
from rft_jax.serve.proxies import LOCAL as FROM_HERE
from rft_jax.serve.proxies import LOOPBACK, is_foreign

SCOPES = ('chat', 'feedback', 'admin')
USERS = 'users'  # the scope of a key whose requests name end users, who are users of their own
MAX_NAME = 512  # characters of an end user's name
COOKIE = 'rft_user'
COOKIE_SECONDS = 365 * 86_400
TOKEN_SECONDS = 7 * 86_400
SECRET_BYTES = 32
PREFIX = 'rft-sk-'
LOCAL = 'local'  # the name of the user that calls from this machine without a key or a cookie


@dataclass(frozen=True)
class Caller:
  user: User
  scopes: frozenset[str]
  source: str  # web | api
  name: str  # of the key, or of the user: what limits count by


def make_key(store: Store, user_id: str, scopes: tuple[str, ...]) -> str:
  """A new API key of a user, which only its owner will ever see. UserError for unknown scopes."""
  if unknown := set(scopes) - {*SCOPES, USERS}:
    raise UserError(f'{sorted(unknown)} are no scopes: use {", ".join((*SCOPES, USERS))}')
  key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
  store.users.add_key(ApiKey(key_id, user_id, digest(secret), ' '.join(scopes))).result()
  return f'{PREFIX}{key_id}.{secret}'


def digest(secret: str) -> str:
  return hashlib.sha256(secret.encode()).hexdigest()


def load_secret(path: Path) -> bytes:
  """The server's own secret, made at the first call. Raises UserError for one that is empty, short
  or of one repeated byte: anybody could sign with it."""
  if not path.exists():
    durable.write(path, secrets.token_bytes(SECRET_BYTES), mode=0o600)
  secret = path.read_bytes()
  if len(secret) < SECRET_BYTES or len(set(secret)) < SECRET_BYTES // 4:
    raise UserError(
      f'{path} is damaged ({len(secret)} bytes, of {SECRET_BYTES} random ones): put a copy of it '
      'back, or delete it, which makes every visitor a new one and ends feedback tokens'
    )
  return secret


class Auth:
  """`identify` tells who sent a request.

  Until a first key exists, whoever is on this machine may do everything; after that, a key says
  what its holder may do, and a cookie allows to chat and to give feedback.
  """

  def __init__(self, store: Store, secret: bytes, user_header: str = 'X-RFT-User'):
    self.store, self.secret, self.user_header = store, secret, user_header
    self.is_open = not store.users.has_keys()

  def identify(self, request: Request, scope: str, named: str = '') -> Caller:
    """`named`: the end user that the body names, where the header does not.

    Raises ApiError: 401 (nobody known), 403 (known, but not allowed), 404 (unknown end user).
    """
    caller = self.caller(request)
    name = self.end_user(request, caller, named)
    check_allowed(caller, scope)
    if name:
      caller = self.on_behalf(caller, name)
      check_allowed(caller, scope)
    return caller

  def caller(self, request: Request) -> Caller:
    self.is_open = self.is_open and not self.store.users.has_keys()
    kind, _, key = request.headers.get('authorization', '').partition(' ')
    named = kind.lower() == 'bearer' and key.startswith(PREFIX)
    if named or (key and not self.is_open):
      return self.by_key(key.strip() if named else '')
    check_origin(request)
    if user := self.by_cookie(request):
      return self.with_scopes(user, request, 'web')
    if self.is_open and request.scope[FROM_HERE]:
      user = self.store.users.named(LOCAL)
      if not user:
        raise ApiError(503, 'the server is starting', None, 'starting', 1)
      return self.with_scopes(user, request, 'api')
    far = self.is_open and request.client and request.client.host in LOOPBACK
    why = ': a proxy or a foreign name is no caller from this machine' if far else ''
    raise ApiError(401, f'an API key is needed{why}', code='missing_key')

  def end_user(self, request: Request, caller: Caller, named: str) -> str:
    """The name of the end user that a request is of, '' for none. A body may name one to any key,
    as OpenAI's do; only those with the scope mean a user of ours."""
    header = utf8(request.headers.get(self.user_header, '')).strip()
    if header and USERS not in caller.scopes:
      needed = f'{self.user_header} needs a key with the scope {USERS}'
      raise ApiError(403, needed, code='missing_scope')
    name = header or named.strip()
    if len(name) > MAX_NAME:
      raise ApiError(400, f'the name of a user has at most {MAX_NAME} characters', 'user')
    return name if USERS in caller.scopes else ''

  def on_behalf(self, caller: Caller, name: str) -> Caller:
    user = self.store.users.end_user(caller.user.id, name)
    if not user:
      raise ApiError(404, f'there is no user {name!a} yet: they have asked nothing', 'user')
    return self.speaking(caller, user)

  def speaking(self, caller: Caller, user: User) -> Caller:
    """The holder of a key as one of their end users."""
    scopes = caller.scopes & {'chat', 'feedback'}
    return Caller(user, scopes, caller.source, f'{caller.name}/{user.id}')

  async def introduce(self, request: Request, named: str = ''):
    """An end user who asks for the first time becomes a user, if the key may ask for them. Raises
    ApiError as `identify`."""
    caller = self.caller(request)
    name = self.end_user(request, caller, named)
    may = 'chat' in caller.scopes and caller.user.state != 'blocked'
    if name and may and not self.store.users.end_user(caller.user.id, name):
      await asyncio.wrap_future(self.store.users.add_end_user(caller.user.id, name))

  async def ensure_local(self):
    """Makes the local user, at the start and where they had themselves erased."""
    if not self.store.users.named(LOCAL):
      await asyncio.wrap_future(self.store.users.create(LOCAL))

  def with_scopes(self, user: User, request: Request, source: str) -> Caller:
    everything = self.is_open and request.scope[FROM_HERE]
    scopes = SCOPES if everything else ('chat', 'feedback')
    return Caller(user, frozenset(scopes), source, user.id)

  def by_key(self, key: str) -> Caller:
    key_id, _, secret = key.removeprefix(PREFIX).partition('.')
    found = self.store.users.key(key_id)
    known = found.sha256 if found else digest('')
    right = hmac.compare_digest(known, digest(secret))  # Also for unknown ids: the same time.
    if not (found and right) or found.revoked_us is not None:
      raise ApiError(401, 'the API key is wrong or was revoked', code='invalid_key')
    user = self.store.users.get(found.user_id)
    if not user or user.deleted_us is not None:
      raise ApiError(401, 'the API key is wrong or was revoked', code='invalid_key')
    return Caller(user, frozenset(found.scopes.split()), 'api', f'key:{found.id}')

  def by_cookie(self, request: Request) -> User | None:
    user_id, _, mac = request.cookies.get(COOKIE, '').partition('.')
    if not is_id(user_id) or not same(mac, self.mac('cookie', user_id)):
      return None
    user = self.store.users.get(user_id)
    return user if user and user.deleted_us is None else None

  def cookie(self, user_id: str) -> str:
    return f'{user_id}.{self.mac("cookie", user_id)}'

  def token(self, message_id: str, user_id: str) -> str:
    """Allows its holder to judge one answer in the name of the user who got it, for a week."""
    end = int(time.time()) + TOKEN_SECONDS
    return f'{user_id}.{end}.{self.mac("feedback", message_id, user_id, str(end))}'

  def by_token(self, token: str, message_id: str) -> User:
    """Whose name a token speaks in. Raises ApiError 403."""
    user_id, end, mac = [*token.split('.'), '', ''][:3]
    if not same(mac, self.mac('feedback', message_id, user_id, end)):
      raise ApiError(403, 'the feedback token is not for this answer', 'feedback_token')
    if int(end) < time.time():
      raise ApiError(403, 'the feedback token has expired', 'feedback_token', 'expired_token')
    user = self.store.users.get(user_id)
    owner = self.store.users.get(self.store.users.owner(user_id) or user_id)
    if (
      not (user and owner) or user.deleted_us is not None or 'blocked' in (user.state, owner.state)
    ):
      raise ApiError(403, 'this user may not give feedback', 'feedback_token')
    return user

  def origin(self, request: Request) -> str | None:
    """A hash of the block of addresses that a request comes from; None for this machine."""
    host = request.client.host if request.client else ''
    if host in LOOPBACK:
      return None
    try:
      address = ipaddress.ip_address(host)
    except ValueError:
      return None
    block = ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False)
    return self.mac('origin', str(block))[:16]

  def mac(self, *parts: str) -> str:
    return hmac.new(self.secret, '\0'.join(parts).encode(), hashlib.sha256).hexdigest()


def check_allowed(caller: Caller, scope: str):
  """Raises ApiError 403."""
  if scope not in caller.scopes:
    raise ApiError(403, f'this needs the scope {scope}', code='missing_scope')
  if caller.user.state == 'blocked':
    raise ApiError(403, 'this user is blocked', code='blocked')


def utf8(header: str) -> str:
  """A header's text, which arrives as if it were Latin-1."""
  try:
    return header.encode('latin-1').decode()
  except UnicodeDecodeError:
    return header


def same(given: str, right: str) -> bool:
  return hmac.compare_digest(given.encode('utf-8', 'replace'), right.encode())


def check_origin(request: Request):
  """A page of another site must not act for its visitors. Raises ApiError 403."""
  origin = request.headers.get('origin')
  foreign = origin is not None and is_foreign(origin, request.headers.get('host', ''))
  if foreign or request.headers.get('sec-fetch-site') == 'cross-site':
    raise ApiError(403, 'requests from other sites need an API key', code='foreign_origin')
