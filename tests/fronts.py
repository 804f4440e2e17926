"""nginx and Caddy as a test runs them: the files of deploy/, with free ports and without TLS."""

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from served import until

DEPLOY = Path(__file__).parents[1] / 'deploy'
NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {servers}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, servers: str, port: int) -> Iterator[str]:
  """The address of an nginx with these servers, which listen on `port`."""
  program = found('nginx')
  file = folder / 'nginx.conf'
  file.write_text(NGINX.format(folder=folder, servers=servers))
  with running([program, '-c', str(file), '-p', str(folder)], port) as url:
    yield url


@contextlib.contextmanager
def caddy(folder: Path, sites: str, port: int) -> Iterator[str]:
  program = found('caddy')
  file = folder / 'Caddyfile'
  file.write_text('{\n\tadmin off\n\tauto_https off\n}\n' + sites)
  command = [program, 'run', '--config', str(file), '--adapter', 'caddyfile']
  with running(command, port) as url:
    yield url


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[str]:
  url = f'http://127.0.0.1:{port}'
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
  try:
    until(lambda: process.poll() is not None or answers(url))
    assert process.poll() is None, process.stderr and process.stderr.read()
    yield url
  finally:
    process.terminate()
    process.wait(10)
    if process.stderr:
      process.stderr.close()


def answers(url: str) -> bool:
  try:
    return bool(httpx.get(f'{url}/healthz'))
  except httpx.TransportError:
    return False


def found(name: str) -> str:
  program = shutil.which(name) or shutil.which(name, path='/usr/sbin')
  return program or pytest.skip(f'{name} is not installed')


def free_port() -> int:
  with socket.create_server(('127.0.0.1', 0)) as listening:
    return listening.getsockname()[1]


def nginx_of_docs(served_port: int, port: int) -> str:
  """deploy/nginx.conf without its certificate."""
  text = (DEPLOY / 'nginx.conf').read_text()
  text = re.sub(r'\n\s*(?:ssl_\w+|listen \[::\]\S*) .*;', '', text)
  text = text.replace('listen 443 ssl', f'listen 127.0.0.1:{port}')
  return text.replace('127.0.0.1:8000', f'127.0.0.1:{served_port}')


def caddy_of_docs(served_port: int, port: int) -> str:
  text = (DEPLOY / 'Caddyfile').read_text()
  text = text.replace('chat.example.org', f'http://127.0.0.1:{port}')
  return text.replace('127.0.0.1:8000', f'127.0.0.1:{served_port}')
