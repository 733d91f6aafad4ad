"""nginx and Caddy as people put them before a page, on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

# Debian keeps servers where not everybody's path leads.
_PLACES = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin"

_NGINX = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_max_body_size 20m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {servers}
}}
"""
_NGINX_SERVER = """
  server {{
    listen 127.0.0.1:{port};
    location {location} {{
      {rules}
    }}
  }}
"""
#: What stands in ``location /clips/``, by what it is called.
NGINX = {
    "plain, path stripped": "proxy_pass {page}/;",
    "plain, path kept": "proxy_pass {page};",
    "names passed on": """proxy_pass {page}/;
      proxy_http_version 1.1;
      proxy_set_header Host clips.example.org;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Host clips.example.org;
      proxy_set_header X-Forwarded-Proto https;""",
    "not buffered": """proxy_pass {page}/;
      proxy_http_version 1.1;
      proxy_request_buffering off;""",
}
_CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  {rules}
}}
"""
#: What stands in Caddy's file, by what it is called.
CADDY = {
    "path stripped": "handle_path /clips/* {{\n reverse_proxy {page}\n }}",
    "path kept": "reverse_proxy {page}",
}


def find(name: str) -> str | None:
    """The program, where it is installed."""
    return shutil.which(name, path=_PLACES)


def free_ports(count: int) -> list[int]:
    """Ports at which nobody listens."""
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(socket.socket()) for _ in range(count)]
        for channel in channels:
            channel.bind(("127.0.0.1", 0))
        return [channel.getsockname()[1] for channel in channels]


@contextlib.contextmanager
def nginx(folder: Path, page: str, ports: dict[str, int]) -> Iterator[None]:
    """nginx with one server for each of ``NGINX``."""
    servers = "".join(
        _NGINX_SERVER.format(port=ports[name], location="/clips/", rules=rules.format(page=page))
        for name, rules in NGINX.items()
        if name in ports
    )
    user = "user root;" if os.geteuid() == 0 else ""  # it could not enter the folder
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(user=user, folder=folder, servers=servers))
    with _running([find("nginx"), "-p", folder, "-c", config], folder, ports):
        yield


@contextlib.contextmanager
def caddy(folder: Path, page: str, ports: dict[str, int]) -> Iterator[None]:
    """Caddy with one server for each of ``CADDY``."""
    upstream = urlsplit(page).netloc
    blocks = [
        _CADDY.format(port=ports[name], rules=rules.format(page=upstream))
        for name, rules in CADDY.items()
    ]
    head = blocks[0]
    rest = [block[block.index("http://") :] for block in blocks[1:]]
    config = folder / "Caddyfile"
    config.write_text("\n".join([head, *rest]))
    command = [find("caddy"), "run", "--config", config, "--adapter", "caddyfile"]
    with _running(command, folder, ports):
        yield


@contextlib.contextmanager
def _running(command: list[object], folder: Path, ports: dict[str, int]) -> Iterator[None]:
    homes = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder))
    log = folder / "proxy.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            list(map(str, command)), stdout=errors, stderr=errors, env={**os.environ, **homes}
        )
    try:
        for port in ports.values():
            end = time.monotonic() + 120
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(120)
