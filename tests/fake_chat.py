"""The page's half of the HTTP contract, in memory: python tests/fake_chat.py

`POST /fake {...}` scripts the calling user's failures: learn_s (how long learning takes), end and
reasons (what becomes of votes), break_after (pieces until a stream breaks off, once), piece_s (time
per piece), fail (path -> [status, times]), lose_ack (votes that are stored but not answered).
"""

import http.server
import json
import math
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import fake_world

WEB = Path(__file__).parents[1] / 'rft_jax/serve/web'
KINDS = {
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.html': 'text/html',
}
POLICY = "default-src 'self'"


class Handler(http.server.BaseHTTPRequestHandler):
  server: 'Server'
  protocol_version = 'HTTP/1.1'  # Connections are kept.
  disable_nagle_algorithm = True

  def log_message(self, *_):
    pass

  def do_GET(self):
    self.handle_any('GET')

  def do_POST(self):
    self.handle_any('POST')

  def do_DELETE(self):
    self.handle_any('DELETE')

  def handle_any(self, method: str) -> None:
    url = urlsplit(self.path)
    size = int(self.headers.get('Content-Length') or 0)
    body = json.loads(self.rfile.read(size)) if size else {}
    cookie = dict(
      c.strip().split('=', 1) for c in (self.headers.get('Cookie') or '').split(';') if c
    )
    self.user = self.server.world.user(cookie.get('rft_user', ''))
    failing = self.user.script.get('fail', {}).get(url.path)
    if failing and failing[1]:
      failing[1] -= 1
      self.send(failing[0], fake_world.error('The queue is full.'))
    elif url.path == '/' or url.path.startswith('/web/'):
      self.file(url.path, 'rft_user' in cookie)
    else:
      self.route(method, url.path.strip('/').split('/'), body, parse_qs(url.query))

  def send(self, status: int, body: dict) -> None:
    data = json.dumps(body).encode()
    self.send_response(status)
    self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', str(len(data)))
    self.end_headers()
    self.wfile.write(data)

  def file(self, path: str, known: bool) -> None:
    file = WEB / ('index.html' if path == '/' else Path(path).name)
    data = file.read_bytes()
    self.send_response(200)
    self.send_header('Content-Type', KINDS[file.suffix])
    self.send_header('Content-Length', str(len(data)))
    self.send_header('Content-Security-Policy', POLICY)
    if path == '/' and not known:
      self.send_header('Set-Cookie', f'rft_user={fake_world.new_id()}; HttpOnly; SameSite=Strict')
    self.end_headers()
    self.wfile.write(data)

  def route(self, method: str, parts: list[str], body: dict, query: dict) -> None:
    world, user = self.server.world, self.user
    match (method, *parts):
      case ('POST', 'v1', 'chat', 'completions'):
        self.complete(body)
      case ('POST', 'v1', 'feedback'):
        answer = world.vote(user, body)
        if user.script.get('lose_ack', 0):
          user.script['lose_ack'] -= 1
          self.close_connection = True
        else:
          self.send(*answer)
      case ('GET', 'v1', 'feedback'):
        world.settle(user)
        self.send(200, {'data': [world.receipt(e) for e in list(user.events.values())[::-1]]})
      case ('GET', 'v1', 'feedback', id, 'events'):
        self.events(user.events[id])
      case ('GET', 'v1', 'feedback', id):
        world.settle(user)
        self.send(200, world.receipt(user.events[id]))
      case ('DELETE', 'v1', 'feedback', id):
        self.send(*world.retract(user, id))
      case ('GET', 'v1', 'conversations'):
        shown = ('id', 'title', 'created_us')
        found = list(user.conversations.values())[::-1]
        self.send(200, {'data': [{name: c[name] for name in shown} for c in found]})
      case ('GET', 'v1', 'conversations', id):
        found = world.conversation(user, id)
        self.send(
          200 if found else 404, found or fake_world.error('There is no such conversation.')
        )
      case ('DELETE', 'v1', 'conversations', id):
        user.conversations.pop(id)
        self.send(200, {'deleted': True})
      case ('GET', 'v1', 'me', 'adapter', 'export'):
        self.send(200, {})
      case ('POST', 'v1', 'me', 'adapter', 'reset'):
        world.reset(user)
        self.send(200, {})
      case ('GET', 'v1', *_):
        self.describe(parts[1:])
      case ('POST', 'fake'):
        user.script = body
        self.send(200, {})
      case ('GET', 'fake'):
        self.send(200, {'posts': user.posts, 'events': len(user.events)})
      case (_, 'admin', *_):
        self.admin(parts[1], body)
      case _:
        self.send(404, fake_world.error(f'There is no {self.path}.'))

  def describe(self, parts: list[str]) -> None:
    world, user = self.server.world, self.user
    world.settle(user)
    version = {'global': world.live, 'personal': user.version}
    learned = sum(e.status == 'served' for e in user.events.values())
    scopes = ['chat', 'feedback', 'admin'] if not user.script.get('no_admin') else ['chat']
    known = {
      'me': {
        'user_id': user.id,
        'scopes': scopes,
        'version': version,
        'model': 'rft',
        'suggestions': fake_world.SUGGESTIONS,
      },
      'status': {'ready': True, 'version': version, 'pending_events': 0},
      'me/adapter': {
        'version': user.version,
        'n_events': learned,
        'kl_to_ref': 0.012 * learned,
        'updated_us': fake_world.now() if learned else None,
      },
    }
    self.send(200, known['/'.join(parts)])

  def stream(self) -> None:
    self.send_response(200)
    self.send_header('Content-Type', 'text/event-stream')
    self.send_header('Connection', 'close')
    self.end_headers()
    self.close_connection = True

  def event(self, data: str) -> None:
    self.wfile.write(f'data: {data}\n\n'.encode())
    self.wfile.flush()

  def complete(self, body: dict) -> None:
    script = self.user.script
    question, answer, conversation, text = self.server.world.ask(self.user, body)
    rft = {
      'message_id': answer['id'],
      'user_message_id': question['id'],
      'conversation_id': conversation['id'],
      'version': answer['version'],
      'feedback_token': 'token',
    }
    self.stream()
    chunk = lambda text: {'choices': [{'index': 0, 'delta': {'content': text}}]}
    self.event(json.dumps({**chunk(''), 'rft': rft}))
    for i in range(0, len(text), 6):
      if i >= 6 * script.get('break_after', math.inf):
        script.pop('break_after')
        return
      time.sleep(script.get('piece_s', 0.002))
      answer['content'] += text[i : i + 6]
      self.event(json.dumps(chunk(text[i : i + 6])))
    self.event(json.dumps({'choices': [], 'rft': rft}))
    self.event('[DONE]')

  def events(self, event: fake_world.Event) -> None:
    self.stream()
    said = None
    while said in (None, 'queued', 'training'):
      self.server.world.settle(self.user)
      if event.status != said:
        said = event.status
        self.event(json.dumps(self.server.world.receipt(event)))
      time.sleep(0.02)

  def admin(self, what: str, body: dict) -> None:
    world = self.server.world
    versions = [
      {
        'version': v,
        'status': 'rolled_back' if v > world.live else 'served',
        'n_events': 3 + v % 4,
        'created_us': fake_world.now() - (13 - v) * 300_000_000,
        'kl_to_ref': 0.004 * v,
      }
      for v in range(6, fake_world.GLOBAL + 1)
    ]
    if what == 'rollback':
      world.live = body['version']
    elif what == 'freeze':
      world.frozen = body['frozen']
    elif what == 'quarantine':
      world.quarantined.add(body.get('user_id', ''))
    users = [
      {
        'user_id': u.id,
        'n_events': len(u.events),
        'trust': 0.5,
        'version': u.version,
        'quarantined': u.id in world.quarantined,
      }
      for u in list(world.users.values())
      if u.id
    ]
    said = {
      'versions': {'live': world.live, 'frozen': world.frozen, 'data': versions},
      'users': {'data': users},
      'metrics': fake_world.metrics() if what == 'metrics' else {},
    }
    self.send(200, said.get(what, {}))


class Server(http.server.ThreadingHTTPServer):
  """Serves in a thread of its own on a free port; `url` is where."""

  daemon_threads = True
  request_queue_size = 64

  def __init__(self, port: int = 0):
    super().__init__(('127.0.0.1', port), Handler)
    self.world = fake_world.World()
    self.url = f'http://127.0.0.1:{self.server_port}'
    threading.Thread(target=self.serve_forever, daemon=True).start()


if __name__ == '__main__':
  print(Server(8800).url)
  threading.Event().wait()
